//! Breaks the hub's children on purpose, for tests.

use ractor::ActorCell;

use super::HubState;
use crate::collector::CollectorMessage;
use crate::fault::Fault;
use crate::metrics_subscriber::MetricsSubscriberMessage;
use crate::register::Child;
use crate::sampler::SamplerMessage;
use crate::subscriber::SubscriberMessage;
use crate::sweeper::SweeperMessage;

impl HubState {
    pub(super) fn inject(&self, fault: Fault) {
        let samplers = self.samplers.values().map(|entry| &entry.sampler);
        // What is broken already needs no breaking.
        match fault {
            Fault::PanicCollector => self.collector.cast(CollectorMessage::Panic).unwrap_or(()),
            Fault::PanicCollectorAfter(deliveries) => {
                self.core.faults.deliveries.panic_after(deliveries)
            }
            Fault::HangCollector => self.collector.cast(CollectorMessage::Hang).unwrap_or(()),
            Fault::KillCollector => self.collector.kill(),
            Fault::PanicSamplers => samplers.for_each(|sampler| {
                sampler.cast(SamplerMessage::Panic).ok();
            }),
            Fault::KillSamplers => samplers.for_each(|sampler| sampler.kill()),
            Fault::PanicSubscribers => self.subscribers.children().for_each(|child| match child {
                Child::Traces(subscriber, _) => {
                    subscriber.cast(SubscriberMessage::Panic).unwrap_or(());
                }
                Child::Metrics(subscriber, ..) => {
                    subscriber.cast(MetricsSubscriberMessage::Panic).unwrap_or(());
                }
            }),
            Fault::KillSubscribers => self.subscribers.children().for_each(|child| match child {
                Child::Traces(subscriber, _) => subscriber.kill(),
                Child::Metrics(subscriber, ..) => subscriber.kill(),
            }),
            Fault::PanicSweeper => self.sweeper.cast(SweeperMessage::Panic).unwrap_or(()),
            Fault::KillSweeper => self.sweeper.kill(),
            Fault::KillTransport => self.transport.iter().for_each(ActorCell::kill),
            Fault::PanicTransportAfter(messages) => self.core.faults.messages.panic_after(messages),
            Fault::PanicHub => panic!("a test asked for it"),
        }
    }
}
