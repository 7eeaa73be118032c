//! Breaks what the script says, one thing at a time, and sees to it that it is whole again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use telemetry_hub_actors::{Clock, Fault, HubHandle};

use super::health::{Condition, Health};
use super::journal::Journal;
use super::script::{Kind, Script};
use crate::harness::{PATIENCE, eventually, within_patience};

/// A clock that can be moved.
#[derive(Debug, Clone, Default)]
pub(super) struct WildClock(Arc<AtomicI64>);

impl WildClock {
    pub(super) fn clock(&self) -> Clock {
        let offset = Arc::clone(&self.0);
        Clock::new(move || {
            Timestamp::now() + SignedDuration::from_secs(offset.load(Ordering::Relaxed))
        })
    }
}

pub(super) struct Monkey {
    pub(super) hub: HubHandle,
    pub(super) clock: WildClock,
    pub(super) journal: Arc<Journal>,
    pub(super) health: Arc<Health>,
}

impl Monkey {
    /// Returns how often it did what.
    pub(super) async fn run(self, script: Script) -> BTreeMap<String, u32> {
        let mut done = BTreeMap::new();
        for blow in script.faults {
            tokio::time::timeout(blow.after, std::future::pending::<()>()).await.ok();
            self.strike(blow.kind).await;
            *done.entry(blow.kind.name()).or_default() += 1;
        }
        done
    }

    async fn strike(&self, kind: Kind) {
        match kind {
            Kind::MoveClock(seconds) => self.clock.0.store(seconds, Ordering::Relaxed),
            Kind::Break(fault @ (Fault::KillSubscribers | Fault::PanicSubscribers)) => {
                self.journal.note_blow();
                self.hub.inject(fault).await;
            }
            Kind::Break(fault) => self.break_and_wait(fault).await,
            Kind::Hang => {
                self.health.becomes(Condition::Unknown);
                self.hub.inject(Fault::HangCollector).await;
                // Whoever asks from now on stands behind that in the collector's mailbox.
                self.health.becomes(Condition::Stuck);
                self.health.wait_for_answer().await;
                self.break_and_wait(Fault::KillCollector).await;
            }
        }
    }

    /// Breaks an actor that is restarted, and waits until it has been.
    async fn break_and_wait(&self, fault: Fault) {
        let stats = || {
            let stats = self.hub.stats();
            (stats.collector_restarts, stats.sweeper_restarts, stats.sampler_restarts)
        };
        let before = stats();
        let is_of_collector = !matches!(
            fault,
            Fault::KillSweeper | Fault::PanicSweeper | Fault::KillSamplers | Fault::PanicSamplers
        );
        if is_of_collector {
            self.health.becomes(Condition::Unknown);
        }
        self.hub.inject(fault).await;
        // Samplers may be missing just then, all their subscribers having been broken.
        if !matches!(fault, Fault::KillSamplers | Fault::PanicSamplers) {
            eventually(|| stats() != before).await;
        }
        if is_of_collector {
            // The new one may be counted a moment before it is there.
            within_patience(async { while self.hub.check_health(PATIENCE).await.is_err() {} })
                .await;
            self.health.becomes(Condition::Works);
        }
    }
}
