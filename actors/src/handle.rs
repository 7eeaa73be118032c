//! The handle of a running hub: all that a host, or a route, does with it.
//!
//! A handle is cheap to clone. When the last one is dropped, the hub stops.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ractor::rpc::CallResult;
use ractor::{Actor, ActorRef, RpcReplyPort};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::collector::CollectorMessage;
use crate::config::HubConfig;
use crate::error::{
    HubEnd, IngestError, NoSuchSubscriber, ShutdownError, StartError, SubscribeError, Unhealthy,
};
use crate::event::{Content, NewEvent};
use crate::hub::{Hub, HubMessage};
use crate::hub_core::HubCore;
use crate::measurement::{Measurement, MeasurementError};
#[cfg(feature = "metrics")]
use crate::metric_store::MetricStore;
use crate::metric_store::Sample;
use crate::query::{MetricsQuery, SubscribersQuery, TraceQuery};
#[cfg(feature = "metrics")]
use crate::recorder::HubRecorder;
use crate::register::{SubscriberInfo, SubscriberPage};
use crate::selection::Selection;
use crate::stats::HubStats;
use crate::subscriber::SubscriberId;
use crate::subscription::{MetricsSubscription, Subscription};
#[cfg(feature = "nats")]
use crate::transport::nats::{Link, NatsBroker, NatsConfig};
use crate::transport::{Transport, TransportState};

/// How long a newcomer waits until what it wants of the other hubs' events is read.
const GRANTED_WITHIN: Duration = Duration::from_secs(10);

/// A running hub.
#[derive(Debug, Clone)]
pub struct HubHandle {
    core: Arc<HubCore>,
    hub: Arc<OwnedHub>,
    ended: watch::Receiver<Option<HubEnd>>,
}

/// Stops the hub when the last handle goes.
#[derive(Debug)]
struct OwnedHub(ActorRef<HubMessage>);

impl Drop for OwnedHub {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}

/// Nothing is taken any more once this is gone.
struct CloseOnDrop(Arc<HubCore>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl HubHandle {
    /// Starts a hub, on the tokio runtime that this is called on.
    pub async fn start(config: HubConfig) -> Result<Self, StartError> {
        Self::start_with(HubCore::new(config)).await
    }

    /// Starts a hub that is joined to others by NATS. It starts whether NATS can be reached or not, and joins them when it can:
    /// [`transport`](Self::transport) tells.
    #[cfg(feature = "nats")]
    pub async fn start_joined(config: HubConfig, nats: NatsConfig) -> Result<Self, StartError> {
        let link = Link::new(nats, config.ingest_queue_bytes);
        let transport = Transport::Broker(Arc::new(NatsBroker(Arc::new(link))));
        Self::start_with(HubCore::joined(config, transport)).await
    }

    async fn start_with(core: HubCore) -> Result<Self, StartError> {
        let core = Arc::new(core);
        let (hub, finished) = Hub::spawn(None, Hub, Arc::clone(&core)).await.map_err(StartError)?;
        let (sender, ended) = watch::channel(None);
        let closing = CloseOnDrop(Arc::clone(&core));
        // Ends when the hub does, or its runtime.
        tokio::spawn(async move {
            let outcome = finished.await;
            closing.0.close();
            let end = match outcome {
                Ok(()) if closing.0.stopping.load(Ordering::Acquire) => HubEnd::Stopped,
                Ok(()) => HubEnd::Failed("it ended unasked; its log says why".to_owned()),
                Err(error) => HubEnd::Failed(error.to_string()),
            };
            sender.send_replace(Some(end));
        });
        Ok(Self { core, hub: Arc::new(OwnedHub(hub)), ended })
    }

    /// Accepts events, all or none, waiting a while for room if there is none. What is accepted reaches every subscriber
    /// that it matches and that keeps up; the others are told what they missed.
    ///
    /// A hub that is joined to others accepts what their stream has acknowledged. If that fails, nothing says that none was.
    pub async fn ingest(&self, events: Vec<NewEvent>) -> Result<(), IngestError> {
        let (sizes, bytes) = self.measure(&events)?;
        if let Some(broker) = self.core.broker() {
            let number = events.len() as u64;
            let published = broker.publish(events).await;
            let counters = &self.core.counters;
            let count = if published.is_ok() { &counters.received } else { &counters.refused };
            count.add(number);
            return published;
        }
        let room = self.core.ingest_room.acquire_many(bytes);
        match tokio::time::timeout(self.core.config.ingest_patience, room).await {
            Ok(Ok(permit)) => permit.forget(),
            Ok(Err(_)) => return Err(self.refuse(&events, IngestError::ShuttingDown)),
            Err(_) => return Err(self.refuse(&events, IngestError::QueueFull)),
        }
        self.accept(events, sizes);
        Ok(())
    }

    /// Accepts events, all or none, at once or not at all. Never waits, and needs no runtime. A hub that is joined to others
    /// publishes them when it can.
    pub fn try_ingest(&self, events: Vec<NewEvent>) -> Result<(), IngestError> {
        let (sizes, bytes) = self.measure(&events)?;
        if let Some(broker) = self.core.broker() {
            let number = events.len() as u64;
            let offered = broker.offer(events.into_iter().map(Content::Given).zip(sizes).collect());
            let counters = &self.core.counters;
            if offered.is_ok() { &counters.received } else { &counters.refused }.add(number);
            return offered;
        }
        self.core.take_room(bytes).map_err(|error| self.refuse(&events, error))?;
        self.accept(events, sizes);
        Ok(())
    }

    /// A subscription to events.
    pub async fn subscribe(&self, query: TraceQuery) -> Result<Subscription, SubscribeError> {
        let subscription = self.call(|reply| HubMessage::Subscribe(query, reply)).await;
        let mut subscription = subscription.unwrap_or(Err(SubscribeError::ShuttingDown))?;
        let granted = timeout(GRANTED_WITHIN, subscription.granted()).await;
        granted.map(|()| subscription).map_err(|_| {
            self.core.counters.subscribers_refused.add(1);
            SubscribeError::NotCovered
        })
    }

    /// A subscription to metrics.
    pub async fn subscribe_metrics(
        &self,
        query: MetricsQuery,
    ) -> Result<MetricsSubscription, SubscribeError> {
        self.call(|reply| HubMessage::SubscribeMetrics(query, reply))
            .await
            .unwrap_or(Err(SubscribeError::ShuttingDown))
    }

    /// Some of those who are subscribed, to events and to metrics, in the order in which they came, as they are now. They are not
    /// asked: what is told of them is exact, and costs them nothing.
    pub async fn subscribers(&self, query: SubscribersQuery) -> SubscriberPage {
        self.call(|reply| HubMessage::GetSubscribers(query, reply)).await.unwrap_or_default()
    }

    /// One of those who are subscribed.
    pub async fn subscriber(&self, id: SubscriberId) -> Result<SubscriberInfo, NoSuchSubscriber> {
        let subscriber = self.call(|reply| HubMessage::GetSubscriber(id, reply)).await;
        subscriber.flatten().ok_or(NoSuchSubscriber(id))
    }

    /// Ends one subscription: what is queued for it is missed, of events told by `gap`, then comes `bye`. It is there until its client has
    /// taken that, and may come back: what keeps it out is the host's.
    pub async fn end_subscriber(&self, id: SubscriberId) -> Result<(), NoSuchSubscriber> {
        let was_there = self.call(|reply| HubMessage::EndSubscriber(id, reply)).await;
        if was_there == Some(true) { Ok(()) } else { Err(NoSuchSubscriber(id)) }
    }

    /// Records a measurement, at once. A hub that is joined to others publishes it when it can: it is recorded, by each of them
    /// once, when it comes out of their stream. What is of this program alone is better [counted](Self::count), or measured through a
    /// recorder (feature `metrics`): then each hub has its own series, which have the attribute `hub`.
    pub fn record(&self, measurement: Measurement) -> Result<(), MeasurementError> {
        self.check(&measurement)?;
        match self.core.broker() {
            None => self.record_here(measurement),
            Some(broker) => broker.offer_measurement(measurement).map_err(|_| {
                self.core.counters.measurements_refused.add(1);
                MeasurementError::NoRoom
            })?,
        }
        Ok(())
    }

    /// Records measurements, in their order. A hub that is joined to others has them published, and waits until their stream has
    /// acknowledged all of them. If that fails, nothing says that none was. What does not pass [`check`](Self::check) is left
    /// out, and counted.
    pub async fn record_all(&self, mut measurements: Vec<Measurement>) -> Result<(), IngestError> {
        let refused = &self.core.counters.measurements_refused;
        let all = measurements.len() as u64;
        measurements.retain(|measurement| self.check(measurement).is_ok());
        let good = measurements.len() as u64;
        refused.add(all - good);
        let Some(broker) = self.core.broker() else {
            measurements.into_iter().for_each(|measurement| self.record_here(measurement));
            return Ok(());
        };
        if measurements.is_empty() {
            return Ok(());
        }
        broker.publish_measurements(measurements).await.inspect_err(|_| refused.add(good))
    }

    /// Whether a measurement keeps to what all must keep to, and names none of the hub's own series, or the host's; if it is joined to others,
    /// none of theirs.
    /// It must also fit into a message of the stream that joins them.
    pub fn check(&self, measurement: &Measurement) -> Result<(), MeasurementError> {
        self.core.check(measurement)?;
        self.core.broker().map_or(Ok(()), |broker| broker.check_measurement(measurement))
    }

    /// Whether an event fits into a message of the stream that joins this hub to others, which may be six times as large as what its source
    /// wrote: one that does not spoils all that are [brought](Self::ingest) with it. Without such a stream, all do.
    pub fn check_event(&self, event: &NewEvent) -> Result<(), IngestError> {
        self.core.broker().map_or(Ok(()), |broker| broker.check_event(event))
    }

    fn record_here(&self, measurement: Measurement) {
        self.core.metrics.record(measurement.not_after(self.core.config.clock.now()));
    }

    /// Keeps all names that begin so for counters of the host's own: as with the hub's, from now on no measurement without attributes
    /// and no type of event gets one of them. What was recorded under them is forgotten.
    pub fn reserve(&self, prefix: &str) {
        self.core.metrics.reserve(prefix);
        self.core.own_metrics.reserve(prefix);
    }

    /// Adds to a counter of the host's own, under a name that it has [reserved](Self::reserve). There is always room for it.
    pub fn count(&self, series: &str, number: u64) {
        self.core.own_metrics.count_for_host(series, number);
    }

    /// A recorder for the `metrics` crate, which writes what it is given into this hub's series.
    #[cfg(feature = "metrics")]
    pub fn recorder(&self) -> HubRecorder {
        HubRecorder::new(self)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn metric_store(&self) -> &Arc<MetricStore> {
        &self.core.own_metrics
    }

    /// All metric series as they are now, the hub's own among them, sorted by name. If it is joined to others, these have their own as
    /// well, with the attribute `hub`: each tells the others of itself once a second.
    pub fn metrics(&self) -> Vec<Sample> {
        self.core.sample()
    }

    /// Those series alone that are selected.
    pub fn metrics_of(&self, selection: &Selection) -> Vec<Sample> {
        select(selection, self.metrics())
    }

    /// Those that are selected, without what other hubs tell of themselves: for whoever asks each of them.
    pub fn metrics_here(&self, selection: &Selection) -> Vec<Sample> {
        select(selection, self.core.sample_here())
    }

    /// What the hub has counted.
    pub fn stats(&self) -> HubStats {
        self.core.stats()
    }

    /// How large an event may be: no larger than the stream takes that joins this hub to others.
    pub fn max_event_bytes(&self) -> usize {
        let limit = self.core.config.max_event_bytes;
        let taken = self.core.broker().and_then(|broker| broker.max_event_bytes());
        // As a message, an event is a little larger than its source wrote it.
        taken.map_or(limit, |taken| limit.min(taken - taken / 16))
    }

    /// The hub's bounds.
    pub fn config(&self) -> &HubConfig {
        &self.core.config
    }

    /// Whether the collector answers within `timeout`.
    pub async fn check_health(&self, timeout: Duration) -> Result<(), Unhealthy> {
        let Some(collector) = self.core.collector() else {
            return Err(Unhealthy(timeout));
        };
        match collector.call(CollectorMessage::GetHealth, Some(timeout)).await {
            Ok(CallResult::Success(())) => Ok(()),
            Ok(CallResult::SenderError | CallResult::Timeout) | Err(_) => Err(Unhealthy(timeout)),
        }
    }

    /// Whether it is joined to other hubs.
    pub fn transport(&self) -> TransportState {
        match &self.core.transport {
            Transport::Local => TransportState::Alone,
            Transport::Broker(broker) => broker.state(),
        }
    }

    /// The services of which alone it shows what other hubs accept; none if it shows all.
    pub fn services(&self) -> &[String] {
        match &self.core.transport {
            Transport::Local => &[],
            Transport::Broker(broker) => broker.services(),
        }
    }

    /// Of how many services alone it reads the events just now, as nobody who watches wants those of another. `None` if it reads all that it
    /// shows, as it does unless it was told to narrow (`NatsConfig::narrow`).
    pub fn narrowed_to(&self) -> Option<usize> {
        match &self.core.transport {
            Transport::Local => None,
            Transport::Broker(broker) => broker.narrowed_to(),
        }
    }

    /// Whether new work is welcome.
    pub fn is_ready(&self) -> bool {
        !self.core.draining.load(Ordering::Acquire)
    }

    /// From now on refuses events and subscriptions; those that are there go on.
    pub fn refuse_new_work(&self) {
        self.core.draining.store(true, Ordering::Release);
    }

    /// Ends the hub: takes nothing new, hands over what was accepted, says `bye` to every subscriber, and waits until each
    /// has taken it, until the deadline.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownError> {
        self.refuse_new_work();
        let farewell = async {
            self.routed().await;
            // A hub that is gone already has nobody left to wait for.
            self.call(HubMessage::Drain).await;
        };
        tokio::time::timeout(deadline, farewell).await.ok();
        let outcome = self.call(HubMessage::Stop).await.unwrap_or(Ok(()));
        self.ended().await;
        outcome
    }

    /// Waits until the hub has ended, and says why.
    pub async fn ended(&self) -> HubEnd {
        let mut ended = self.ended.clone();
        let outcome = ended.wait_for(Option::is_some).await.map(|end| end.clone());
        outcome.ok().flatten().unwrap_or(HubEnd::Stopped)
    }

    /// What the layer holds of it.
    #[cfg(feature = "tracing")]
    pub(crate) fn core(&self) -> &Arc<HubCore> {
        &self.core
    }

    /// Breaks an actor on purpose, and waits until that has been done.
    #[cfg(feature = "fault-injection")]
    pub async fn inject(&self, fault: crate::fault::Fault) {
        self.call(|reply| HubMessage::Inject(fault, reply)).await;
    }

    /// The sizes of the events, and how much room they need together.
    fn measure(&self, events: &[NewEvent]) -> Result<(Vec<usize>, u32), IngestError> {
        if !self.is_ready() {
            return Err(self.refuse(events, IngestError::ShuttingDown));
        }
        let sizes: Vec<usize> = events.iter().map(NewEvent::size).collect();
        let bytes: usize = sizes.iter().sum();
        let limit = self.core.config.ingest_queue_bytes;
        match u32::try_from(bytes) {
            Ok(permits) if bytes <= limit => Ok((sizes, permits)),
            _ => Err(self.refuse(events, IngestError::BatchTooLarge { bytes, limit })),
        }
    }

    fn accept(&self, events: Vec<NewEvent>, sizes: Vec<usize>) {
        if events.is_empty() {
            return;
        }
        self.core.count_types(events.iter().filter_map(|event| event.kind.as_deref()));
        let events = events.into_iter().map(Content::Given).zip(sizes);
        self.core.accept(events, self.core.config.clock.now());
    }

    fn refuse(&self, events: &[NewEvent], error: IngestError) -> IngestError {
        self.core.counters.refused.add(events.len() as u64);
        error
    }

    /// Waits until the collector has routed all that was accepted: then all room is free again. From then on nothing is
    /// accepted any more, not even from one who had asked before the hub refused new work.
    async fn routed(&self) {
        let all = u32::try_from(self.core.config.ingest_queue_bytes)
            .expect("the hub has cut it to what fits");
        if let Some(broker) = self.core.broker() {
            broker.settled().await;
        }
        // What was dropped can be told now, if it could not before.
        drop(self.core.ingest_room.acquire_many(all).await);
        self.core.tell_dropped();
        let room = self.core.ingest_room.acquire_many(all).await;
        self.core.ingest_room.close();
        drop(room);
    }

    async fn call<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<T>) -> HubMessage,
    ) -> Option<T> {
        match self.hub.0.call(message, None).await {
            Ok(CallResult::Success(reply)) => Some(reply),
            Ok(CallResult::SenderError | CallResult::Timeout) | Err(_) => None,
        }
    }
}

fn select(selection: &Selection, mut samples: Vec<Sample>) -> Vec<Sample> {
    let matcher = selection.matcher();
    samples.retain(|sample| matcher.matches(sample.id()));
    samples
}
