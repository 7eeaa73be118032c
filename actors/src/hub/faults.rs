//! Breaks the hub's children on purpose, for tests.

use super::HubState;
use crate::collector::CollectorMessage;
use crate::fault::Fault;
use crate::metrics_subscriber::MetricsSubscriberMessage;
use crate::sampler::SamplerMessage;
use crate::subscriber::SubscriberMessage;
use crate::sweeper::SweeperMessage;

impl HubState {
    pub(super) fn inject(&self, fault: Fault) {
        let samplers = self.samplers.values().map(|entry| &entry.sampler);
        // What is broken already needs no breaking.
        match fault {
            Fault::PanicCollector => self.collector.cast(CollectorMessage::Panic).unwrap_or(()),
            Fault::PanicCollectorAfter(deliveries) => self.core.faults.panic_after(deliveries),
            Fault::HangCollector => self.collector.cast(CollectorMessage::Hang).unwrap_or(()),
            Fault::KillCollector => self.collector.kill(),
            Fault::PanicSamplers => samplers.for_each(|sampler| {
                sampler.cast(SamplerMessage::Panic).ok();
            }),
            Fault::KillSamplers => samplers.for_each(|sampler| sampler.kill()),
            Fault::PanicSubscribers => {
                for subscriber in self.subscribers.values() {
                    subscriber.cast(SubscriberMessage::Panic).ok();
                }
                for entry in self.metrics_subscribers.values() {
                    entry.subscriber.cast(MetricsSubscriberMessage::Panic).ok();
                }
            }
            Fault::KillSubscribers => {
                self.subscribers.values().for_each(|subscriber| subscriber.kill());
                self.metrics_subscribers.values().for_each(|entry| entry.subscriber.kill());
            }
            Fault::PanicSweeper => self.sweeper.cast(SweeperMessage::Panic).unwrap_or(()),
            Fault::KillSweeper => self.sweeper.kill(),
            Fault::PanicHub => panic!("a test asked for it"),
        }
    }
}
