//! All metric series: what sources recorded, and a counter for each type of event. Shared by all, owned by none.
//!
//! Recording into a series that exists takes a read lock of one shard and an atomic; a snapshot stops nobody. The number
//! of series is bounded: what comes beyond goes into the series `other` of its kind, and is counted.

mod histogram;
mod sample;
mod series;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

pub use self::sample::{Sample, SampleValue, Summary};
pub(crate) use self::series::SeriesKey;
use self::series::{Series, Total};
use crate::measurement::{Amount, MAX_ID_BYTES, Measurement, MetricKind};
use crate::stats::Count;

/// The series that takes what there is no room for.
const OTHER: &str = "other";

#[derive(Debug)]
pub(crate) struct MetricStore {
    series: DashMap<Arc<SeriesKey>, Arc<Series>>,
    series_count: AtomicUsize,
    max_series: usize,
    event_types: DashMap<Box<str>, Arc<Total>>,
    max_event_types: usize,
    /// Measurements that found no series of their own.
    pub(crate) folded: Count,
}

impl MetricStore {
    pub(crate) fn new(max_series: usize, max_event_types: usize) -> Self {
        Self {
            series: DashMap::new(),
            series_count: AtomicUsize::new(0),
            max_series,
            event_types: DashMap::new(),
            max_event_types,
            folded: Count::default(),
        }
    }

    /// Records a measurement that has passed [`Measurement::check`].
    pub(crate) fn record(&self, measurement: Measurement) {
        let kind = measurement.kind();
        let Measurement { id, amount, unit, attributes } = measurement;
        let series = self.series(SeriesKey { id, kind, attributes }, unit.as_deref());
        series.record(&amount);
    }

    fn series(&self, key: SeriesKey, unit: Option<&str>) -> Arc<Series> {
        if let Some(series) = self.series.get(&key) {
            return Arc::clone(series.value());
        }
        if self.series_count.load(Ordering::Relaxed) >= self.max_series {
            self.folded.add(1);
            return self.insert(SeriesKey::plain(OTHER, key.kind), None);
        }
        self.insert(key, unit)
    }

    fn insert(&self, key: SeriesKey, unit: Option<&str>) -> Arc<Series> {
        let kind = key.kind;
        let series = self.series.entry(Arc::new(key)).or_insert_with(|| {
            self.series_count.fetch_add(1, Ordering::Relaxed);
            Arc::new(Series::new(kind, unit))
        });
        Arc::clone(series.value())
    }

    /// Counts an event under its type.
    pub(crate) fn count_event(&self, kind: &str) {
        if let Some(total) = self.event_types.get(kind) {
            return total.add(1.0);
        }
        let has_a_place = kind.len() <= MAX_ID_BYTES && kind != OTHER && !is_own(kind);
        if !has_a_place || self.event_types.len() >= self.max_event_types {
            let other = self.insert(SeriesKey::plain(OTHER, MetricKind::Counter), None);
            return other.record(&Amount::Add(1.0));
        }
        self.event_types.entry(kind.into()).or_default().add(1.0);
    }

    /// Every series as it is now, in no order.
    pub(crate) fn read(&self) -> Vec<Sample> {
        let mut samples: Vec<Sample> = self
            .series
            .iter()
            .map(|entry| Sample {
                key: Arc::clone(entry.key()),
                unit: entry.value().unit.clone(),
                value: entry.value().read(),
            })
            .collect();
        for entry in &self.event_types {
            self.push_event_type(&mut samples, entry.key(), entry.value());
        }
        samples
    }

    /// A source that sends a counter of this name itself knows better.
    fn push_event_type(&self, samples: &mut Vec<Sample>, kind: &str, total: &Total) {
        let key = SeriesKey::plain(kind, MetricKind::Counter);
        if !self.series.contains_key(&key) {
            samples.push(Sample::new(key, None, SampleValue::counter(total.get())));
        }
    }
}

/// Whether a name belongs to the hub's own series.
pub(crate) fn is_own(id: &str) -> bool {
    matches!(id, "server.memory" | "server.cpu" | "server.uptime" | "queue.count")
        || id.starts_with("hub.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> MetricStore {
        MetricStore::new(3, 2)
    }

    /// The store's series as JSON, sorted.
    fn read(store: &MetricStore) -> Vec<String> {
        let mut lines: Vec<String> =
            store.read().iter().map(|sample| serde_json::to_string(sample).unwrap()).collect();
        lines.sort();
        lines
    }

    #[test]
    fn counters_add_and_set_and_gauges_set() {
        let store = store();
        store.record(Measurement::counter("c", 2.0));
        store.record(Measurement::counter("c", 0.5));
        store.record(Measurement::counter_total("t", 7.0));
        store.record(Measurement::counter_total("t", 9.0));
        store.record(Measurement::gauge("g", 5.0).unit("By"));
        store.record(Measurement::gauge("g", -1.0));
        assert_eq!(
            read(&store),
            [
                r#"{"id":"c","type":"counter","value":2.5}"#,
                r#"{"id":"g","type":"gauge","value":-1,"unit":"By"}"#,
                r#"{"id":"t","type":"counter","value":9}"#,
            ]
        );
    }

    #[test]
    fn histogram_is_exact_where_it_says_and_close_elsewhere() {
        let store = MetricStore::new(10, 10);
        store.record(Measurement::histogram("h", [3.0, 9.0, 40.0, 2.0, 31.0, 4.0, 2.0]).unit("ms"));
        assert_eq!(
            read(&store),
            [
                r#"{"id":"h","type":"histogram","count":7,"sum":91,"min":2,"max":40,"p50":4,"p90":31,"p99":31,"unit":"ms"}"#
            ]
        );
        let values: Vec<f64> = (1..=10_000).map(|n| f64::from(n) / 10.0).collect();
        store.record(Measurement::histogram("many", values));
        let samples = store.read();
        let many = samples.iter().find(|sample| sample.id() == "many").unwrap();
        let SampleValue::Histogram(summary) = many.value() else {
            panic!("{many:?}");
        };
        for (percentile, truth) in
            [(summary.p50, 500.0), (summary.p90, 900.0), (summary.p99, 990.0)]
        {
            assert!((percentile.unwrap() / truth - 1.0).abs() < 0.011, "{summary:?}");
        }
    }

    #[test]
    fn attributes_make_series_and_too_many_are_folded() {
        let store = store();
        for number in 0..5 {
            let attributes = [("n".into(), number.into())].into_iter().collect();
            store.record(Measurement::counter("c", 1.0).attributes(attributes));
        }
        assert_eq!(
            read(&store),
            [
                r#"{"id":"c","type":"counter","value":1,"attributes":{"n":0}}"#,
                r#"{"id":"c","type":"counter","value":1,"attributes":{"n":1}}"#,
                r#"{"id":"c","type":"counter","value":1,"attributes":{"n":2}}"#,
                r#"{"id":"other","type":"counter","value":2}"#,
            ]
        );
        assert_eq!(store.folded.get(), 2);
    }

    #[test]
    fn event_types_are_counted_up_to_a_bound() {
        let store = store();
        let long = "x".repeat(256);
        for kind in ["a", "b", "c", "d", "a", "hub.events.received", "other", &long] {
            store.count_event(kind);
        }
        store.record(Measurement::counter_total("b", 50.0));
        assert_eq!(
            read(&store),
            [
                r#"{"id":"a","type":"counter","value":2}"#,
                r#"{"id":"b","type":"counter","value":50}"#,
                r#"{"id":"other","type":"counter","value":5}"#,
            ]
        );
    }

    #[test]
    fn totals_never_become_infinite() {
        let store = store();
        for _ in 0..3 {
            store.record(Measurement::counter("c", f64::MAX));
            store.record(Measurement::histogram("h", [f64::MAX]));
        }
        for sample in read(&store) {
            assert!(!sample.contains("null"), "{sample}");
        }
    }
}
