//! Reads events from JSON as other systems write it: the hub's own form, Stalwart's webhooks, and the output of any
//! JSON logger.
//!
//! An object with a `type` is an event in the hub's form, and members of the wrong type make it bad. One without is
//! *bare*: all its members are `data`, save those that name a field in one of its usual spellings and can be read as it.

use jiff::Timestamp;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

use crate::event::{CreatedAt, NewEvent, Signal};
use crate::key::Key;
use crate::level::Level;
use crate::value::{Number, Object, SmolStr, ToSmolStr, Value};

/// Why a JSON value is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not JSON, or nested too deeply.
    #[error("not valid JSON")]
    Json(#[from] serde_json::Error),
    /// JSON, but no object.
    #[error("an event is an object, not {0}")]
    NotAnObject(&'static str),
    /// A member that has a meaning here, with a value that it cannot have.
    #[error("{member}: expected {expected}, not {found}")]
    WrongType {
        /// The member's name.
        member: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Larger than the hub takes.
    #[error("{size} bytes, over the limit of {limit} for one event")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

/// Reads one event; `limit` bounds its JSON in bytes.
pub fn read(json: &[u8], limit: usize) -> Result<NewEvent, EventError> {
    if json.len() > limit {
        return Err(EventError::TooLarge { size: json.len(), limit });
    }
    // One look at all of it is cheaper than one at each text; what is not UTF-8 is told with its place.
    let value = match str::from_utf8(json) {
        Ok(json) => serde_json::from_str(json),
        Err(_) => serde_json::from_slice(json),
    };
    match value? {
        Value::Object(object) => from_object(object),
        other => Err(EventError::NotAnObject(other.kind())),
    }
}

/// Takes a body apart into the JSON of its events, without reading them: one event, an array, or `{"events":[…]}`.
///
/// A fault in one event is then a fault of that event alone.
pub fn split(body: &[u8]) -> Result<Vec<&RawValue>, serde_json::Error> {
    // With other members beside it, `events` is a member like any other.
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Envelope<'a> {
        #[serde(borrow)]
        events: Items<'a>,
    }
    let body = body.trim_ascii();
    if body.first() == Some(&b'[') {
        return array(body);
    }
    if let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(body) {
        return Ok(envelope.events.0);
    }
    serde_json::from_slice(body).map(|event| vec![event])
}

/// How many items are taken of one body: more events than there is room for, and each takes some memory before it is read.
pub const MAX_ITEMS: usize = 250_000;

/// The JSON of each item of an array, unread. Of too many there is one more than [`MAX_ITEMS`], and the rest is left out.
pub fn array(body: &[u8]) -> Result<Vec<&RawValue>, serde_json::Error> {
    serde_json::from_slice(body).map(|Items(items)| items)
}

/// The items of an array, as [`array`] has them.
struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<'a>(PhantomData<&'a RawValue>);
        impl<'de: 'a, 'a> Visitor<'de> for Reader<'a> {
            type Value = Items<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() <= MAX_ITEMS
                    && let Some(item) = array.next_element()?
                {
                    items.push(item);
                }
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

/// Makes an event of a JSON object.
pub fn from_object(mut object: Object) -> Result<NewEvent, EventError> {
    let (mut event, mut data) = match object.take_named("type") {
        Some(Value::String(kind)) => typed(kind, object)?,
        Some(Value::Null) | None => bare(object),
        Some(other) => return Err(wrong("type", "a string", &other)),
    };
    adopt_ids(&mut event, &mut data);
    event.data = data.into();
    Ok(event)
}

/// The canonical keys that name a field, with all its usual spellings.
struct Spellings {
    text: [Key; 3],
    level: [Key; 2],
    severity: [Key; 3],
    created_at: [Key; 5],
    trace_id: Key,
    span_id: Key,
    parent_span_id: Key,
}

static SPELLINGS: LazyLock<Spellings> = LazyLock::new(|| {
    let key = |name| Key::new(name).expect("these names have letters");
    Spellings {
        text: ["text", "message", "msg"].map(key),
        level: ["level", "log-level"].map(key),
        severity: ["severity", "severity-text", "severity-number"].map(key),
        created_at: ["created-at", "timestamp", "time", "ts", "@timestamp"].map(key),
        trace_id: key("trace-id"),
        span_id: key("span-id"),
        parent_span_id: key("parent-span-id"),
    }
});

/// An event in the hub's own form.
fn typed(kind: SmolStr, mut object: Object) -> Result<(NewEvent, Object), EventError> {
    let mut event = NewEvent { kind: Some(kind), ..NewEvent::default() };
    // The source's own id: the hub gives every event its own.
    object.take_named("id");
    let mut data = match object.take_named("data") {
        Some(Value::Object(data)) => data,
        Some(Value::Null) | None => Object::default(),
        Some(other) => return Err(wrong("data", "an object", &other)),
    };
    event.signal = match object.take_named("signal") {
        Some(Value::String(name)) if &*name == "span" => Signal::Span,
        Some(Value::String(name)) if &*name == "log" => Signal::Log,
        Some(Value::Null) | None => Signal::Log,
        Some(other) => return Err(wrong("signal", "\"log\" or \"span\"", &other)),
    };
    for (name, expected, is_right) in TYPED_MEMBERS {
        check_type(&mut object, name, expected, is_right)?;
    }
    take_spelled(&mut event, &mut object);
    for (name, value) in object {
        data.push(name, value);
    }
    Ok((event, data))
}

/// A line of some logger: all of it is data, but for what names a field and can be read as it.
fn bare(mut object: Object) -> (NewEvent, Object) {
    let mut event = NewEvent::default();
    take_spelled(&mut event, &mut object);
    (event, object)
}

/// Fills the fields that the event does not have yet from their usual spellings.
fn take_spelled(event: &mut NewEvent, object: &mut Object) {
    let spellings = &*SPELLINGS;
    fill(&mut event.text, object, &spellings.text, read_text);
    fill(&mut event.level, object, &spellings.level, |value| read_level(value, Level::from_tens));
    fill(&mut event.level, object, &spellings.severity, |value| {
        read_level(value, Level::from_severity_number)
    });
    fill(&mut event.created_at, object, &spellings.created_at, read_created_at);
    fill(&mut event.trace_id, object, std::slice::from_ref(&spellings.trace_id), read_id);
    fill(&mut event.span_id, object, std::slice::from_ref(&spellings.span_id), read_id);
    let parent = std::slice::from_ref(&spellings.parent_span_id);
    fill(&mut event.parent_span_id, object, parent, read_id);
}

/// A `spanId` or `traceId` inside `data` is the event's, if it has none of its own.
fn adopt_ids(event: &mut NewEvent, data: &mut Object) {
    let spellings = &*SPELLINGS;
    fill(&mut event.trace_id, data, std::slice::from_ref(&spellings.trace_id), read_id);
    fill(&mut event.span_id, data, std::slice::from_ref(&spellings.span_id), read_id);
}

/// Takes the first member with one of the names that `read` can make something of.
fn fill<T>(
    field: &mut Option<T>,
    object: &mut Object,
    names: &[Key],
    read: impl Fn(&Value) -> Option<T>,
) {
    for name in names {
        if field.is_some() {
            return;
        }
        *field = object.take_as(name, &read);
    }
}

/// A member of the hub's own form: its name, what it may be in words, and whether a value is that.
type TypedMember = (&'static str, &'static str, fn(&Value) -> bool);

const TYPED_MEMBERS: [TypedMember; 6] = {
    fn text(value: &Value) -> bool {
        matches!(value, Value::String(_))
    }
    fn text_or_number(value: &Value) -> bool {
        matches!(value, Value::String(_) | Value::Number(_))
    }
    [
        ("text", "a string", text),
        ("level", "a string or a number", text_or_number),
        ("createdAt", "a string or a number", text_or_number),
        ("traceId", "a string or a number", text_or_number),
        ("spanId", "a string or a number", text_or_number),
        ("parentSpanId", "a string or a number", text_or_number),
    ]
};

/// Refuses a member of the wrong type; null is as good as absent. One of the right type that cannot be read as what its
/// name says stays in `data`.
fn check_type(
    object: &mut Object,
    name: &'static str,
    expected: &'static str,
    is_right: impl Fn(&Value) -> bool,
) -> Result<(), EventError> {
    match object.get(name) {
        Some(Value::Null) => {
            object.take_named(name);
            Ok(())
        }
        Some(value) if !is_right(value) => Err(wrong(name, expected, value)),
        Some(_) | None => Ok(()),
    }
}

fn wrong(member: &'static str, expected: &'static str, found: &Value) -> EventError {
    let found = match found {
        Value::String(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
        other => other.kind().to_owned(),
    };
    EventError::WrongType { member, expected, found }
}

fn read_text(value: &Value) -> Option<SmolStr> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn read_id(value: &Value) -> Option<SmolStr> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_smolstr()),
        _ => None,
    }
}

fn read_level(value: &Value, from_number: impl Fn(i64) -> Option<Level>) -> Option<Level> {
    match value {
        Value::String(text) => Level::from_source(text),
        Value::Number(number) => number.as_i64().and_then(from_number),
        _ => None,
    }
}

/// RFC 3339, or a number: the time since 1970 in seconds, milliseconds, micro- or nanoseconds, told by its size.
fn read_created_at(value: &Value) -> Option<CreatedAt> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => from_epoch(number),
        _ => None,
    }
}

fn from_epoch(number: &Number) -> Option<CreatedAt> {
    // Each bound is the year 5138 in its unit, which is 1973 in the next smaller one.
    const BOUND: f64 = 1e11;
    let value = number.as_f64().filter(|value| *value >= 0.0)?;
    let (nanoseconds_each, decimals) = match value {
        _ if value < BOUND => (1_000_000_000, 0),
        _ if value < BOUND * 1e3 => (1_000_000, 3),
        _ if value < BOUND * 1e6 => (1_000, 6),
        _ => (1, 9),
    };
    if let Some(whole) = number.as_i64() {
        let timestamp =
            Timestamp::from_nanosecond(i128::from(whole) * i128::from(nanoseconds_each)).ok()?;
        return Some(CreatedAt::new(timestamp, decimals));
    }
    // A float has some 16 digits: microseconds are what is left of a time in seconds.
    let microseconds = (value * f64::from(nanoseconds_each) / 1e3).round();
    Some(CreatedAt::new(Timestamp::from_microsecond(microseconds as i64).ok()?, 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<NewEvent, EventError> {
        read(json.as_bytes(), usize::MAX)
    }

    #[track_caller]
    fn check(json: &str, expected: NewEvent) {
        assert_eq!(parse(json).unwrap(), expected, "{json}");
    }

    #[track_caller]
    fn check_bad(json: &str, reason: &str) {
        let error = parse(json).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let error = format!("{error}: {cause}");
        assert!(error.contains(reason), "{json}: {error}");
    }

    fn at(text: &str) -> Option<CreatedAt> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn stalwart_webhook_event() {
        check(
            r#"{"id":"1795342367107","createdAt":"2026-11-22T10:12:47Z","type":"smtp.ehlo",
                "data":{"remoteIp":"127.0.0.10","spanId":341966570238591030,"id":"x"}}"#,
            NewEvent {
                created_at: at("2026-11-22T10:12:47Z"),
                ..NewEvent::new("smtp.ehlo")
                    .span("341966570238591030")
                    .with("remoteIp", "127.0.0.10")
                    .with("id", "x")
            },
        );
    }

    #[test]
    fn unknown_members_join_data_after_it() {
        check(
            r#"{"zone":"b","type":"a","data":{"k":1},"host":"h"}"#,
            NewEvent::new("a").with("k", 1).with("zone", "b").with("host", "h"),
        );
    }

    #[test]
    fn own_span_id_wins_and_the_other_stays() {
        check(
            r#"{"type":"a","spanId":"own","data":{"span_id":"other"}}"#,
            NewEvent::new("a").span("own").with("span_id", "other"),
        );
    }

    #[test]
    fn lines_of_well_known_loggers() {
        let bare = NewEvent::default;
        // pino
        check(
            r#"{"level":40,"time":1531171074631,"pid":657,"hostname":"Davids","msg":"hello"}"#,
            NewEvent {
                created_at: at("2018-07-09T21:17:54.631Z"),
                ..bare()
                    .level(Level::Warn)
                    .text("hello")
                    .with("pid", 657)
                    .with("hostname", "Davids")
            },
        );
        // zap
        check(
            r#"{"level":"info","ts":1531171074.25,"caller":"main.go:5","msg":"up"}"#,
            NewEvent {
                created_at: at("2018-07-09T21:17:54.250000Z"),
                ..bare().level(Level::Info).text("up").with("caller", "main.go:5")
            },
        );
        // Elastic Common Schema
        check(
            r#"{"@timestamp":"2018-07-09T21:17:54.250Z","log.level":"ERROR","message":"m","trace.id":"t","span.id":"s"}"#,
            NewEvent {
                created_at: at("2018-07-09T21:17:54.250Z"),
                ..bare().level(Level::Error).text("m").trace("t").span("s")
            },
        );
        // Google Cloud
        check(r#"{"severity":"CRITICAL","message":"m"}"#, bare().level(Level::Fatal).text("m"));
    }

    #[test]
    fn what_a_bare_object_says_otherwise_stays_data() {
        check(
            r#"{"level":"7 of 9","time":"noon","msg":{"a":1},"data":5,"trace_id":null}"#,
            NewEvent::default()
                .with("level", "7 of 9")
                .with("time", "noon")
                .with("msg", Value::Object(Object::from_iter([("a".into(), 1.into())])))
                .with("data", 5)
                .with("trace_id", Value::Null),
        );
    }

    #[test]
    fn what_cannot_be_read_as_its_name_says_stays_data() {
        check(
            r#"{"type":"server","level":"DEPRECATION","createdAt":"noon","traceId":"","spanId":1.5,"text":null}"#,
            NewEvent::new("server")
                .with("level", "DEPRECATION")
                .with("createdAt", "noon")
                .with("traceId", "")
                .with("spanId", 1.5),
        );
        check(r#"{"type":null,"msg":"m"}"#, NewEvent::default().text("m"));
    }

    #[test]
    fn wrong_types_make_an_event_bad() {
        check_bad(r#"{"type":5}"#, "type: expected a string, not a number");
        check_bad(r#"{"type":"a","data":[]}"#, "data: expected an object, not an array");
        check_bad(r#"{"type":"a","text":{}}"#, "text");
        check_bad(
            r#"{"type":"a","level":[]}"#,
            "level: expected a string or a number, not an array",
        );
        check_bad(r#"{"type":"a","createdAt":true}"#, "createdAt");
        check_bad(r#"{"type":"a","spanId":{}}"#, "spanId");
        check_bad(r#"{"type":"a","signal":"metric"}"#, "signal");
        check_bad("[1]", "an event is an object, not an array");
        check_bad("{\"type\":\"a\"", "EOF");
        check_bad(&format!("{}{}", "{\"a\":".repeat(200), "}".repeat(200)), "recursion");
        assert!(matches!(read(b"{\"a\":1}", 6), Err(EventError::TooLarge { size: 7, limit: 6 })));
    }

    #[test]
    fn a_body_is_one_event_or_many() {
        let count = |body: &str| split(body.as_bytes()).map(|events| events.len()).ok();
        assert_eq!(count(r#" {"type":"a"} "#), Some(1));
        assert_eq!(count(r#"[{"type":"a"}, 5]"#), Some(2));
        assert_eq!(count(r#"{"events":[{"type":"a"},{"type":"b"}]}"#), Some(2));
        assert_eq!(count(r#"{"events":"none of ours"}"#), Some(1));
        assert_eq!(count(r#"{"type":"a","events":[{"x":1},{"x":2}]}"#), Some(1));
        assert_eq!(count("[]"), Some(0));
        assert_eq!(count(""), None);
        assert_eq!(count("{"), None);
    }
}
