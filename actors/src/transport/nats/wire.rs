//! Events as messages: a JSON array of events for each subject, cut where a message would be too large.
//!
//! Members have the names that they have in the hub's own JSON, but an event is read back as what it was, not as a source's: what is not
//! there was not there, and `data` has all of its members in order, also two of one name. `createdAt` is missing if the source did not
//! say: then it is when the stream took the message.

use std::borrow::Cow;
use std::io::{self, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::subject;
use crate::event::{CreatedAt, Data, NewEvent, Signal};
use crate::level::Level;
use crate::transport::nats::place::Place;
use crate::value::{Object, SmolStr};

/// So many times as large as in memory something may become as JSON: a control character is one byte there, and here six (`\u001b`).
const MOST_GROWTH: usize = 6;

/// What stands around the items of a message.
const BRACKETS: usize = "[]".len();

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) payload: Bytes,
    pub(super) events: usize,
}

/// An event that is larger than a message may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge {
    pub(super) bytes: usize,
    pub(super) limit: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing<'a> {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    created_at: Option<CreatedAt>,
    #[serde(skip_serializing_if = "is_log")]
    signal: &'static str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Data::is_empty")]
    data: &'a Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming<'a> {
    #[serde(borrow, default)]
    created_at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    signal: Option<Cow<'a, str>>,
    #[serde(rename = "type", default)]
    kind: Option<SmolStr>,
    #[serde(borrow, default)]
    level: Option<Cow<'a, str>>,
    #[serde(default)]
    text: Option<SmolStr>,
    #[serde(default)]
    trace_id: Option<SmolStr>,
    #[serde(default)]
    span_id: Option<SmolStr>,
    #[serde(default)]
    parent_span_id: Option<SmolStr>,
    /// Read by itself: what stands in it may be nested as deeply as may be read.
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

fn as_text<S: Serializer>(time: &Option<CreatedAt>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.as_ref().expect("it is skipped if there is none"))
}

fn is_log(signal: &&'static str) -> bool {
    *signal == Signal::Log.as_str()
}

impl<'a> From<&'a NewEvent> for Outgoing<'a> {
    fn from(event: &'a NewEvent) -> Self {
        Self {
            created_at: event.created_at,
            signal: event.signal.as_str(),
            kind: event.kind.as_deref(),
            level: event.level.map(Level::as_str),
            text: event.text.as_deref(),
            trace_id: event.trace_id.as_deref(),
            span_id: event.span_id.as_deref(),
            parent_span_id: event.parent_span_id.as_deref(),
            data: &event.data,
        }
    }
}

impl TryFrom<Incoming<'_>> for NewEvent {
    type Error = serde_json::Error;

    fn try_from(event: Incoming<'_>) -> Result<Self, Self::Error> {
        let data = event.data.map(|data| serde_json::from_str::<Object>(data.get())).transpose()?;
        Ok(Self {
            created_at: event.created_at.and_then(|time| time.parse().ok()),
            signal: match event.signal.as_deref() {
                Some("span") => Signal::Span,
                Some(_) | None => Signal::Log,
            },
            kind: event.kind,
            level: event.level.and_then(|level| Level::from_source(&level)),
            text: event.text,
            trace_id: event.trace_id,
            span_id: event.span_id,
            parent_span_id: event.parent_span_id,
            data: data.unwrap_or_default().into(),
        })
    }
}

/// Whether an event of this size fits into a message.
pub(super) fn check<'a>(
    size: usize,
    event: impl FnOnce() -> &'a NewEvent,
    limit: usize,
) -> Result<(), TooLarge> {
    check_form(size, || Outgoing::from(event()), limit)
}

/// Whether something of this size, about which it takes in memory, fits into a message by itself. What does so in any case is not measured.
pub(super) fn check_form<T: Serialize>(
    size: usize,
    form: impl FnOnce() -> T,
    limit: usize,
) -> Result<(), TooLarge> {
    if size.saturating_mul(MOST_GROWTH) <= limit {
        return Ok(());
    }
    let mut measured = Measured(BRACKETS);
    serde_json::to_writer(&mut measured, &form()).expect("its form is always valid JSON");
    let Measured(bytes) = measured;
    if bytes > limit { Err(TooLarge { bytes, limit }) } else { Ok(()) }
}

/// Counts what is written, and keeps none of it.
struct Measured(usize);

impl Write for Measured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes messages of events. Those of one subject stay in order.
pub(super) fn encode<'a>(
    events: impl IntoIterator<Item = &'a NewEvent>,
    prefix: &str,
    limit: usize,
) -> Result<Vec<Message>, TooLarge> {
    let mut packer = Packer::new(limit);
    for event in events {
        packer.add(subject::of(prefix, event), &Outgoing::from(event))?;
    }
    Ok(packer.finish())
}

/// Makes messages of what is to be published, a JSON array for each subject, cut where one would be too large.
pub(super) struct Packer {
    limit: usize,
    finished: Vec<Message>,
    /// A request has few subjects: mostly one.
    open: Vec<Open>,
    json: Vec<u8>,
}

/// A message that may grow.
struct Open {
    subject: String,
    payload: Vec<u8>,
    events: usize,
}

impl Packer {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, finished: Vec::new(), open: Vec::new(), json: Vec::new() }
    }

    /// Adds one, whose form is always valid JSON.
    pub(super) fn add(&mut self, subject: String, form: &impl Serialize) -> Result<(), TooLarge> {
        self.json.clear();
        serde_json::to_writer(&mut self.json, form).expect("its form is always valid JSON");
        let (bytes, limit) = (self.json.len() + BRACKETS, self.limit);
        if bytes > limit {
            return Err(TooLarge { bytes, limit });
        }
        let open = match self.open.iter_mut().position(|open| open.subject == subject) {
            Some(index) => &mut self.open[index],
            None => {
                self.open.push(Open { subject, payload: Vec::new(), events: 0 });
                self.open.last_mut().expect("one has just been pushed")
            }
        };
        if open.payload.len() + bytes > limit || open.events == Place::MAX_EVENTS {
            self.finished.extend(open.finish());
        }
        open.payload.push(if open.events == 0 { b'[' } else { b',' });
        open.payload.extend_from_slice(&self.json);
        open.events += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<Message> {
        self.finished.extend(self.open.iter_mut().filter_map(Open::finish));
        self.finished
    }
}

impl Open {
    fn finish(&mut self) -> Option<Message> {
        let (mut payload, events) =
            (std::mem::take(&mut self.payload), std::mem::take(&mut self.events));
        if events == 0 {
            return None;
        }
        payload.push(b']');
        Some(Message { subject: self.subject.clone(), payload: payload.into(), events })
    }
}

/// The events of a message.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<NewEvent>, serde_json::Error> {
    let events: Vec<Incoming<'_>> = serde_json::from_slice(payload)?;
    if events.len() > Place::MAX_EVENTS {
        return Err(serde::de::Error::custom("more events than a message may have"));
    }
    events.into_iter().map(NewEvent::try_from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::json;

    fn round_trip(event: &NewEvent) -> NewEvent {
        let messages = encode([event], "t", usize::MAX).unwrap();
        assert_eq!(messages.len(), 1);
        let mut events = decode(&messages[0].payload).unwrap();
        assert_eq!(events.len(), 1);
        events.remove(0)
    }

    #[test]
    fn an_event_is_read_back_as_what_it_was() {
        for json in [
            r#"{"type":"a","createdAt":"2026-11-22T10:12:19.120Z","level":"warn","text":"x","traceId":"1","spanId":"2","parentSpanId":"3","signal":"span","data":{"k":[1,{"z":null,"a":0.1}],"n":18446744073709551615,"k2":"\u0000\n"}}"#,
            r#"{"msg":"no type","level":17,"time":1531171074631}"#,
            r#"{"type":"","data":{"type":"inner","level":"error","spanId":"s","id":7,"createdAt":"x"}}"#,
            r#"{"a":1,"a":2}"#,
            "{}",
        ] {
            let event = json::read(json.as_bytes(), usize::MAX).unwrap();
            assert_eq!(round_trip(&event), event, "{json}");
        }
    }

    #[test]
    fn an_event_that_is_nested_as_deeply_as_can_be_is_read_back() {
        // One level more is refused when it comes.
        for depth in [100, 126, 127] {
            let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
            let event =
                json::read(format!("{{\"a\":{open}{close}}}").as_bytes(), usize::MAX).unwrap();
            assert_eq!(round_trip(&event), event, "{depth}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_source_sends_is_read_back(
            texts in prop::array::uniform5(prop::option::of(".{0,30}")), nanoseconds in 0..i64::MAX, decimals in 0..10u8,
            level in prop::option::of(0..6usize), members in prop::collection::vec((".{0,20}", any::<i64>()), 0..5), is_span: bool,
        ) {
            let [kind, text, trace_id, span_id, parent_span_id] = texts.map(|text| text.map(SmolStr::from));
            let timestamp = jiff::Timestamp::from_nanosecond(nanoseconds.into()).unwrap();
            let levels = ["trace", "debug", "info", "warn", "error", "fatal"];
            let event = NewEvent {
                // To the decimals that it is told to.
                created_at: Some(CreatedAt::new(timestamp, decimals).to_string().parse().unwrap()),
                signal: if is_span { Signal::Span } else { Signal::Log },
                level: level.map(|level| Level::from_source(levels[level]).unwrap()),
                data: members.into_iter().map(|(key, value)| (key.into(), value.into())).collect::<Object>().into(),
                kind, text, trace_id, span_id, parent_span_id,
            };
            let message = encode([&event], "t", usize::MAX).unwrap();
            prop_assert!(message[0].payload.len() <= MOST_GROWTH * event.size());
            prop_assert_eq!(round_trip(&event), event);
        }
    }

    #[test]
    fn a_request_becomes_a_message_for_each_subject_and_no_larger_than_may_be() {
        let event =
            |service: &str, n: i64| NewEvent::new("a").with("service.name", service).with("n", n);
        let events = [event("x", 1), event("y", 2), event("x", 3), event("x", 4)];
        let size = encode([&events[0]], "t", 1000).unwrap()[0].payload.len();
        let messages = encode(&events, "t", 2 * size).unwrap();
        let told: Vec<_> = messages
            .iter()
            .map(|message| {
                let events = decode(&message.payload).unwrap();
                assert_eq!(events.len(), message.events);
                let numbers = events.iter().map(|event| event.data.get("n").cloned().unwrap());
                (message.subject.as_str(), numbers.collect::<Vec<_>>())
            })
            .collect();
        let numbers = |numbers: &[i64]| numbers.iter().map(|n| (*n).into()).collect::<Vec<_>>();
        assert_eq!(
            told,
            [("t.log.x", numbers(&[1, 3])), ("t.log.x", numbers(&[4])), ("t.log.y", numbers(&[2])),]
        );
        assert_eq!(encode(&events, "t", size - 1), Err(TooLarge { bytes: size, limit: size - 1 }));
    }

    #[test]
    fn what_a_message_has_no_room_for_is_found_before_it_is_made() {
        let escapes =
            NewEvent::new("a").text(&"\u{1b}".repeat(1000)).with("k", "\u{1}".repeat(500));
        let small = NewEvent::new("a");
        for event in [escapes, small] {
            let size = encode([&event], "t", usize::MAX).unwrap()[0].payload.len();
            assert!(size <= MOST_GROWTH * event.size());
            let check = |limit| check(event.size(), || &event, limit);
            assert_eq!(check(size), Ok(()));
            assert_eq!(check(MOST_GROWTH * event.size()), Ok(()));
            let too_large = Err(TooLarge { bytes: size, limit: size - 1 });
            assert_eq!(
                (check(size - 1), encode([&event], "t", size - 1).map(drop)),
                (too_large, too_large)
            );
        }
    }
}
