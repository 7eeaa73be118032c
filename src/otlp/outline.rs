//! The levels of a request above its records: resources, their scopes, the scopes' records, each still encoded.
//!
//! The three signals have one outline, and differ only in the names that it has in JSON. Lists are walked, never gathered: eight
//! million empty records fit into one request. Those of JSON are gathered as slices, and so many at the most.

use std::fmt;

use bytes::{Buf, Bytes};
use prost::decode_length_delimiter;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Unreadable;
use super::encoding::Encoding;
use super::pace::Pace;
use super::signal::Signal;

/// A resource or a scope: what it says of itself, and what is in it.
pub(super) struct Outline<'a> {
    pub(super) head: Option<Bytes>,
    pub(super) inner: Parts<'a>,
}

/// The parts of a list, one after the other.
pub(super) enum Parts<'a> {
    Protobuf { fields: Fields, number: u32 },
    Json { body: &'a Bytes, items: std::vec::IntoIter<&'a RawValue> },
}

impl Iterator for Parts<'_> {
    type Item = Result<Bytes, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Protobuf { fields, number } => {
                let part = fields.find(|field| !matches!(field, Ok((found, _)) if found != number));
                part.map(|part| part.map(|(_, bytes)| bytes))
            }
            Self::Json { body, items } => {
                items.next().map(|item| Ok(body.slice_ref(item.get().as_bytes())))
            }
        }
    }
}

/// The fields of a protobuf message that have a length, with their numbers. Ends at what is no field.
pub(super) struct Fields(AllFields);

impl Iterator for Fields {
    type Item = Result<(u32, Bytes), Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.find_map(|field| match field {
            Ok(Field { number, kind: FieldKind::Len(bytes) }) => Some(Ok((number, bytes))),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl Fields {
    pub(super) fn of(message: &Bytes) -> Self {
        Self(AllFields(message.clone()))
    }
}

/// All fields of a protobuf message, of whatever type. Ends at what is no field.
pub(super) struct AllFields(Bytes);

/// A field, read no further than its type.
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) kind: FieldKind,
}

/// How a field is encoded (protobuf's "Encoding", "Message Structure").
pub(super) enum FieldKind {
    Varint,
    I64,
    Len(Bytes),
    I32,
}

impl Iterator for AllFields {
    type Item = Result<Field, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.0.has_remaining() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0.clear();
        }
        Some(field)
    }
}

impl AllFields {
    pub(super) fn of(message: &Bytes) -> Self {
        Self(message.clone())
    }

    fn field(&mut self) -> Result<Field, Unreadable> {
        let key = decode_length_delimiter(&mut self.0)?;
        let number = u32::try_from(key >> 3).map_err(|_| Unreadable::Wire)?;
        let kind = match key & 7 {
            0 => decode_length_delimiter(&mut self.0).map(|_| FieldKind::Varint)?,
            1 => self.take(8).map(|_| FieldKind::I64)?,
            2 => {
                let length = decode_length_delimiter(&mut self.0)?;
                FieldKind::Len(self.take(length)?)
            }
            5 => self.take(4).map(|_| FieldKind::I32)?,
            _ => return Err(Unreadable::Wire),
        };
        Ok(Field { number, kind })
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Unreadable> {
        if length > self.0.len() { Err(Unreadable::Wire) } else { Ok(self.0.split_to(length)) }
    }
}

/// The bytes of a field of which there should be one. Given in parts, it is their sum: that is how protobuf merges messages.
pub(super) fn merged(message: &Bytes, number: u32) -> Result<Option<Bytes>, Unreadable> {
    let parts = || Parts::Protobuf { fields: Fields::of(message), number };
    let mut first_parts = parts();
    let Some(first) = first_parts.next().transpose()? else {
        return Ok(None);
    };
    if first_parts.next().is_none() {
        return Ok(Some(first));
    }
    let mut sum = Vec::new();
    for part in parts() {
        sum.extend_from_slice(&part?);
    }
    Ok(Some(sum.into()))
}

/// The numbers that the fields have in protobuf, on every level.
const HEAD: u32 = 1;
const INNER: u32 = 2;
const RESOURCES: u32 = 1;

/// A name as JSON has it, and as protobuf itself spells it: readers take both (ProtoJSON, "Field names").
type Name = [&'static str; 2];

const RESOURCE: Name = ["resource", "resource"];
const SCOPE: Name = ["scope", "scope"];

fn resources_name(signal: Signal) -> Name {
    match signal {
        Signal::Logs => ["resourceLogs", "resource_logs"],
        Signal::Traces => ["resourceSpans", "resource_spans"],
        Signal::Metrics => ["resourceMetrics", "resource_metrics"],
    }
}

fn scopes_name(signal: Signal) -> Name {
    match signal {
        Signal::Logs => ["scopeLogs", "scope_logs"],
        Signal::Traces => ["scopeSpans", "scope_spans"],
        Signal::Metrics => ["scopeMetrics", "scope_metrics"],
    }
}

fn records_name(signal: Signal) -> Name {
    match signal {
        Signal::Logs => ["logRecords", "log_records"],
        Signal::Traces => ["spans", "spans"],
        Signal::Metrics => ["metrics", "metrics"],
    }
}

/// The resources of a request.
pub(super) fn resources(
    encoding: Encoding,
    signal: Signal,
    body: &Bytes,
) -> Result<Parts<'_>, Unreadable> {
    match encoding {
        Encoding::Protobuf => Ok(Parts::Protobuf { fields: Fields::of(body), number: RESOURCES }),
        Encoding::Json => Members::read(body)?.list(resources_name(signal)),
    }
}

/// A resource, with its scopes.
pub(super) fn resource(
    encoding: Encoding,
    signal: Signal,
    bytes: &Bytes,
) -> Result<Outline<'_>, Unreadable> {
    level(encoding, bytes, RESOURCE, scopes_name(signal))
}

/// A scope, with its records.
pub(super) fn scope(
    encoding: Encoding,
    signal: Signal,
    bytes: &Bytes,
) -> Result<Outline<'_>, Unreadable> {
    level(encoding, bytes, SCOPE, records_name(signal))
}

fn level(
    encoding: Encoding,
    bytes: &Bytes,
    head: Name,
    inner: Name,
) -> Result<Outline<'_>, Unreadable> {
    match encoding {
        Encoding::Protobuf => Ok(Outline {
            head: merged(bytes, HEAD)?,
            inner: Parts::Protobuf { fields: Fields::of(bytes), number: INNER },
        }),
        Encoding::Json => {
            let members = Members::read(bytes)?;
            Ok(Outline { head: members.one(head)?, inner: members.list(inner)? })
        }
    }
}

/// Fails if any part of a request above its records cannot be read.
pub(super) async fn check(
    encoding: Encoding,
    signal: Signal,
    body: &Bytes,
    pace: &mut Pace,
) -> Result<(), Unreadable> {
    for bytes in resources(encoding, signal, body)? {
        for bytes in resource(encoding, signal, &bytes?)?.inner {
            for record in scope(encoding, signal, &bytes?)?.inner {
                record?;
                pace.step().await;
            }
            pace.step().await;
        }
        pace.step().await;
    }
    Ok(())
}

/// The signal whose name stands in a request.
pub(super) fn signal_of_json(body: &Bytes) -> Option<Signal> {
    let members = Members::read(body).ok()?;
    let has = |signal: &Signal| !matches!(members.get(resources_name(*signal)), Ok(None));
    Signal::ALL.into_iter().find(has)
}

/// How many items a list, or an object on these levels, may have in JSON, where each takes some memory before it is read. More
/// events do not fit into the ingest queue either.
const MAX_JSON_ITEMS: usize = 250_000;

/// The members of a JSON object, unread.
struct Members<'a> {
    body: &'a Bytes,
    members: RawMembers<'a>,
}

impl<'a> Members<'a> {
    fn read(body: &'a Bytes) -> Result<Self, Unreadable> {
        Ok(Self { body, members: serde_json::from_slice(body)? })
    }

    /// A member that is there; null is as good as absent. One that is there twice would be half read.
    fn get(&self, name: Name) -> Result<Option<&'a RawValue>, Unreadable> {
        let is_it = |(found, _): &&(String, _)| name.contains(&found.as_str());
        let mut found = self.members.0.iter().filter(is_it).map(|(_, value)| *value);
        let member = found.next();
        if found.next().is_some() {
            return Err(Unreadable::bad(name[0], "once"));
        }
        Ok(member.filter(|value| value.get() != "null"))
    }

    fn one(&self, name: Name) -> Result<Option<Bytes>, Unreadable> {
        let slice = |value: &RawValue| self.body.slice_ref(value.get().as_bytes());
        Ok(self.get(name)?.map(slice))
    }

    fn list(&self, name: Name) -> Result<Parts<'a>, Unreadable> {
        let items: RawItems<'a> = match self.get(name)? {
            Some(list) => serde_json::from_str(list.get())?,
            None => RawItems(Vec::new()),
        };
        Ok(Parts::Json { body: self.body, items: items.0.into_iter() })
    }
}

/// The members of an object in order, those of one name as well.
struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    check_count::<A::Error>(members.len())?;
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The items of a list.
struct RawItems<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for RawItems<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = RawItems<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    check_count::<A::Error>(items.len())?;
                    items.push(item);
                }
                Ok(RawItems(items))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

fn check_count<E: serde::de::Error>(count: usize) -> Result<(), E> {
    if count < MAX_JSON_ITEMS {
        return Ok(());
    }
    Err(E::custom(format_args!("more than {MAX_JSON_ITEMS} in one list; send smaller batches")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], expected: Result<&[(u32, &str)], &str>) {
        let fields: Result<Vec<(u32, Bytes)>, _> =
            Fields::of(&Bytes::copy_from_slice(message)).collect();
        let text =
            |(number, bytes): (u32, Bytes)| (number, String::from_utf8(bytes.to_vec()).unwrap());
        let fields = fields.map(|fields| fields.into_iter().map(text).collect::<Vec<_>>());
        let expected = expected.map(|fields| {
            fields.iter().map(|(number, bytes)| (*number, (*bytes).to_owned())).collect()
        });
        assert_eq!(fields.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn parts_of_one_message_are_merged() {
        let check = |message: &'static [u8], expected: Option<&'static [u8]>| {
            let merged = merged(&Bytes::from_static(message), 1).unwrap();
            assert_eq!(merged.as_deref(), expected);
        };
        check(b"\x12\x01x", None);
        check(b"\x0a\x00", Some(b""));
        check(b"\x0a\x01a\x12\x01x", Some(b"a"));
        check(b"\x0a\x01a\x12\x01x\x0a\x00\x0a\x02bc", Some(b"abc"));
        assert!(super::merged(&Bytes::from_static(b"\x0a\x01a\x0a\x05"), 1).is_err());
    }

    #[test]
    fn fields_with_a_length_are_found_among_others() {
        let wire = "not valid protobuf: a field is cut off, or of no type that there is";
        check(b"", Ok(&[]));
        check(b"\x0a\x02ab\x12\x00\x0a\x01c", Ok(&[(1, "ab"), (2, ""), (1, "c")]));
        // A varint of ten bytes, eight bytes, four bytes, and field 1000.
        check(
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x11abcdefgh\x1dabcd\xc2\x3e\x01x",
            Ok(&[(1000, "x")]),
        );
        check(b"\x0a\x03ab", Err(wire));
        check(b"\x11abc", Err(wire));
        check(b"\x1dabc", Err(wire));
        // A group, and types 6 and 7.
        check(b"\x0b", Err(wire));
        check(b"\x0e", Err(wire));
        check(b"\x0f", Err(wire));
        check(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Err(wire));
        check(b"\x0a\x80", Err("not valid protobuf"));
        check(b"\x08", Err("not valid protobuf"));
    }
}
