//! The bounds of a hub. Each says why it is what it is, and what happens when it is reached.

use std::time::Duration;

use crate::clock::Clock;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Everything that bounds a hub. All byte counts are of the memory that the hub holds, not of the JSON on the wire.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Accepted events that are not yet handed to the subscribers, in bytes. 64 MiB is a second or more of the most that
    /// two cores can take in. When it is full, [`ingest`](crate::HubHandle::ingest) waits, then refuses.
    pub ingest_queue_bytes: usize,
    /// How long [`ingest`](crate::HubHandle::ingest) waits for room before it refuses: long enough to ride out a burst,
    /// shorter than any publisher's own timeout.
    pub ingest_patience: Duration,
    /// How large the JSON of one event may be. 2 MiB lets a stack trace with a megabyte of context through; a larger
    /// event is rejected, the rest of its batch is not.
    pub max_event_bytes: usize,
    /// What one subscriber may have queued. 8 MiB is many batches, and some twenty thousand events: a reader that pauses
    /// for a moment loses nothing. The events are shared with the replay buffer and with all other subscribers; their
    /// frames, once encoded for a faster reader of the same filter, add about a third. When it is full, events are counted
    /// as missed and told by `gap`.
    pub subscriber_queue_bytes: usize,
    /// How long a subscriber's queue may be full without the client reading any of it, before its stream ends with `bye`, to a
    /// second.
    /// Half a minute outlasts a laptop that changes networks; a client that is away for longer resumes by its last id.
    pub stall_timeout: Duration,
    /// What `replay`, `since` and `Last-Event-ID` can reach back to. 64 MiB is some 100,000 events: minutes of a busy server,
    /// which is what a client needs that lost its connection. When it is full, the oldest batch goes, and a client that asks
    /// for it is told `gap` `expired`.
    pub replay_bytes: usize,
    /// While events keep coming, those that arrive within this time leave as one batch: at five milliseconds nobody who
    /// watches sees a delay, and a thousand events a second make two hundred writes. An event that comes alone never waits.
    /// Where it takes longer than that to hand a batch to all who get it, the next one grows for as long, 100 ms at most; with 0,
    /// never.
    pub linger: Duration,
    /// How large a batch may grow within the linger, in bytes. At 256 KiB a batch is a small part of a subscriber's queue.
    pub batch_bytes: usize,
    /// How many spans or traces a filter may be following, at some 50 bytes each: more than one server has open at once.
    /// Beyond it, the oldest are forgotten: their later events pass only if they match themselves.
    pub follow_capacity: usize,
    /// How many subscribers, of events and metrics together, there may be: 131,072 idle ones take some 1.5 GiB, and
    /// 0.4 GiB more if all have a `max-rate`. One more is refused.
    pub max_subscribers: usize,
    /// How many of them one address ([`Client::address`](crate::Client::address)) may have, for IPv6 one network of 64 bits, so that
    /// nobody takes all places: a thirteenth. A proxy that does not stand on this machine is one address for all behind it. One more is
    /// refused. Loopback addresses are not counted.
    pub max_subscribers_per_address: usize,
    /// How many of them one token, or whatever else gives a client its name ([`Client::name`](crate::Client::name)), may have; the
    /// same, for one who comes from many addresses. Those without a name are not counted.
    pub max_subscribers_per_token: usize,
    /// How many metric series there may be: a snapshot of 10,000 takes a few milliseconds at each tick, and some 15
    /// microseconds more for each histogram of 160 buckets that has changed (0.7 s for 10,000 of the largest, with 1,024
    /// buckets, that all do). What comes under further names and attributes is folded into the series `other`, and
    /// `hub.metrics.folded` counts it. As many totals of sources are kept, one for each [`Source`](crate::Source) of each
    /// series; further ones are folded, too.
    pub max_series: usize,
    /// How many types of event get a counter of their own; no program has thousands, so that more of them are made up as
    /// they go. The rest is counted as `other`.
    pub max_event_types: usize,
    /// After how much silence a stream carries a `ping`, which may come a fifteenth of that later, or a second: below the idle timeouts in common use, which begin at 20 s.
    pub ping_interval: Duration,
    /// What a client is told to wait before it reconnects, a little more or less for each: long enough for a restart, short
    /// enough that nobody reloads the page by hand.
    pub retry: Duration,
    /// Tells the time of day. Tests bring their own.
    pub clock: Clock,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            ingest_queue_bytes: 64 * MIB,
            ingest_patience: Duration::from_secs(1),
            max_event_bytes: 2 * MIB,
            subscriber_queue_bytes: 8 * MIB,
            stall_timeout: Duration::from_secs(30),
            replay_bytes: 64 * MIB,
            linger: Duration::from_millis(5),
            batch_bytes: 256 * KIB,
            follow_capacity: 4096,
            max_subscribers: 131_072,
            max_subscribers_per_address: 10_000,
            max_subscribers_per_token: 10_000,
            max_series: 10_000,
            max_event_types: 4096,
            ping_interval: Duration::from_secs(15),
            retry: Duration::from_secs(3),
            clock: Clock::system(),
        }
    }
}
