//! A span that has ended, as an event.

use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use telemetry_hub_actors::{Data, Level, NewEvent, Object, Signal, Value};

use super::Unreadable;
use super::attributes::{Members, id, object, time};
use super::context::Context;
use super::encoding::Encoding;

pub(super) fn read(
    encoding: Encoding,
    bytes: &[u8],
    context: &Context<'_>,
    limit: usize,
) -> Result<NewEvent, Unreadable> {
    let mut span: Span = encoding.decode(bytes, limit)?;
    let status = span.status.take().unwrap_or_default();
    let is_error = status.code() == StatusCode::Error;
    let missing = |member, expected| move || Unreadable::bad(member, expected);
    let mut event = NewEvent {
        created_at: time(span.end_time_unix_nano),
        signal: Signal::Span,
        kind: Some(std::mem::take(&mut span.name).into()),
        level: Some(if is_error { Level::Error } else { Level::Info }),
        text: None,
        trace_id: id::<16>("traceId", &span.trace_id)?,
        span_id: id::<8>("spanId", &span.span_id)?,
        parent_span_id: id::<8>("parentSpanId", &span.parent_span_id)?,
        data: Data::default(),
    };
    event.trace_id.as_ref().ok_or_else(missing("traceId", "16 bytes"))?;
    event.span_id.as_ref().ok_or_else(missing("spanId", "8 bytes"))?;
    event.data = data(span, status, context)?;
    Ok(event)
}

fn data(mut span: Span, status: Status, context: &Context<'_>) -> Result<Data, Unreadable> {
    // With the span's own members, of which there are a few.
    const OWN: usize = 8;
    let mut members = Members::with_capacity(span.attributes.len() + OWN);
    members.add(std::mem::take(&mut span.attributes));
    members.share(context.shared());
    let mut add = |name, value: Value| members.add_own("span", name, value);
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    if let Some(start) = time(start) {
        add("startTime", start.to_string().into());
    }
    if start > 0 && end > 0 {
        // A clock that was set back in between is the source's affair.
        let nanoseconds = i128::from(end) - i128::from(start);
        add("duration", (nanoseconds as f64 / 1e6).into());
    }
    if let Some(kind) = kind(span.kind()) {
        add("kind", kind.into());
    }
    add("status", read_status(status).into());
    if !span.events.is_empty() {
        add("events", span.events.into_iter().map(read_event).collect::<Vec<_>>().into());
    }
    if !span.links.is_empty() {
        let links: Result<Vec<Value>, _> = span.links.into_iter().map(read_link).collect();
        add("links", links?.into());
    }
    if !span.trace_state.is_empty() {
        add("traceState", span.trace_state.into());
    }
    for (name, dropped) in [
        ("droppedAttributesCount", span.dropped_attributes_count),
        ("droppedEventsCount", span.dropped_events_count),
        ("droppedLinksCount", span.dropped_links_count),
    ] {
        if dropped > 0 {
            add(name, dropped.into());
        }
    }
    Ok(members.into_data())
}

fn kind(kind: SpanKind) -> Option<&'static str> {
    match kind {
        SpanKind::Unspecified => None,
        SpanKind::Internal => Some("internal"),
        SpanKind::Server => Some("server"),
        SpanKind::Client => Some("client"),
        SpanKind::Producer => Some("producer"),
        SpanKind::Consumer => Some("consumer"),
    }
}

fn read_status(status: Status) -> Object {
    let code = match status.code() {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    };
    let mut object = Object::default();
    object.push("code", code);
    if !status.message.is_empty() {
        object.push("message", status.message);
    }
    object
}

fn read_event(event: Event) -> Value {
    let mut read = Object::default();
    if let Some(time) = time(event.time_unix_nano) {
        read.push("time", time.to_string());
    }
    read.push("name", event.name);
    if !event.attributes.is_empty() {
        read.push("attributes", object(event.attributes));
    }
    if event.dropped_attributes_count > 0 {
        read.push("droppedAttributesCount", event.dropped_attributes_count);
    }
    read.into()
}

fn read_link(link: Link) -> Result<Value, Unreadable> {
    let mut read = Object::default();
    for (name, id) in [
        ("traceId", id::<16>("links.traceId", &link.trace_id)?),
        ("spanId", id::<8>("links.spanId", &link.span_id)?),
    ] {
        if let Some(id) = id {
            read.push(name, id);
        }
    }
    if !link.trace_state.is_empty() {
        read.push("traceState", link.trace_state);
    }
    if !link.attributes.is_empty() {
        read.push("attributes", object(link.attributes));
    }
    if link.dropped_attributes_count > 0 {
        read.push("droppedAttributesCount", link.dropped_attributes_count);
    }
    Ok(read.into())
}
