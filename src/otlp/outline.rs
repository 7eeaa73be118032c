//! The levels of a request above its records: resources, their scopes, the scopes' records, each still encoded.
//!
//! The three signals have one outline, and differ only in the names that it has in JSON.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;
use serde_json::value::RawValue;

use super::Unreadable;
use super::encoding::Encoding;
use super::signal::Signal;

/// A resource or a scope: what it says of itself, and what is in it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Level {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) head: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) inner: Vec<Bytes>,
}

/// The outermost level.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    resources: Vec<Bytes>,
}

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
) -> Result<Vec<Bytes>, Unreadable> {
    match encoding {
        Encoding::Protobuf => Ok(Request::decode(body.clone())?.resources),
        Encoding::Json => Members::read(body)?.list(resources_name(signal)),
    }
}

/// A resource, with its scopes.
pub(super) fn resource(
    encoding: Encoding,
    signal: Signal,
    bytes: &Bytes,
) -> Result<Level, Unreadable> {
    level(encoding, bytes, RESOURCE, scopes_name(signal))
}

/// A scope, with its records.
pub(super) fn scope(
    encoding: Encoding,
    signal: Signal,
    bytes: &Bytes,
) -> Result<Level, Unreadable> {
    level(encoding, bytes, SCOPE, records_name(signal))
}

fn level(encoding: Encoding, bytes: &Bytes, head: Name, inner: Name) -> Result<Level, Unreadable> {
    match encoding {
        Encoding::Protobuf => Ok(Level::decode(bytes.clone())?),
        Encoding::Json => {
            let members = Members::read(bytes)?;
            Ok(Level { head: members.one(head), inner: members.list(inner)? })
        }
    }
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

    fn list(&self, name: Name) -> Result<Vec<Bytes>, Unreadable> {
        let Some(list) = self.get(name) else {
            return Ok(Vec::new());
        };
        let items: Vec<&RawValue> = serde_json::from_str(list.get())?;
        Ok(items.into_iter().map(|item| self.slice(item)).collect())
    }

    fn slice(&self, value: &RawValue) -> Bytes {
        self.body.slice_ref(value.get().as_bytes())
    }
}
