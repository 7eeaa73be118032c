//! The collector: takes accepted events from the log, in batches, and sends each batch to the subscribers that may want
//! something of it.
//!
//! Supervision: a *permanent* child of [`Hub`](crate::hub::Hub). All that it works on lives in [`HubCore`], so that a new
//! one goes on at the very batch and the very subscriber where the old one broke off. It waits for nobody; it stops only
//! when it is [`Credit`](crate::hub_core::Credit) ahead of the subscribers.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::time::Instant;

use crate::event_log::{Backlog, EventBatch};
use crate::hub_core::{CreditNote, HubCore};
use crate::match_index::{Candidate, Router};
use crate::matches::InFlight;
use crate::subscriber::SubscriberMessage;
use crate::timer::Timer;

#[derive(Debug)]
pub(crate) enum CollectorMessage {
    /// There may be something to route; it is routed within the linger.
    EventsAccepted,
    /// Routes a batch, and comes back for the next.
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
    last_routed: Option<Instant>,
    timer: Option<Timer>,
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
            CollectorMessage::Route => {
                state.route_batch();
                state.schedule(&myself);
            }
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
        Self { core, router: Router::default(), last_routed: None, timer: None }
    }

    /// Sees to it that what is left will be routed.
    fn schedule(&mut self, myself: &ActorRef<CollectorMessage>) {
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
        let due = self.last_routed.map(|last| last + self.core.config.linger);
        match due {
            Some(due) if due > Instant::now() && backlog == Backlog::Open => When::At(due),
            _ => When::Now,
        }
    }

    /// Routes the oldest batch that is not routed yet.
    fn route_batch(&mut self) {
        let Some(batch) = self.core.log.next_unrouted() else {
            return;
        };
        self.last_routed = Some(Instant::now());
        self.fan_out(&batch);
        // Late, but not on a thread that logs: looking for the counter takes as long as asking for the time.
        for kind in batch.events.iter().filter_map(|event| event.content.kind_taken_down()) {
            self.core.metrics.count_event(kind);
        }
        self.core.log.mark_routed(&batch);
        self.core.ingest_room.add_permits(batch.bytes);
    }

    /// Sends a batch to every subscriber that it may concern and that has not got it yet.
    fn fan_out(&mut self, batch: &Arc<EventBatch>) {
        let index = &self.core.groups.index;
        index.keep_up();
        let candidates = self.router.candidates(index, batch);
        let in_flight = InFlight::new(batch.events.len(), &self.core.in_flight);
        let credit = CreditNote::take(&self.core);
        for candidate in candidates {
            self.send_to_group(candidate, batch, &in_flight, &credit);
        }
    }

    fn send_to_group(
        &self,
        Candidate { group, concern }: Candidate,
        batch: &Arc<EventBatch>,
        in_flight: &Arc<InFlight>,
        credit: &Arc<CreditNote>,
    ) {
        let members = group.members();
        let mut waiting = members.values().filter(|member| member.wants(batch.position)).peekable();
        if waiting.peek().is_none() {
            return;
        }
        let delivery = group.enqueue(batch, concern, in_flight);
        for member in waiting {
            #[cfg(feature = "fault-injection")]
            self.core.faults.before_delivery();
            member.advance_past(batch.position);
            let (delivery, credit) = (Arc::clone(&delivery), Arc::clone(credit));
            // One that is gone has left, or is about to leave, the group.
            member.subscriber.cast(SubscriberMessage::Deliver { delivery, credit }).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::HubConfig;
    use crate::event::{Content, NewEvent};
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

    /// Counts the batches that it is sent.
    struct Counter;

    impl Actor for Counter {
        type Msg = SubscriberMessage;
        type State = Arc<AtomicUsize>;
        type Arguments = Arc<AtomicUsize>;

        async fn pre_start(
            &self,
            _myself: ActorRef<Self::Msg>,
            count: Self::Arguments,
        ) -> Result<Self::State, ActorProcessingErr> {
            Ok(count)
        }

        async fn handle(
            &self,
            _myself: ActorRef<Self::Msg>,
            message: Self::Msg,
            count: &mut Self::State,
        ) -> Result<(), ActorProcessingErr> {
            assert!(matches!(message, SubscriberMessage::Deliver { .. }));
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn only_those_whom_a_batch_may_concern_are_sent_it() {
        let core = Arc::new(HubCore::new(HubConfig::default()));
        let mut collector = CollectorState::new(Arc::clone(&core));
        let mut subscribers = Vec::new();
        let queries = ["type=a", "type=b&follow=none", "type=c", "type=b&follow=none", ""];
        for (id, query) in (0..).zip(queries) {
            let group = core.groups.join(TraceQuery::parse(query, None).unwrap().filter);
            let count = Arc::new(AtomicUsize::new(0));
            let (actor, _) = Actor::spawn(None, Counter, Arc::clone(&count)).await.unwrap();
            let member = Arc::new(Member::new(actor.clone(), core.log.seal()));
            group.members().insert(SubscriberId(id), member);
            subscribers.push((group, actor, count));
        }
        // Each a batch of its own. The third belongs to the span of the first.
        for (kind, span) in [("a", "s"), ("b", "t"), ("d", "s"), ("d", "t")] {
            let event = Content::Given(NewEvent::new(kind).span(span));
            core.log.accept([(event, 100)], jiff::Timestamp::now());
            collector.route_batch();
        }
        let mut counts = Vec::new();
        for (_, actor, count) in &subscribers {
            actor.drain_and_wait(None).await.unwrap();
            counts.push(count.load(Ordering::SeqCst));
        }
        assert_eq!(counts, [2, 1, 0, 1, 4]);
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
