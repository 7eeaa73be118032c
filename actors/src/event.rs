//! Events: what a source sends ([`NewEvent`]), and what the hub makes of it once accepted ([`Event`]).
//!
//! Plain data. JSON in is [`json`]; JSON out is [`Event`]'s `Serialize`, the shape of which is part of the API.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::ser::{Serialize, SerializeMap, Serializer};
use uuid::Uuid;

use crate::level::Level;
use crate::value::{SmolStr, Value, heap_size_of};

pub use data::{Data, SharedMembers};

mod data;
pub mod json;

/// An event as a source sends it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewEvent {
    /// When it happened; when the hub accepted it, if the source does not say.
    pub created_at: Option<CreatedAt>,
    /// Log record or span.
    pub signal: Signal,
    /// What kind of event it is: `auth.failed`.
    pub kind: Option<SmolStr>,
    /// How severe; `None` if the source did not say.
    pub level: Option<Level>,
    /// The message, for people.
    pub text: Option<SmolStr>,
    /// The trace it belongs to.
    pub trace_id: Option<SmolStr>,
    /// The span it belongs to.
    pub span_id: Option<SmolStr>,
    /// The span that span is a child of.
    pub parent_span_id: Option<SmolStr>,
    /// Everything else, as the source names it.
    pub data: Data,
}

impl NewEvent {
    /// An event of the given type.
    pub fn new(kind: &str) -> Self {
        Self { kind: Some(kind.into()), ..Self::default() }
    }

    /// With a level.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// With a message.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text = Some(text.into());
        self
    }

    /// In a span.
    #[must_use]
    pub fn span(mut self, span_id: &str) -> Self {
        self.span_id = Some(span_id.into());
        self
    }

    /// In a trace.
    #[must_use]
    pub fn trace(mut self, trace_id: &str) -> Self {
        self.trace_id = Some(trace_id.into());
        self
    }

    /// With one more member of `data`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.push(key, value);
        self
    }

    /// About how many bytes the accepted event will occupy: what every bound in bytes counts.
    pub fn size(&self) -> usize {
        let strings = [&self.kind, &self.text, &self.trace_id, &self.span_id, &self.parent_span_id];
        let text: usize = strings.into_iter().flatten().map(heap_size_of).sum();
        size_of::<Event>() + text + self.data.heap_size()
    }
}

/// Whether an event is a log record or a span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "OpenTelemetry's own names")]
pub enum Signal {
    #[default]
    Log,
    Span,
}

impl Signal {
    /// The name as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Span => "span",
        }
    }
}

/// An instant and the number of decimals with which its source gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedAt {
    timestamp: Timestamp,
    decimals: u8,
}

impl CreatedAt {
    /// An instant told to so many decimals of a second (nine at most).
    pub fn new(timestamp: Timestamp, decimals: u8) -> Self {
        Self { timestamp, decimals: decimals.min(9) }
    }

    /// An instant told to as many decimals as it has: none, or three, six or nine.
    pub fn exact(timestamp: Timestamp) -> Self {
        let decimals = match timestamp.subsec_nanosecond() {
            0 => 0,
            nanoseconds if nanoseconds % 1_000_000 == 0 => 3,
            nanoseconds if nanoseconds % 1_000 == 0 => 6,
            _ => 9,
        };
        Self::new(timestamp, decimals)
    }

    /// The instant.
    pub fn timestamp(self) -> Timestamp {
        self.timestamp
    }
}

/// Reads RFC 3339, at any offset from UTC.
impl FromStr for CreatedAt {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let timestamp: Timestamp = text.parse()?;
        let fraction = text.split_once(['.', ',']).map_or("", |(_, fraction)| fraction);
        let decimals = fraction.bytes().take_while(u8::is_ascii_digit).count();
        Ok(Self::new(timestamp, u8::try_from(decimals).unwrap_or(u8::MAX)))
    }
}

impl fmt::Display for CreatedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printer = DateTimePrinter::new().precision(Some(self.decimals));
        printer.print_timestamp(&self.timestamp, jiff::fmt::StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

/// The id of an accepted event: a UUIDv7 (RFC 9562, section 5.7), strictly increasing in the order of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

impl EventId {
    pub(crate) fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The least id of a millisecond, for finding events by the time of their arrival.
    pub(crate) fn first_at(timestamp: Timestamp) -> Self {
        let milliseconds = u64::try_from(timestamp.as_millisecond()).unwrap_or(0);
        let [_, _, bytes @ ..] = milliseconds.to_be_bytes();
        let mut id = [0; 16];
        id[..6].copy_from_slice(&bytes);
        Self(Uuid::from_bytes(id))
    }

    /// How long ago its event arrived, to a millisecond.
    pub(crate) fn age(self, now: Timestamp) -> Duration {
        let now = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Duration::from_millis(now.saturating_sub(self.milliseconds()))
    }

    /// When its event arrived, in milliseconds since 1970.
    pub(crate) fn milliseconds(self) -> u64 {
        let [bytes @ .., _, _, _, _, _, _, _, _, _, _] = self.0.into_bytes();
        bytes.iter().fold(0, |time, byte| time << 8 | u64::from(*byte))
    }

    pub(crate) fn to_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

/// An accepted event.
#[derive(Debug, PartialEq)]
pub struct Event {
    pub(crate) id: EventId,
    /// Increases from event to event: how many the hub had accepted before this one or, joined to others, its place in their stream.
    pub(crate) offset: u64,
    pub(crate) size: usize,
    pub(crate) created_at: CreatedAt,
    pub(crate) content: Content,
}

impl Event {
    /// Its id.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// When it happened, by its source, else when it was accepted.
    pub fn created_at(&self) -> CreatedAt {
        self.created_at
    }

    /// What its source said.
    pub fn content(&self) -> &NewEvent {
        self.content.get()
    }
}

/// What the source of an event said.
pub(crate) enum Content {
    Given(NewEvent),
    /// It is put in words when somebody asks.
    #[cfg(feature = "tracing")]
    TakenDown(crate::layer::Record),
}

impl Content {
    pub(crate) fn get(&self) -> &NewEvent {
        match self {
            Self::Given(event) => event,
            #[cfg(feature = "tracing")]
            Self::TakenDown(record) => record.content(),
        }
    }

    /// The type, if the source's own thread counts it.
    pub(crate) fn kind_given(&self) -> Option<&str> {
        match self {
            Self::Given(event) => event.kind.as_deref(),
            #[cfg(feature = "tracing")]
            Self::TakenDown(_) => None,
        }
    }

    /// The type, if the collector counts it, so that the thread that logs need not.
    pub(crate) fn kind_taken_down(&self) -> Option<&str> {
        match self {
            Self::Given(_) => None,
            #[cfg(feature = "tracing")]
            Self::TakenDown(record) => Some(record.kind()),
        }
    }

    pub(crate) fn created_at(&self) -> Option<CreatedAt> {
        match self {
            Self::Given(event) => event.created_at,
            #[cfg(feature = "tracing")]
            Self::TakenDown(record) => Some(record.created_at()),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = self.content();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("createdAt", &format_args!("{}", self.created_at))?;
        map.serialize_entry("signal", content.signal.as_str())?;
        for (name, member) in [
            ("type", content.kind.as_deref()),
            ("level", content.level.map(Level::as_str)),
            ("text", content.text.as_deref()),
            ("traceId", content.trace_id.as_deref()),
            ("spanId", content.span_id.as_deref()),
            ("parentSpanId", content.parent_span_id.as_deref()),
        ] {
            if let Some(member) = member {
                map.serialize_entry(name, member)?;
            }
        }
        map.serialize_entry("data", &content.data)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_time(given: &str, written: &str) {
        assert_eq!(given.parse::<CreatedAt>().unwrap().to_string(), written);
    }

    #[test]
    fn times_keep_their_precision_and_move_to_utc() {
        check_time("2026-11-22T10:12:19Z", "2026-11-22T10:12:19Z");
        check_time("2026-11-22T10:12:19.000Z", "2026-11-22T10:12:19.000Z");
        check_time("2026-11-22T12:12:19.120+02:00", "2026-11-22T10:12:19.120Z");
        check_time("2026-11-22T10:12:19.123456789Z", "2026-11-22T10:12:19.123456789Z");
        assert!("2026-11-22 10:12".parse::<CreatedAt>().is_err());
    }

    #[test]
    fn exact_times_have_the_decimals_that_they_need() {
        for (nanoseconds, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (120_000_000, "1970-01-01T00:00:00.120Z"),
            (1_000, "1970-01-01T00:00:00.000001Z"),
            (1_000_000_001, "1970-01-01T00:00:01.000000001Z"),
            (-1_000_000, "1969-12-31T23:59:59.999Z"),
        ] {
            let timestamp = Timestamp::from_nanosecond(nanoseconds).unwrap();
            assert_eq!(CreatedAt::exact(timestamp).to_string(), written);
        }
    }
}
