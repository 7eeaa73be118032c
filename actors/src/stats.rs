//! What a hub counts, and what a host sees of it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the hub has counted since its start. Lives outside all actors, so that no restart resets it.
#[derive(Debug, Default)]
pub(crate) struct HubCounters {
    pub(crate) received: Count,
    pub(crate) refused: Count,
    pub(crate) dropped: Count,
    /// Measurements that were not taken to the stream of the hubs.
    pub(crate) measurements_refused: Count,
    pub(crate) delivered: Count,
    pub(crate) missed: Count,
    pub(crate) subscribers_refused: Count,
    pub(crate) subscribers_over_limit: Count,
    pub(crate) subscribers_ended: Count,
    pub(crate) stalled: Count,
    pub(crate) replays_expired: Count,
    pub(crate) metric_frames_replaced: Count,
    pub(crate) collector_restarts: Count,
    pub(crate) sampler_restarts: Count,
    pub(crate) sweeper_restarts: Count,
    pub(crate) transport_restarts: Count,
    pub(crate) subscriber_failures: Count,
}

/// A hub at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubStats {
    /// Subscribers, of events and metrics together.
    pub subscribers: usize,
    /// Distinct filters among them.
    pub filters: usize,
    /// Events accepted and not yet handed to every subscriber's stream.
    pub queued: usize,
    /// Events accepted since the start.
    pub received: u64,
    /// Events refused since the start, because there was no room or the hub was going down.
    pub refused: u64,
    /// Events lost since the start that nobody will send again: those refused that came from this program's own `tracing`, and, joined to
    /// other hubs, what was received and could not be published.
    pub dropped: u64,
    /// Events handed to streams since the start, each as often as it was.
    pub delivered: u64,
    /// Events that subscribers did not get and were told of.
    pub missed: u64,
    /// Subscriptions refused since the start for lack of places.
    pub subscribers_refused: u64,
    /// Those of them whose client had as many as it may have.
    pub subscribers_over_limit: u64,
    /// Streams ended because the host asked for it ([`end_subscriber`](crate::HubHandle::end_subscriber)).
    pub subscribers_ended: u64,
    /// Streams ended because their client did not read.
    pub stalled: u64,
    /// How often a client was told that the replay buffer has not all that it asked for (`gap` `expired`).
    pub replays_expired: u64,
    /// Metrics frames that a newer one replaced before the client took it.
    pub metric_frames_replaced: u64,
    /// How often the collector was restarted.
    pub collector_restarts: u64,
    /// How often a sampler was restarted.
    pub sampler_restarts: u64,
    /// How often the sweeper, which fills silence with pings, was restarted.
    pub sweeper_restarts: u64,
    /// How often the actor that joins this hub to others was restarted.
    pub transport_restarts: u64,
    /// How many subscribers failed or were killed.
    pub subscriber_failures: u64,
}

/// One subscription at one moment: `matched == sent + missed + queued`, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SubscriptionStats {
    /// Events that matched the filter.
    pub matched: u64,
    /// Events handed to the stream.
    pub sent: u64,
    /// Events told as missed by `gap`, or about to be.
    pub missed: u64,
    /// Events waiting to be handed over.
    pub queued: u64,
}

impl SubscriptionStats {
    /// One that waited will not be handed over.
    pub(crate) fn miss_queued(&mut self) {
        self.queued -= 1;
        self.missed += 1;
    }
}
