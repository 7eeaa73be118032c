//! All metric series: what sources recorded, and a counter for each type of event. Shared by all, owned by none.
//!
//! Recording into a series that exists takes a read lock of one shard and an atomic. A snapshot lists the series first and
//! reads each by itself: nobody waits but who writes into the one that is being read, until the percentiles of a histogram
//! are worked out, or the totals of sources added up. The number of series is bounded, and so is that of sources whose totals
//! are kept: what comes beyond goes into the series `other` of its kind, and is counted.

mod buckets;
mod counter;
mod gauge;
#[cfg(feature = "metrics")]
mod handle;
mod histogram;
mod places;
mod sample;
mod series;
mod totals;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dashmap::DashMap;

use self::counter::Total;
use self::places::{Arrival, Room};
pub(crate) use self::sample::names_only_a_hub;
pub use self::sample::{Sample, SampleValue, Summary};
pub(crate) use self::series::{Series, SeriesKey};
use crate::lock;
use crate::measurement::{Amount, MAX_ID_BYTES, Measurement, MeasurementError, MetricKind};
use crate::stats::Count;
use crate::value::SmolStr;

/// The series that takes what there is no room for.
const OTHER: &str = "other";

/// What metrics of a kind and name are measured in, for series that do not say it themselves.
type Units = HashMap<MetricKind, HashMap<SmolStr, Arc<str>>>;

#[derive(Debug)]
pub(crate) struct MetricStore {
    series: DashMap<Arc<SeriesKey>, Arc<Series>>,
    series_count: AtomicUsize,
    max_series: usize,
    /// Places for the totals of sources, one for each source of each series, kept for good: there are as many as there may
    /// be series, since one source needs one for each, and since each may cost what a series does, up to 24 KiB of buckets.
    source_room: Room,
    units: Mutex<Units>,
    event_types: DashMap<Box<str>, Arc<Total>>,
    max_event_types: usize,
    /// What the names begin with that are the host's own, and its counters.
    reserved: RwLock<Vec<Box<str>>>,
    of_host: DashMap<Box<str>, Arc<Total>>,
    /// Measurements that found no series of their own.
    pub(crate) folded: Count,
    /// Measurements of which their source had said something newer already.
    pub(crate) late: Count,
}

impl MetricStore {
    pub(crate) fn new(max_series: usize, max_event_types: usize) -> Self {
        Self {
            series: DashMap::new(),
            series_count: AtomicUsize::new(0),
            max_series,
            source_room: Room::new(max_series),
            units: Mutex::default(),
            event_types: DashMap::new(),
            max_event_types,
            reserved: RwLock::default(),
            of_host: DashMap::new(),
            folded: Count::default(),
            late: Count::default(),
        }
    }

    /// Keeps the names that begin so for the host's own counters. What others have recorded under them is forgotten.
    pub(crate) fn reserve(&self, prefix: &str) {
        let mut reserved = self.reserved.write().unwrap_or_else(PoisonError::into_inner);
        if reserved.iter().any(|known| **known == *prefix) {
            return;
        }
        reserved.push(prefix.into());
        drop(reserved);
        let is_theirs = |key: &SeriesKey| key.attributes.is_empty() && key.id.starts_with(prefix);
        self.series.retain(|key, _| {
            let is_theirs = is_theirs(key);
            self.series_count.fetch_sub(usize::from(is_theirs), Ordering::Relaxed);
            !is_theirs
        });
        self.event_types.retain(|kind, _| !kind.starts_with(prefix));
    }

    /// Adds to one of the host's own counters.
    pub(crate) fn count_for_host(&self, id: &str, number: u64) {
        match self.of_host.get(id) {
            Some(total) => total.add_whole(number),
            None => self.of_host.entry(id.into()).or_default().add_whole(number),
        }
    }

    /// Whether a name belongs to the hub's own series, or the host's.
    pub(crate) fn is_own(&self, id: &str) -> bool {
        is_the_hubs(id) || {
            let reserved = self.reserved.read().unwrap_or_else(PoisonError::into_inner);
            reserved.iter().any(|prefix| id.starts_with(&**prefix))
        }
    }

    /// Whether a measurement keeps to what all must keep to, and names none of the hub's own series.
    pub(crate) fn check(&self, measurement: &Measurement) -> Result<(), MeasurementError> {
        measurement.check()?;
        if measurement.attributes.is_empty() && self.is_own(&measurement.id) {
            return Err(MeasurementError::Reserved(measurement.id.clone()));
        }
        Ok(())
    }

    /// Records a measurement that has passed [`MetricStore::check`].
    pub(crate) fn record(&self, measurement: Measurement) {
        let kind = measurement.kind();
        let needs_place = measurement.is_total_of_source();
        let Measurement { id, amount, source, unit, attributes } = measurement;
        let key = SeriesKey { id, kind, attributes };
        let Some(series) = self.series(key, unit.as_deref(), needs_place) else {
            return self.fold(kind, amount);
        };
        match series.record(amount, source, &self.source_room) {
            Ok(Arrival::InTime) => {}
            Ok(Arrival::Late) => self.late.add(1),
            Err(amount) => self.fold(kind, amount),
        }
    }

    /// The series that measurements such as this one belong to, for one who will write to it without asking again. What
    /// can have none of its own gets `other`, and is counted, however often it is written to.
    #[cfg(feature = "metrics")]
    pub(crate) fn register(&self, measurement: Measurement) -> Arc<Series> {
        let kind = measurement.kind();
        let is_good = self.check(&measurement).is_ok();
        let Measurement { id, attributes, .. } = measurement;
        let series =
            is_good.then(|| self.series(SeriesKey { id, kind, attributes }, None, false)).flatten();
        series.unwrap_or_else(|| {
            self.folded.add(1);
            self.other(kind)
        })
    }

    /// Says what metrics of a kind and name are measured in, now or later. There are as many names as there may be series;
    /// those beyond go without.
    #[cfg(feature = "metrics")]
    pub(crate) fn describe(&self, kind: MetricKind, id: &str, unit: &str) {
        let mut units = lock(&self.units);
        let of_kind = units.entry(kind).or_default();
        let is_full = of_kind.len() >= self.max_series && !of_kind.contains_key(id);
        if !is_full && id.len() <= MAX_ID_BYTES {
            of_kind.insert(id.into(), unit.into());
        }
    }

    /// The series of this key, if it is there or there is room for it, and for its first source if it has one.
    fn series(&self, key: SeriesKey, unit: Option<&str>, with_source: bool) -> Option<Arc<Series>> {
        if let Some(series) = self.series.get(&key) {
            return Some(Arc::clone(series.value()));
        }
        let is_full = self.series_count.load(Ordering::Relaxed) >= self.max_series
            || (with_source && self.source_room.is_full());
        (!is_full).then(|| self.insert(key, unit))
    }

    /// Records what there is no room for.
    fn fold(&self, kind: MetricKind, amount: Amount) {
        self.folded.add(1);
        self.other(kind).record_folded(amount, &self.source_room);
    }

    fn other(&self, kind: MetricKind) -> Arc<Series> {
        self.insert(SeriesKey::plain(OTHER, kind), None)
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
            return total.add_whole(1);
        }
        let has_a_place = kind.len() <= MAX_ID_BYTES && kind != OTHER && !self.is_own(kind);
        if !has_a_place || self.event_types.len() >= self.max_event_types {
            let other = self.other(MetricKind::Counter);
            return other.record_folded(Amount::Add(1.0), &self.source_room);
        }
        self.event_types.entry(kind.into()).or_default().add_whole(1);
    }

    /// Every series as it is now, in no order.
    pub(crate) fn read(&self) -> Vec<Sample> {
        let read = |(key, series): (Arc<SeriesKey>, Arc<Series>)| {
            let (unit, value) = (self.unit(&key, &series), series.read());
            Sample { key, unit, value }
        };
        let mut samples: Vec<Sample> = self.list().into_iter().map(read).collect();
        for entry in &self.event_types {
            self.push_event_type(&mut samples, entry.key(), entry.value());
        }
        for entry in &self.of_host {
            let key = SeriesKey::plain(entry.key(), MetricKind::Counter);
            samples.push(Sample::new(key, None, SampleValue::counter(entry.value().get())));
        }
        samples
    }

    /// Every series. Reads none, so that nobody who comes with a new one waits for that.
    fn list(&self) -> Vec<(Arc<SeriesKey>, Arc<Series>)> {
        let entries = self.series.iter();
        entries.map(|entry| (Arc::clone(entry.key()), Arc::clone(entry.value()))).collect()
    }

    fn unit(&self, key: &SeriesKey, series: &Series) -> Option<Arc<str>> {
        let described = || lock(&self.units).get(&key.kind)?.get(&key.id).cloned();
        series.unit.clone().or_else(described)
    }

    /// A source that sends a counter of this name itself knows better.
    fn push_event_type(&self, samples: &mut Vec<Sample>, kind: &str, total: &Total) {
        let key = SeriesKey::plain(kind, MetricKind::Counter);
        if !self.series.contains_key(&key) {
            samples.push(Sample::new(key, None, SampleValue::counter(total.get())));
        }
    }
}

/// Whether a name belongs to the series that every hub has.
fn is_the_hubs(id: &str) -> bool {
    matches!(id, "server.memory" | "server.cpu" | "server.uptime" | "queue.count")
        || id.starts_with("hub.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::{Distribution, Shape, Source};

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

    fn source(id: u64) -> Source {
        Source { id, started: None, at: None }
    }

    fn count(count: u64) -> Distribution {
        Distribution { count, sum: None, min: None, max: None, shape: Shape::Buckets(Vec::new()) }
    }

    #[test]
    fn counter_is_what_was_added_and_the_latest_of_each_source() {
        let store = store();
        let total = |id, total| Measurement::counter_total("c", total).from_source(source(id));
        store.record(total(1, 0.1));
        store.record(total(1, 0.3));
        // To the letter as it was told: nothing was added up on the way.
        assert_eq!(read(&store), [r#"{"id":"c","type":"counter","value":0.3}"#]);
        store.record(total(2, 10.0));
        store.record(Measurement::counter("c", 5.0));
        store.record(total(1, 8.0));
        assert_eq!(read(&store), [r#"{"id":"c","type":"counter","value":23}"#]);
        store.record(total(2, 4.0));
        assert_eq!(read(&store), [r#"{"id":"c","type":"counter","value":27}"#]);
    }

    #[test]
    fn gauges_change() {
        let store = store();
        for change in [5.0, -7.5, f64::MIN, f64::MIN, f64::MAX, 1.0] {
            store.record(Measurement::gauge_change("g", change));
        }
        assert_eq!(read(&store), [r#"{"id":"g","type":"gauge","value":1}"#]);
        store.record(Measurement::gauge("g", 10.0));
        // Whose it is means nothing to a change.
        store.record(Measurement::gauge_change("g", -4.0).from_source(source(1)));
        assert_eq!(read(&store), [r#"{"id":"g","type":"gauge","value":6}"#]);
    }

    #[test]
    fn gauge_of_several_sources_is_their_sum() {
        let store = store();
        store.record(Measurement::gauge_total("g", 5.0).from_source(source(1)));
        store.record(Measurement::gauge_total("g", 7.0).from_source(source(2)));
        assert_eq!(read(&store), [r#"{"id":"g","type":"gauge","value":12}"#]);
        store.record(Measurement::gauge_total("g", 6.0).from_source(source(2)));
        store.record(Measurement::gauge_total("g", -1.0));
        assert_eq!(read(&store), [r#"{"id":"g","type":"gauge","value":10}"#]);
        // A third source takes the last place; the next is folded.
        store.record(Measurement::gauge_total("g", 20.0).from_source(source(3)));
        store.record(Measurement::gauge_total("g", 50.0).from_source(source(4)));
        store.record(Measurement::gauge_total("h", 60.0).from_source(source(1)));
        assert_eq!(
            read(&store),
            [
                r#"{"id":"g","type":"gauge","value":30}"#,
                r#"{"id":"other","type":"gauge","value":60}"#,
            ]
        );
        assert_eq!(store.folded.get(), 2);
    }

    #[test]
    fn what_comes_too_late_is_counted() {
        let store = store();
        let at = |second| {
            let at = Some(jiff::Timestamp::from_second(second).unwrap());
            Source { id: 1, started: None, at }
        };
        for (second, late) in [(20, 0), (10, 4), (30, 4)] {
            for measurement in [
                Measurement::counter_total("m", 1.0),
                Measurement::gauge_total("m", 1.0),
                Measurement::gauge("m", 1.0),
                Measurement::distribution_total("m", count(1)),
                Measurement::counter("m", 1.0),
            ] {
                store.record(measurement.from_source(at(second)));
            }
            assert_eq!(store.late.get(), late);
        }
        assert_eq!(store.folded.get(), 0);
    }

    #[test]
    fn sources_beyond_the_bound_are_folded_and_the_greatest_total_counts() {
        let store = store();
        store.record(Measurement::counter("other", 2.0));
        for round in 1..=3 {
            for (id, total) in [(1, 10.0), (2, 20.0), (3, 30.0), (4, 40.0), (5, 35.0)] {
                let total = Measurement::counter_total("c", total * f64::from(round));
                store.record(total.from_source(source(id)));
            }
        }
        let distribution =
            |id, total| Measurement::distribution_total("h", count(total)).from_source(source(id));
        store.record(distribution(6, 7));
        store.record(distribution(7, 9));
        store.record(distribution(6, 8));
        assert_eq!(
            read(&store),
            [
                r#"{"id":"c","type":"counter","value":180}"#,
                r#"{"id":"other","type":"counter","value":120}"#,
                r#"{"id":"other","type":"histogram","count":9}"#,
            ]
        );
        assert_eq!(store.folded.get(), 2 * 3 + 3);
        // What needs no place of its own goes on.
        store.record(Measurement::counter("c", 1.0));
        store.record(Measurement::counter_total("c", 40.0).from_source(source(1)));
        assert_eq!(read(&store)[0], r#"{"id":"c","type":"counter","value":191}"#);
    }

    #[test]
    fn totals_that_are_folded_leave_what_was_added() {
        let store = MetricStore::new(0, 0);
        store.count_event("a");
        store.count_event("b");
        store.record(Measurement::counter_total("c", 1.0));
        assert_eq!(read(&store), [r#"{"id":"other","type":"counter","value":2}"#]);
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
