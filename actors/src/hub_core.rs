//! What outlives every actor of a hub: its log, its filter groups, its metrics and its counters.
//!
//! Actors hold it together; none owns it, so that a restarted one finds everything where its predecessor left it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ractor::ActorRef;
use tokio::sync::Semaphore;

use crate::collector::CollectorMessage;
use crate::config::HubConfig;
use crate::event_log::EventLog;
use crate::filter_group::FilterGroups;
use crate::lock;
use crate::metric_store::{MetricStore, Sample};
use crate::process::ProcessProbe;
use crate::stats::{HubCounters, HubStats};

#[derive(Debug)]
pub(crate) struct HubCore {
    pub(crate) config: HubConfig,
    pub(crate) log: EventLog,
    pub(crate) groups: Arc<FilterGroups>,
    pub(crate) metrics: Arc<MetricStore>,
    process: ProcessProbe,
    pub(crate) counters: Arc<HubCounters>,
    /// One permit for each byte that may still be accepted.
    pub(crate) ingest_room: Semaphore,
    /// Events on their way to the streams.
    pub(crate) in_flight: Arc<AtomicUsize>,
    pub(crate) subscribers: AtomicUsize,
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
    pub(crate) fn new(mut config: HubConfig) -> Self {
        // The semaphore hands out no more than 32 bits of permits at a time.
        config.ingest_queue_bytes = config.ingest_queue_bytes.min(u32::MAX as usize);
        Self {
            log: EventLog::new(&config),
            groups: Arc::new(FilterGroups::new(config.follow_capacity)),
            metrics: Arc::new(MetricStore::new(config.max_series, config.max_event_types)),
            process: ProcessProbe::new(),
            counters: Arc::default(),
            ingest_room: Semaphore::new(config.ingest_queue_bytes),
            in_flight: Arc::default(),
            subscribers: AtomicUsize::new(0),
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

    pub(crate) fn set_collector(&self, collector: ActorRef<CollectorMessage>) {
        *lock(&self.collector) = Some(collector);
        self.release_wake();
        self.wake_collector();
    }

    pub(crate) fn collector(&self) -> Option<ActorRef<CollectorMessage>> {
        lock(&self.collector).clone()
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

    /// The collector has looked: from here on, new events need a new wake.
    pub(crate) fn release_wake(&self) {
        self.wake_pending.store(false, Ordering::SeqCst);
    }

    /// All series as they are now, the hub's own among them, sorted.
    pub(crate) fn sample(&self) -> Vec<Sample> {
        let (stats, process) = (self.stats(), self.process.read());
        let mut samples = self.metrics.read();
        samples.extend([
            Sample::own_gauge("server.memory", Some("By"), process.memory as f64),
            Sample::own_gauge("server.cpu", Some("1"), process.cpu),
            Sample::own_gauge("server.uptime", Some("s"), process.uptime.as_secs_f64()),
            Sample::own_gauge("queue.count", Some("{event}"), stats.queued as f64),
            Sample::own_gauge("hub.subscribers", Some("{subscriber}"), stats.subscribers as f64),
            Sample::own_gauge("hub.filters", Some("{filter}"), stats.filters as f64),
            Sample::own_counter("hub.events.received", stats.received),
            Sample::own_counter("hub.events.refused", stats.refused),
            Sample::own_counter("hub.events.delivered", stats.delivered),
            Sample::own_counter("hub.events.missed", stats.missed),
            Sample::own_counter("hub.subscribers.refused", stats.subscribers_refused),
            Sample::own_counter("hub.subscribers.stalled", stats.stalled),
            Sample::own_counter("hub.subscribers.failed", stats.subscriber_failures),
            Sample::own_counter("hub.metrics.folded", self.metrics.folded.get()),
            Sample::own_counter("hub.metrics.frames_replaced", stats.metric_frames_replaced),
            Sample::own_counter("hub.collector.restarts", stats.collector_restarts),
            Sample::own_counter("hub.sampler.restarts", stats.sampler_restarts),
        ]);
        samples.sort_by(|a, b| a.key().cmp(b.key()));
        samples
    }

    pub(crate) fn stats(&self) -> HubStats {
        let counters = &self.counters;
        HubStats {
            subscribers: self.subscribers.load(Ordering::Relaxed),
            filters: self.groups.len(),
            queued: self.log.unrouted_events() + self.in_flight.load(Ordering::Relaxed),
            received: counters.received.get(),
            refused: counters.refused.get(),
            delivered: counters.delivered.get(),
            missed: counters.missed.get(),
            subscribers_refused: counters.subscribers_refused.get(),
            stalled: counters.stalled.get(),
            metric_frames_replaced: counters.metric_frames_replaced.get(),
            collector_restarts: counters.collector_restarts.get(),
            sampler_restarts: counters.sampler_restarts.get(),
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
}

impl Credit {
    /// Enough that no core runs dry, few enough that a mailbox stays small.
    const LIMIT: usize = 4;

    /// Whether the collector may go ahead. If not, the return of a [`CreditNote`] wakes it.
    pub(crate) fn is_left(&self) -> bool {
        if self.used.load(Ordering::Acquire) < Self::LIMIT {
            return true;
        }
        self.wanted.store(true, Ordering::SeqCst);
        // One may have come back just before it was wanted.
        self.used.load(Ordering::SeqCst) < Self::LIMIT
    }
}

/// Held in every mailbox that a batch was sent to; the last one dropped gives the credit back.
#[derive(Debug)]
pub(crate) struct CreditNote(Arc<HubCore>);

impl CreditNote {
    pub(crate) fn take(core: &Arc<HubCore>) -> Arc<Self> {
        core.credit.used.fetch_add(1, Ordering::SeqCst);
        Arc::new(Self(Arc::clone(core)))
    }
}

impl Drop for CreditNote {
    fn drop(&mut self) {
        let credit = &self.0.credit;
        credit.used.fetch_sub(1, Ordering::SeqCst);
        if credit.wanted.swap(false, Ordering::SeqCst) {
            self.0.wake_collector();
        }
    }
}

/// Counts one subscriber for as long as it is held.
#[derive(Debug)]
pub(crate) struct SubscriberCount(Arc<HubCore>);

impl SubscriberCount {
    pub(crate) fn take(core: &Arc<HubCore>) -> Self {
        core.subscribers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(core))
    }
}

impl Drop for SubscriberCount {
    fn drop(&mut self) {
        self.0.subscribers.fetch_sub(1, Ordering::Relaxed);
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
