//! What outlives every actor of a hub: its log, its filter groups, its metrics and its counters.
//!
//! Actors hold it together; none owns it, so that a restarted one finds everything where its predecessor left it.

mod audience;
mod credit;
mod samples;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use ractor::ActorRef;
use tokio::sync::{Semaphore, TryAcquireError, oneshot};
use tokio::time::Instant;

pub(crate) use self::audience::{Audience, SubscriberCount};
pub(crate) use self::credit::{Credit, CreditNote};
use crate::collector::CollectorMessage;
use crate::config::HubConfig;
use crate::demand::Wanted;
use crate::error::IngestError;
use crate::event::{Content, EventId, NewEvent};
#[cfg(feature = "nats")]
use crate::event_log::Arrival;
use crate::event_log::EventLog;
use crate::filter::Filter;
use crate::filter_group::FilterGroups;
#[cfg(feature = "tracing")]
use crate::layer::Record;
use crate::level::Level;
use crate::lock;
use crate::measurement::{Measurement, MeasurementError};
use crate::metric_store::{MetricStore, names_only_a_hub};
use crate::process::ProcessProbe;
use crate::stats::{HubCounters, HubStats};
use crate::subscriber::Wanting;
use crate::sweeper::Streams;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::transport::{Broker, Transport};

/// The type of the event by which subscribers are told that others were lost.
pub(crate) const EVENTS_DROPPED: &str = "hub.events.dropped";

#[derive(Debug)]
pub(crate) struct HubCore {
    pub(crate) config: HubConfig,
    /// How events come into the log.
    pub(crate) transport: Transport,
    pub(crate) log: EventLog,
    pub(crate) groups: Arc<FilterGroups>,
    pub(crate) streams: Streams,
    /// What sources measure.
    pub(crate) metrics: Arc<MetricStore>,
    /// What this hub's host measures by itself: the same, if the hub is alone, and otherwise a part of the hub's own series.
    pub(crate) own_metrics: Arc<MetricStore>,
    process: ProcessProbe,
    pub(crate) counters: Arc<HubCounters>,
    /// One permit for each byte that may still be accepted.
    pub(crate) ingest_room: Semaphore,
    /// Events on their way to the streams.
    pub(crate) in_flight: Arc<AtomicUsize>,
    pub(crate) audience: Arc<Audience>,
    /// Events dropped that no subscriber has been told of yet.
    untold: AtomicU64,
    /// New work is refused.
    pub(crate) draining: AtomicBool,
    /// The hub was told to end.
    pub(crate) stopping: AtomicBool,
    pub(crate) credit: Credit,
    collector: Mutex<Option<ActorRef<CollectorMessage>>>,
    /// Whether the collector has been told of new events and has not come to them yet.
    wake_pending: AtomicBool,
    #[cfg(feature = "fault-injection")]
    pub(crate) faults: crate::fault::Faults,
}

impl HubCore {
    pub(crate) fn new(config: HubConfig) -> Self {
        Self::joined(config, Transport::Local)
    }

    pub(crate) fn joined(mut config: HubConfig, transport: Transport) -> Self {
        // The semaphore hands out no more than 32 bits of permits at a time.
        config.ingest_queue_bytes = config.ingest_queue_bytes.min(u32::MAX as usize);
        let store = || Arc::new(MetricStore::new(config.max_series, config.max_event_types));
        let metrics = store();
        let own_metrics = match &transport {
            Transport::Local => Arc::clone(&metrics),
            Transport::Broker(_) => store(),
        };
        Self {
            transport,
            log: EventLog::new(&config),
            groups: Arc::new(FilterGroups::new(config.follow_capacity)),
            streams: Streams::default(),
            metrics,
            own_metrics,
            process: ProcessProbe::new(),
            counters: Arc::default(),
            ingest_room: Semaphore::new(config.ingest_queue_bytes),
            in_flight: Arc::default(),
            audience: Arc::new(Audience::new(&config)),
            untold: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            credit: Credit::default(),
            collector: Mutex::new(None),
            wake_pending: AtomicBool::new(false),
            #[cfg(feature = "fault-injection")]
            faults: crate::fault::Faults::default(),
            config,
        }
    }

    /// The stream that joins it to other hubs, if there is one.
    pub(crate) fn broker(&self) -> Option<&Arc<dyn Broker>> {
        match &self.transport {
            Transport::Local => None,
            Transport::Broker(broker) => Some(broker),
        }
    }

    /// An id that no event has, for who comes with this filter: all that comes into the log from now on comes after it.
    pub(crate) fn mark(&self, filter: &Filter) -> Option<EventId> {
        match &self.transport {
            Transport::Local => Some(self.log.mark(self.config.clock.now())),
            // It has the time of the last event, which may be another's.
            Transport::Broker(_) if filter.is_limited() => None,
            Transport::Broker(broker) => broker.mark(),
        }
    }

    /// A wish for what may pass this filter, of a stream of which this hub reads no more than is wished for, and what ends when it is
    /// granted.
    pub(crate) fn want(&self, filter: &Filter) -> Option<(Wanting, oneshot::Receiver<()>)> {
        let demand = self.broker()?.demand()?;
        let (grant, granted) = oneshot::channel();
        let wanted = Arc::new(Wanted::new(demand, filter.services()));
        Some((Wanting { wanted, grant }, granted))
    }

    /// Resolves once the log gets that, to the place after which it has all of it, if that is later than its beginning.
    pub(crate) async fn covered(&self, wanted: &Wanted) -> Option<EventId> {
        wanted.covered(|| self.broker()?.mark()).await
    }

    pub(crate) fn set_collector(&self, collector: ActorRef<CollectorMessage>) {
        *lock(&self.collector) = Some(collector);
        self.release_wake();
        self.wake_collector();
    }

    pub(crate) fn collector(&self) -> Option<ActorRef<CollectorMessage>> {
        lock(&self.collector).clone()
    }

    /// When a time of day will be; now, if it has been. Later changes of the clock move nothing.
    pub(crate) fn instant_of(&self, time: Option<Timestamp>) -> Option<Instant> {
        let left = time?.duration_since(self.config.clock.now());
        // What lies too far ahead for an instant never comes.
        Instant::now().checked_add(left.try_into().unwrap_or(Duration::ZERO))
    }

    /// Tells the collector that there is something to route: one message, however many events.
    pub(crate) fn wake_collector(&self) {
        if !self.claim_wake() {
            return;
        }
        if let Some(collector) = self.collector() {
            // If it is gone, its successor begins by looking.
            collector.cast(CollectorMessage::EventsAccepted).ok();
        }
    }

    /// Whether the caller is the one who sees to it that the collector looks for events.
    pub(crate) fn claim_wake(&self) -> bool {
        !self.wake_pending.swap(true, Ordering::SeqCst)
    }

    /// The collector has looked: from here on, new events need a new wake. An exchange, so that who looks again sees what came
    /// before the claims that went for nothing.
    pub(crate) fn release_wake(&self) {
        self.wake_pending.swap(false, Ordering::SeqCst);
    }

    /// Takes room in the ingest queue, if there is any. The collector gives it back.
    pub(crate) fn take_room(&self, bytes: u32) -> Result<(), IngestError> {
        match self.ingest_room.try_acquire_many(bytes) {
            Ok(permit) => {
                permit.forget();
                Ok(())
            }
            Err(TryAcquireError::Closed) => Err(IngestError::ShuttingDown),
            Err(TryAcquireError::NoPermits) => Err(IngestError::QueueFull),
        }
    }

    /// Counts events under their types.
    pub(crate) fn count_types<'a>(&self, types: impl Iterator<Item = &'a str>) {
        types.for_each(|kind| self.metrics.count_event(kind));
    }

    /// Accepts events for which room has been taken, each with its size.
    pub(crate) fn accept(
        &self,
        events: impl ExactSizeIterator<Item = (Content, usize)>,
        now: Timestamp,
    ) {
        self.counters.received.add(events.len() as u64);
        self.log.accept(events, now);
        self.wake_collector();
    }

    /// Takes events out of the stream that joins this hub to others, once there is room for them.
    #[cfg(feature = "nats")]
    pub(crate) async fn take_from_stream(
        &self,
        arrivals: Vec<Arrival>,
        bytes: usize,
    ) -> Result<(), IngestError> {
        if arrivals.is_empty() {
            return Ok(());
        }
        let permits = u32::try_from(bytes).expect("no more than the queue holds");
        let room = self.ingest_room.acquire_many(permits).await;
        room.map_err(|_| IngestError::ShuttingDown)?.forget();
        self.count_types(arrivals.iter().filter_map(|arrival| arrival.content.kind_given()));
        self.log.accept_arrivals(arrivals);
        self.wake_collector();
        Ok(())
    }

    /// Whether a measurement keeps to what all must keep to, and names none of the own series of a hub.
    pub(crate) fn check(&self, measurement: &Measurement) -> Result<(), MeasurementError> {
        self.metrics.check(measurement)?;
        let is_of_a_hub = self.broker().is_some()
            && self.metrics.is_own(&measurement.id)
            && names_only_a_hub(&measurement.attributes);
        if is_of_a_hub { Err(MeasurementError::Reserved(measurement.id.clone())) } else { Ok(()) }
    }

    /// Records a measurement that came out of the stream when it says. False if it is none that a hub takes.
    #[cfg(feature = "nats")]
    pub(crate) fn record_from_stream(&self, measurement: Measurement, arrived: Timestamp) -> bool {
        let is_good = self.check(&measurement).is_ok();
        if is_good {
            self.metrics.record(measurement.not_after(arrived));
        }
        is_good
    }

    /// Accepts an event that nobody will send again, at once or not at all. If there is no room it is dropped, and counted,
    /// and the subscribers are told before anything comes after it.
    #[cfg(feature = "tracing")]
    pub(crate) fn offer(&self, record: Record) {
        let (size, now) = (record.size(), record.created_at().timestamp());
        let is_welcome = !self.draining.load(Ordering::Acquire) && self.tell_dropped();
        if !is_welcome || !self.try_accept(Content::TakenDown(record), size, now) {
            self.drop_event();
        }
    }

    /// Counts an event that is lost, and sees to it that the subscribers are told.
    #[cfg(feature = "tracing")]
    pub(crate) fn drop_event(&self) {
        self.counters.refused.add(1);
        self.lose_events(1);
    }

    /// Counts events that are lost, also after they had been taken, and sees to it that the subscribers are told.
    #[cfg(any(feature = "nats", feature = "tracing"))]
    pub(crate) fn lose_events(&self, number: u64) {
        self.counters.dropped.add(number);
        self.untold.fetch_add(number, Ordering::SeqCst);
        self.wake_collector();
    }

    /// Tells the subscribers of events that were dropped, by an event in their place. False if there is no room even for
    /// that.
    pub(crate) fn tell_dropped(&self) -> bool {
        // After the collector has released the wake: whoever drops an event sees that, or the event is seen here.
        if self.untold.load(Ordering::SeqCst) == 0 {
            return true;
        }
        let dropped = self.untold.swap(0, Ordering::SeqCst);
        let notice = NewEvent::new(EVENTS_DROPPED)
            .level(Level::Warn)
            .text("events were lost on their way into the hub")
            .with("dropped", dropped);
        let size = notice.size();
        let is_told =
            dropped == 0 || self.try_accept(Content::Given(notice), size, self.config.clock.now());
        if !is_told {
            self.untold.fetch_add(dropped, Ordering::SeqCst);
        }
        is_told
    }

    /// Accepts an event if there is room for it.
    fn try_accept(&self, event: Content, size: usize, now: Timestamp) -> bool {
        if let Some(broker) = self.broker() {
            let is_taken = broker.offer(vec![(event, size)]).is_ok();
            self.counters.received.add(u64::from(is_taken));
            return is_taken;
        }
        let is_accepted = u32::try_from(size).is_ok_and(|bytes| self.take_room(bytes).is_ok());
        if is_accepted {
            self.count_types(event.kind_given().into_iter());
            self.accept(std::iter::once((event, size)), now);
        }
        is_accepted
    }

    /// The hub has ended: nothing will be taken any more.
    pub(crate) fn close(&self) {
        self.draining.store(true, Ordering::Release);
        self.ingest_room.close();
        self.audience.leave();
    }

    pub(crate) fn stats(&self) -> HubStats {
        let counters = &self.counters;
        HubStats {
            subscribers: self.audience.subscribers(),
            filters: self.groups.len(),
            queued: self.log.unrouted_events() + self.in_flight.load(Ordering::Relaxed),
            received: counters.received.get(),
            refused: counters.refused.get(),
            dropped: counters.dropped.get(),
            delivered: counters.delivered.get(),
            missed: counters.missed.get(),
            subscribers_refused: counters.subscribers_refused.get(),
            subscribers_over_limit: counters.subscribers_over_limit.get(),
            subscribers_ended: counters.subscribers_ended.get(),
            stalled: counters.stalled.get(),
            replays_expired: counters.replays_expired.get(),
            metric_frames_replaced: counters.metric_frames_replaced.get(),
            collector_restarts: counters.collector_restarts.get(),
            sampler_restarts: counters.sampler_restarts.get(),
            sweeper_restarts: counters.sweeper_restarts.get(),
            transport_restarts: counters.transport_restarts.get(),
            subscriber_failures: counters.subscriber_failures.get(),
        }
    }
}
