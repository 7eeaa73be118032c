//! Breaks actors on purpose, for tests: behind the feature `fault-injection`, off by default.

use std::sync::atomic::{AtomicI64, Ordering};

/// Which actor to break, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The collector panics at its next message.
    PanicCollector,
    /// The collector panics at the next batch, after so many deliveries of it.
    PanicCollectorAfter(u32),
    /// The collector hangs: it answers nothing and routes nothing until it is killed.
    HangCollector,
    /// The collector is killed.
    KillCollector,
    /// All subscribers panic, of events and of metrics.
    PanicSubscribers,
    /// All subscribers are killed, of events and of metrics.
    KillSubscribers,
    /// All samplers panic.
    PanicSamplers,
    /// All samplers are killed.
    KillSamplers,
    /// The sweeper panics.
    PanicSweeper,
    /// The sweeper is killed.
    KillSweeper,
    /// The hub itself panics.
    PanicHub,
}

/// The faults that wait for their moment.
#[derive(Debug)]
pub(crate) struct Faults {
    deliveries_left: AtomicI64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { deliveries_left: AtomicI64::new(-1) }
    }
}

impl Faults {
    pub(crate) fn panic_after(&self, deliveries: u32) {
        self.deliveries_left.store(i64::from(deliveries), Ordering::SeqCst);
    }

    pub(crate) fn before_delivery(&self) {
        if self.deliveries_left.load(Ordering::Relaxed) < 0 {
            return;
        }
        let left = self.deliveries_left.fetch_sub(1, Ordering::SeqCst);
        assert!(left != 0, "a test asked for it");
    }
}
