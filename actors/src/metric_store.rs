//! All metric series: what sources recorded, and a counter for each type of event. Shared by all, owned by none.
//!
//! Recording into a series that exists takes a read lock of one shard and an atomic; a snapshot stops nobody. The number
//! of series is bounded: what comes beyond goes into the series `other` of its kind, and is counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use serde::Serialize;
use serde::ser::{Error as _, SerializeMap, Serializer};
use serde_json::value::RawValue;
use sketches_ddsketch::{Config, DDSketch};

use crate::lock;
use crate::measurement::{Amount, MAX_ID_BYTES, Measurement, MetricKind};
use crate::stats::Count;

/// The series that takes what there is no room for.
const OTHER: &str = "other";

/// What tells one series from another. Attributes are JSON with sorted keys, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeriesKey {
    pub(crate) id: Box<str>,
    pub(crate) kind: MetricKind,
    pub(crate) attributes: Box<str>,
}

impl SeriesKey {
    fn plain(id: &str, kind: MetricKind) -> Self {
        Self { id: id.into(), kind, attributes: "".into() }
    }
}

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

#[derive(Debug)]
struct Series {
    unit: Option<Arc<str>>,
    instrument: Instrument,
}

#[derive(Debug)]
enum Instrument {
    Counter(Total),
    Gauge(AtomicU64),
    Histogram(Mutex<Histogram>),
}

/// A floating-point sum that many may add to. Exact for whole numbers up to 2^53.
#[derive(Debug, Default)]
struct Total(AtomicU64);

impl Total {
    fn add(&self, amount: f64) {
        // It may never become infinite: JSON has no word for that.
        let sum = |bits| Some((f64::from_bits(bits) + amount).min(f64::MAX).to_bits());
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum)
            .expect("the sum is always some");
    }

    fn set(&self, total: f64) {
        self.0.store(total.to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Count, sum, least and greatest are exact; percentiles come from a DDSketch, within 1 % of the true value.
struct Histogram {
    sketch: DDSketch,
    /// Whether all values were whole numbers: then so are the percentiles.
    whole: bool,
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("count", &self.sketch.count()).finish_non_exhaustive()
    }
}

impl Histogram {
    fn new() -> Self {
        Self { sketch: DDSketch::new(Config::defaults()), whole: true }
    }

    fn observe(&mut self, values: &[f64]) {
        for value in values {
            self.sketch.add(*value);
            self.whole &= value.fract() == 0.0;
        }
    }

    fn read(&self) -> SampleValue {
        let (min, max) = (self.sketch.min(), self.sketch.max());
        let percentile = |quantile| {
            let value = self.sketch.quantile(quantile).ok().flatten()?;
            let value = if self.whole { value.round() } else { value };
            Some(value.clamp(min?, max?))
        };
        SampleValue::Histogram(Summary {
            count: self.sketch.count() as u64,
            sum: self.sketch.sum().unwrap_or(0.0).clamp(f64::MIN, f64::MAX),
            min,
            max,
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
        })
    }
}

impl Series {
    fn new(kind: MetricKind, unit: Option<&str>) -> Self {
        let instrument = match kind {
            MetricKind::Counter => Instrument::Counter(Total::default()),
            MetricKind::Gauge => Instrument::Gauge(AtomicU64::default()),
            MetricKind::Histogram => Instrument::Histogram(Mutex::new(Histogram::new())),
        };
        Self { unit: unit.map(Arc::from), instrument }
    }

    fn record(&self, amount: &Amount) {
        match (&self.instrument, amount) {
            (Instrument::Counter(total), Amount::Add(amount)) => total.add(*amount),
            (Instrument::Counter(total), Amount::Total(amount)) => total.set(*amount),
            (Instrument::Gauge(gauge), Amount::Set(value)) => {
                gauge.store(value.to_bits(), Ordering::Relaxed);
            }
            (Instrument::Histogram(histogram), Amount::Observe(values)) => {
                lock(histogram).observe(values);
            }
            (Instrument::Counter(_) | Instrument::Gauge(_) | Instrument::Histogram(_), _) => {
                unreachable!("the kind of an amount is part of the key of its series")
            }
        }
    }

    fn read(&self) -> SampleValue {
        match &self.instrument {
            Instrument::Counter(total) => SampleValue::counter(total.get()),
            Instrument::Gauge(gauge) => {
                SampleValue::Gauge(f64::from_bits(gauge.load(Ordering::Relaxed)))
            }
            Instrument::Histogram(histogram) => lock(histogram).read(),
        }
    }
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

/// One series at one moment. As JSON, an element of a metrics frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    key: Arc<SeriesKey>,
    unit: Option<Arc<str>>,
    value: SampleValue,
}

/// What a series says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleValue {
    /// A total since the start.
    Counter {
        /// The total.
        value: f64,
        /// How much it grew a second since the frame before; `None` in the first.
        rate: Option<f64>,
    },
    /// A value that goes up and down.
    Gauge(f64),
    /// How values are distributed.
    Histogram(Summary),
}

/// The distribution of a histogram's values since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the field's own names")]
pub struct Summary {
    pub count: u64,
    pub sum: f64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
}

impl SampleValue {
    fn counter(value: f64) -> Self {
        Self::Counter { value, rate: None }
    }
}

impl Sample {
    pub(crate) fn new(key: SeriesKey, unit: Option<&str>, value: SampleValue) -> Self {
        Self { key: Arc::new(key), unit: unit.map(Arc::from), value }
    }

    /// One of the hub's own counters.
    pub(crate) fn own_counter(id: &str, value: u64) -> Self {
        let key = SeriesKey::plain(id, MetricKind::Counter);
        Self::new(key, None, SampleValue::counter(value as f64))
    }

    /// One of the hub's own gauges.
    pub(crate) fn own_gauge(id: &str, unit: Option<&str>, value: f64) -> Self {
        Self::new(SeriesKey::plain(id, MetricKind::Gauge), unit, SampleValue::Gauge(value))
    }

    pub(crate) fn key(&self) -> &Arc<SeriesKey> {
        &self.key
    }

    /// The name.
    pub fn id(&self) -> &str {
        &self.key.id
    }

    /// The kind of metric.
    pub fn kind(&self) -> MetricKind {
        self.key.kind
    }

    /// The attributes as a JSON object; empty for none.
    pub fn attributes(&self) -> &str {
        &self.key.attributes
    }

    /// The unit, in the notation of UCUM.
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// What it says.
    pub fn value(&self) -> SampleValue {
        self.value
    }

    /// With the rate at which a counter grew since it had the value `before`, so many seconds ago.
    pub(crate) fn since(mut self, before: Option<f64>, seconds: f64) -> Self {
        if let SampleValue::Counter { value, rate } = &mut self.value {
            // A counter that was not there before began at zero; one whose source restarted begins anew.
            let grown =
                before.filter(|before| before <= value).map_or(*value, |before| *value - before);
            *rate = (seconds > 0.0).then_some(grown / seconds);
        }
        self
    }
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.key.id)?;
        map.serialize_entry("type", &self.key.kind)?;
        match self.value {
            SampleValue::Counter { value, rate } => {
                map.serialize_entry("value", &Plain(value))?;
                if let Some(rate) = rate {
                    map.serialize_entry("rate", &Plain(rate))?;
                }
            }
            SampleValue::Gauge(value) => map.serialize_entry("value", &Plain(value))?,
            SampleValue::Histogram(summary) => {
                map.serialize_entry("count", &summary.count)?;
                map.serialize_entry("sum", &Plain(summary.sum))?;
                for (name, value) in [
                    ("min", summary.min),
                    ("max", summary.max),
                    ("p50", summary.p50),
                    ("p90", summary.p90),
                    ("p99", summary.p99),
                ] {
                    if let Some(value) = value {
                        map.serialize_entry(name, &Plain(value))?;
                    }
                }
            }
        }
        if let Some(unit) = &self.unit {
            map.serialize_entry("unit", &**unit)?;
        }
        if !self.key.attributes.is_empty() {
            let attributes: &RawValue =
                serde_json::from_str(&self.key.attributes).map_err(S::Error::custom)?;
            map.serialize_entry("attributes", attributes)?;
        }
        map.end()
    }
}

/// A number that is written without a fraction if it has none.
struct Plain(f64);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Up to here every whole number is exact in a float.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() <= EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
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

    #[test]
    fn rates_cope_with_newcomers_and_restarts() {
        let rate = |before| match Sample::own_counter("c", 30).since(before, 2.0).value() {
            SampleValue::Counter { rate, .. } => rate.unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(rate(Some(10.0)), 10.0);
        assert_eq!(rate(None), 15.0);
        assert_eq!(rate(Some(100.0)), 15.0);
    }
}
