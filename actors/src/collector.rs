//! The collector: takes accepted events from the log, in batches, and sends each batch to the subscribers that may want
//! something of it.
//!
//! Supervision: a *permanent* child of [`Hub`](crate::hub::Hub). All that it works on lives in [`HubCore`], so that a new
//! one goes on at the very batch and the very subscriber where the old one broke off. It waits for nobody; it stops only
//! when it is [`Credit`](crate::hub_core::Credit) ahead of the subscribers, and lets others have their turn after every few
//! subscribers: a batch for ten thousand must not keep a request waiting.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::time::Instant;

use crate::event_log::{Backlog, EventBatch, Expired};
use crate::filter_group::{Delivery, FilterGroup};
use crate::hub_core::{CreditNote, HubCore};
use crate::match_index::{Candidate, Router};
use crate::matches::InFlight;
use crate::subscriber::{SubscriberId, SubscriberMessage};
use crate::timer::Timer;
use crate::turn::{Progress, TURN, next_turn};

/// However long it takes to hand out a batch: what is watched live must not be older than a blink.
const LONGEST_LINGER: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) enum CollectorMessage {
    /// There may be something to route; it is routed within the linger.
    EventsAccepted,
    /// Routes a part of a batch, and comes back for the next.
    Route,
    /// Replies, to show that it can.
    GetHealth(RpcReplyPort<()>),
    /// Fails on purpose.
    #[cfg(feature = "fault-injection")]
    Panic,
    /// Never comes back.
    #[cfg(feature = "fault-injection")]
    Hang,
}

pub(crate) struct Collector;

pub(crate) struct CollectorState {
    core: Arc<HubCore>,
    router: Router,
    /// What is being sent.
    fan_out: Option<FanOut>,
    last_routed: Option<Instant>,
    timer: Option<Timer>,
}

/// A batch on its way to all whom it may concern.
struct FanOut {
    batch: Arc<EventBatch>,
    in_flight: Arc<InFlight>,
    credit: Arc<CreditNote>,
    /// The groups that have not been told what is gone before it: all of them, as nobody knows whom it concerned.
    untold: std::vec::IntoIter<Arc<FilterGroup>>,
    /// The groups that have not been sent it.
    candidates: std::vec::IntoIter<Candidate>,
    /// The group that is being sent it.
    current: Option<GroupFanOut>,
}

/// What is on its way to the members of a group.
struct GroupFanOut {
    group: Arc<FilterGroup>,
    parcel: Parcel,
    /// The last one that was sent it.
    last: Option<SubscriberId>,
}

enum Parcel {
    Lost(Expired),
    Batch(Arc<Delivery>),
}

/// When to route the next batch.
enum When {
    Now,
    At(Instant),
    /// When somebody wakes the collector.
    Later,
}

impl Actor for Collector {
    type Msg = CollectorMessage;
    type State = CollectorState;
    type Arguments = Arc<HubCore>;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        core: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(CollectorState::new(core))
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CollectorMessage::EventsAccepted => state.schedule(&myself),
            CollectorMessage::Route => match state.route() {
                Progress::Underway => next_turn(&myself, CollectorMessage::Route).await,
                Progress::Done => state.schedule(&myself),
            },
            CollectorMessage::GetHealth(reply) => {
                reply.send(()).ok();
            }
            #[cfg(feature = "fault-injection")]
            CollectorMessage::Panic => panic!("a test asked for it"),
            #[cfg(feature = "fault-injection")]
            CollectorMessage::Hang => std::future::pending().await,
        }
        Ok(())
    }
}

impl CollectorState {
    fn new(core: Arc<HubCore>) -> Self {
        let router = Router::default();
        Self { core, router, fan_out: None, last_routed: None, timer: None }
    }

    /// Sees to it that what is left will be routed.
    fn schedule(&mut self, myself: &ActorRef<CollectorMessage>) {
        if self.fan_out.is_some() {
            // It comes here when it is done.
            return;
        }
        // There may be room again, and no event may come that would bring the news.
        self.core.tell_dropped();
        match self.when_to_route() {
            // A collector that cannot send to itself is being stopped.
            When::Now => {
                myself.cast(CollectorMessage::Route).ok();
            }
            When::At(instant) => {
                let delay = instant - Instant::now();
                self.timer = Some(Timer::start(delay, myself, || CollectorMessage::Route));
            }
            When::Later => {}
        }
    }

    /// At once what has waited for a batch of its own, else within the linger; never further ahead than credit goes.
    fn when_to_route(&self) -> When {
        let backlog = self.core.log.backlog();
        if backlog == Backlog::Nothing || !self.core.credit.is_left() {
            // From here on a wake is possible again. One that was needed a moment ago has not come: look once more.
            self.core.release_wake();
            self.core.tell_dropped();
            let is_due = self.core.log.backlog() != Backlog::Nothing && self.core.credit.is_left();
            return if is_due && self.core.claim_wake() { When::Now } else { When::Later };
        }
        let due = self.last_routed.map(|last| last + self.linger());
        match due {
            Some(due) if due > Instant::now() && backlog == Backlog::Open => When::At(due),
            _ => When::Now,
        }
    }

    /// How long a batch may grow: as long as it takes to hand one out, where that is longer than the linger. A hub that is busy to the
    /// brim serves nobody sooner by sending its events one by one, and each costs a write for each subscriber. With half as long
    /// again, 1,000 subscribers waited for events that came every 10 ms (median 10.6 instead of 6 ms).
    fn linger(&self) -> Duration {
        let linger = self.core.config.linger;
        if linger.is_zero() {
            return linger;
        }
        linger.max(self.core.credit.took().min(LONGEST_LINGER))
    }

    /// Sends the next part of the batch that is under way, or of the oldest that is not routed yet.
    fn route(&mut self) -> Progress {
        let Some(mut fan_out) = self.fan_out.take().or_else(|| self.begin()) else {
            return Progress::Done;
        };
        if self.send_some(&mut fan_out) == Progress::Underway {
            self.fan_out = Some(fan_out);
            return Progress::Underway;
        }
        let batch = fan_out.batch;
        // Late, but not on a thread that logs: looking for the counter takes as long as asking for the time.
        for kind in batch.events.iter().filter_map(|event| event.content.kind_taken_down()) {
            self.core.metrics.count_event(kind);
        }
        self.core.log.mark_routed(&batch);
        self.core.ingest_room.add_permits(batch.bytes);
        Progress::Done
    }

    /// Finds out whom the oldest batch may concern that is not routed yet.
    fn begin(&mut self) -> Option<FanOut> {
        let batch = self.core.log.next_unrouted()?;
        self.last_routed = Some(Instant::now());
        let index = &self.core.groups.index;
        index.keep_up();
        let candidates = self.router.candidates(index, &batch).into_iter();
        let in_flight = InFlight::new(batch.events.len(), &self.core.in_flight);
        let credit = CreditNote::take(&self.core);
        let untold = batch.lost.map_or_else(Vec::new, |_| self.core.groups.all()).into_iter();
        Some(FanOut { batch, in_flight, credit, untold, candidates, current: None })
    }

    /// Sends the batch to the next few subscribers that have not got it yet.
    fn send_some(&self, fan_out: &mut FanOut) -> Progress {
        let mut left = TURN;
        while left > 0 {
            let Some(mut current) = fan_out.current.take().or_else(|| fan_out.next_group()) else {
                return Progress::Done;
            };
            let sent = self.send_to_members(&mut current, fan_out, left);
            left -= sent;
            if left == 0 {
                // Whether that was the last of the group, the next turn will find.
                fan_out.current = Some(current);
            }
        }
        Progress::Underway
    }

    /// Sends a parcel to up to `most` members of a group. Returns to how many; less than `most` means that there are no more.
    fn send_to_members(&self, current: &mut GroupFanOut, fan_out: &FanOut, most: usize) -> usize {
        let position = fan_out.batch.position;
        let from = current.last.map_or(Bound::Unbounded, Bound::Excluded);
        let members = current.group.members();
        let waiting = members.range((from, Bound::Unbounded));
        let mut sent = 0;
        for (id, member) in waiting.filter(|(_, member)| member.wants(position)).take(most) {
            #[cfg(feature = "fault-injection")]
            self.core.faults.deliveries.step();
            let message = match &current.parcel {
                Parcel::Lost(lost) => SubscriberMessage::Lost(*lost),
                Parcel::Batch(delivery) => {
                    member.advance_past(position);
                    let (delivery, credit) = (Arc::clone(delivery), Arc::clone(&fan_out.credit));
                    SubscriberMessage::Deliver { delivery, credit }
                }
            };
            // One that is gone has left, or is about to leave, the group.
            member.subscriber.cast(message).ok();
            current.last = Some(*id);
            sent += 1;
        }
        sent
    }
}

impl FanOut {
    /// The next parcel. First all are told what is gone; then the batch is put in line for one group after another that has somebody
    /// waiting for it.
    fn next_group(&mut self) -> Option<GroupFanOut> {
        if let (Some(lost), Some(group)) = (self.batch.lost, self.untold.next()) {
            return Some(GroupFanOut { group, parcel: Parcel::Lost(lost), last: None });
        }
        loop {
            let Candidate { group, concern } = self.candidates.next()?;
            // Under the lock: who leaves a group evaluates what is in line for it.
            let members = group.members();
            if members.values().any(|member| member.wants(self.batch.position)) {
                let delivery = group.enqueue(&self.batch, concern, &self.in_flight);
                drop(members);
                return Some(GroupFanOut { group, parcel: Parcel::Batch(delivery), last: None });
            }
        }
    }
}

#[cfg(test)]
#[cfg(model)]
mod model;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::config::HubConfig;
    use crate::event::{Content, NewEvent};
    use crate::filter_group::GroupHandle;
    use crate::lock;
    use crate::query::TraceQuery;
    use crate::subscriber::{Member, SubscriberId};

    #[tokio::test]
    async fn it_goes_no_further_ahead_than_credit_goes() {
        let core = Arc::new(HubCore::new(HubConfig::default()));
        core.log.accept([(Content::Given(NewEvent::new("a")), 100)], jiff::Timestamp::now());
        let collector = CollectorState::new(Arc::clone(&core));
        let mut notes = Vec::new();
        while core.credit.is_left() {
            assert!(matches!(collector.when_to_route(), When::Now));
            notes.push(CreditNote::take(&core));
        }
        assert!(matches!(collector.when_to_route(), When::Later));
        notes.pop();
        assert!(matches!(collector.when_to_route(), When::Now));
    }

    #[tokio::test(start_paused = true)]
    async fn batches_grow_for_as_long_as_it_takes_to_hand_them_out() {
        let core = Arc::new(HubCore::new(HubConfig::default()));
        let collector = CollectorState::new(Arc::clone(&core));
        for (took, linger) in [(0, 5), (2, 5), (20, 20), (1000, 100), (0, 5)] {
            let note = CreditNote::take(&core);
            tokio::time::advance(Duration::from_millis(took)).await;
            drop(note);
            assert_eq!(collector.linger(), Duration::from_millis(linger), "after {took} ms");
        }
        let core =
            Arc::new(HubCore::new(HubConfig { linger: Duration::ZERO, ..HubConfig::default() }));
        assert_eq!(CollectorState::new(core).linger(), Duration::ZERO);
    }

    /// Notes what it is sent.
    struct Recorder;

    type Records = Arc<Mutex<Vec<&'static str>>>;

    impl Actor for Recorder {
        type Msg = SubscriberMessage;
        type State = Records;
        type Arguments = Records;

        async fn pre_start(
            &self,
            _myself: ActorRef<Self::Msg>,
            records: Self::Arguments,
        ) -> Result<Self::State, ActorProcessingErr> {
            Ok(records)
        }

        async fn handle(
            &self,
            _myself: ActorRef<Self::Msg>,
            message: Self::Msg,
            records: &mut Self::State,
        ) -> Result<(), ActorProcessingErr> {
            lock(records).push(match message {
                SubscriberMessage::Deliver { .. } => "batch",
                SubscriberMessage::Lost(_) => "lost",
                other => panic!("{other:?}"),
            });
            Ok(())
        }
    }

    /// A subscriber that has joined the live events, with its place in its group.
    struct Watcher(ActorRef<SubscriberMessage>, Records, GroupHandle);

    impl Watcher {
        async fn join(core: &HubCore, id: u64, query: &str) -> Self {
            let group = core.groups.join(TraceQuery::parse(query, None).unwrap().filter);
            let records = Records::default();
            let (actor, _) = Actor::spawn(None, Recorder, Arc::clone(&records)).await.unwrap();
            let member = Arc::new(Member::new(actor.clone(), core.log.seal()));
            group.members().insert(SubscriberId(id), member);
            Self(actor, records, group)
        }

        async fn records(self) -> Vec<&'static str> {
            let Self(actor, records, _group) = self;
            actor.drain_and_wait(None).await.unwrap();
            let records = lock(&records);
            records.clone()
        }
    }

    #[tokio::test]
    async fn only_those_whom_a_batch_may_concern_are_sent_it() {
        let core = Arc::new(HubCore::new(HubConfig::default()));
        let mut collector = CollectorState::new(Arc::clone(&core));
        let mut watchers = Vec::new();
        let queries = ["type=a", "type=b&follow=none", "type=c", "type=b&follow=none", ""];
        for (id, query) in (0..).zip(queries) {
            watchers.push(Watcher::join(&core, id, query).await);
        }
        // Each a batch of its own. The third belongs to the span of the first.
        for (kind, span) in [("a", "s"), ("b", "t"), ("d", "s"), ("d", "t")] {
            let event = Content::Given(NewEvent::new(kind).span(span));
            core.log.accept([(event, 100)], jiff::Timestamp::now());
            while collector.route() == Progress::Underway {}
        }
        let mut counts = Vec::new();
        for watcher in watchers {
            counts.push(watcher.records().await.len());
        }
        assert_eq!(counts, [2, 1, 0, 1, 4]);
    }

    #[cfg(feature = "nats")]
    #[tokio::test]
    async fn all_are_told_what_is_gone_a_few_in_a_turn_and_before_what_comes() {
        let core = Arc::new(HubCore::new(HubConfig::default()));
        let mut collector = CollectorState::new(Arc::clone(&core));
        let (mut concerned, mut others) = (Vec::new(), Vec::new());
        for id in 0..100 {
            concerned.push(Watcher::join(&core, id, "type=a").await);
            others.push(Watcher::join(&core, 100 + id, "type=b").await);
        }
        core.log.note_lost(Expired { from: None, to: None });
        core.log.accept([(Content::Given(NewEvent::new("a")), 100)], jiff::Timestamp::now());
        let latecomer = Watcher::join(&core, 200, "type=a").await;
        let mut turns = 1;
        while collector.route() == Progress::Underway {
            turns += 1;
        }
        assert_eq!(turns, (200 + 100) / TURN + 1);
        for watcher in concerned {
            assert_eq!(watcher.records().await, ["lost", "batch"]);
        }
        for watcher in others {
            assert_eq!(watcher.records().await, ["lost"]);
        }
        assert_eq!(latecomer.records().await, [""; 0]);
    }

    #[cfg(feature = "tracing")]
    #[tokio::test]
    async fn event_dropped_while_it_goes_to_sleep_is_told() {
        let core = Arc::new(HubCore::new(HubConfig::default()));
        let collector = CollectorState::new(Arc::clone(&core));
        assert!(core.claim_wake());
        core.drop_event();
        // Nothing is to be routed, and a wake was needed and has not come.
        collector.when_to_route();
        assert_eq!(core.log.backlog(), Backlog::Open);
        assert!(!core.claim_wake(), "the news has woken the collector");
    }
}
