//! What outlives every actor of a hub: its log, its filter groups, its metrics and its counters.
//!
//! Actors hold it together; none owns it, so that a restarted one finds everything where its predecessor left it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use ractor::ActorRef;
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::Instant;

use crate::collector::CollectorMessage;
use crate::config::HubConfig;
use crate::error::IngestError;
use crate::event::{Content, NewEvent};
#[cfg(feature = "nats")]
use crate::event_log::Arrival;
use crate::event_log::EventLog;
use crate::filter_group::FilterGroups;
#[cfg(feature = "tracing")]
use crate::layer::Record;
use crate::level::Level;
use crate::lock;
use crate::measurement::{Measurement, MeasurementError};
use crate::metric_store::{MetricStore, Sample, names_only_a_hub};
use crate::process::ProcessProbe;
use crate::stats::{HubCounters, HubStats};
use crate::sweeper::Streams;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::transport::{Broker, Transport};

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
        self.counters.dropped.add(1);
        self.untold.fetch_add(1, Ordering::SeqCst);
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
        let notice = NewEvent::new("hub.events.dropped")
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
        self.audience.has_ended.store(true, Ordering::Relaxed);
    }

    /// All series as they are now, the hub's own among them, and those of the hubs that it is joined to, sorted.
    pub(crate) fn sample(&self) -> Vec<Sample> {
        self.sample_with(self.broker().map(|broker| broker.samples_of_others()).unwrap_or_default())
    }

    /// The same without what other hubs tell of themselves.
    pub(crate) fn sample_here(&self) -> Vec<Sample> {
        self.sample_with(Vec::new())
    }

    fn sample_with(&self, others: Vec<Sample>) -> Vec<Sample> {
        let mut samples = self.own_samples();
        if let Some(broker) = self.broker() {
            // Which of the hubs it is that shows this.
            samples.push(Sample::own_gauge("hub.here", None, 1.0));
            samples = samples.into_iter().map(|own| own.of_hub(broker.hub_name())).collect();
        }
        samples.extend(others);
        samples.extend(self.metrics.read());
        samples.sort_by(|a, b| a.key().cmp(b.key()));
        // A source may say that it is a hub: the hub itself knows better, and comes first.
        samples.dedup_by(|a, b| a.key() == b.key());
        samples
    }

    /// The hub's own series, which do not say of which hub they are.
    pub(crate) fn own_samples(&self) -> Vec<Sample> {
        let (stats, process) = (self.stats(), self.process.read());
        let [folded, late] = self.metrics_not_kept();
        let mut samples = vec![
            Sample::own_gauge("server.memory", Some("By"), process.memory as f64),
            Sample::own_gauge("server.cpu", Some("1"), process.cpu),
            Sample::own_gauge("server.uptime", Some("s"), process.uptime.as_secs_f64()),
            Sample::own_gauge("queue.count", Some("{event}"), stats.queued as f64),
            Sample::own_gauge("hub.subscribers", Some("{subscriber}"), stats.subscribers as f64),
            Sample::own_gauge("hub.filters", Some("{filter}"), stats.filters as f64),
            Sample::own_counter("hub.events.received", stats.received),
            Sample::own_counter("hub.events.refused", stats.refused),
            Sample::own_counter("hub.events.dropped", stats.dropped),
            Sample::own_counter("hub.events.delivered", stats.delivered),
            Sample::own_counter("hub.events.missed", stats.missed),
            Sample::own_counter("hub.subscribers.refused", stats.subscribers_refused),
            Sample::own_counter("hub.subscribers.over_limit", stats.subscribers_over_limit),
            Sample::own_counter("hub.subscribers.ended", stats.subscribers_ended),
            Sample::own_counter("hub.subscribers.stalled", stats.stalled),
            Sample::own_counter("hub.subscribers.failed", stats.subscriber_failures),
            Sample::own_counter("hub.replays.expired", stats.replays_expired),
            Sample::own_counter("hub.metrics.folded", folded),
            Sample::own_counter("hub.metrics.late", late),
            Sample::own_counter("hub.metrics.frames_replaced", stats.metric_frames_replaced),
            Sample::own_counter("hub.collector.restarts", stats.collector_restarts),
            Sample::own_counter("hub.sampler.restarts", stats.sampler_restarts),
            Sample::own_counter("hub.sweeper.restarts", stats.sweeper_restarts),
        ];
        if let Some(broker) = self.broker() {
            samples.extend(broker.samples());
            let (restarts, refused) =
                (stats.transport_restarts, self.counters.measurements_refused.get());
            samples.push(Sample::own_counter("hub.transport.restarts", restarts));
            samples.push(Sample::own_counter("hub.metrics.refused", refused));
            samples.extend(self.own_metrics.read());
        }
        samples
    }

    /// How many measurements found no series of their own, and how many came too late.
    fn metrics_not_kept(&self) -> [u64; 2] {
        let of = |store: &MetricStore| [store.folded.get(), store.late.get()];
        let [folded, late] = of(&self.metrics);
        if Arc::ptr_eq(&self.metrics, &self.own_metrics) {
            return [folded, late];
        }
        let [own_folded, own_late] = of(&self.own_metrics);
        [folded + own_folded, late + own_late]
    }

    pub(crate) fn stats(&self) -> HubStats {
        let counters = &self.counters;
        HubStats {
            subscribers: self.audience.subscribers.load(Ordering::Relaxed),
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

/// How far the collector is ahead of the subscribers' actors, in batches.
///
/// It stops at [`Credit::LIMIT`] and goes on when the slowest actor has handled one: this is what bounds the mailboxes.
/// Actors never wait for a client, so that no client can hold it up.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    used: AtomicUsize,
    wanted: AtomicBool,
    /// How long it took to hand out the last batch that all have handled, in nanoseconds.
    took: AtomicU64,
}

impl Credit {
    /// Enough that no core runs dry, few enough that a mailbox stays small.
    const LIMIT: usize = 4;

    /// Whether the collector may go ahead. If not, the return of a [`CreditNote`] wakes it.
    pub(crate) fn is_left(&self) -> bool {
        if self.used.load(Ordering::Acquire) < Self::LIMIT {
            return true;
        }
        // One may have come back just before it was wanted. The exchange sees to it that this is seen.
        self.wanted.swap(true, Ordering::SeqCst);
        self.used.load(Ordering::SeqCst) < Self::LIMIT
    }

    /// How long it took to hand out a batch, the last time.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.took.load(Ordering::Relaxed))
    }
}

/// Held in every mailbox that a batch was sent to; the last one dropped gives the credit back.
#[derive(Debug)]
pub(crate) struct CreditNote {
    core: Arc<HubCore>,
    begun: Instant,
}

impl CreditNote {
    pub(crate) fn take(core: &Arc<HubCore>) -> Arc<Self> {
        core.credit.used.fetch_add(1, Ordering::SeqCst);
        Arc::new(Self { core: Arc::clone(core), begun: Instant::now() })
    }
}

impl Drop for CreditNote {
    fn drop(&mut self) {
        let credit = &self.core.credit;
        let took = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        credit.took.store(took, Ordering::Relaxed);
        credit.used.fetch_sub(1, Ordering::SeqCst);
        if credit.wanted.swap(false, Ordering::SeqCst) {
            self.core.wake_collector();
        }
    }
}

/// Whether anybody can ever see an event. Stands apart from the core, so that asking holds nothing of it.
#[derive(Debug)]
pub(crate) struct Audience {
    subscribers: AtomicUsize,
    /// There is a replay buffer, for those who come later.
    #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "only the layer asks"))]
    keeps_events: bool,
    has_ended: AtomicBool,
}

impl Audience {
    fn new(config: &HubConfig) -> Self {
        Self {
            subscribers: AtomicUsize::new(0),
            keeps_events: config.replay_bytes > 0,
            has_ended: AtomicBool::new(false),
        }
    }

    /// Whether an event that comes now can be seen, now or later.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_there(&self) -> bool {
        (self.keeps_events || self.subscribers.load(Ordering::Relaxed) > 0) && !self.has_left()
    }

    /// Whether the hub has ended.
    #[cfg(feature = "tracing")]
    pub(crate) fn has_left(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }
}

/// Counts one subscriber for as long as it is held.
#[derive(Debug)]
pub(crate) struct SubscriberCount(Arc<HubCore>);

impl SubscriberCount {
    pub(crate) fn take(core: &Arc<HubCore>) -> Self {
        core.audience.subscribers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(core))
    }
}

impl Drop for SubscriberCount {
    fn drop(&mut self) {
        self.0.audience.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_runs_out_and_comes_back_with_the_last_note_of_a_batch() {
        let core = Arc::new(HubCore::new(HubConfig::default()));
        let notes: Vec<_> = (0..Credit::LIMIT).map(|_| CreditNote::take(&core)).collect();
        assert!(!core.credit.is_left());
        let in_a_mailbox = Arc::clone(&notes[0]);
        drop(notes);
        assert!(core.credit.is_left());
        assert!(!core.claim_wake(), "who gave credit back has woken the collector");
        core.release_wake();
        drop(in_a_mailbox);
        assert!(core.claim_wake(), "nobody was waiting any more");
    }
}
