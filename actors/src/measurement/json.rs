//! Measurements as JSON: what a source posts, in the form in which the live stream sends it.

use super::{Amount, Measurement, MeasurementError, bad, canonical_attributes};
use crate::value::{Object, Value};

impl Measurement {
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
        Ok(Self { id, amount, source: None, unit, attributes })
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
