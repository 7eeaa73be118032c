//! The levels of a request above its records: resources, their scopes, the scopes' records, each still encoded.
//!
//! The three signals have one outline, and differ only in the names that it has in JSON. Lists are walked, never gathered: eight
//! million empty records fit into one request. Those of JSON are gathered as slices, and so many at the most.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Unreadable;
use super::encoding::Encoding;
use super::pace::Pace;
use super::signal::Signal;
use super::wire::{Repeated, WireError, merged};

/// A resource or a scope: what it says of itself, and what is in it.
pub(super) struct Outline<'a> {
    pub(super) head: Option<Cow<'a, [u8]>>,
    pub(super) inner: Parts<'a>,
}

/// The parts of a list, one after the other.
pub(super) enum Parts<'a> {
    Protobuf(Repeated<'a>),
    Json(std::vec::IntoIter<&'a RawValue>),
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<&'a [u8], WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Protobuf(parts) => parts.next(),
            Self::Json(items) => items.next().map(|item| Ok(item.get().as_bytes())),
        }
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
    body: &[u8],
) -> Result<Parts<'_>, Unreadable> {
    match encoding {
        Encoding::Protobuf => Ok(Parts::Protobuf(Repeated::of(body, RESOURCES))),
        Encoding::Json => Members::read(body)?.list(resources_name(signal)),
    }
}

/// A resource, with its scopes.
pub(super) fn resource(
    encoding: Encoding,
    signal: Signal,
    bytes: &[u8],
) -> Result<Outline<'_>, Unreadable> {
    level(encoding, bytes, RESOURCE, scopes_name(signal))
}

/// A scope, with its records.
pub(super) fn scope(
    encoding: Encoding,
    signal: Signal,
    bytes: &[u8],
) -> Result<Outline<'_>, Unreadable> {
    level(encoding, bytes, SCOPE, records_name(signal))
}

fn level(
    encoding: Encoding,
    bytes: &[u8],
    head: Name,
    inner: Name,
) -> Result<Outline<'_>, Unreadable> {
    match encoding {
        Encoding::Protobuf => Ok(Outline {
            head: merged(bytes, HEAD)?,
            inner: Parts::Protobuf(Repeated::of(bytes, INNER)),
        }),
        Encoding::Json => {
            let members = Members::read(bytes)?;
            Ok(Outline { head: members.one(head)?, inner: members.list(inner)? })
        }
    }
}

/// Fails if any part of a request above its records cannot be read; else says how many those are.
pub(super) async fn check(
    encoding: Encoding,
    signal: Signal,
    body: &[u8],
    pace: &mut Pace,
) -> Result<usize, Unreadable> {
    let mut records = 0;
    for bytes in resources(encoding, signal, body)? {
        for bytes in resource(encoding, signal, bytes?)?.inner {
            for record in scope(encoding, signal, bytes?)?.inner {
                record?;
                records += 1;
                pace.step().await;
            }
            pace.step().await;
        }
        pace.step().await;
    }
    Ok(records)
}

/// The signal whose name stands in a request.
pub(super) fn signal_of_json(body: &[u8]) -> Option<Signal> {
    let members = Members::read(body).ok()?;
    let has = |signal: &Signal| !matches!(members.get(resources_name(*signal)), Ok(None));
    Signal::ALL.into_iter().find(has)
}

/// How many items a list, or an object on these levels, may have in JSON, where each takes some memory before it is read. More
/// events do not fit into the ingest queue either.
const MAX_JSON_ITEMS: usize = 250_000;

/// The members of a JSON object, unread.
struct Members<'a>(RawMembers<'a>);

impl<'a> Members<'a> {
    fn read(json: &'a [u8]) -> Result<Self, Unreadable> {
        Ok(Self(serde_json::from_slice(json)?))
    }

    /// A member that is there; null is as good as absent. One that is there twice would be half read.
    fn get(&self, name: Name) -> Result<Option<&'a RawValue>, Unreadable> {
        let is_it = |(found, _): &&(String, _)| name.contains(&found.as_str());
        let mut found = self.0.0.iter().filter(is_it).map(|(_, value)| *value);
        let member = found.next();
        if found.next().is_some() {
            return Err(Unreadable::bad(name[0], "once"));
        }
        Ok(member.filter(|value| value.get() != "null"))
    }

    fn one(&self, name: Name) -> Result<Option<Cow<'a, [u8]>>, Unreadable> {
        Ok(self.get(name)?.map(|value| Cow::Borrowed(value.get().as_bytes())))
    }

    fn list(&self, name: Name) -> Result<Parts<'a>, Unreadable> {
        let items: RawItems<'a> = match self.get(name)? {
            Some(list) => serde_json::from_str(list.get())?,
            None => RawItems(Vec::new()),
        };
        Ok(Parts::Json(items.0.into_iter()))
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
