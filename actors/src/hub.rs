//! The root supervisor: starts the collector, the sweeper, the samplers and the subscribers, and knows what to do when one ends.
//!
//! Supervision: has no supervisor of its own. When it fails, [`HubHandle::ended`](crate::HubHandle::ended) tells the host,
//! and all its children end with it. The table of who is restarted stands in ARCHITECTURE.md.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::time::Instant;

use crate::client::Client;
use crate::collector::Collector;
use crate::error::{ShutdownError, SubscribeError};
use crate::hub_core::HubCore;
use crate::metrics_slot::MetricsSlot;
use crate::metrics_subscriber::{MetricsSubscriber, MetricsSubscriberArguments, Roster};
use crate::outbox::Outbox;
use crate::query::{MetricsQuery, SubscribersQuery, TraceQuery};
use crate::register::{Child, Entry, Register, SubscriberInfo, SubscriberPage};
use crate::sampler::{Sampler, SamplerArguments, SamplerMessage};
use crate::sse::ByeReason;
use crate::subscriber::{Subscriber, SubscriberArguments, SubscriberId};
use crate::subscription::{MetricsSubscription, Subscription};
use crate::sweeper::{Sweeper, SweeperMessage};
use crate::value::SmolStr;

#[cfg(feature = "fault-injection")]
mod faults;

/// How many times the collector, the sweeper and the samplers may be restarted within [`RESTART_WINDOW`]. One that fails more often
/// would fail forever: then the hub fails, and the host is told.
const MAX_RESTARTS: usize = 10;
const RESTART_WINDOW: Duration = Duration::from_secs(10);

/// The intervals that people ask for, in milliseconds: always sampled for whoever does.
const USUAL_INTERVALS: [u64; 18] = [
    100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000,
    600_000, 900_000, 1_200_000, 1_800_000, 3_600_000,
];

/// How many others may be sampled at once, so that there are 64 in all: each takes a snapshot of all series at each of its ticks.
const MAX_UNUSUAL_INTERVALS: usize = 64 - USUAL_INTERVALS.len();

#[derive(Debug)]
pub(crate) enum HubMessage {
    /// Replies with a new subscription.
    Subscribe(TraceQuery, RpcReplyPort<Result<Subscription, SubscribeError>>),
    /// Replies with a new metrics subscription.
    SubscribeMetrics(MetricsQuery, RpcReplyPort<Result<MetricsSubscription, SubscribeError>>),
    /// Replies with some of those who are subscribed.
    GetSubscribers(SubscribersQuery, RpcReplyPort<SubscriberPage>),
    /// Replies with one of them, if it is there.
    GetSubscriber(SubscriberId, RpcReplyPort<Option<SubscriberInfo>>),
    /// Ends the stream of one of them, and replies whether it was there.
    EndSubscriber(SubscriberId, RpcReplyPort<bool>),
    /// Says `bye` to all, and replies when all have gone.
    Drain(RpcReplyPort<()>),
    /// Ends everything, whoever is left.
    Stop(RpcReplyPort<Result<(), ShutdownError>>),
    /// Breaks something on purpose.
    #[cfg(feature = "fault-injection")]
    Inject(crate::fault::Fault, RpcReplyPort<()>),
}

pub(crate) struct Hub;

pub(crate) struct HubState {
    core: Arc<HubCore>,
    collector: ActorRef<crate::collector::CollectorMessage>,
    sweeper: ActorRef<SweeperMessage>,
    /// What joins this hub to others, if anything does.
    transport: Option<ActorCell>,
    subscribers: Register,
    samplers: HashMap<Duration, SamplerEntry>,
    restarts: VecDeque<Instant>,
    /// Who waits for the last subscriber to go.
    drained: Vec<RpcReplyPort<()>>,
}

struct SamplerEntry {
    sampler: ActorRef<SamplerMessage>,
    roster: Arc<Roster>,
    /// Subscribers that have not exited. The roster may be behind: it is left when a state is dropped.
    subscribers: usize,
}

/// How a child came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Asked,
    Failed,
}

/// What the hub must do about it.
enum Verdict {
    Nothing,
    RestartCollector,
    RestartSweeper,
    RestartTransport,
    RestartSampler(Duration),
    Fail,
}

impl Actor for Hub {
    type Msg = HubMessage;
    type State = HubState;
    type Arguments = Arc<HubCore>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        core: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let collector = start_collector(&myself, &core).await?;
        let sweeper = start_sweeper(&myself, &core).await?;
        let transport = start_transport(&myself, &core).await?;
        Ok(HubState {
            core,
            collector,
            sweeper,
            transport,
            subscribers: Register::default(),
            samplers: HashMap::new(),
            restarts: VecDeque::new(),
            drained: Vec::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            HubMessage::Subscribe(query, reply) => {
                reply.send(state.subscribe(&myself, query).await).ok();
            }
            HubMessage::SubscribeMetrics(query, reply) => {
                reply.send(state.subscribe_metrics(&myself, query).await).ok();
            }
            HubMessage::GetSubscribers(query, reply) => {
                reply.send(state.subscribers.page(query, state.core.config.clock.now())).ok();
            }
            HubMessage::GetSubscriber(id, reply) => {
                reply.send(state.subscribers.describe(id, state.core.config.clock.now())).ok();
            }
            HubMessage::EndSubscriber(id, reply) => {
                reply.send(state.end_subscriber(id)).ok();
            }
            HubMessage::Drain(reply) => state.drain(reply),
            HubMessage::Stop(reply) => {
                reply.send(state.leftovers()).ok();
                state.core.stopping.store(true, Ordering::Release);
                myself.stop(None);
            }
            #[cfg(feature = "fault-injection")]
            HubMessage::Inject(fault, reply) => {
                state.inject(fault);
                reply.send(()).ok();
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let verdict = match event {
            SupervisionEvent::ActorTerminated(child, _, reason) => {
                // Nobody here gives a reason when stopping an actor; a killed one comes with one.
                let exit = if reason.is_none() { Exit::Asked } else { Exit::Failed };
                state.child_exited(&child, exit)
            }
            SupervisionEvent::ActorFailed(child, error) => {
                tracing::error!(%error, actor = %child.get_id(), "an actor failed");
                state.child_exited(&child, Exit::Failed)
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {
                Verdict::Nothing
            }
        };
        match verdict {
            Verdict::Nothing => Ok(()),
            Verdict::RestartCollector => state.restart_collector(&myself).await,
            Verdict::RestartSweeper => state.restart_sweeper(&myself).await,
            Verdict::RestartTransport => state.restart_transport(&myself).await,
            Verdict::RestartSampler(interval) => state.restart_sampler(&myself, interval).await,
            Verdict::Fail => Err("its actors failed too often to go on".into()),
        }
    }
}

impl HubState {
    async fn subscribe(
        &mut self,
        myself: &ActorRef<HubMessage>,
        query: TraceQuery,
    ) -> Result<Subscription, SubscribeError> {
        if self.core.broker().is_some_and(|broker| !broker.has_joined()) {
            return Err(SubscribeError::NotJoined);
        }
        let id = self.admit(&query.client)?;
        let expires = self.core.instant_of(query.expires);
        let filter = query.filter.canonical().into();
        let outbox = Outbox::new(&self.core.config, Arc::clone(&self.core.counters));
        let outbox = Arc::new(outbox);
        // Before it joins: it gets all that comes after that. Who asks for a replay has no mark before that is over.
        let mark = match query.replay {
            None => self.core.mark(&query.filter),
            Some(_) => None,
        };
        let (wanted, granted) = self.core.want(&query.filter).unzip();
        let arguments = SubscriberArguments {
            id,
            core: Arc::clone(&self.core),
            group: self.core.groups.join(query.filter),
            wanted,
            outbox: Arc::clone(&outbox),
            replay: query.replay,
            max_rate: query.max_rate,
        };
        let spawned = Subscriber::spawn_linked(None, Subscriber, arguments, myself.get_cell());
        let (subscriber, _) = spawned.await.map_err(could_not_start)?;
        let child = Child::Traces(subscriber.clone(), Arc::clone(&outbox));
        self.register(id, child, query.client, filter);
        self.core.streams.add(&outbox, &subscriber, expires);
        Ok(Subscription::new(outbox, subscriber, mark, granted, &self.core.config))
    }

    async fn subscribe_metrics(
        &mut self,
        myself: &ActorRef<HubMessage>,
        query: MetricsQuery,
    ) -> Result<MetricsSubscription, SubscribeError> {
        let id = self.admit(&query.client)?;
        let (interval, expires) = (query.interval, self.core.instant_of(query.expires));
        let filter = query.canonical().into();
        let (sampler, roster) = self.sampler(myself, interval).await?;
        let slot =
            MetricsSlot::new(self.core.config.ping_interval, Arc::clone(&self.core.counters));
        let slot = Arc::new(slot);
        let arguments = MetricsSubscriberArguments {
            id,
            core: Arc::clone(&self.core),
            roster,
            selection: query.selection,
            slot: Arc::clone(&slot),
        };
        let spawned =
            MetricsSubscriber::spawn_linked(None, MetricsSubscriber, arguments, myself.get_cell());
        let (subscriber, _) = spawned.await.map_err(could_not_start)?;
        let child = Child::Metrics(subscriber.clone(), Arc::clone(&slot), interval);
        self.register(id, child, query.client, filter);
        if let Some(entry) = self.samplers.get_mut(&interval) {
            entry.subscribers += 1;
        }
        if interval > self.core.config.ping_interval || expires.is_some() {
            self.core.streams.add_metrics(&slot, &subscriber, expires);
        }
        // A sampler that has just died is replaced by one that begins with a frame for all.
        sampler.cast(SamplerMessage::Welcome(id)).ok();
        Ok(MetricsSubscription::new(slot, subscriber, interval, &self.core.config))
    }

    fn admit(&mut self, client: &Client) -> Result<SubscriberId, SubscribeError> {
        if self.core.draining.load(Ordering::Acquire) {
            return Err(SubscribeError::ShuttingDown);
        }
        let (config, counters) = (&self.core.config, &self.core.counters);
        self.subscribers.admit(client, config).inspect_err(|error| {
            counters.subscribers_refused.add(1);
            if error.is_of_client() {
                counters.subscribers_over_limit.add(1);
            }
        })
    }

    fn register(&mut self, id: SubscriberId, child: Child, client: Client, filter: SmolStr) {
        let since = self.core.config.clock.now();
        self.subscribers.add(id, Entry::new(child, client, filter, since));
    }

    fn end_subscriber(&mut self, id: SubscriberId) -> bool {
        let Some(entry) = self.subscribers.get_mut(id) else {
            return false;
        };
        if entry.end() {
            tracing::info!(subscriber = %id, "a stream is ended because somebody asked for it");
            self.core.counters.subscribers_ended.add(1);
        }
        true
    }

    /// The sampler of an interval, started if nobody has asked for it so far.
    async fn sampler(
        &mut self,
        myself: &ActorRef<HubMessage>,
        interval: Duration,
    ) -> Result<(ActorRef<SamplerMessage>, Arc<Roster>), SubscribeError> {
        if let Some(entry) = self.samplers.get(&interval) {
            return Ok((entry.sampler.clone(), Arc::clone(&entry.roster)));
        }
        let unusual = self.samplers.keys().filter(|running| !is_usual(**running)).count();
        if !is_usual(interval) && unusual >= MAX_UNUSUAL_INTERVALS {
            self.core.counters.subscribers_refused.add(1);
            return Err(SubscribeError::TooManyIntervals { limit: MAX_UNUSUAL_INTERVALS });
        }
        let roster = Arc::new(Roster::default());
        let sampler =
            start_sampler(myself, &self.core, interval, &roster).await.map_err(could_not_start)?;
        let entry =
            SamplerEntry { sampler: sampler.clone(), roster: Arc::clone(&roster), subscribers: 0 };
        self.samplers.insert(interval, entry);
        Ok((sampler, roster))
    }

    fn child_exited(&mut self, child: &ActorCell, exit: Exit) -> Verdict {
        let id = child.get_id();
        if let Some(entry) = self.subscribers.remove(id) {
            match entry.child {
                Child::Traces(..) => {}
                Child::Metrics(_, _, interval) => self.stop_idle_sampler(interval),
            }
            if exit == Exit::Failed {
                self.core.counters.subscriber_failures.add(1);
            }
            self.tell_if_drained();
            return Verdict::Nothing;
        }
        let restart = if id == self.collector.get_id() {
            Verdict::RestartCollector
        } else if id == self.sweeper.get_id() {
            Verdict::RestartSweeper
        } else if self.transport.as_ref().is_some_and(|transport| transport.get_id() == id) {
            Verdict::RestartTransport
        } else {
            let of_child = |(_, entry): &(&Duration, &SamplerEntry)| entry.sampler.get_id() == id;
            match self.samplers.iter().find(of_child) {
                Some((interval, _)) => Verdict::RestartSampler(*interval),
                // A sampler that was stopped with its last subscriber.
                None => return Verdict::Nothing,
            }
        };
        if self.may_restart() { restart } else { Verdict::Fail }
    }

    fn may_restart(&mut self) -> bool {
        let now = Instant::now();
        self.restarts.retain(|restart| now - *restart < RESTART_WINDOW);
        self.restarts.push_back(now);
        self.restarts.len() <= MAX_RESTARTS
    }

    async fn restart_collector(
        &mut self,
        myself: &ActorRef<HubMessage>,
    ) -> Result<(), ActorProcessingErr> {
        self.core.counters.collector_restarts.add(1);
        self.collector = start_collector(myself, &self.core).await?;
        tracing::warn!("the collector was restarted");
        Ok(())
    }

    async fn restart_sweeper(
        &mut self,
        myself: &ActorRef<HubMessage>,
    ) -> Result<(), ActorProcessingErr> {
        self.core.counters.sweeper_restarts.add(1);
        self.sweeper = start_sweeper(myself, &self.core).await?;
        tracing::warn!("the sweeper was restarted");
        Ok(())
    }

    async fn restart_transport(
        &mut self,
        myself: &ActorRef<HubMessage>,
    ) -> Result<(), ActorProcessingErr> {
        self.core.counters.transport_restarts.add(1);
        self.transport = start_transport(myself, &self.core).await?;
        tracing::warn!("the transport was restarted");
        Ok(())
    }

    async fn restart_sampler(
        &mut self,
        myself: &ActorRef<HubMessage>,
        interval: Duration,
    ) -> Result<(), ActorProcessingErr> {
        let Some(entry) = self.samplers.get_mut(&interval) else {
            return Ok(());
        };
        self.core.counters.sampler_restarts.add(1);
        entry.sampler = start_sampler(myself, &self.core, interval, &entry.roster).await?;
        tracing::warn!(?interval, "a sampler was restarted");
        Ok(())
    }

    /// A sampler goes with its last subscriber.
    fn stop_idle_sampler(&mut self, interval: Duration) {
        let Some(entry) = self.samplers.get_mut(&interval) else {
            return;
        };
        entry.subscribers -= 1;
        if entry.subscribers == 0 {
            entry.sampler.stop(None);
            self.samplers.remove(&interval);
        }
    }

    fn drain(&mut self, reply: RpcReplyPort<()>) {
        for subscriber in self.subscribers.children() {
            subscriber.close(ByeReason::Shutdown);
        }
        self.drained.push(reply);
        self.tell_if_drained();
    }

    fn tell_if_drained(&mut self) {
        if self.subscribers.is_empty() {
            for reply in self.drained.drain(..) {
                reply.send(()).ok();
            }
        }
    }

    fn leftovers(&self) -> Result<(), ShutdownError> {
        match self.subscribers.len() {
            0 => Ok(()),
            left => Err(ShutdownError { left }),
        }
    }
}

async fn start_collector(
    myself: &ActorRef<HubMessage>,
    core: &Arc<HubCore>,
) -> Result<ActorRef<crate::collector::CollectorMessage>, ractor::SpawnErr> {
    let (collector, _) =
        Collector::spawn_linked(None, Collector, Arc::clone(core), myself.get_cell()).await?;
    core.set_collector(collector.clone());
    Ok(collector)
}

async fn start_sweeper(
    myself: &ActorRef<HubMessage>,
    core: &Arc<HubCore>,
) -> Result<ActorRef<SweeperMessage>, ractor::SpawnErr> {
    let (sweeper, _) =
        Sweeper::spawn_linked(None, Sweeper, Arc::clone(core), myself.get_cell()).await?;
    Ok(sweeper)
}

async fn start_transport(
    myself: &ActorRef<HubMessage>,
    core: &Arc<HubCore>,
) -> Result<Option<ActorCell>, ractor::SpawnErr> {
    match core.broker() {
        Some(broker) => broker.start(myself, core).await.map(Some),
        None => Ok(None),
    }
}

async fn start_sampler(
    myself: &ActorRef<HubMessage>,
    core: &Arc<HubCore>,
    interval: Duration,
    roster: &Arc<Roster>,
) -> Result<ActorRef<SamplerMessage>, ractor::SpawnErr> {
    let arguments =
        SamplerArguments { core: Arc::clone(core), interval, roster: Arc::clone(roster) };
    let (sampler, _) = Sampler::spawn_linked(None, Sampler, arguments, myself.get_cell()).await?;
    Ok(sampler)
}

fn is_usual(interval: Duration) -> bool {
    USUAL_INTERVALS.iter().any(|usual| Duration::from_millis(*usual) == interval)
}

fn could_not_start(error: ractor::SpawnErr) -> SubscribeError {
    tracing::error!(%error, "an actor could not start");
    SubscribeError::Failed
}
