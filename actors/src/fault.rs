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
    /// The transport is killed.
    KillTransport,
    /// The transport panics at the next message, after so many.
    PanicTransportAfter(u32),
    /// The hub itself panics.
    PanicHub,
}

/// The faults that wait for their moment.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// What the collector has still to deliver.
    pub(crate) deliveries: Countdown,
    /// What the transport has still to read.
    pub(crate) messages: Countdown,
}

/// Goes on for so many steps, and breaks at the next one.
#[derive(Debug)]
pub(crate) struct Countdown(AtomicI64);

impl Default for Countdown {
    fn default() -> Self {
        Self(AtomicI64::new(-1))
    }
}

impl Countdown {
    pub(crate) fn panic_after(&self, steps: u32) {
        self.0.store(i64::from(steps), Ordering::SeqCst);
    }

    pub(crate) fn step(&self) {
        if self.0.load(Ordering::Relaxed) < 0 {
            return;
        }
        let left = self.0.fetch_sub(1, Ordering::SeqCst);
        assert!(left != 0, "a test asked for it");
    }
}
