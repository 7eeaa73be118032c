//! The series of a hub as they are at one moment: its own, its sources', and those that other hubs tell of themselves.

use std::sync::Arc;

use super::HubCore;
use crate::metric_store::{MetricStore, Sample};

impl HubCore {
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
}
