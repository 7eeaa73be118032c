//! Input: a letter that says what the rest is, then the body of a `POST /api/telemetry/events`.
//!
//! `j` JSON, `l` one event a line, `g` gzip of JSON, `z` zstd of JSON; the latter two are sent as they are, whatever they are.
//!
//! Nothing panics, and the answer is 200 or 400. A body says the same when it is compressed. What can be read as JSON is split as
//! the rules say; what is accepted of it arrives, in order and whole; and an event with a type is the same once it has been read
//! back from what a stream says of it.

use std::cell::RefCell;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;
use telemetry_hub::actors::event::json;
use telemetry_hub::actors::{Event, NewEvent, Value};

use crate::hub::{TestHub, run};

const PATH: &str = "/api/telemetry/events";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// More than any input.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Checks one input.
pub fn check(data: &[u8]) {
    let Some((letter, body)) = data.split_first() else { return };
    run(async {
        let mut hub = TestHub::start().await;
        match letter {
            b'g' => check_compressed(&mut hub, "gzip", body).await,
            b'z' => check_compressed(&mut hub, "zstd", body).await,
            b'l' => check_body(&mut hub, LINES, body).await,
            _ => check_body(&mut hub, JSON, body).await,
        }
        hub.stop().await;
    });
}

/// Only that it is answered: what a broken stream decompresses to, nobody else knows.
async fn check_compressed(hub: &mut TestHub, encoding: &str, body: &[u8]) {
    let body = Bytes::copy_from_slice(body);
    let headers = [("content-type", JSON), ("content-encoding", encoding)];
    let (status, answer) = hub.post(PATH, &headers, body).await;
    check_answer(status, &answer);
    hub.events().await;
}

async fn check_body(hub: &mut TestHub, content_type: &str, body: &[u8]) {
    let said = post(hub, content_type, "identity", Bytes::copy_from_slice(body)).await;
    assert_eq!(post(hub, content_type, "gzip", gzip(body)).await, said, "in gzip");
    assert_eq!(post(hub, content_type, "zstd", zstd(body)).await, said, "in zstd");
    let Some(items) = items(content_type, body) else { return };
    let expected: Vec<NewEvent> = items.into_iter().filter_map(Result::ok).collect();
    assert_eq!(said.events.len(), expected.len(), "{:?}", said.answer);
    for (event, expected) in said.events.iter().zip(expected) {
        assert_eq!(*event, expected);
    }
}

/// What was said to a body, and what came of it.
#[derive(Debug, PartialEq)]
struct Said {
    status: StatusCode,
    answer: Bytes,
    events: Vec<NewEvent>,
}

async fn post(hub: &mut TestHub, content_type: &str, encoding: &str, body: Bytes) -> Said {
    let headers = [("content-type", content_type), ("content-encoding", encoding)];
    let (status, answer) = hub.post(PATH, &headers, body).await;
    let accepted = check_answer(status, &answer);
    let events = hub.events().await;
    assert_eq!(events.len() as u64, accepted);
    events.iter().for_each(|event| check_written(event));
    Said { status, answer, events: events.iter().map(|event| event.content().clone()).collect() }
}

/// How many events were accepted.
fn check_answer(status: StatusCode, answer: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(answer).expect("an answer is JSON");
    match status {
        StatusCode::OK => answer["accepted"].as_u64().expect("an answer counts"),
        StatusCode::BAD_REQUEST => {
            assert_eq!(answer["status"], 400);
            0
        }
        other => panic!("{other}: {answer}"),
    }
}

/// What a stream says of an event with a type is that event.
fn check_written(event: &Event) {
    if event.content().kind.is_none() {
        return;
    }
    let written = serde_json::to_vec(event).expect("an event is JSON");
    let again = json::read(&written, usize::MAX).expect("what is written can be read");
    let expected = NewEvent { created_at: Some(event.created_at()), ..event.content().clone() };
    assert_eq!(again, expected, "{}", String::from_utf8_lossy(&written));
}

/// The events of a body, of which each can be bad; nothing if the body can be read in another way only.
fn items(content_type: &str, body: &[u8]) -> Option<Vec<Result<NewEvent, json::EventError>>> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    if content_type == LINES {
        let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines = lines.filter(|line| !line.is_empty());
        return Some(lines.map(|line| json::read(line, MAX_EVENT_BYTES)).collect());
    }
    let items = match serde_json::from_slice(body).ok()? {
        Value::Array(items) => items,
        Value::Object(object) => match object.members() {
            [(name, Value::Array(items))] if name == "events" => items.clone(),
            _ => vec![Value::Object(object)],
        },
        other => vec![other],
    };
    let read = |item: Value| match item {
        Value::Object(object) => json::from_object(object),
        other => Err(json::EventError::NotAnObject(other.kind())),
    };
    Some(items.into_iter().map(read).collect())
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).expect("a Vec takes everything");
    encoder.finish().expect("a Vec takes everything").into()
}

fn zstd(body: &[u8]) -> Bytes {
    thread_local! {
        static COMPRESSOR: RefCell<zstd::bulk::Compressor<'static>> =
            RefCell::new(zstd::bulk::Compressor::new(1).expect("there is a level 1"));
    }
    COMPRESSOR.with_borrow_mut(|compressor| compressor.compress(body)).expect("it fits").into()
}
