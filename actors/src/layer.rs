//! The program's own logs as a source: a [`HubLayer`] makes a hub event of each `tracing` event and of each span that closes.
//!
//! Called on whatever thread logs, inside its call: so it does as little there as it can, never waits, needs no runtime, and
//! holds no lock while the program's own code runs. What there is no room for is dropped, counted and told. What the hub
//! itself and its transport log is not taken: it would never end.

use std::cell::Cell;
use std::sync::{Arc, OnceLock, Weak};

use jiff::Timestamp;
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope, SpanRef};

use crate::handle::HubHandle;
use crate::hub_core::{Audience, HubCore};

mod fields;
mod record;
mod span;

use fields::FieldWriter;
pub(crate) use record::Record;
use span::{IdSource, OpenSpan};

/// The crates whose logs are not taken. A hub that hands out its own logs logs doing so; so does what carries them: each
/// frame sent would make an event, and each event a frame.
fn is_own(target: &str) -> bool {
    let end = target.bytes().position(|byte| byte == b':').unwrap_or(target.len());
    let (name, path) = target.split_at(end);
    let is_path = path.is_empty() || path.starts_with("::");
    let is_hub = matches!(name, "telemetry_hub" | "telemetry_hub_actors" | "ractor");
    let is_transport = matches!(
        name,
        "h2" | "hyper"
            | "hyper_util"
            | "mio"
            | "runtime"
            | "rustls"
            | "tokio"
            | "tokio_util"
            | "tonic"
            | "warp"
    );
    is_path && (is_hub || is_transport)
}

/// Brings what a program logs with `tracing` into a hub: each event as a log record, each span, when it closes, as a span.
///
/// It stands beside other layers in a [`Registry`](tracing_subscriber::Registry), and takes filters like any of them.
///
/// ```
/// use telemetry_hub_actors::{HubConfig, HubHandle, HubLayer};
/// use tracing_subscriber::filter::LevelFilter;
/// use tracing_subscriber::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = HubHandle::start(HubConfig::default()).await?;
/// tracing_subscriber::registry()
///     .with(HubLayer::new(&hub).with_filter(LevelFilter::DEBUG))
///     .with(tracing_subscriber::fmt::layer())
///     .init();
/// # Ok(())
/// # }
/// ```
///
/// Without a filter it takes everything, down to TRACE.
///
/// - An event's type is the name that the program gave it, else its target. The field `message` is its text. Its `data` are
///   its other fields in their order, then `target`, then the fields of the spans around it, innermost first; the first of a
///   name is the one that counts. So `request.id=7` finds all that was logged inside a span with that field.
/// - A span's type is its name, its level that of the span; its `data` are its own fields, the latest value of each, then
///   `target`, `startTime`, and `duration` in milliseconds. Spans have ids of 16 digits, and a trace id of 32 that they share
///   with their children; events have those of their span.
/// - Values keep their types. What JSON has no number for (128 bits, NaN, infinity) and what is given by `Debug` or `Display`
///   is a string; an error is its message and those of its causes.
/// - Times are those of the hub's clock, to the microsecond.
/// - It never blocks, and needs no runtime. What finds no room in the ingest queue, is larger than
///   [`max_event_bytes`](crate::HubConfig::max_event_bytes) (or, where hubs are joined, than their stream takes) or comes during a shutdown is dropped, and counted in
///   [`HubStats::dropped`](crate::HubStats::dropped). Subscribers are told, in its place, by a WARN event of type
///   `hub.events.dropped`. The same goes for what is logged within the reading of another event, by a `Debug` that logs.
/// - Where nobody can see an event, as there is neither a subscriber nor a replay buffer, it is not made, and not counted.
/// - It does not keep the hub alive. Once the hub has ended, it does nothing.
/// - What the hub and its transport log is left out: the crates `telemetry_hub`, `telemetry_hub_actors`, `ractor`, `h2`,
///   `hyper`, `hyper_util`, `mio`, `rustls`, `tokio` (its targets `runtime` too), `tokio_util`, `tonic`, `warp`. What a host
///   says of its own requests, through `tower_http` for one, is its own.
#[derive(Debug)]
pub struct HubLayer {
    core: Weak<HubCore>,
    audience: Arc<Audience>,
    max_event_bytes: usize,
    ids: IdSource,
}

impl HubLayer {
    /// A layer in front of this hub.
    pub fn new(hub: &HubHandle) -> Self {
        let core = hub.core();
        Self {
            core: Arc::downgrade(core),
            audience: Arc::clone(&core.audience),
            max_event_bytes: core.config.max_event_bytes,
            ids: IdSource::default(),
        }
    }

    /// Takes an event down, and hands it to the hub.
    fn offer(
        &self,
        take_down: impl FnOnce(&mut FieldWriter, Timestamp) -> Result<Option<Record>, Unfit>,
    ) {
        // A hub without a handle is going, or gone.
        let Some(core) = self.core.upgrade() else {
            return;
        };
        let Some(mut turn) = Turn::take(self.max_event_bytes) else {
            return core.drop_event();
        };
        match take_down(&mut turn.fields, core.config.clock.now()) {
            Ok(Some(record)) => core.offer(record),
            Ok(None) => {}
            Err(Unfit) => core.drop_event(),
        }
    }

    /// Has the fields of a span written, then taken on.
    fn fields_of_span(
        &self,
        write: impl FnOnce(&mut FieldWriter),
        take_on: impl FnOnce(Result<&FieldWriter, Unfit>),
    ) {
        let Some(mut turn) = Turn::take(self.max_event_bytes) else {
            return take_on(Err(Unfit));
        };
        write(&mut turn.fields);
        take_on(turn.fields.finish());
    }
}

impl<S> Layer<S> for HubLayer
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.audience.is_there() && !is_own(event.metadata().target()) {
            self.offer(|fields, now| take_down(event, context.event_scope(event), fields, now));
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if self.audience.has_left() || is_own(attributes.metadata().target()) {
            return;
        }
        let (Some(core), Some(span)) = (self.core.upgrade(), context.span(id)) else {
            return;
        };
        let ids = |span: SpanRef<'_, S>| span.extensions().get::<OpenSpan>().map(|open| open.ids);
        let parent = span.scope().skip(1).find_map(ids);
        let mut open = OpenSpan::new(self.ids.ids(parent), parent, core.config.clock.now());
        let limit = self.max_event_bytes;
        self.fields_of_span(
            |fields| attributes.record(fields),
            |fields| open.record(fields, limit),
        );
        // The layers of two hubs share what the last of them knows.
        span.extensions_mut().replace(open);
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|_| !self.audience.has_left()) else {
            return;
        };
        if span.extensions().get::<OpenSpan>().is_none() {
            return;
        }
        // The lock is taken once all is written: writing runs the program's own code.
        let take_on = |fields: Result<&FieldWriter, Unfit>| {
            if let Some(open) = span.extensions_mut().get_mut::<OpenSpan>() {
                open.record(fields, self.max_event_bytes);
            }
        };
        self.fields_of_span(|fields| values.record(fields), take_on);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id).filter(|_| self.audience.is_there()) else {
            return;
        };
        if span.extensions().get::<OpenSpan>().is_some() {
            self.offer(|_, now| {
                let extensions = span.extensions();
                extensions
                    .get::<OpenSpan>()
                    .map(|open| open.close(span.metadata(), now))
                    .transpose()
            });
        }
    }
}

/// Takes down an event, unless it is one of the hub's own that came through `log`.
fn take_down<'a, S: LookupSpan<'a>>(
    event: &Event<'_>,
    spans: Option<Scope<'a, S>>,
    fields: &mut FieldWriter,
    now: Timestamp,
) -> Result<Option<Record>, Unfit> {
    let metadata = event.metadata();
    event.record(fields);
    let log_target = record::log_target(metadata, fields.bytes());
    if log_target.as_deref().is_some_and(is_own) {
        return Ok(None);
    }
    let (inherited_from, mut ids) = (fields.bytes().len(), None);
    for span in spans.into_iter().flatten() {
        if let Some(open) = span.extensions().get::<OpenSpan>() {
            ids.get_or_insert(open.ids);
            open.lend(fields);
        }
    }
    let fields = fields.finish()?;
    Ok(Some(Record {
        metadata,
        created_at: now,
        ids,
        span: None,
        log_target,
        fields: fields.bytes().into(),
        inherited_from,
        field_count: fields.count(),
        content: OnceLock::new(),
    }))
}

/// What cannot be taken: it is too large, or was logged while another was being read.
#[derive(Debug)]
struct Unfit;

/// A thread's turn in the layer, with room to write. What a thread logs during its turn, out of a `Debug` for one, would come
/// back here without end.
struct Turn {
    fields: FieldWriter,
}

/// What a thread keeps of its buffer from one event to the next: more than most events need, little for a thread.
const KEPT_BUFFER_BYTES: usize = 4096;

thread_local! {
    // Has no destructor, so that it is there whenever a thread logs, to its very end.
    static IS_TAKEN: Cell<bool> = const { Cell::new(false) };
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Turn {
    /// None within a turn.
    fn take(max_event_bytes: usize) -> Option<Self> {
        if IS_TAKEN.replace(true) {
            return None;
        }
        let buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        Some(Self { fields: FieldWriter::new(buffer, max_event_bytes) })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let buffer = self.fields.take_buffer();
        if buffer.capacity() <= KEPT_BUFFER_BYTES {
            // A thread that is ending keeps nothing.
            BUFFER.try_with(|kept| kept.set(buffer)).ok();
        }
        IS_TAKEN.set(false);
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::set_default;
    use tracing::{info, info_span};
    use tracing_subscriber::prelude::*;
    use tracing_subscriber::registry;

    use super::*;
    use crate::event::{Content, NewEvent};

    #[tokio::test]
    async fn size_covers_what_an_event_comes_to_occupy() {
        let hub = HubHandle::start(crate::HubConfig::default()).await.unwrap();
        let _guard = set_default(registry().with(HubLayer::new(&hub)));
        info!(target: "bare", "");
        let span =
            info_span!(target: "some::rather::long::target::of::a::span", "span", a = 1, b = "two");
        span.in_scope(|| {
            info!(target: "long", a = "x".repeat(5000), b = 1.5, c = true, d = ?Some("thing"), e = u128::MAX, "text");
            info!(name: "short", target: "named", c = 1);
        });
        drop(span);
        let core = hub.core();
        let events =
            core.log.read(0, usize::MAX).batches.into_iter().flat_map(|b| b.events.clone());
        let events: Vec<_> = events.collect();
        assert_eq!(events.len(), 4);
        for event in events {
            let Content::TakenDown(record) = &event.content else { panic!("{event:?}") };
            let occupied = event.content().size() + size_of::<NewEvent>() + record.fields.len();
            assert!((occupied..occupied + 400).contains(&event.size), "{occupied}: {}", event.size);
        }
    }

    #[test]
    fn own_targets_are_whole_crates() {
        for target in ["telemetry_hub", "ractor::actor", "h2::codec::framed_read", "tokio::task"] {
            assert!(is_own(target), "{target}");
        }
        for target in
            ["telemetry_hub_client", "h2o", "my::hyper", "hyper:x", "", "::", "warp_core::h2"]
        {
            assert!(!is_own(target), "{target}");
        }
    }
}
