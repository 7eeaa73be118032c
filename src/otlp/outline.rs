//! The levels of a request above its records: resources, their scopes, the scopes' records, each still encoded.
//!
//! The three signals have one outline, and differ only in the names that it has in JSON. Lists are walked, never gathered: eight
//! million empty records fit into one request.

use std::collections::HashMap;

use bytes::{Buf, Bytes};
use prost::decode_length_delimiter;
use serde_json::value::RawValue;

use super::Unreadable;
use super::encoding::Encoding;
use super::signal::Signal;

/// A resource or a scope: what it says of itself, and what is in it.
pub(super) struct Level<'a> {
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
pub(super) struct Fields(Bytes);

impl Iterator for Fields {
    type Item = Result<(u32, Bytes), Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.0.has_remaining() {
            match self.field() {
                Ok(Some(field)) => return Some(Ok(field)),
                Ok(None) => {}
                Err(error) => {
                    self.0.clear();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Fields {
    pub(super) fn of(message: &Bytes) -> Self {
        Self(message.clone())
    }

    /// The next field, or nothing if it is one without a length (protobuf's "Encoding", "Message Structure").
    fn field(&mut self) -> Result<Option<(u32, Bytes)>, Unreadable> {
        const VARINT: usize = 0;
        const I64: usize = 1;
        const LEN: usize = 2;
        const I32: usize = 5;
        let key = decode_length_delimiter(&mut self.0)?;
        match key & 7 {
            VARINT => decode_length_delimiter(&mut self.0).map(drop)?,
            I64 => drop(self.take(8)?),
            I32 => drop(self.take(4)?),
            LEN => {
                let length = decode_length_delimiter(&mut self.0)?;
                let number = u32::try_from(key >> 3).map_err(|_| Unreadable::Wire)?;
                return Ok(Some((number, self.take(length)?)));
            }
            _ => return Err(Unreadable::Wire),
        }
        Ok(None)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Unreadable> {
        if length > self.0.len() { Err(Unreadable::Wire) } else { Ok(self.0.split_to(length)) }
    }
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
) -> Result<Level<'_>, Unreadable> {
    level(encoding, bytes, RESOURCE, scopes_name(signal))
}

/// A scope, with its records.
pub(super) fn scope(
    encoding: Encoding,
    signal: Signal,
    bytes: &Bytes,
) -> Result<Level<'_>, Unreadable> {
    level(encoding, bytes, SCOPE, records_name(signal))
}

fn level(
    encoding: Encoding,
    bytes: &Bytes,
    head: Name,
    inner: Name,
) -> Result<Level<'_>, Unreadable> {
    match encoding {
        Encoding::Protobuf => {
            let fields = || Fields::of(bytes);
            let is_head =
                |field: &Result<_, _>| !matches!(field, Ok((number, _)) if *number != HEAD);
            let head = fields().find(is_head).transpose()?.map(|(_, head)| head);
            Ok(Level { head, inner: Parts::Protobuf { fields: fields(), number: INNER } })
        }
        Encoding::Json => {
            let members = Members::read(bytes)?;
            Ok(Level { head: members.one(head), inner: members.list(inner)? })
        }
    }
}

/// Fails if any part of a request above its records cannot be read.
pub(super) fn check(encoding: Encoding, signal: Signal, body: &Bytes) -> Result<(), Unreadable> {
    for bytes in resources(encoding, signal, body)? {
        for bytes in resource(encoding, signal, &bytes?)?.inner {
            scope(encoding, signal, &bytes?)?.inner.try_for_each(|record| record.map(drop))?;
        }
    }
    Ok(())
}

/// The signal whose name stands in a request.
pub(super) fn signal_of_json(body: &Bytes) -> Option<Signal> {
    let members = Members::read(body).ok()?;
    Signal::ALL.into_iter().find(|signal| members.get(resources_name(*signal)).is_some())
}

/// The members of a JSON object, unread.
struct Members<'a> {
    body: &'a Bytes,
    members: HashMap<String, &'a RawValue>,
}

impl<'a> Members<'a> {
    fn read(body: &'a Bytes) -> Result<Self, Unreadable> {
        Ok(Self { body, members: serde_json::from_slice(body)? })
    }

    /// A member that is there; null is as good as absent.
    fn get(&self, name: Name) -> Option<&'a RawValue> {
        let member = name.iter().find_map(|name| self.members.get(*name));
        member.copied().filter(|value| value.get() != "null")
    }

    fn one(&self, name: Name) -> Option<Bytes> {
        self.get(name).map(|value| self.slice(value))
    }

    fn list(&self, name: Name) -> Result<Parts<'a>, Unreadable> {
        let items: Vec<&RawValue> = match self.get(name) {
            Some(list) => serde_json::from_str(list.get())?,
            None => Vec::new(),
        };
        Ok(Parts::Json { body: self.body, items: items.into_iter() })
    }

    fn slice(&self, value: &RawValue) -> Bytes {
        self.body.slice_ref(value.get().as_bytes())
    }
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
