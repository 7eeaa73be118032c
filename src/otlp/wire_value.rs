//! Attributes read from the wire into an event's values at once, without messages in between: log records have many, and come
//! in thousands. With the messages in between,
//! a record took a sixth longer (`cargo bench -- otlp`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use telemetry_hub_actors::Value;

use super::attributes::{Members, float};
use super::wire::{Fields, Repeated, WireError, merge};

/// How many values may stand in one another.
const MAX_DEPTH: usize = 100;

/// The field of a list that has its items.
const ITEMS: u32 = 1;

/// A `KeyValue`.
pub(super) fn attribute(bytes: &[u8]) -> Result<(&str, Value), WireError> {
    read_attribute(bytes, MAX_DEPTH)
}

/// An `AnyValue`.
pub(super) fn value(bytes: &[u8]) -> Result<Value, WireError> {
    read_value(bytes, MAX_DEPTH)
}

/// The text of an `AnyValue` that is a text.
pub(super) fn text(bytes: &[u8]) -> Result<Option<&str>, WireError> {
    let mut text = None;
    for field in Fields::of(bytes) {
        match field? {
            (1, wire) => text = Some(wire.text()?),
            (2..=8, _) => text = None,
            _ => {}
        }
    }
    Ok(text)
}

fn read_attribute(bytes: &[u8], depth: usize) -> Result<(&str, Value), WireError> {
    let (mut key, mut value) = ("", None);
    for field in Fields::of(bytes) {
        match field? {
            (1, wire) => key = wire.text()?,
            (2, wire) => merge(&mut value, wire.bytes()?),
            // An index, as in a value.
            (3, wire) => _ = wire.varint()?,
            _ => {}
        }
    }
    Ok((key, value.map_or(Ok(Value::Null), |value| read_value(&value, depth))?))
}

/// Of several kinds of value the last one counts; a list that is given in parts is one, as protobuf merges messages.
fn read_value(bytes: &[u8], depth: usize) -> Result<Value, WireError> {
    let depth = depth.checked_sub(1).ok_or(WireError::TooDeep)?;
    let mut value = Value::Null;
    for field in Fields::of(bytes) {
        value = match field? {
            (1, wire) => wire.text()?.into(),
            (2, wire) => (wire.varint()? != 0).into(),
            (3, wire) => wire.varint()?.cast_signed().into(),
            (4, wire) => float(f64::from_bits(wire.fixed64()?)),
            (5, wire) => read_array(value, wire.bytes()?, depth)?,
            (6, wire) => read_object(value, wire.bytes()?, depth)?,
            (7, wire) => BASE64_STANDARD.encode(wire.bytes()?).into(),
            // An index into a table of strings, which only profiles have.
            (8, wire) => wire.varint().map(|_| Value::Null)?,
            _ => value,
        };
    }
    Ok(value)
}

fn read_array(earlier: Value, bytes: &[u8], depth: usize) -> Result<Value, WireError> {
    let mut items = if let Value::Array(items) = earlier { items } else { Vec::new() };
    for item in Repeated::of(bytes, ITEMS) {
        items.push(read_value(item?, depth)?);
    }
    Ok(items.into())
}

fn read_object(earlier: Value, bytes: &[u8], depth: usize) -> Result<Value, WireError> {
    let mut members = Members::default();
    if let Value::Object(earlier) = earlier {
        members.add_copies(&earlier);
    }
    for attribute in Repeated::of(bytes, ITEMS) {
        let (key, value) = read_attribute(attribute?, depth)?;
        members.add_one(key, value);
    }
    Ok(members.into_object().into())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::otlp::attributes;

    fn any_value() -> impl Strategy<Value = AnyValue> {
        let leaf = prop_oneof![
            Just(None),
            "[a-z]{0,30}".prop_map(|text| Some(Kind::StringValue(text))),
            any::<bool>().prop_map(|value| Some(Kind::BoolValue(value))),
            any::<i64>().prop_map(|value| Some(Kind::IntValue(value))),
            any::<f64>().prop_map(|value| Some(Kind::DoubleValue(value))),
            any::<Vec<u8>>().prop_map(|value| Some(Kind::BytesValue(value))),
        ];
        let leaf = leaf.prop_map(|value| AnyValue { value });
        leaf.prop_recursive(4, 32, 6, |inner| {
            let pair = ("[a-c]{0,2}", proptest::option::of(inner.clone()));
            let pair = pair.prop_map(|(key, value)| KeyValue { key, value, ..Default::default() });
            let array = prop::collection::vec(inner, 0..6)
                .prop_map(|values| Kind::ArrayValue(ArrayValue { values }));
            let list = prop::collection::vec(pair, 0..6)
                .prop_map(|values| Kind::KvlistValue(KeyValueList { values }));
            prop_oneof![array, list].prop_map(|value| AnyValue { value: Some(value) })
        })
    }

    /// As prost reads it. Groups, which no message of OTLP has, it skips.
    fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
        let known = AnyValue::decode(bytes);
        match (value(bytes), known) {
            (Ok(value), Ok(known)) => {
                let is_text = matches!(known.value, Some(Kind::StringValue(_)));
                prop_assert_eq!(text(bytes).unwrap().is_some(), is_text);
                prop_assert_eq!(value, attributes::value(Some(known)));
            }
            (Err(_), Err(_)) | (Err(WireError::NoField), Ok(_)) => {}
            (value, known) => prop_assert!(false, "{value:?}, prost: {known:?}"),
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(2000)
        })]

        #[test]
        fn values_are_those_that_prost_reads(
            any in any_value(),
            more in any_value(),
            changed in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut bytes = any.encode_to_vec();
            check(&bytes)?;
            // Given in two parts.
            bytes.extend(more.encode_to_vec());
            check(&bytes)?;
            if let Some((index, byte)) = changed && !bytes.is_empty() {
                let index = index.index(bytes.len());
                bytes[index] = byte;
                check(&bytes)?;
                check(&bytes[..index])?;
            }
        }
    }

    #[test]
    fn values_stand_in_one_another_only_so_deep() {
        let nest = |any: AnyValue| AnyValue {
            value: Some(Kind::ArrayValue(ArrayValue { values: vec![any] })),
        };
        let deep = |depth| (1..depth).fold(AnyValue::default(), |any, _| nest(any)).encode_to_vec();
        assert!(value(&deep(MAX_DEPTH)).is_ok());
        assert_eq!(value(&deep(MAX_DEPTH + 1)), Err(WireError::TooDeep));
    }
}
