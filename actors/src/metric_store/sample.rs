//! What is read of the metric series: each at one moment, and its form as JSON.
//!
//! Plain data. Samplers send it, `/metrics` writes it down; it knows nothing of the store that it comes from.

use std::sync::Arc;

use serde::Serialize;
use serde::ser::{Error as _, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::series::SeriesKey;
use crate::measurement::{MetricKind, canonical_attributes};
use crate::value::{Object, Value};

/// One series at one moment. As JSON, an element of a metrics frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub(super) key: Arc<SeriesKey>,
    pub(super) unit: Option<Arc<str>>,
    pub(super) value: SampleValue,
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

/// The distribution of a histogram's values since the start: `None` is what its sources do not tell.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the field's own names")]
pub struct Summary {
    pub count: u64,
    pub sum: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
}

impl SampleValue {
    pub(super) fn counter(value: f64) -> Self {
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

    /// The same series as that of one of several hubs: with an attribute that says which.
    pub(crate) fn of_hub(mut self, hub: &str) -> Self {
        let SeriesKey { id, kind, attributes } = &*self.key;
        let attributes = with_hub(attributes, hub);
        self.key = Arc::new(SeriesKey { id: id.clone(), kind: *kind, attributes });
        self
    }

    /// With the rate at which a counter grew since it had the value `before`, so many seconds ago, unless its rate is known already.
    pub(crate) fn since(mut self, before: Option<f64>, seconds: f64) -> Self {
        if let SampleValue::Counter { value, rate: rate @ None } = &mut self.value {
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
                for (name, value) in [
                    ("sum", summary.sum),
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

/// The name of the attribute that says which hub a series is of.
const HUB: &str = "hub";

/// Attributes and the hub. One that has its name already gets Prometheus's prefix for such clashes.
fn with_hub(attributes: &str, hub: &str) -> Box<str> {
    let attributes: Object = serde_json::from_str(attributes).unwrap_or_default();
    let renamed =
        |(key, value)| if key == HUB { ("exported_hub".into(), value) } else { (key, value) };
    let hub = (HUB.into(), Value::from(hub));
    canonical_attributes(attributes.into_iter().map(renamed).chain([hub]).collect())
}

/// Whether attributes are those of the own series of a hub.
pub(crate) fn names_only_a_hub(attributes: &str) -> bool {
    attributes.strip_prefix(r#"{"hub":""#).is_some_and(|_| {
        let attributes: Object = serde_json::from_str(attributes).unwrap_or_default();
        attributes.len() == 1
    })
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

    #[test]
    fn rates_cope_with_newcomers_and_restarts() {
        let rate = |before| match Sample::own_counter("c", 30).since(before, 2.0).value() {
            SampleValue::Counter { rate, .. } => rate.unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(rate(Some(10.0)), 10.0);
        assert_eq!(rate(None), 15.0);
        assert_eq!(rate(Some(100.0)), 15.0);
        let known = Sample::own_counter("c", 30).since(Some(10.0), 2.0);
        assert_eq!(known.clone().since(Some(29.0), 1.0), known);
    }

    #[test]
    fn a_series_of_a_hub_is_told_apart_by_its_name() {
        assert_eq!(&*with_hub("", "a\"b"), r#"{"hub":"a\"b"}"#);
        assert_eq!(
            &*with_hub(r#"{"hub":"mine","a":1,"z":2}"#, "h"),
            r#"{"a":1,"exported_hub":"mine","hub":"h","z":2}"#
        );
        assert!(names_only_a_hub(&with_hub("", "h")));
        for others in ["", r#"{"hub":1}"#, r#"{"hub":"h","z":2}"#, r#"{"a":1,"hub":"h"}"#] {
            assert!(!names_only_a_hub(others), "{others}");
        }
        let sample = Sample::own_gauge("g", Some("By"), 1.0).of_hub("h");
        assert_eq!(
            serde_json::to_string(&sample).unwrap(),
            r#"{"id":"g","type":"gauge","value":1,"unit":"By","attributes":{"hub":"h"}}"#
        );
    }
}
