//! One subscriber: applies a client's filter and owns the sending half of its SSE channel.
//!
//! Supervision: a *temporary* child of [`Hub`](crate::hub::Hub), never restarted. The receiving half lives in an HTTP
//! response that nobody can rebuild: the stream ends, and the client reconnects and resumes by `Last-Event-ID`.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::demand::Wanted;
use crate::event::EventId;
use crate::event_log::Expired;
use crate::filter_group::{Delivery, GroupHandle};
use crate::hub_core::{CreditNote, HubCore, SubscriberCount};
use crate::outbox::{Offer, Outbox};
use crate::query::{MaxRate, Replay};
use crate::rate_limit::{RateLimit, Thinned};
use crate::replay::{Replayer, Step, tell_expired};
use crate::sse::{self, Bye, ByeReason};
use crate::timer::Timer;
use crate::transport::{Archive, Fetched};

#[derive(Debug)]
pub(crate) enum SubscriberMessage {
    /// Queues what the filter wants of a batch, or counts it as missed. Never waits for the client.
    Deliver { delivery: Arc<Delivery>, credit: Arc<CreditNote> },
    /// All that is wanted comes into the log from now on; it has all of it from this place on, if that is later than its beginning. The
    /// subscription is granted, and a replay that has waited for that begins.
    Covered(Option<EventId>),
    /// Queues the next page of a replay, and joins the live events after the last.
    Replay,
    /// Goes on with a replay by what was fetched for it.
    Fetched(Box<dyn Archive>, Fetched),
    /// Says that something is gone that should have come now.
    Lost(Expired),
    /// Says why the stream ends, after all that is queued.
    Close(ByeReason),
    /// Ends the stream of a client that does not read: what is queued is missed.
    Cut,
    /// Fails on purpose.
    #[cfg(feature = "fault-injection")]
    Panic,
}

/// Tells the subscribers of one hub apart, of events and of metrics, in the order of their coming. None is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SubscriberId(pub(crate) u64);

impl FromStr for SubscriberId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A subscriber as the collector knows it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) subscriber: ActorRef<SubscriberMessage>,
    /// The position of the first batch that it has not been sent.
    position: AtomicU64,
}

impl Member {
    pub(crate) fn new(subscriber: ActorRef<SubscriberMessage>, position: u64) -> Self {
        Self { subscriber, position: AtomicU64::new(position) }
    }

    pub(crate) fn wants(&self, position: u64) -> bool {
        self.position.load(Ordering::Relaxed) <= position
    }

    pub(crate) fn advance_past(&self, position: u64) {
        self.position.store(position + 1, Ordering::Relaxed);
    }
}

pub(crate) struct Subscriber;

pub(crate) struct SubscriberArguments {
    pub(crate) id: SubscriberId,
    pub(crate) core: Arc<HubCore>,
    pub(crate) group: GroupHandle,
    /// What it wants of a stream of which this hub reads no more than somebody wants.
    pub(crate) wanted: Option<Wanting>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) replay: Option<Replay>,
    pub(crate) max_rate: Option<MaxRate>,
}

/// What a subscriber waits for before it is granted.
#[derive(Debug)]
pub(crate) struct Wanting {
    pub(crate) wanted: Arc<Wanted>,
    /// Dropped when it is granted, or has ended.
    pub(crate) grant: oneshot::Sender<()>,
}

pub(crate) struct SubscriberState {
    id: SubscriberId,
    core: Arc<HubCore>,
    group: GroupHandle,
    outbox: Arc<Outbox>,
    /// Until the replay begins.
    replay: Option<Replay>,
    /// Until it is over.
    replayer: Option<Replayer>,
    /// When a replay goes on that waits for something else than its client.
    timer: Option<Timer>,
    /// Holds for what is live.
    rate_limit: Option<RateLimit>,
    /// Why the stream ends once the replay is over.
    closing: Option<ByeReason>,
    /// Until it has ended.
    wanted: Option<Arc<Wanted>>,
    /// Until it is granted.
    grant: Option<oneshot::Sender<()>>,
    _count: SubscriberCount,
}

/// What a batch did to the subscriber.
enum Delivered {
    Open,
    Stalled,
}

impl Actor for Subscriber {
    type Msg = SubscriberMessage;
    type State = SubscriberState;
    type Arguments = SubscriberArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut state = SubscriberState::new(arguments);
        state.begin(&myself)?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SubscriberMessage::Deliver { delivery, credit } => {
                let delivered = state.deliver(&delivery);
                drop(credit);
                match delivered {
                    Delivered::Open => {}
                    Delivered::Stalled => state.cut(),
                }
            }
            SubscriberMessage::Covered(since) => {
                state.begin_replay(&myself, since)?;
                state.grant = None;
            }
            SubscriberMessage::Replay => {
                let step = state.replay(&myself);
                state.go_on(&myself, step).await?;
            }
            SubscriberMessage::Fetched(archive, fetched) => {
                let step = state.take_fetched(archive, fetched);
                state.go_on(&myself, step).await?;
            }
            SubscriberMessage::Lost(lost) => {
                tell_expired(&state.core, &state.group, &state.outbox, lost, None);
            }
            SubscriberMessage::Close(reason) => state.close(reason),
            SubscriberMessage::Cut => state.cut(),
            #[cfg(feature = "fault-injection")]
            SubscriberMessage::Panic => panic!("a test asked for it"),
        }
        Ok(())
    }
}

impl SubscriberState {
    fn new(arguments: SubscriberArguments) -> Self {
        let SubscriberArguments { id, core, group, wanted, outbox, replay, max_rate } = arguments;
        outbox.set_replaying(replay.is_some());
        let (wanted, grant) = wanted.map(|Wanting { wanted, grant }| (wanted, grant)).unzip();
        let count = SubscriberCount::take(&core);
        let rate_limit = max_rate.map(RateLimit::new);
        Self {
            id,
            core,
            group,
            outbox,
            replay,
            replayer: None,
            timer: None,
            rate_limit,
            closing: None,
            wanted,
            grant,
            _count: count,
        }
    }

    /// Joins the live events, or sees to it that a replay begins: if not all that is wanted is read, once it is.
    fn begin(&mut self, myself: &ActorRef<SubscriberMessage>) -> Result<(), ActorProcessingErr> {
        if self.replay.is_none() {
            self.join_live(myself);
        }
        let Some(wanted) = &self.wanted else {
            return self.begin_replay(myself, None);
        };
        let (core, wanted) = (Arc::clone(&self.core), Arc::clone(wanted));
        self.timer = Some(Timer::when(myself, async move {
            SubscriberMessage::Covered(core.covered(&wanted).await)
        }));
        Ok(())
    }

    /// If there is to be one.
    fn begin_replay(
        &mut self,
        myself: &ActorRef<SubscriberMessage>,
        covered_since: Option<EventId>,
    ) -> Result<(), ActorProcessingErr> {
        // It may have been ended meanwhile.
        if let Some(replay) = self.replay.take() {
            let (core, group, outbox) = (&self.core, &self.group, &self.outbox);
            self.replayer = Some(Replayer::new(core, group, outbox, replay, covered_since));
            myself.cast(SubscriberMessage::Replay)?;
        }
        Ok(())
    }

    /// Sees to it that a replay goes on.
    async fn go_on(
        &mut self,
        myself: &ActorRef<SubscriberMessage>,
        step: Step,
    ) -> Result<(), ActorProcessingErr> {
        match step {
            Step::Again => {
                // A long replay gives the others their turn after each page.
                tokio::task::yield_now().await;
                myself.cast(SubscriberMessage::Replay)?;
            }
            Step::Fetch(archive) => {
                self.timer = Some(Timer::when(myself, async {
                    let (archive, fetched) = archive.next_page().await;
                    SubscriberMessage::Fetched(archive, fetched)
                }));
            }
            Step::Later(delay) => {
                self.timer = Some(Timer::start(delay, myself, || SubscriberMessage::Replay));
            }
            Step::Wait | Step::Done => {}
        }
        Ok(())
    }

    fn take_fetched(&mut self, archive: Box<dyn Archive>, fetched: Fetched) -> Step {
        match &mut self.replayer {
            Some(replayer) => {
                replayer.take_fetched(archive, fetched, &self.core, &self.group, &self.outbox)
            }
            // It was ended meanwhile.
            None => Step::Done,
        }
    }

    /// From now on gets what is accepted from now on.
    fn join_live(&self, myself: &ActorRef<SubscriberMessage>) {
        // Under the lock: a batch closed after this position finds the member there.
        let mut members = self.group.members();
        let position = self.core.log.seal();
        members.insert(self.id, Arc::new(Member::new(myself.clone(), position)));
    }

    fn deliver(&mut self, delivery: &Delivery) -> Delivered {
        let matches = self.group.evaluate(delivery);
        let Thinned { kept, left_out } = match &mut self.rate_limit {
            Some(limit) => limit.thin(matches, Instant::now()),
            None => Thinned { kept: matches, left_out: None },
        };
        let offer = self.outbox.offer(kept);
        if let Some(left_out) = left_out {
            self.outbox.leave_out(left_out);
        }
        match offer {
            Offer::Queued | Offer::Missed => Delivered::Open,
            Offer::Stalled => Delivered::Stalled,
        }
    }

    fn replay(&mut self, myself: &ActorRef<SubscriberMessage>) -> Step {
        let Some(replayer) = &mut self.replayer else {
            return Step::Done;
        };
        let step = replayer.step(&self.core, &self.group, &self.outbox, |members, position| {
            members.insert(self.id, Arc::new(Member::new(myself.clone(), position)));
        });
        if matches!(step, Step::Done) {
            self.replayer = None;
            self.outbox.set_replaying(false);
            if let Some(reason) = self.closing.take() {
                self.close(reason);
            }
        }
        step
    }

    /// A replay is finished first, if its client may still have it: the log that it reads may be gone when the client comes back. A
    /// stream that other hubs read as well will be there: then the client goes on at one of them.
    fn close(&mut self, reason: ByeReason) {
        match reason {
            // It is to end now: what is queued is missed.
            ByeReason::ExpiredToken | ByeReason::ClosedByAdmin => {
                self.end_replay();
                self.outbox.cut(self.bye(reason));
                self.leave();
            }
            ByeReason::Shutdown | ByeReason::Stalled
                if self.replayer.is_some() && self.core.broker().is_none() =>
            {
                self.closing = Some(reason);
            }
            ByeReason::Shutdown | ByeReason::Stalled => {
                self.end_replay();
                self.outbox.finish(self.bye(reason));
                self.leave();
            }
        }
    }

    fn cut(&mut self) {
        if self.outbox.has_ended() {
            return;
        }
        // Whoever cannot take what is live need not be read the past.
        self.end_replay();
        self.closing = None;
        tracing::warn!(filter = %self.group.filter(), "a subscriber was cut: it did not read");
        self.core.counters.stalled.add(1);
        self.outbox.cut(self.bye(ByeReason::Stalled));
        self.leave();
    }

    /// Nothing is replayed any more, and nothing wanted.
    fn end_replay(&mut self) {
        (self.replay, self.replayer, self.timer) = (None, None, None);
        (self.wanted, self.grant) = (None, None);
    }

    fn bye(&self, reason: ByeReason) -> Bye {
        Bye { reason, retry: sse::jittered(self.core.config.retry) }
    }

    fn leave(&self) {
        self.group.members().remove(&self.id);
        self.group.catch_up();
    }
}

/// Whatever ended the subscriber, the collector forgets it and its stream ends.
impl Drop for SubscriberState {
    fn drop(&mut self) {
        self.leave();
        self.outbox.end();
    }
}
