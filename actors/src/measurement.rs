//! Measurements: what sources tell about their metrics.

use serde::Serialize;

use crate::value::{Object, Value};

/// How long a metric's name may be, in bytes (OpenTelemetry's own limit for instrument names).
pub(crate) const MAX_ID_BYTES: usize = 255;

/// How long a unit may be, in bytes (OpenTelemetry's own limit).
const MAX_UNIT_BYTES: usize = 63;

/// How large the attributes of a series may be, as JSON in bytes: each series holds a copy.
const MAX_ATTRIBUTES_BYTES: usize = 4096;

/// OpenTelemetry's kinds of metric, as far as they differ to those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the field's own names")]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One thing measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    pub(crate) id: Box<str>,
    pub(crate) amount: Amount,
    pub(crate) unit: Option<Box<str>>,
    pub(crate) attributes: Box<str>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Amount {
    Add(f64),
    Total(f64),
    Set(f64),
    Observe(Vec<f64>),
}

/// Why something is no measurement, or is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeasurementError {
    /// Not an object.
    #[error("a metric is an object, not {0}")]
    NotAnObject(&'static str),
    /// No name, or one that is too long.
    #[error("id: expected a name of 1 to {MAX_ID_BYTES} bytes")]
    BadId,
    /// A kind that is none.
    #[error("type: expected \"counter\", \"gauge\" or \"histogram\"")]
    BadType,
    /// A member with a value that it cannot have.
    #[error("{member}: expected {expected}")]
    BadMember {
        /// The member's name.
        member: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// Too many or too large attributes.
    #[error("attributes: over {MAX_ATTRIBUTES_BYTES} bytes")]
    AttributesTooLarge,
    /// One of the hub's own series.
    #[error("id: {0} is a series of the hub itself; give yours attributes to tell them apart")]
    Reserved(Box<str>),
}

impl Measurement {
    /// Adds to a counter; `amount` is at least 0.
    pub fn counter(id: &str, amount: f64) -> Self {
        Self::new(id, Amount::Add(amount))
    }

    /// Sets the total of a counter, as a source that counts itself gives it.
    pub fn counter_total(id: &str, total: f64) -> Self {
        Self::new(id, Amount::Total(total))
    }

    /// Sets a gauge.
    pub fn gauge(id: &str, value: f64) -> Self {
        Self::new(id, Amount::Set(value))
    }

    /// Puts values into a histogram.
    pub fn histogram(id: &str, values: impl Into<Vec<f64>>) -> Self {
        Self::new(id, Amount::Observe(values.into()))
    }

    fn new(id: &str, amount: Amount) -> Self {
        Self { id: id.into(), amount, unit: None, attributes: "".into() }
    }

    /// With a unit, in the notation of UCUM: `By`, `ms`, `{event}`.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// With attributes: they tell series of one name apart.
    #[must_use]
    pub fn attributes(mut self, attributes: Object) -> Self {
        self.attributes = canonical_attributes(attributes);
        self
    }

    pub(crate) fn kind(&self) -> MetricKind {
        match self.amount {
            Amount::Add(_) | Amount::Total(_) => MetricKind::Counter,
            Amount::Set(_) => MetricKind::Gauge,
            Amount::Observe(_) => MetricKind::Histogram,
        }
    }

    /// Reads one object in the form in which the live stream sends them.
    pub fn from_json(value: Value) -> Result<Self, MeasurementError> {
        let mut object = match value {
            Value::Object(object) => object,
            other => return Err(MeasurementError::NotAnObject(other.kind())),
        };
        let Some(Value::String(id)) = object.take_named("id") else {
            return Err(MeasurementError::BadId);
        };
        let amount = read_amount(&mut object)?;
        let unit = match object.take_named("unit") {
            None | Some(Value::Null) => None,
            Some(Value::String(unit)) => Some(unit),
            Some(_) => return Err(bad("unit", "a string")),
        };
        let attributes = match object.take_named("attributes") {
            None | Some(Value::Null) => "".into(),
            Some(Value::Object(attributes)) => canonical_attributes(attributes),
            Some(_) => return Err(bad("attributes", "an object")),
        };
        Ok(Self { id, amount, unit, attributes })
    }

    /// Checks what every measurement must keep to, wherever it comes from.
    pub(crate) fn check(&self) -> Result<(), MeasurementError> {
        if self.id.is_empty() || self.id.len() > MAX_ID_BYTES {
            return Err(MeasurementError::BadId);
        }
        if self.unit.as_ref().is_some_and(|unit| unit.len() > MAX_UNIT_BYTES) {
            return Err(bad("unit", "63 bytes at most"));
        }
        if self.attributes.len() > MAX_ATTRIBUTES_BYTES {
            return Err(MeasurementError::AttributesTooLarge);
        }
        match &self.amount {
            Amount::Add(value) | Amount::Total(value) if !(value.is_finite() && *value >= 0.0) => {
                Err(bad("value", "a finite number from 0 up for a counter"))
            }
            Amount::Set(value) if !value.is_finite() => Err(bad("value", "a finite number")),
            Amount::Observe(values) if !values.iter().all(|value| value.is_finite()) => {
                Err(bad("values", "finite numbers"))
            }
            _ => Ok(()),
        }
    }
}

fn read_amount(object: &mut Object) -> Result<Amount, MeasurementError> {
    let kind = match object.take_named("type") {
        Some(Value::String(kind)) => kind,
        _ => return Err(MeasurementError::BadType),
    };
    match &*kind {
        "counter" => {
            let value = read_value(object)?;
            match object.take_named("mode") {
                None => Ok(Amount::Add(value)),
                Some(Value::String(mode)) if &*mode == "add" => Ok(Amount::Add(value)),
                Some(Value::String(mode)) if &*mode == "total" => Ok(Amount::Total(value)),
                Some(_) => Err(bad("mode", "\"add\" or \"total\"")),
            }
        }
        "gauge" => Ok(Amount::Set(read_value(object)?)),
        "histogram" => {
            let expected = "an array of numbers";
            let Some(Value::Array(values)) = object.take_named("values") else {
                return Err(bad("values", expected));
            };
            let numbers: Option<Vec<f64>> = values.iter().map(as_f64).collect();
            numbers.map(Amount::Observe).ok_or(bad("values", expected))
        }
        _ => Err(MeasurementError::BadType),
    }
}

fn read_value(object: &mut Object) -> Result<f64, MeasurementError> {
    object.take_named("value").as_ref().and_then(as_f64).ok_or(bad("value", "a number"))
}

fn as_f64(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        _ => None,
    }
}

fn bad(member: &'static str, expected: &'static str) -> MeasurementError {
    MeasurementError::BadMember { member, expected }
}

/// One text for all that are the same: sorted by key. Empty for none.
fn canonical_attributes(attributes: Object) -> Box<str> {
    if attributes.is_empty() {
        return "".into();
    }
    let mut members: Vec<_> = attributes.into_iter().collect();
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    members.dedup_by(|(a, _), (b, _)| a == b);
    let object: Object = members.into_iter().collect();
    serde_json::to_string(&object).expect("an object is always valid JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<Measurement, &str>) {
        let value = serde_json::from_str(json).unwrap();
        let read = Measurement::from_json(value).and_then(|read| read.check().map(|()| read));
        assert_eq!(read.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn what_the_live_stream_sends_can_be_read() {
        check(
            r#"{"id":"a","type":"counter","value":40,"rate":3.2}"#,
            Ok(Measurement::counter("a", 40.0)),
        );
        check(
            r#"{"id":"a","type":"counter","value":40,"mode":"total"}"#,
            Ok(Measurement::counter_total("a", 40.0)),
        );
        check(
            r#"{"id":"m","type":"gauge","value":-1.5,"unit":"By","attributes":{"b":1,"a":"x"}}"#,
            Ok(Measurement {
                attributes: r#"{"a":"x","b":1}"#.into(),
                ..Measurement::gauge("m", -1.5).unit("By")
            }),
        );
        check(
            r#"{"id":"h","type":"histogram","values":[1,2.5]}"#,
            Ok(Measurement::histogram("h", [1.0, 2.5])),
        );
    }

    #[test]
    fn names_units_and_attributes_are_bounded() {
        let long = |bytes: usize| "x".repeat(bytes);
        let attributes = |bytes| [("k".into(), long(bytes).into())].into_iter().collect();
        for (measurement, is_good) in [
            (Measurement::gauge(&long(255), 1.0), true),
            (Measurement::gauge(&long(256), 1.0), false),
            (Measurement::gauge("a", 1.0).unit(&long(63)), true),
            (Measurement::gauge("a", 1.0).unit(&long(64)), false),
            (Measurement::gauge("a", 1.0).attributes(attributes(4000)), true),
            (Measurement::gauge("a", 1.0).attributes(attributes(4096)), false),
        ] {
            assert_eq!(measurement.check().is_ok(), is_good, "{measurement:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("5", Err("a metric is an object, not a number"));
        check(r#"{"type":"gauge","value":1}"#, Err("id: expected a name of 1 to 255 bytes"));
        check(
            r#"{"id":"","type":"gauge","value":1}"#,
            Err("id: expected a name of 1 to 255 bytes"),
        );
        check(
            r#"{"id":"a","type":"dial","value":1}"#,
            Err("type: expected \"counter\", \"gauge\" or \"histogram\""),
        );
        check(r#"{"id":"a","type":"gauge","value":"1"}"#, Err("value: expected a number"));
        check(
            r#"{"id":"a","type":"counter","value":-1}"#,
            Err("value: expected a finite number from 0 up for a counter"),
        );
        check(
            r#"{"id":"a","type":"counter","value":1,"mode":"set"}"#,
            Err("mode: expected \"add\" or \"total\""),
        );
        check(
            r#"{"id":"a","type":"histogram","count":3}"#,
            Err("values: expected an array of numbers"),
        );
        check(
            r#"{"id":"a","type":"gauge","value":1,"attributes":[]}"#,
            Err("attributes: expected an object"),
        );
    }
}
