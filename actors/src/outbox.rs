//! The queue between a subscriber and its client's stream: bounded in bytes, and exact about what it could not take.
//!
//! The subscriber puts in and never waits; the stream takes out. At every moment matched = sent + missed + queued, and
//! what was missed is told by a `gap` in its place: after what was queued before it, before what comes after. What a sample left
//! out stood among what was sent: it is told by a `gap` about once a second.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::config::HubConfig;
use crate::event::EventId;
use crate::lock;
use crate::matches::Matches;
use crate::register::{StreamState, StreamStatus};
use crate::silence::Silence;
use crate::sse::{Bye, Gap, GapReason};
use crate::stats::{HubCounters, SubscriptionStats};

/// How often a busy stream is told what a sample left out.
const SAMPLED_GAP_INTERVAL: Duration = Duration::from_secs(1);

/// What a stream has to say, in order.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Events(Arc<Matches>),
    Gap(Gap),
    CaughtUp {
        replayed: u64,
        /// Where it came to.
        mark: Option<EventId>,
    },
    /// Nothing has been said for so long.
    Ping(Duration),
    Bye(Bye),
}

#[derive(Debug)]
pub(crate) struct Outbox {
    capacity: usize,
    stall_timeout: Duration,
    totals: Arc<HubCounters>,
    state: Mutex<OutboxState>,
}

#[derive(Debug)]
struct OutboxState {
    queue: VecDeque<Item>,
    bytes: usize,
    /// What found no room and has not been told yet.
    missed: Option<Missed>,
    /// What a sample has left out and has not been told yet, and since when.
    left_out: Option<Missed>,
    left_out_since: Instant,
    stats: SubscriptionStats,
    /// When the client last took something, or the first item was queued for it.
    last_taken: Instant,
    silence: Silence,
    waker: Option<Waker>,
    /// What is queued comes from a replay.
    replaying: bool,
    /// A replay has stopped for lack of room.
    refill_wanted: bool,
    ended: bool,
}

/// Events that a stream did not get.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missed {
    pub(crate) count: u64,
    pub(crate) from: EventId,
    pub(crate) to: EventId,
}

impl Missed {
    pub(crate) fn one(id: EventId) -> Self {
        Self { count: 1, from: id, to: id }
    }

    /// More of them.
    pub(crate) fn add(sum: &mut Option<Self>, more: Self) {
        let Self { count, from, to } = sum.unwrap_or(Self { count: 0, ..more });
        let (from, to) = (from.min(more.from), to.max(more.to));
        *sum = Some(Self { count: count + more.count, from, to });
    }

    fn of_gap(gap: &Gap) -> Option<Self> {
        Some(Self { count: gap.missed?, from: gap.from?, to: gap.to? })
    }

    fn told(self, reason: GapReason) -> Gap {
        let Self { count, from, to } = self;
        Gap { reason, missed: Some(count), from: Some(from), to: Some(to) }
    }
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    Queued,
    Missed,
    /// Missed as well, and the client has taken nothing for the stall timeout.
    Stalled,
}

/// How a stream is found when it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    /// Full, and the client has taken nothing for the stall timeout.
    Stalled,
}

impl Outbox {
    pub(crate) fn new(config: &HubConfig, totals: Arc<HubCounters>) -> Self {
        Self {
            capacity: config.subscriber_queue_bytes,
            stall_timeout: config.stall_timeout,
            totals,
            state: Mutex::new(OutboxState {
                queue: VecDeque::new(),
                bytes: 0,
                missed: None,
                left_out: None,
                left_out_since: Instant::now(),
                stats: SubscriptionStats::default(),
                last_taken: Instant::now(),
                silence: Silence::new(config.ping_interval),
                waker: None,
                replaying: false,
                refill_wanted: false,
                ended: false,
            }),
        }
    }

    /// Queues what a batch has for this subscriber, or counts it as missed. After the last word nothing is said or counted.
    pub(crate) fn offer(&self, matches: Arc<Matches>) -> Offer {
        if matches.events.is_empty() {
            return Offer::Queued;
        }
        let mut state = lock(&self.state);
        if state.ended {
            return Offer::Queued;
        }
        let has_room = state.has_room_for(matches.bytes, self.capacity);
        state.tell_left_out(Instant::now());
        state.stats.matched += matches.count();
        if !has_room {
            self.totals.missed.add(matches.count());
            state.miss(&matches);
            let is_stalled = state.is_stalled(Instant::now(), self.stall_timeout);
            return if is_stalled { Offer::Stalled } else { Offer::Missed };
        }
        if let Some(gap) = state.take_gap() {
            state.queue.push_back(Item::Gap(gap));
        }
        state.push_events(matches);
        state.wake();
        Offer::Queued
    }

    /// Counts what a sample has left out, and tells it soon.
    pub(crate) fn leave_out(&self, left_out: Missed) {
        let mut state = lock(&self.state);
        if state.ended {
            return;
        }
        state.stats.matched += left_out.count;
        state.stats.missed += left_out.count;
        self.totals.missed.add(left_out.count);
        state.note_left_out(left_out);
    }

    /// Queues a page of a replay, for which [`has_room_to_refill`](Self::has_room_to_refill) has found room.
    pub(crate) fn push_replayed(&self, matches: Arc<Matches>) {
        if matches.events.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        if state.ended {
            return;
        }
        state.stats.matched += matches.count();
        state.push_events(matches);
        state.wake();
    }

    /// Whether a replay may go on now. If not, the stream will ask for more when there is room again.
    pub(crate) fn has_room_to_refill(&self) -> bool {
        let mut state = lock(&self.state);
        state.refill_wanted = state.bytes > self.capacity / 2;
        !state.refill_wanted
    }

    /// Queues something that is no event. After the last word nothing is said.
    pub(crate) fn push(&self, item: Item) {
        let mut state = lock(&self.state);
        if !state.ended {
            state.begin_queue();
            state.queue.push_back(item);
            state.wake();
        }
    }

    /// The last word: what is queued, what was missed, then `bye`.
    pub(crate) fn finish(&self, bye: Bye) {
        let mut state = lock(&self.state);
        if state.ended {
            return;
        }
        state.queue_left_out();
        if let Some(gap) = state.take_gap() {
            state.queue.push_back(Item::Gap(gap));
        }
        state.queue.push_back(Item::Bye(bye));
        state.ended = true;
        state.wake();
    }

    /// The last word to a client that does not read, or may not any more: all that was queued for it is missed.
    pub(crate) fn cut(&self, bye: Bye) {
        let mut state = lock(&self.state);
        state.bytes = 0;
        for item in std::mem::take(&mut state.queue) {
            match item {
                Item::Events(matches) => {
                    state.stats.queued -= matches.count();
                    self.totals.missed.add(matches.count());
                    state.miss(&matches);
                }
                Item::Gap(gap) => state.untell(gap),
                // Another last word takes its place.
                Item::Bye(_) => state.ended = false,
                Item::CaughtUp { .. } | Item::Ping(_) => {}
            }
        }
        drop(state);
        self.finish(bye);
    }

    /// The subscriber is gone: after what is queued, the stream ends.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.wake();
    }

    /// Whether the last word has been said.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// The client is gone: nothing of it is kept.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.queue = VecDeque::new();
        state.waker = None;
    }

    /// The next thing to say; `None` after the last.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        let mut state = lock(&self.state);
        if let Some(item) = state.take() {
            if let Item::Events(matches) = &item {
                self.totals.delivered.add(matches.count());
            }
            return Poll::Ready(Some(item));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if let Some(interval) = state.silence.take_ping() {
            return Poll::Ready(Some(Item::Ping(interval)));
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// To be called now and then: sees to it that a silent stream says something, and what a sample has left out.
    pub(crate) fn look(&self, now: Instant) -> Health {
        let mut state = lock(&self.state);
        if state.ended {
            return Health::Good;
        }
        if state.is_stalled(now, self.stall_timeout) {
            return Health::Stalled;
        }
        state.tell_left_out(now);
        if state.queue.is_empty() && state.silence.has_lasted(now) {
            state.wake();
        }
        Health::Good
    }

    /// Whether a replay that had stopped for lack of room can go on. True once for each stop.
    pub(crate) fn take_refill(&self) -> bool {
        let mut state = lock(&self.state);
        let refill = state.refill_wanted && state.bytes <= self.capacity / 2;
        if refill {
            state.refill_wanted = false;
        }
        refill
    }

    pub(crate) fn stats(&self) -> SubscriptionStats {
        lock(&self.state).stats
    }

    /// Whether what comes is of a replay.
    pub(crate) fn set_replaying(&self, replaying: bool) {
        lock(&self.state).replaying = replaying;
    }

    /// How it stands with the stream at this time.
    pub(crate) fn status(&self, now: Timestamp) -> StreamStatus {
        let state = lock(&self.state);
        let progress = match (state.ended, state.replaying) {
            (true, _) => StreamState::Ending,
            (false, true) => StreamState::Replaying,
            (false, false) => StreamState::Live,
        };
        let (stats, queued_bytes) = (state.stats, Some(state.bytes));
        StreamStatus { state: progress, stats, queued_bytes, lag: state.lag(now) }
    }
}

impl OutboxState {
    /// After a gap there is room again only once the client has taken half of what was queued, so that one long gap
    /// does not become many short ones. An empty queue takes anything.
    fn has_room_for(&self, bytes: usize, capacity: usize) -> bool {
        let fits = self.bytes + bytes <= capacity;
        let recovered = self.missed.is_none() || self.bytes <= capacity / 2;
        self.queue.is_empty() || (fits && recovered)
    }

    /// Whether there is no room, for what is live or for a replay, and the client has taken nothing for so long.
    fn is_stalled(&self, now: Instant, timeout: Duration) -> bool {
        let has_no_room = self.missed.is_some() || self.refill_wanted;
        has_no_room && now.saturating_duration_since(self.last_taken) >= timeout
    }

    /// How long ago the oldest event that is queued was accepted.
    fn lag(&self, now: Timestamp) -> Duration {
        let oldest = self.queue.iter().find_map(|item| match item {
            Item::Events(matches) => matches.events.first(),
            Item::Gap(_) | Item::CaughtUp { .. } | Item::Ping(_) | Item::Bye(_) => None,
        });
        oldest.map_or(Duration::ZERO, |event| event.id.age(now))
    }

    fn push_events(&mut self, matches: Arc<Matches>) {
        self.begin_queue();
        self.bytes += matches.bytes;
        self.stats.queued += matches.count();
        self.queue.push_back(Item::Events(matches));
    }

    /// What is queued first is for its client to take from now on.
    fn begin_queue(&mut self) {
        if self.queue.is_empty() {
            self.last_taken = Instant::now();
        }
    }

    fn take(&mut self) -> Option<Item> {
        if self.ended {
            self.queue_left_out();
        }
        let item = self.queue.pop_front().or_else(|| self.take_gap().map(Item::Gap))?;
        let now = Instant::now();
        self.last_taken = now;
        self.silence.broken(now);
        if let Item::Events(matches) = &item {
            self.bytes -= matches.bytes;
            self.stats.queued -= matches.count();
            self.stats.sent += matches.count();
        }
        Some(item)
    }

    fn miss(&mut self, matches: &Matches) {
        let (Some(first), Some(last)) = (matches.events.first(), matches.events.last()) else {
            return;
        };
        self.stats.missed += matches.count();
        let more = Missed { count: matches.count(), from: first.id, to: last.id };
        Missed::add(&mut self.missed, more);
    }

    fn note_left_out(&mut self, left_out: Missed) {
        if self.left_out.is_none() {
            self.left_out_since = Instant::now();
        }
        Missed::add(&mut self.left_out, left_out);
    }

    /// Tells what a sample has left out, if that is long enough ago.
    fn tell_left_out(&mut self, now: Instant) {
        let waited = now.saturating_duration_since(self.left_out_since);
        if self.left_out.is_some() && waited >= SAMPLED_GAP_INTERVAL {
            self.queue_left_out();
            self.wake();
        }
    }

    /// Two gaps one after the other become one: there are no more of them in the queue than of what is counted in bytes.
    fn queue_left_out(&mut self) {
        let Some(mut left_out) = self.left_out.take() else {
            return;
        };
        self.begin_queue();
        if let Some(Item::Gap(gap)) = self.queue.back()
            && gap.reason == GapReason::Sampled
            && let Some(before) = Missed::of_gap(gap)
        {
            self.queue.pop_back();
            let mut both = Some(left_out);
            Missed::add(&mut both, before);
            left_out = both.unwrap_or(left_out);
        }
        self.queue.push_back(Item::Gap(left_out.told(GapReason::Sampled)));
    }

    /// Makes a gap that was queued part of the one that is told in its place.
    fn untell(&mut self, gap: Gap) {
        match (gap.reason, Missed::of_gap(&gap)) {
            (GapReason::Sampled, Some(left_out)) => self.note_left_out(left_out),
            (GapReason::Slow, Some(missed)) if self.missed.is_some() => {
                Missed::add(&mut self.missed, missed);
            }
            _ => self.queue.push_back(Item::Gap(gap)),
        }
    }

    fn take_gap(&mut self) -> Option<Gap> {
        Some(self.missed.take()?.told(GapReason::Slow))
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::event::{Content, CreatedAt, Event, NewEvent};
    use crate::sse::ByeReason;

    fn outbox(capacity: usize) -> Outbox {
        let config = HubConfig { subscriber_queue_bytes: capacity, ..HubConfig::default() };
        Outbox::new(&config, Arc::default())
    }

    fn id(number: u64) -> EventId {
        format!("00000000-0000-7000-8000-{number:012}").parse().unwrap()
    }

    /// `count` events from `first` on, each of a size of 10.
    fn matches(first: u64, count: u64) -> Arc<Matches> {
        let event = |number| {
            Arc::new(Event {
                id: id(number),
                offset: number,
                size: 10,
                created_at: CreatedAt::new(jiff::Timestamp::UNIX_EPOCH, 0),
                content: Content::Given(NewEvent::default()),
            })
        };
        Arc::new(Matches::new((first..first + count).map(event).collect(), None))
    }

    /// What the stream says now, in short.
    fn take(outbox: &Outbox) -> String {
        match outbox.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => "-".to_owned(),
            Poll::Ready(None) => "end".to_owned(),
            Poll::Ready(Some(Item::Events(matches))) => format!("{} events", matches.count()),
            Poll::Ready(Some(Item::Gap(gap))) => {
                let number =
                    |id: Option<EventId>| id.unwrap().to_string()[24..].parse::<u64>().unwrap();
                let kind = match gap.reason {
                    GapReason::Slow | GapReason::Expired => "gap",
                    GapReason::Sampled => "sample",
                };
                format!(
                    "{kind} of {} from {} to {}",
                    gap.missed.unwrap(),
                    number(gap.from),
                    number(gap.to)
                )
            }
            Poll::Ready(Some(Item::CaughtUp { replayed, mark: _ })) => {
                format!("caught up {replayed}")
            }
            Poll::Ready(Some(Item::Ping(_))) => "ping".to_owned(),
            Poll::Ready(Some(Item::Bye(bye))) => format!("bye {:?}", bye.reason),
        }
    }

    #[track_caller]
    fn check_law(outbox: &Outbox, matched: u64) {
        let stats = outbox.stats();
        assert_eq!(stats.matched, matched);
        assert_eq!(stats.matched, stats.sent + stats.missed + stats.queued, "{stats:?}");
    }

    const BYE: Bye = Bye { reason: ByeReason::Stalled, retry: Duration::ZERO };

    #[test]
    fn full_outbox_counts_and_tells_in_its_place() {
        let outbox = outbox(40);
        assert_eq!(outbox.offer(matches(1, 2)), Offer::Queued);
        assert_eq!(outbox.offer(matches(3, 2)), Offer::Queued);
        assert_eq!(outbox.offer(matches(5, 1)), Offer::Missed);
        assert_eq!(outbox.offer(matches(6, 3)), Offer::Missed);
        check_law(&outbox, 8);
        assert_eq!(take(&outbox), "2 events");
        assert_eq!(outbox.offer(matches(9, 1)), Offer::Queued);
        check_law(&outbox, 9);
        assert_eq!(take(&outbox), "2 events");
        assert_eq!(take(&outbox), "gap of 4 from 5 to 8");
        assert_eq!(take(&outbox), "1 events");
        assert_eq!(take(&outbox), "-");
        check_law(&outbox, 9);
    }

    #[test]
    fn gap_is_told_though_nothing_comes_after_it() {
        let outbox = outbox(10);
        outbox.offer(matches(1, 1));
        outbox.offer(matches(2, 1));
        assert_eq!(take(&outbox), "1 events");
        assert_eq!(take(&outbox), "gap of 1 from 2 to 2");
        assert_eq!(take(&outbox), "-");
    }

    #[test]
    fn empty_outbox_takes_a_batch_of_any_size() {
        let outbox = outbox(1);
        assert_eq!(outbox.offer(matches(1, 100)), Offer::Queued);
        assert_eq!(outbox.offer(matches(101, 1)), Offer::Missed);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_takes_nothing_is_stalled_and_cut() {
        let outbox = outbox(10);
        outbox.offer(matches(1, 1));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(outbox.offer(matches(2, 1)), Offer::Missed);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(outbox.offer(matches(3, 1)), Offer::Stalled);
        outbox.cut(BYE);
        assert_eq!(take(&outbox), "gap of 3 from 1 to 3");
        assert_eq!(take(&outbox), "bye Stalled");
        assert_eq!(take(&outbox), "end");
        check_law(&outbox, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn client_for_whom_nothing_was_queued_is_not_stalled() {
        let outbox = outbox(10);
        tokio::time::advance(Duration::from_secs(30)).await;
        outbox.push(Item::CaughtUp { replayed: 0, mark: None });
        outbox.offer(matches(1, 1));
        assert_eq!(outbox.offer(matches(2, 1)), Offer::Missed);
        assert_eq!(outbox.look(Instant::now()), Health::Good);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(outbox.look(Instant::now()), Health::Stalled);
        check_law(&outbox, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_is_cut_is_told_of_one_gap() {
        let outbox = outbox(40);
        for first in 1..=5 {
            outbox.offer(matches(first, 1));
        }
        for _ in 0..3 {
            take(&outbox);
        }
        for first in 6..=20 {
            outbox.offer(matches(first, 1));
        }
        outbox.cut(BYE);
        assert_eq!(take(&outbox), "gap of 17 from 4 to 20");
        assert_eq!(take(&outbox), "bye Stalled");
        check_law(&outbox, 20);
    }

    #[test]
    fn client_that_is_cut_twice_is_told_once() {
        let outbox = outbox(40);
        outbox.offer(matches(1, 2));
        outbox.finish(Bye { reason: ByeReason::Shutdown, ..BYE });
        outbox.cut(Bye { reason: ByeReason::ClosedByAdmin, ..BYE });
        outbox.cut(BYE);
        let said: Vec<_> = (0..3).map(|_| take(&outbox)).collect();
        assert_eq!(said, ["gap of 2 from 1 to 2", "bye Stalled", "end"]);
        outbox.cut(BYE);
        assert_eq!(take(&outbox), "end");
        check_law(&outbox, 2);
    }

    #[test]
    fn status_tells_what_is_queued_and_how_old_it_is() {
        let outbox = outbox(40);
        let check = |milliseconds, state, bytes, lag| {
            let status = outbox.status(jiff::Timestamp::from_millisecond(milliseconds).unwrap());
            let lag = Duration::from_millis(lag);
            assert_eq!((status.state, status.queued_bytes, status.lag), (state, Some(bytes), lag));
        };
        outbox.set_replaying(true);
        check(7000, StreamState::Replaying, 0, 0);
        // What comes first is no event, and the ids here are of the beginning of time.
        outbox.push(Item::CaughtUp { replayed: 0, mark: None });
        outbox.offer(matches(1, 2));
        outbox.set_replaying(false);
        check(7000, StreamState::Live, 20, 7000);
        check(-1, StreamState::Live, 20, 0);
        assert_eq!([take(&outbox), take(&outbox)], ["caught up 0", "2 events"]);
        check(7000, StreamState::Live, 0, 0);
        outbox.finish(BYE);
        check(7000, StreamState::Ending, 0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_reads_slowly_is_not_stalled() {
        let outbox = outbox(20);
        for number in 0..100 {
            assert_ne!(outbox.offer(matches(number, 1)), Offer::Stalled);
            tokio::time::advance(Duration::from_secs(20)).await;
            take(&outbox);
        }
    }

    fn left_out(count: u64, from: u64, to: u64) -> Missed {
        Missed { count, from: id(from), to: id(to) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_sample_leaves_out_is_told_once_a_second() {
        let outbox = outbox(40);
        outbox.offer(matches(2, 1));
        outbox.leave_out(left_out(2, 1, 3));
        check_law(&outbox, 3);
        tokio::time::advance(Duration::from_millis(999)).await;
        outbox.offer(matches(5, 1));
        outbox.leave_out(left_out(1, 4, 4));
        outbox.look(Instant::now());
        let said: Vec<_> = (0..3).map(|_| take(&outbox)).collect();
        assert_eq!(said, ["1 events", "1 events", "-"]);
        tokio::time::advance(Duration::from_millis(1)).await;
        outbox.look(Instant::now());
        assert_eq!(take(&outbox), "sample of 3 from 1 to 4");
        outbox.leave_out(left_out(1, 6, 6));
        tokio::time::advance(Duration::from_secs(1)).await;
        outbox.offer(matches(7, 1));
        let said: Vec<_> = (0..3).map(|_| take(&outbox)).collect();
        assert_eq!(said, ["sample of 1 from 6 to 6", "1 events", "-"]);
        check_law(&outbox, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn gaps_of_samples_that_nobody_reads_become_one() {
        let outbox = outbox(10);
        outbox.offer(matches(1, 1));
        for number in 2..100 {
            outbox.leave_out(left_out(1, number, number));
            tokio::time::advance(Duration::from_secs(1)).await;
            outbox.look(Instant::now());
        }
        assert_eq!(lock(&outbox.state).queue.len(), 2);
        let said: Vec<_> = (0..3).map(|_| take(&outbox)).collect();
        assert_eq!(said, ["1 events", "sample of 98 from 2 to 99", "-"]);
        check_law(&outbox, 99);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_sample_left_out_is_told_apart_from_what_was_missed_when_a_stream_ends() {
        let outbox = outbox(20);
        outbox.offer(matches(1, 1));
        outbox.leave_out(left_out(1, 2, 2));
        tokio::time::advance(Duration::from_secs(1)).await;
        outbox.look(Instant::now());
        outbox.offer(matches(3, 2));
        outbox.leave_out(left_out(1, 5, 5));
        outbox.cut(BYE);
        let said: Vec<_> = (0..4).map(|_| take(&outbox)).collect();
        let expected = ["sample of 2 from 2 to 5", "gap of 3 from 1 to 4", "bye Stalled", "end"];
        assert_eq!(said, expected);
        check_law(&outbox, 5);
    }

    #[test]
    fn what_a_sample_left_out_is_told_though_the_subscriber_is_gone() {
        let outbox = outbox(10);
        outbox.leave_out(left_out(1, 1, 1));
        outbox.end();
        assert_eq!(take(&outbox), "sample of 1 from 1 to 1");
        assert_eq!(take(&outbox), "end");
    }

    #[test]
    fn bye_comes_last() {
        let outbox = outbox(10);
        outbox.offer(matches(1, 1));
        outbox.offer(matches(2, 1));
        outbox.finish(BYE);
        let said: Vec<_> = (0..4).map(|_| take(&outbox)).collect();
        assert_eq!(said, ["1 events", "gap of 1 from 2 to 2", "bye Stalled", "end"]);
    }

    #[test]
    fn replay_stops_at_half_and_goes_on_once() {
        let outbox = outbox(40);
        assert!(outbox.has_room_to_refill());
        outbox.push_replayed(matches(1, 3));
        assert!(!outbox.has_room_to_refill());
        assert!(!outbox.take_refill());
        take(&outbox);
        assert!(outbox.take_refill());
        assert!(!outbox.take_refill());
    }
}
