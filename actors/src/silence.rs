//! How long a stream has said nothing, and whether it owes its client a `ping`.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Silence {
    interval: Duration,
    since: Instant,
    ping_is_due: bool,
}

impl Silence {
    /// Begins now.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, since: Instant::now(), ping_is_due: false }
    }

    /// Something was said.
    pub(crate) fn broken(&mut self, now: Instant) {
        self.since = now;
        self.ping_is_due = false;
    }

    /// Whether it has lasted so long that a ping is due: true once.
    pub(crate) fn has_lasted(&mut self, now: Instant) -> bool {
        let has_lasted = now.saturating_duration_since(self.since) >= self.interval;
        if has_lasted {
            self.since = now;
            self.ping_is_due = true;
        }
        has_lasted
    }

    /// The interval of the ping that is due, if one is.
    pub(crate) fn take_ping(&mut self) -> Option<Duration> {
        std::mem::take(&mut self.ping_is_due).then_some(self.interval)
    }
}
