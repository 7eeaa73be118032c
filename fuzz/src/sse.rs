//! Input: a byte that says where the stream is cut, then events in JSON, one a line.
//!
//! What a client reads from the stream, by a parser of Server-Sent Events that is not the hub's, however the bytes are cut, is
//! what was given: the events with all their texts, in order, under the id of the last one of each frame.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::{Event as Frame, Eventsource};
use futures_util::{StreamExt, stream};
use telemetry_hub::actors::event::json;
use telemetry_hub::actors::{Event, HubConfig, HubHandle, NewEvent, Object, TraceQuery, Value};

use crate::hub::{accepted, run};

/// Checks one input.
pub fn check(data: &[u8]) {
    let Some((cut, lines)) = data.split_first() else { return };
    let lines = lines.split(|byte| *byte == b'\n');
    let events: Vec<NewEvent> = lines.filter_map(|line| json::read(line, 4096).ok()).collect();
    if events.is_empty() {
        return;
    }
    let bytes = run(streamed(&events));
    check_lines(&bytes);
    let frames = run(frames(&bytes, usize::from(*cut) + 1));
    assert_eq!(frames, run(frames_at_once(&bytes)), "cut after {cut}");
    check_frames(&frames, &events);
    check_plain_frame(&accepted(events));
}

/// All that a stream says to these events, until the hub has ended it.
async fn streamed(events: &[NewEvent]) -> Bytes {
    let hub = HubHandle::start(HubConfig::default()).await.expect("nothing hinders it");
    let stream = hub.subscribe(TraceQuery::everything()).await.expect("there is room");
    let (first, others) = events.split_at(events.len().div_ceil(2));
    for events in [first, others] {
        hub.ingest(events.to_vec()).await.expect("there is room");
    }
    // The hub waits until who has read all has left.
    let read = stream.collect::<Vec<Bytes>>();
    let (stopped, frames) = tokio::join!(hub.shutdown(Duration::from_secs(5)), read);
    stopped.expect("nothing has failed");
    frames.concat().into()
}

/// Nothing begins a line that is no field of the hub's, and no byte ends one in another way.
fn check_lines(bytes: &[u8]) {
    assert!(!bytes.iter().any(|byte| matches!(byte, b'\r' | 0)));
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let fields = [&b"event: "[..], b"id: ", b"data: ", b"retry: "];
        assert!(fields.iter().any(|field| line.starts_with(field)), "{line:?}");
    }
}

async fn frames(bytes: &Bytes, chunk: usize) -> Vec<Frame> {
    let chunks = bytes.chunks(chunk).map(|chunk| Ok::<_, Infallible>(chunk.to_vec()));
    let frames: Vec<_> = stream::iter(chunks).eventsource().collect().await;
    frames.into_iter().map(|frame| frame.expect("it is UTF-8, and well formed")).collect()
}

async fn frames_at_once(bytes: &Bytes) -> Vec<Frame> {
    frames(bytes, bytes.len()).await
}

fn check_frames(frames: &[Frame], events: &[NewEvent]) {
    let mut given = events.iter();
    for frame in frames {
        match frame.event.as_str() {
            "ping" | "bye" => {}
            "trace" => {
                let read: Vec<Object> = read(&frame.data);
                for event in &read {
                    check_event(event, given.next().expect("none comes twice"));
                }
                let last = read.last().expect("no frame is empty");
                assert_eq!(last.get("id"), Some(&Value::from(frame.id.as_str())));
            }
            other => panic!("{other}: {}", frame.data),
        }
    }
    assert_eq!(given.count(), 0, "none is missing");
}

fn read(data: &str) -> Vec<Object> {
    let Ok(Value::Array(items)) = serde_json::from_str(data) else { panic!("{data}") };
    let object = |item| if let Value::Object(object) = item { object } else { panic!("{data}") };
    items.into_iter().map(object).collect()
}

/// Every member as it was given.
fn check_event(read: &Object, given: &NewEvent) {
    let text = |name: &str| match read.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        None => None,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(text("signal").as_deref(), Some(given.signal.as_str()));
    assert_eq!(text("type"), given.kind);
    assert_eq!(text("text"), given.text);
    assert_eq!(text("level").as_deref(), given.level.map(|level| level.as_str()));
    assert_eq!(text("traceId"), given.trace_id);
    assert_eq!(text("spanId"), given.span_id);
    assert_eq!(text("parentSpanId"), given.parent_span_id);
    let data: Object = given.data.clone().into();
    assert_eq!(read.get("data"), Some(&Value::Object(data)));
    let created_at = text("createdAt").map(|time| time.parse().expect("it is a time"));
    assert!(given.created_at.is_none() || created_at == given.created_at);
}

/// A frame that a host encodes by itself.
fn check_plain_frame(events: &[std::sync::Arc<Event>]) {
    let bytes = telemetry_hub::actors::sse::trace(events);
    check_lines(&bytes);
    let frames = run(frames_at_once(&bytes));
    let given: Vec<NewEvent> = events.iter().map(|event| event.content().clone()).collect();
    assert_eq!(frames.len(), 1);
    check_frames(&frames, &given);
}
