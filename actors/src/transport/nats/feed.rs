//! From the stream into the log: one consumer, strictly in order, each message once.
//!
//! The consumer is the hub's own and is kept by one server, in memory. When it is gone, or has left something out, or says nothing for two
//! seconds, another one goes on behind the last message that is in the log. (The client's own ordered consumer does the same, but
//! notices a server that has died only after half a minute.)
//!
//! A hub that reads some services alone asks for their subjects. Then numbers that are missing say nothing: that something may be gone shows
//! in the first number that the stream still has. It is asked for when a consumer is opened, and while this hub lags behind.
//!
//! A hub that narrows changes its subjects while it reads ([`narrowing`]): then another consumer goes on.
//!
//! A server whose disk is full stands still, and says that there is nothing more: while nothing comes, the stream's leader is asked how far
//! the stream has come.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::{Info, State};
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::connection::{Reason, time_of, told};
use super::consumer::{consumer, first_since, from_sequence, preload};
use super::place::Place;
use super::session::Session;
use super::subject::{self, Carries, Subjects};
use super::{Link, Progress, measurements, wire};
use crate::event::{Content, NewEvent};
use crate::event_log::{Arrival, Expired};
use crate::hub_core::HubCore;
use crate::tick::Tick;

mod narrowing;

use narrowing::Narrowing;

/// How often the server says that it is there, if it has nothing else to say. It is missed after twice as long.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// For how long one request of messages holds.
const REQUEST: Duration = Duration::from_secs(30);

/// How many messages are asked for at once, and how many bytes of them, if the stream has none that is larger.
const MESSAGES: usize = 4096;
const BYTES: usize = 16 * 1024 * 1024;

/// After how long without this hub the server forgets the consumer.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// How many messages are taken before the actor looks at what else there is.
const TURN: usize = 256;

/// How long a turn waits for a message.
const WAIT: Duration = Duration::from_secs(1);

/// How long the stream may be ahead of what comes before another consumer is tried.
const BEHIND_FOR: Duration = Duration::from_secs(3);

/// Reads the stream.
pub(super) struct Feed {
    link: Arc<Link>,
    session: Session,
    subjects: Subjects,
    narrowing: Narrowing,
    messages: pull::Stream,
    /// The name of what brings them.
    consumer: String,
    /// The first message that was asked for.
    start: u64,
    /// Where the next message is expected, by the consumer's count.
    consumer_sequence: u64,
    /// The message after the last one that is in the log; `None` if nothing is.
    expected: Option<u64>,
    /// What was in the stream when this began, up to there.
    target: u64,
    /// The first message that was in the stream when this began.
    first: u64,
    /// The log is of another stream, whose end is not known, or of what this one has lost.
    is_another: bool,
    opened: Instant,
    /// Since when the stream has been ahead, and nothing comes.
    behind_since: Option<Instant>,
}

impl Feed {
    /// Goes on behind the last message that is in the log. A hub that has read nothing yet begins so far back that its replay buffer is full.
    pub(super) async fn open(
        link: &Arc<Link>,
        core: &HubCore,
        session: &Session,
        info: &Info,
    ) -> Result<Self, Reason> {
        let Progress { ids, sequence, tick, .. } = link.progress();
        let is_same = ids == Some(session.ids);
        // Its servers have lost what they had not written down: it gives those numbers anew.
        let is_set_back = is_same
            && (info.state.last_sequence < sequence
                || session.is_given_anew(sequence, tick).await?);
        let goes_on = is_same && !is_set_back;
        if is_set_back {
            link.set_back_acknowledged(session.ids, info.state.last_sequence);
        }
        let reading = link.demand.as_ref().map(|demand| demand.begin(|| link.mark()));
        let subjects = link.subjects();
        let start = match ids {
            Some(_) if goes_on => sequence + 1,
            Some(_) if is_set_back => {
                let first = first_since(session, &subjects, tick.next().time()).await?;
                first.unwrap_or(info.state.last_sequence + 1)
            }
            Some(_) => info.state.first_sequence.max(1),
            None => preload(&info.state, core.config.replay_bytes),
        };
        let (messages, consumer) = messages(session, &subjects, start).await?;
        Ok(Self {
            link: Arc::clone(link),
            session: session.clone(),
            subjects,
            narrowing: Narrowing::new(reading),
            messages,
            consumer,
            start,
            consumer_sequence: 1,
            expected: goes_on.then_some(start),
            first: info.state.first_sequence,
            target: if info.state.messages == 0 { 0 } else { info.state.last_sequence },
            is_another: ids.is_some() && !goes_on,
            opened: Instant::now(),
            behind_since: None,
        })
    }

    /// There may be nothing to read.
    pub(super) fn begin(&mut self, core: &HubCore, state: &State) -> Result<(), Reason> {
        if self.expected.is_none() && !self.is_another && self.start > state.last_sequence {
            let tick = Tick::of(time_of(state.last_timestamp)?);
            self.begin_log(core, self.start, tick);
        }
        self.note_joined(self.read_through());
        Ok(())
    }

    /// The log begins with this message, which comes after this tick: what came before it is only in the stream.
    fn begin_log(&mut self, core: &HubCore, sequence: u64, tick: Tick) {
        let ids = self.session.ids;
        core.log.begin_after(ids.id(tick, Place::before(sequence)));
        self.expected = Some(sequence);
        let (ids, sequence) = (Some(ids), sequence - 1);
        self.link.progress.send_replace(Progress { ids, sequence, tick, lag: 0 });
    }

    /// Whether it has lasted: one that has not is not opened again at once.
    pub(super) fn has_lasted(&self) -> bool {
        self.opened.elapsed() >= WAIT
    }

    /// The last message that need not come any more.
    fn read_through(&self) -> u64 {
        self.expected.unwrap_or(self.start).saturating_sub(1)
    }

    /// Puts some messages into the log, if there are any within a moment.
    pub(super) async fn turn(&mut self, core: &HubCore) -> Result<(), Reason> {
        let link = Arc::clone(&self.link);
        let due = self.narrowing.change_is_due(&link);
        let first = tokio::select! {
            message = timeout(WAIT, self.messages.next()) => message,
            () = link.wake.notified() => return link.check_connected(),
            () = due => return Ok(()),
        };
        let Ok(first) = first else {
            return self.look(core).await;
        };
        self.behind_since = None;
        let mut messages = vec![first];
        while messages.len() < TURN
            && let Some(next) = self.messages.next().now_or_never()
        {
            messages.push(next);
        }
        if !self.subjects.are_all() && link.progress().lag > 0 {
            // The stream may discard faster than this hub reads.
            self.first = self.session.state().await?.first_sequence;
        }
        for message in messages {
            match message {
                Some(Ok(message)) => self.take(core, &message).await?,
                Some(Err(error)) => return Err(told("the stream cannot be read", &error)),
                None => return Err("the consumer is gone".to_owned()),
            }
        }
        Ok(())
    }

    /// Nothing comes: then there is nothing, or the server that keeps the consumer has fallen behind the others.
    async fn look(&mut self, core: &HubCore) -> Result<(), Reason> {
        let state = self.session.state().await?;
        if state.last_sequence < self.read_through() {
            return Err("the stream has been set back".to_owned());
        }
        let read = self.read_through();
        let known = state.last_sequence.max(self.link.acknowledged(&self.session.ids));
        if known <= read || self.session.last_sequence(&self.subjects).await? <= read {
            self.behind_since = None;
            self.link.progress.send_modify(|progress| progress.lag = 0);
            self.note_nothing_more(core, &state)?;
            self.link.join();
            return Ok(());
        }
        self.link.progress.send_modify(|progress| progress.lag = known - read);
        let since = *self.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() < BEHIND_FOR {
            return Ok(());
        }
        Err("the server that this hub reads from has fallen behind the others".to_owned())
    }

    /// What the stream has up to here, and has not brought, is not for this hub.
    fn note_nothing_more(&mut self, core: &HubCore, state: &State) -> Result<(), Reason> {
        let next = state.last_sequence + 1;
        match self.expected {
            None if self.is_another => {}
            None => {
                self.begin_log(core, next, Tick::of(time_of(state.last_timestamp)?));
            }
            Some(expected) if self.subjects.are_all() || next <= expected => {}
            // Until something comes, nobody can tell whether that was for this hub.
            Some(expected) if state.first_sequence > expected => self.first = state.first_sequence,
            Some(_) => {
                let tick = Tick::of(time_of(state.last_timestamp)?);
                self.expected = Some(next);
                self.link.progress.send_modify(|progress| {
                    progress.sequence = next - 1;
                    progress.tick = progress.tick.max(tick);
                });
            }
        }
        Ok(())
    }

    async fn take(&mut self, core: &HubCore, message: &Message) -> Result<(), Reason> {
        let info = message.info().map_err(|error| format!("not a message of a stream: {error}"))?;
        let sequence = info.stream_sequence;
        if info.consumer_sequence != self.consumer_sequence {
            return Err("messages were lost on their way from the server".to_owned());
        }
        self.consumer_sequence += 1;
        self.link.counters.received.add(1);
        #[cfg(feature = "fault-injection")]
        core.faults.messages.step();
        if self.expected.is_some_and(|expected| sequence < expected) {
            self.link.counters.redelivered.add(1);
            return Ok(());
        }
        let arrived = time_of(info.published)?;
        // A server's clock may be behind that of the one before it: ids increase all the same.
        let tick = Tick::of(arrived).max(self.link.progress().tick.next());
        self.tell_holes(core, sequence, tick);
        match subject::carries(&self.link.config.prefix, &message.subject) {
            Carries::Events => {
                let events = wire::decode(&message.payload);
                let events =
                    events.unwrap_or_else(|error| self.cannot_read(message, sequence, &error));
                self.accept(core, events, sequence, tick, arrived).await?;
            }
            Carries::Measurements => {
                // Others first: from here on until it is noted, nobody must come between.
                tokio::task::yield_now().await;
                self.record(core, message, sequence, arrived);
            }
            Carries::HubSeries => {}
        }
        (self.expected, self.first) = (Some(sequence + 1), 0);
        self.link.progress.send_replace(Progress {
            ids: Some(self.session.ids),
            sequence,
            tick,
            lag: info.pending,
        });
        self.note_joined(sequence);
        Ok(())
    }

    /// Sees to it that those who watch are told if messages have gone before this hub could read them.
    fn tell_holes(&mut self, core: &HubCore, sequence: u64, tick: Tick) {
        let ids = self.session.ids;
        let lost = || {
            let from = core.log.last_id();
            let to = ids.id(tick.previous(), Place::before(sequence));
            // If that is the very next tick, ids are in no order.
            Expired { from: Some(from), to: Some(to).filter(|to| *to > from) }
        };
        match self.expected {
            Some(expected)
                if sequence > expected && (self.subjects.are_all() || self.first > expected) =>
            {
                self.link.counters.holes.add(1);
                tracing::warn!(
                    from = expected,
                    to = sequence - 1,
                    "messages of the stream are gone"
                );
                core.log.note_lost(lost());
            }
            Some(_) => {}
            None if self.is_another => {
                self.is_another = false;
                self.link.counters.holes.add(1);
                tracing::warn!("the stream is another one than before");
                core.log.renew(lost());
            }
            None => self.begin_log(core, sequence, tick.previous()),
        }
    }

    /// Records what sources have measured.
    fn record(&self, core: &HubCore, message: &Message, sequence: u64, arrived: Timestamp) {
        let measurements = measurements::decode(&message.payload);
        let measurements =
            measurements.unwrap_or_else(|error| self.cannot_read(message, sequence, &error));
        for measurement in measurements {
            if !core.record_from_stream(measurement, arrived) {
                self.link.counters.unreadable.add(1);
            }
        }
    }

    fn cannot_read<T>(
        &self,
        message: &Message,
        sequence: u64,
        error: &serde_json::Error,
    ) -> Vec<T> {
        tracing::warn!(%error, sequence, subject = %message.subject, "a message of the stream is not of a hub's making");
        self.link.counters.unreadable.add(1);
        Vec::new()
    }

    async fn accept(
        &self,
        core: &HubCore,
        events: Vec<NewEvent>,
        sequence: u64,
        tick: Tick,
        arrived: Timestamp,
    ) -> Result<(), Reason> {
        let mut arrivals = Vec::with_capacity(events.len());
        let mut bytes = 0;
        // Who read it before may have come to its end in the middle of it.
        let last = core.log.last_id();
        let ids = self.session.ids.of_message(tick, sequence, events.len());
        for (event, (id, place)) in events.into_iter().zip(ids) {
            if id <= last {
                continue;
            }
            // Larger than the hub's own limits, which another one may not have: then it fills the queue by itself.
            let size = event.size().min(core.config.ingest_queue_bytes);
            if bytes + size > core.config.ingest_queue_bytes {
                hand_over(core, std::mem::take(&mut arrivals), bytes).await?;
                bytes = 0;
            }
            bytes += size;
            arrivals.push(Arrival {
                id,
                offset: place.number(),
                arrived,
                content: Content::Given(event),
                size,
            });
        }
        hand_over(core, arrivals, bytes).await
    }

    fn note_joined(&self, sequence: u64) {
        if sequence >= self.target {
            self.link.join();
        }
    }
}

async fn hand_over(core: &HubCore, arrivals: Vec<Arrival>, bytes: usize) -> Result<(), Reason> {
    core.take_from_stream(arrivals, bytes).await.map_err(|error| error.to_string())
}

/// What a consumer brings from a message on, and its name.
async fn messages(
    session: &Session,
    subjects: &Subjects,
    start: u64,
) -> Result<(pull::Stream, String), Reason> {
    let consumer = consumer(session, subjects, from_sequence(start), FORGOTTEN_AFTER).await?;
    let most = BYTES.max(2 * session.max_payload);
    let builder = consumer.stream().max_messages_per_batch(MESSAGES).max_bytes_per_batch(most);
    let messages = builder.heartbeat(HEARTBEAT).expires(REQUEST).messages().await;
    let messages = messages.map_err(|error| told("the stream cannot be read", &error))?;
    Ok((messages, consumer.cached_info().name.clone()))
}
