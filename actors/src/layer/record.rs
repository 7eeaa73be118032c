//! An event as the layer takes it down: all that it takes to put it in words, and no words yet.
//!
//! Most of what a program logs nobody ever looks at. Taken down, an event costs the thread that logs it two allocations
//! instead of some fifteen, and 0.3 µs instead of 0.8 (`benches/layer.rs`). Whoever looks first, on a thread of the hub's,
//! has it put in words for all.

use std::sync::OnceLock;

use jiff::Timestamp;
use tracing::Metadata;

use super::fields;
use super::span::SpanIds;
use crate::event::{CreatedAt, Event, NewEvent, Signal};
use crate::level::Level;
use crate::value::{Object, SmolStr, Value};

/// Times are told to the microsecond: no two log lines of a thread are closer together.
const DECIMALS: u8 = 6;

/// An event that came through the layer.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) created_at: Timestamp,
    /// Of the span that it is, or is in.
    pub(super) ids: Option<SpanIds>,
    /// What an event does not have.
    pub(super) span: Option<ClosedSpan>,
    /// The target of a record of the crate `log`: that of its event is always `log`.
    pub(super) log_target: Option<SmolStr>,
    pub(super) fields: Box<[u8]>,
    /// Where in them those of the spans around begin.
    pub(super) inherited_from: usize,
    pub(super) field_count: usize,
    pub(super) content: OnceLock<Box<NewEvent>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ClosedSpan {
    pub(super) parent: Option<SpanIds>,
    pub(super) start: Timestamp,
}

impl Record {
    pub(crate) fn created_at(&self) -> CreatedAt {
        CreatedAt::new(self.created_at, DECIMALS)
    }

    /// Its type: the name of the span, or that which the program gave the event, or the target.
    pub(crate) fn kind(&self) -> &str {
        let has_name = self.span.is_some() || !self.metadata.name().starts_with("event ");
        match &self.log_target {
            Some(target) => target,
            None if has_name => self.metadata.name(),
            None => self.metadata.target(),
        }
    }

    fn target(&self) -> &str {
        self.log_target.as_deref().unwrap_or(self.metadata.target())
    }

    /// About how many bytes the accepted event will occupy once somebody has looked at it.
    pub(crate) fn size(&self) -> usize {
        /// `target`, `startTime` and `duration`; their names and values, and the ids.
        const OWN: (usize, usize) = (3, 128);
        let members = (self.field_count + OWN.0) * size_of::<(SmolStr, Value)>();
        let names = self.kind().len() + 2 * self.target().len() + OWN.1;
        size_of::<Event>() + size_of::<NewEvent>() + members + names + 2 * self.fields.len()
    }

    /// What it says.
    pub(crate) fn content(&self) -> &NewEvent {
        self.content.get_or_init(|| Box::new(self.read()))
    }

    fn read(&self) -> NewEvent {
        let (text, data) = self.text_and_data();
        NewEvent {
            created_at: Some(self.created_at()),
            signal: if self.span.is_some() { Signal::Span } else { Signal::Log },
            kind: Some(self.kind().into()),
            level: Some(level(self.metadata)),
            text,
            trace_id: self.ids.map(SpanIds::trace_id),
            span_id: self.ids.map(SpanIds::span_id),
            parent_span_id: self.span.and_then(|span| span.parent).map(SpanIds::span_id),
            data: data.into(),
        }
    }

    fn text_and_data(&self) -> (Option<SmolStr>, Object) {
        let (own, inherited) = self.fields.split_at(self.inherited_from);
        let (mut text, mut data) = (None, Members(Vec::with_capacity(self.field_count + 3)));
        for field in fields::read(own) {
            match (field.name, field.text()) {
                ("message", Some(message)) => text = Some(message.into()),
                (name, _) if self.log_target.is_some() && name.starts_with("log.") => {}
                (name, _) => data.add(name, || field.value()),
            }
        }
        data.add("target", || self.target().into());
        if let Some(span) = self.span {
            data.add("startTime", || CreatedAt::new(span.start, DECIMALS).to_string().into());
            data.add("duration", || milliseconds(span.start, self.created_at).into());
        }
        for field in fields::read(inherited) {
            data.add(field.name, || field.value());
        }
        (text, data.0.into_iter().collect())
    }
}

/// Members of which the first of a name counts.
struct Members(Vec<(SmolStr, Value)>);

impl Members {
    fn add(&mut self, name: &str, value: impl FnOnce() -> Value) {
        if self.0.iter().all(|(earlier, _)| **earlier != *name) {
            self.0.push((name.into(), value()));
        }
    }
}

/// The target of a record of the crate `log` that `tracing-log` has made an event of.
pub(super) fn log_target(metadata: &Metadata<'_>, fields: &[u8]) -> Option<SmolStr> {
    if metadata.target() != "log" || metadata.name() != "log event" {
        return None;
    }
    fields::read(fields).find(|field| field.name == "log.target")?.text().map(SmolStr::from)
}

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}

/// None if the clock was set back meanwhile.
fn milliseconds(start: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(start).as_nanos().max(0) as f64 / 1e6
}
