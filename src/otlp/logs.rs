//! A log record as an event.

use std::sync::LazyLock;

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use telemetry_hub_actors::{Key, Level, NewEvent, Signal, Value};

use super::Unreadable;
use super::attributes::{Members, id, object, time, value};
use super::context::Context;
use super::encoding::Encoding;

/// The attribute that may name the span.
static SPAN_ID: LazyLock<Key> = LazyLock::new(|| Key::new("spanId").expect("the name has letters"));

/// The type of a record that says nothing of its own.
const NAMELESS: &str = "log";

pub(super) fn read(
    encoding: Encoding,
    bytes: &Bytes,
    context: &Context<'_>,
    limit: usize,
) -> Result<NewEvent, Unreadable> {
    let mut record: LogRecord = encoding.decode(bytes, limit)?;
    let span_id = match id::<8>("spanId", &record.span_id)? {
        None => take_span_id(&mut record),
        known => known,
    };
    let mut event = NewEvent {
        created_at: time(record.time_unix_nano).or_else(|| time(record.observed_time_unix_nano)),
        signal: Signal::Log,
        kind: Some(kind(&record, context)),
        level: level(&record),
        trace_id: id::<16>("traceId", &record.trace_id)?,
        span_id,
        ..NewEvent::default()
    };
    let mut members = Members::with_capacity(record.attributes.len() + context.shared_count());
    members.add(record.attributes);
    event.text = read_body(record.body, &mut members);
    // A name that is no level's.
    if !record.severity_text.is_empty() && event.level.is_none() {
        members.add_own("record", "severityText", record.severity_text);
    }
    if record.dropped_attributes_count > 0 {
        members.add_own("record", "droppedAttributesCount", record.dropped_attributes_count);
    }
    members.add_shared(&context.scope);
    members.add_shared(context.resource);
    event.data = members.finish();
    Ok(event)
}

/// The name of the event, else the attribute that sources without that field use, else the scope's name.
fn kind(record: &LogRecord, context: &Context<'_>) -> Box<str> {
    let attribute = || {
        let named = record.attributes.iter().find(|attribute| attribute.key == "event.name")?;
        match named.value.as_ref()?.value.as_ref()? {
            AnyValueKind::StringValue(name) => Some(name.as_str()),
            _ => None,
        }
    };
    let name = Some(record.event_name.as_str()).filter(|name| !name.is_empty());
    let name = name.or_else(attribute).unwrap_or(&context.scope_name);
    if name.is_empty() { NAMELESS.into() } else { name.into() }
}

/// By the number; by its name only if there is no number.
fn level(record: &LogRecord) -> Option<Level> {
    match record.severity_number {
        0 => Level::from_source(&record.severity_text),
        number => Level::from_severity_number(number.into()),
    }
}

/// A source without trace context may give the span as an attribute: it is the event's then, and leaves `data`.
fn take_span_id(record: &mut LogRecord) -> Option<Box<str>> {
    let position = record.attributes.iter().position(|attribute| {
        SPAN_ID.names(&attribute.key)
            && attribute.value.as_ref().is_some_and(|v| span_id(v).is_some())
    })?;
    span_id(record.attributes.remove(position).value.as_ref()?)
}

fn span_id(value: &AnyValue) -> Option<Box<str>> {
    match value.value.as_ref()? {
        AnyValueKind::IntValue(number) => Some(number.to_string().into()),
        AnyValueKind::StringValue(text) if !text.is_empty() => Some(text.as_str().into()),
        _ => None,
    }
}

/// Text is the event's; the members of a map join `data`; anything else is there as `body`.
fn read_body(body: Option<AnyValue>, members: &mut Members) -> Option<Box<str>> {
    match body.and_then(|body| body.value) {
        Some(AnyValueKind::StringValue(text)) => {
            return (!text.is_empty()).then(|| text.into());
        }
        Some(AnyValueKind::KvlistValue(list)) => {
            for (name, value) in object(list.values) {
                members.add_own("body", &name, value);
            }
        }
        Some(other) => match value(Some(AnyValue { value: Some(other) })) {
            Value::Null => {}
            value => members.add_own("record", "body", value),
        },
        None => {}
    }
    None
}
