//! The values of an event's `data`: JSON, with the members of an object in the order in which the source wrote them.
//!
//! Not `serde_json::Value`: its maps keep their order only behind a feature that changes `serde_json` for the whole host
//! program, and cost 72 bytes a value; here a value takes 32 and an object is one allocation: names and texts of up to 23
//! bytes stand in it, and a copy of a longer text shares it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
pub use serde_json::Number;
pub use smol_str::{SmolStr, ToSmolStr};

use crate::key::Key;

/// A JSON value. 64-bit integers are exact.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "JSON's own names")]
pub enum Value {
    Null,
    Bool(bool),
    Number(Number),
    String(SmolStr),
    Array(Vec<Value>),
    Object(Object),
}

/// The members of a JSON object, in the source's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object(Vec<(SmolStr, Value)>);

impl Object {
    /// Appends a member.
    pub fn push(&mut self, key: impl Into<SmolStr>, value: impl Into<Value>) {
        self.0.push((key.into(), value.into()));
    }

    /// The value of the member whose name is `key` to the letter.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The members in order, as they are kept: a copy of a name or of a text is cheap.
    pub fn members(&self) -> &[(SmolStr, Value)] {
        &self.0
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out the first member whose name is `name` to the letter.
    pub(crate) fn take_named(&mut self, name: &str) -> Option<Value> {
        let position = self.0.iter().position(|(key, _)| &**key == name)?;
        Some(self.0.remove(position).1)
    }

    /// Takes out the first member that `key` names and `read` can make something of: that.
    pub(crate) fn take_as<T>(
        &mut self,
        key: &Key,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let read =
            |(name, value): &(SmolStr, Value)| if key.names(name) { read(value) } else { None };
        let mut members = self.0.iter().enumerate();
        let (position, taken) = members.find_map(|(at, member)| Some((at, read(member)?)))?;
        self.0.remove(position);
        Some(taken)
    }
}

impl IntoIterator for Object {
    type Item = (SmolStr, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(SmolStr, Value)> for Object {
    fn from_iter<T: IntoIterator<Item = (SmolStr, Value)>>(members: T) -> Self {
        Self(members.into_iter().collect())
    }
}

impl Value {
    /// About how many bytes this value occupies on the heap.
    pub(crate) fn heap_size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => heap_size_of(text),
            Self::Array(items) => {
                let inner: usize = items.iter().map(Self::heap_size).sum();
                items.capacity() * size_of::<Self>() + inner
            }
            Self::Object(object) => object.heap_size(),
        }
    }

    /// JSON's word for this kind of value.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl Object {
    /// About how many bytes its members occupy on the heap.
    pub fn heap_size(&self) -> usize {
        let inner: usize =
            self.0.iter().map(|(key, value)| heap_size_of(key) + value.heap_size()).sum();
        self.0.capacity() * size_of::<(SmolStr, Value)>() + inner
    }
}

/// About how many bytes a text occupies on the heap: none if it is short.
pub(crate) fn heap_size_of(text: &SmolStr) -> usize {
    if text.is_heap_allocated() { text.len() } else { 0 }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $build:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $build
            }
        })*
    };
}

from! {
    bool => |value| Self::Bool(value);
    i64 => |value| Self::Number(value.into());
    u64 => |value| Self::Number(value.into());
    i32 => |value| Self::Number(value.into());
    u32 => |value| Self::Number(value.into());
    f64 => |value| Number::from_f64(value).map_or(Self::Null, Self::Number);
    &str => |value| Self::String(value.into());
    String => |value| Self::String(value.into());
    SmolStr => |value| Self::String(value);
    Object => |value| Self::Object(value);
    Vec<Value> => |value| Self::Array(value);
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number),
            serde_json::Value::String(text) => Self::String(text.into()),
            serde_json::Value::Array(items) => {
                Self::Array(items.into_iter().map(Self::from).collect())
            }
            serde_json::Value::Object(members) => Self::Object(
                members.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            ),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_map(ValueVisitor)? {
            Value::Object(object) => Ok(object),
            other => Err(serde::de::Error::custom(format_args!("not {}", other.kind()))),
        }
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::default();
        while let Some((key, value)) = map.next_entry::<SmolStr, Value>()? {
            object.push(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_to_the_letter() {
        for json in [
            r#"{"z":1,"a":{"y":[null,true,"\u0000\r\n"],"b":-0.5},"z2":18446744073709551615}"#,
            r#"[-9223372036854775808,1e300,0.1,"ü\\\"/"]"#,
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            let again: serde_json::Value = serde_json::from_str(json).unwrap();
            let written = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), again);
            assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value);
        }
    }

    #[test]
    fn a_value_takes_32_bytes() {
        assert_eq!(size_of::<Value>(), 32);
    }
}
