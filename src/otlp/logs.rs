//! A log record as an event.

use std::borrow::Cow;
use std::sync::LazyLock;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use telemetry_hub_actors::{Key, Level, NewEvent, Signal, SmolStr, ToSmolStr, Value};

use super::Unreadable;
use super::attributes::{Members, id, time};
use super::context::Context;
use super::encoding::Encoding;
use super::wire::{Fields, WireError, merge};
use super::wire_value;

/// The attribute that may name the span.
static SPAN_ID: LazyLock<Key> = LazyLock::new(|| Key::new("spanId").expect("the name has letters"));

/// The type of a record that says nothing of its own.
const NAMELESS: &str = "log";

/// What one attribute takes of a record, about, with its part of what else the record says: tells how many there may be.
const TYPICAL_ATTRIBUTE_BYTES: usize = 32;

/// A long record is long by its text.
const MOST_ATTRIBUTES: usize = 16;

/// A `LogRecord`, its attributes read.
#[derive(Debug, Default)]
struct Record<'a> {
    time: u64,
    observed_time: u64,
    severity_number: i64,
    severity_text: &'a str,
    event_name: &'a str,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    body: Option<Cow<'a, [u8]>>,
    attributes: Members<'a>,
    dropped_attributes: u32,
}

impl<'a> Record<'a> {
    fn of(message: &'a [u8]) -> Result<Self, WireError> {
        let count = (message.len() / TYPICAL_ATTRIBUTE_BYTES).min(MOST_ATTRIBUTES);
        let attributes = Members::with_capacity(count);
        let mut record = Self { attributes, ..Self::default() };
        for field in Fields::of(message) {
            match field? {
                (1, wire) => record.time = wire.fixed64()?,
                (2, wire) => record.severity_number = (wire.varint()? as i32).into(),
                (3, wire) => record.severity_text = wire.text()?,
                (5, wire) => merge(&mut record.body, wire.bytes()?),
                (6, wire) => {
                    let (name, value) = wire_value::attribute(wire.bytes()?)?;
                    record.attributes.add_one(name, value);
                }
                (7, wire) => record.dropped_attributes = wire.varint()? as u32,
                // Flags, of which none is shown.
                (8, wire) => _ = wire.fixed32()?,
                (9, wire) => record.trace_id = wire.bytes()?,
                (10, wire) => record.span_id = wire.bytes()?,
                (11, wire) => record.observed_time = wire.fixed64()?,
                (12, wire) => record.event_name = wire.text()?,
                _ => {}
            }
        }
        Ok(record)
    }
}

pub(super) fn read(
    encoding: Encoding,
    bytes: &[u8],
    context: &Context<'_>,
    limit: usize,
) -> Result<NewEvent, Unreadable> {
    let message = encoding.to_protobuf::<LogRecord>(bytes, limit)?;
    let mut record = Record::of(&message)?;
    let span_id = match id::<8>("spanId", record.span_id)? {
        None => take_span_id(&mut record.attributes),
        known => known,
    };
    let mut event = NewEvent {
        created_at: time(record.time).or_else(|| time(record.observed_time)),
        signal: Signal::Log,
        kind: Some(kind(&record, context)),
        level: level(&record),
        trace_id: id::<16>("traceId", record.trace_id)?,
        span_id,
        ..NewEvent::default()
    };
    let mut members = record.attributes;
    if let Some(body) = record.body {
        event.text = read_body(&body, &mut members)?;
    }
    // A name that is no level's.
    if !record.severity_text.is_empty() && event.level.is_none() {
        members.add_own("record", "severityText", record.severity_text);
    }
    if record.dropped_attributes > 0 {
        members.add_own("record", "droppedAttributesCount", record.dropped_attributes);
    }
    members.share(context.shared());
    event.data = members.into_data();
    Ok(event)
}

/// The name of the event, else the attribute that sources without that field use, else the scope's name.
fn kind(record: &Record<'_>, context: &Context<'_>) -> SmolStr {
    let attribute = || match record.attributes.get("event.name") {
        Some(Value::String(name)) => Some(name.clone()),
        _ => None,
    };
    let name = Some(record.event_name).filter(|name| !name.is_empty()).map(SmolStr::from);
    let name = name.or_else(attribute).unwrap_or_else(|| context.scope_name.clone());
    if name.is_empty() { NAMELESS.into() } else { name }
}

/// By the number; by its name only if there is no number.
fn level(record: &Record<'_>) -> Option<Level> {
    match record.severity_number {
        0 => Level::from_source(record.severity_text),
        number => Level::from_severity_number(number),
    }
}

/// A source without trace context may give the span as an attribute: it is the event's then, and leaves `data`.
fn take_span_id(attributes: &mut Members<'_>) -> Option<SmolStr> {
    let is_span_id = |name: &str, value: &Value| SPAN_ID.names(name) && span_id(value).is_some();
    span_id(&attributes.take(is_span_id)?)
}

fn span_id(value: &Value) -> Option<SmolStr> {
    match value {
        Value::Number(number) if !number.is_f64() => Some(number.to_smolstr()),
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

/// Text is the event's; the members of a map join `data`; anything else is there as `body`.
fn read_body(body: &[u8], members: &mut Members<'_>) -> Result<Option<SmolStr>, WireError> {
    if let Some(text) = wire_value::text(body)? {
        return Ok((!text.is_empty()).then(|| text.into()));
    }
    match wire_value::value(body)? {
        Value::Null => {}
        Value::Object(object) => {
            for (name, value) in object {
                members.add_own("body", &name, value);
            }
        }
        other => members.add_own("record", "body", other),
    }
    Ok(None)
}
