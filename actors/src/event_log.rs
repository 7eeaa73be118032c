//! The log of accepted events: the queue before the collector, and the replay buffer behind it.
//!
//! An event is accepted once it is in here. The log lives outside the collector and survives it: a new one goes on
//! where the old one stopped. Events stand in *batches*, numbered from 0; a position in the log is the number of the
//! next batch. Only what the collector has routed is ever evicted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::config::HubConfig;
use crate::event::{Content, CreatedAt, Event, EventId};
use crate::event_ids::EventIds;
use crate::lock;
use crate::query::Since;
use crate::tick::Tick;

/// Events that leave together.
#[derive(Debug)]
pub(crate) struct EventBatch {
    pub(crate) position: u64,
    /// Never empty.
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) bytes: usize,
    /// What is gone that should have come right before them.
    pub(crate) lost: Option<Expired>,
}

/// An event as it comes out of a stream that has given it its id and its place.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: EventId,
    pub(crate) offset: u64,
    pub(crate) arrived: Timestamp,
    pub(crate) content: Content,
    pub(crate) size: usize,
}

impl EventBatch {
    pub(crate) fn last_id(&self) -> EventId {
        self.events.last().expect("a batch is never empty").id
    }
}

#[derive(Debug)]
pub(crate) struct EventLog {
    replay_bytes: usize,
    batch_bytes: usize,
    state: Mutex<LogState>,
}

#[derive(Debug)]
struct LogState {
    ids: EventIds,
    first_id: EventId,
    last_id: EventId,
    next_offset: u64,
    /// Accepted, in no batch yet.
    open: Vec<Arc<Event>>,
    open_bytes: usize,
    batches: VecDeque<Arc<EventBatch>>,
    /// The bytes of all batches.
    bytes: usize,
    /// The position after the last batch.
    head: u64,
    /// The position after the last batch that the collector has routed.
    routed: u64,
    /// The position after the last batch that it has begun to route.
    begun: u64,
    evicted_through: Option<EventId>,
    /// What the next batch will tell as lost.
    lost: Option<Expired>,
    /// Where the offsets began anew, if they did: after this event, at this position.
    renewed: Option<(EventId, u64)>,
}

/// What the collector has still to route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backlog {
    Nothing,
    /// Events that may wait for more to come into their batch.
    Open,
    /// Batches that will not grow any more.
    Closed,
}

/// Where a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// The batch with the first event that may be wanted.
    pub(crate) position: u64,
    /// Events up to this one are not wanted.
    pub(crate) after: EventId,
    /// What the log no longer has of what was asked for.
    pub(crate) expired: Option<Expired>,
}

/// Events that were asked for and are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) from: Option<EventId>,
    pub(crate) to: Option<EventId>,
}

/// A part of the log.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) batches: Vec<Arc<EventBatch>>,
    /// The last event that was evicted: lost to a reader that has not come so far.
    pub(crate) lost_through: Option<EventId>,
    /// Whether it reaches the end of the log.
    pub(crate) is_last: bool,
}

impl EventLog {
    pub(crate) fn new(config: &HubConfig) -> Self {
        let mut ids = EventIds::default();
        let first_id = ids.next(Tick::of(config.clock.now()));
        Self {
            replay_bytes: config.replay_bytes,
            batch_bytes: config.batch_bytes,
            state: Mutex::new(LogState {
                ids,
                first_id,
                last_id: first_id,
                next_offset: 0,
                open: Vec::new(),
                open_bytes: 0,
                batches: VecDeque::new(),
                bytes: 0,
                head: 0,
                routed: 0,
                begun: 0,
                evicted_through: None,
                lost: None,
                renewed: None,
            }),
        }
    }

    /// Gives the events their ids and their place. Each comes with its size.
    pub(crate) fn accept(
        &self,
        events: impl IntoIterator<Item = (Content, usize)>,
        now: Timestamp,
    ) {
        let mut state = lock(&self.state);
        let tick = Tick::of(now);
        for (content, size) in events {
            let id = state.ids.next(tick);
            let created_at = content.created_at().unwrap_or(CreatedAt::new(now, 3));
            let event = Event { id, offset: state.next_offset, size, created_at, content };
            state.next_offset += 1;
            state.push(event, self.batch_bytes);
        }
    }

    /// An id that no event has: all that comes from now on comes after it, and all that is here before it.
    pub(crate) fn mark(&self, now: Timestamp) -> EventId {
        let mut state = lock(&self.state);
        state.last_id = state.ids.next(Tick::of(now));
        state.last_id
    }

    /// The last event that has come, or the last mark.
    pub(crate) fn last_id(&self) -> EventId {
        lock(&self.state).last_id
    }

    /// The event after which all that has come is here.
    pub(crate) fn complete_from(&self) -> EventId {
        lock(&self.state).complete_from()
    }

    /// The last event up to this offset, or what comes before the first one, and the event that comes next. Only of those whose offsets
    /// increase up to the end.
    pub(crate) fn around(&self, offset: u64) -> (EventId, Option<EventId>) {
        let mut state = lock(&self.state);
        state.seal();
        let (begun, first) = state.renewed.unwrap_or((state.first_id, 0));
        let begins_before =
            |batch: &Arc<EventBatch>| batch.position < first || batch.events[0].offset <= offset;
        let index = state.batches.partition_point(begins_before);
        let after = state.batches.get(index).map(|batch| batch.events[0].id);
        let before = index.checked_sub(1).and_then(|index| state.batches.get(index));
        let Some(batch) = before.filter(|batch| batch.position >= first) else {
            return (state.complete_from().max(begun), after);
        };
        let index = batch.events.partition_point(|event| event.offset <= offset);
        let next = batch.events.get(index).map(|event| event.id).or(after);
        (batch.events[index - 1].id, next)
    }

    /// The event after which offsets increase up to the end.
    pub(crate) fn renewed_after(&self) -> Option<EventId> {
        lock(&self.state).renewed.map(|(event, _)| event)
    }

    /// Whether the event with this id is here.
    pub(crate) fn has(&self, id: EventId) -> bool {
        let mut state = lock(&self.state);
        state.seal();
        let index = state.batches.partition_point(|batch| batch.last_id() < id);
        let events = state.batches.get(index).map(|batch| &batch.events);
        events.is_some_and(|events| events.binary_search_by_key(&id, |event| event.id).is_ok())
    }

    /// The oldest batch that the collector has still to route. Closes the open batch.
    pub(crate) fn next_unrouted(&self) -> Option<Arc<EventBatch>> {
        let mut state = lock(&self.state);
        state.seal();
        let batch = state.from(state.routed).next().cloned()?;
        state.begun = batch.position + 1;
        Some(batch)
    }

    /// What there is to route.
    pub(crate) fn backlog(&self) -> Backlog {
        let state = lock(&self.state);
        if state.routed < state.head {
            Backlog::Closed
        } else if state.open.is_empty() {
            Backlog::Nothing
        } else {
            Backlog::Open
        }
    }

    /// How many events the collector has still to begin with: those under way are counted there.
    pub(crate) fn unrouted_events(&self) -> usize {
        let state = lock(&self.state);
        let sealed: usize = state.from(state.begun).map(|batch| batch.events.len()).sum();
        sealed + state.open.len()
    }

    /// Every subscriber has been offered this batch. Evicts what the replay buffer has no room for.
    pub(crate) fn mark_routed(&self, batch: &EventBatch) {
        let mut state = lock(&self.state);
        state.routed = batch.position + 1;
        // Freed after the lock: an old batch may be the last holder of many events.
        let mut evicted = Vec::new();
        while state.bytes > self.replay_bytes
            && state.batches.front().is_some_and(|oldest| oldest.position < state.routed)
            && let Some(oldest) = state.batches.pop_front()
        {
            state.bytes -= oldest.bytes;
            state.evicted_through = Some(oldest.last_id());
            evicted.push(oldest);
        }
        drop(state);
        drop(evicted);
    }

    /// The position from which on a newcomer gets everything live: what was accepted so far is before it.
    pub(crate) fn seal(&self) -> u64 {
        let mut state = lock(&self.state);
        state.seal();
        state.head
    }

    /// The position of the first batch with an event after this one.
    pub(crate) fn position_after(&self, id: EventId) -> u64 {
        let mut state = lock(&self.state);
        state.seal();
        state.position_after(id)
    }

    /// The first position that the log still has.
    pub(crate) fn tail(&self) -> u64 {
        lock(&self.state).tail()
    }

    /// Finds where a replay begins.
    pub(crate) fn start(&self, since: Option<Since>, now: Timestamp) -> Start {
        let mut state = lock(&self.state);
        state.seal();
        match since {
            None => Start {
                position: state.tail(),
                after: state.evicted_through.unwrap_or(state.first_id),
                expired: None,
            },
            Some(Since::Event(id)) => state.start_after(id),
            Some(Since::Time(time)) => state.start_at(time),
            Some(Since::Ago(duration)) => {
                state.start_at(now.checked_sub(duration).unwrap_or(Timestamp::MIN))
            }
        }
    }

    /// Reads batches from a position on, up to about `max_bytes`, one at least if there is one.
    pub(crate) fn read(&self, position: u64, max_bytes: usize) -> Page {
        let mut state = lock(&self.state);
        state.seal();
        let lost_through = state.evicted_through;
        let mut batches: Vec<Arc<EventBatch>> = Vec::new();
        let mut bytes = 0;
        for batch in state.from(position) {
            bytes += batch.bytes;
            if bytes > max_bytes && !batches.is_empty() {
                return Page { batches, lost_through, is_last: false };
            }
            batches.push(Arc::clone(batch));
        }
        Page { batches, lost_through, is_last: true }
    }
}

/// What a stream does that joins this hub to others.
#[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "only a broker does that"))]
impl EventLog {
    /// Takes events that have their ids and their places. Both increase.
    pub(crate) fn accept_arrivals(&self, arrivals: impl IntoIterator<Item = Arrival>) {
        let mut state = lock(&self.state);
        for Arrival { id, offset, arrived, content, size } in arrivals {
            let created_at = content.created_at().unwrap_or(CreatedAt::new(arrived, 3));
            state.push(Event { id, offset, size, created_at, content }, self.batch_bytes);
        }
    }

    /// What will come first comes right after this event: all before it is not here, and may be asked for.
    pub(crate) fn begin_after(&self, id: EventId) {
        let mut state = lock(&self.state);
        (state.first_id, state.last_id, state.evicted_through) = (id, id, Some(id));
    }

    /// Something is gone that should have come now: whoever watches is told before what comes next.
    pub(crate) fn note_lost(&self, lost: Expired) {
        let mut state = lock(&self.state);
        state.seal();
        state.lost = Some(lost);
    }

    /// What comes from now on is of another stream, or of one that has lost its end: its offsets begin anew.
    pub(crate) fn renew(&self, lost: Expired) {
        self.note_lost(lost);
        let mut state = lock(&self.state);
        // With whatever another hub has given an id of the same moment.
        let last = Tick::of_id(state.last_id).last_id();
        state.renewed = Some((last, state.head));
    }
}

impl LogState {
    fn push(&mut self, event: Event, batch_bytes: usize) {
        if self.open_bytes + event.size > batch_bytes {
            self.seal();
        }
        self.last_id = event.id;
        self.open_bytes += event.size;
        self.open.push(Arc::new(event));
    }

    /// The event after which all is here.
    fn complete_from(&self) -> EventId {
        self.evicted_through.unwrap_or(self.first_id)
    }

    fn seal(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let batch = EventBatch {
            position: self.head,
            events: std::mem::take(&mut self.open),
            bytes: std::mem::take(&mut self.open_bytes),
            lost: self.lost.take(),
        };
        self.head += 1;
        self.bytes += batch.bytes;
        self.batches.push_back(Arc::new(batch));
    }

    fn tail(&self) -> u64 {
        self.batches.front().map_or(self.head, |oldest| oldest.position)
    }

    fn from(&self, position: u64) -> impl Iterator<Item = &Arc<EventBatch>> {
        let skip = usize::try_from(position.saturating_sub(self.tail())).unwrap_or(usize::MAX);
        self.batches.iter().skip(skip)
    }

    fn position_after(&self, id: EventId) -> u64 {
        let index = self.batches.partition_point(|batch| batch.last_id() <= id);
        self.tail() + index as u64
    }

    /// A client comes back with the last id it saw, from this hub or from the one that ran here before.
    fn start_after(&self, id: EventId) -> Start {
        let complete_from = self.complete_from();
        let expired = if id > self.last_id {
            // Not of this log's making: what came after it cannot be told.
            Some(Expired { from: Some(id), to: None })
        } else if id < complete_from {
            Some(Expired { from: Some(id), to: self.evicted_through })
        } else {
            None
        };
        let after = self.evicted_through.map_or(id, |evicted| evicted.max(id)).min(self.last_id);
        Start { position: self.position_after(id), after, expired }
    }

    fn start_at(&self, time: Timestamp) -> Start {
        let after = EventId::first_at(time);
        let expired = self
            .evicted_through
            .filter(|evicted| after <= *evicted)
            .map(|evicted| Expired { from: None, to: Some(evicted) });
        let position = self.position_after(after);
        let after = expired.and_then(|expired| expired.to).unwrap_or(after);
        // A client whose clock is ahead asks for the future: all that comes is live.
        Start { position, after: after.min(self.last_id), expired }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NewEvent;

    fn log(replay_bytes: usize, batch_bytes: usize) -> EventLog {
        EventLog::new(&HubConfig { replay_bytes, batch_bytes, ..HubConfig::default() })
    }

    fn at(seconds: i64) -> Timestamp {
        // After the log's own start, by the clock of these tests.
        Timestamp::now() + jiff::SignedDuration::from_secs(seconds)
    }

    /// Accepts an event that counts as 100 bytes.
    fn accept(log: &EventLog, kind: &str, now: Timestamp) {
        log.accept([(Content::Given(NewEvent::new(kind)), 100)], now);
    }

    fn route(log: &EventLog) {
        while let Some(batch) = log.next_unrouted() {
            log.mark_routed(&batch);
        }
    }

    fn all(log: &EventLog) -> Vec<Arc<EventBatch>> {
        log.read(0, usize::MAX).batches
    }

    fn kinds(batches: &[Arc<EventBatch>]) -> Vec<Vec<&str>> {
        batches
            .iter()
            .map(|batch| {
                batch.events.iter().map(|e| e.content().kind.as_deref().unwrap()).collect()
            })
            .collect()
    }

    #[test]
    fn ids_increase_though_the_clock_goes_back() {
        let log = log(10_000, 10_000);
        for seconds in [5, 5, 3, 4, 6] {
            accept(&log, "a", at(seconds));
        }
        let batches = all(&log);
        let ids: Vec<_> = batches[0].events.iter().map(|event| event.id).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    }

    #[test]
    fn batches_are_closed_by_size() {
        let log = log(10_000, 250);
        for kind in ["a", "b", "c", "d", "e"] {
            accept(&log, kind, at(0));
        }
        assert_eq!(kinds(&all(&log)), [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
        assert_eq!(log.unrouted_events(), 5);
        route(&log);
        assert_eq!(log.unrouted_events(), 0);
        assert_eq!(kinds(&log.read(0, 250).batches), [vec!["a", "b"]]);
        assert!(log.read(2, 250).is_last);
    }

    #[test]
    fn only_routed_batches_are_evicted_and_readers_are_told() {
        let log = log(200, 100);
        for kind in ["a", "b", "c", "d"] {
            accept(&log, kind, at(0));
        }
        assert_eq!(log.read(0, 1000).batches.len(), 4);
        let all = all(&log);
        route(&log);
        let page = log.read(0, 1000);
        assert_eq!(kinds(&page.batches), [["c"], ["d"]]);
        assert_eq!(page.lost_through, Some(all[1].last_id()));
        assert_eq!(log.read(2, 1000).lost_through, Some(all[1].last_id()));
    }

    #[test]
    fn a_start_knows_what_has_expired() {
        let log = log(200, 100);
        for kind in ["a", "b", "c", "d"] {
            accept(&log, kind, at(10));
        }
        let ids: Vec<_> = all(&log).iter().map(|batch| batch.last_id()).collect();
        route(&log);
        let start = |since| log.start(Some(since), at(20));
        let expired = |from, to| Some(Expired { from, to });
        assert_eq!(start(Since::Event(ids[2])).position, 3);
        assert_eq!(start(Since::Event(ids[2])).expired, None);
        assert_eq!(start(Since::Event(ids[1])).expired, None);
        assert_eq!(start(Since::Event(ids[0])).expired, expired(Some(ids[0]), Some(ids[1])));
        let stranger = EventId::first_at(at(3600));
        assert_eq!(start(Since::Event(stranger)).expired, expired(Some(stranger), None));
        assert_eq!(start(Since::Event(stranger)).position, 4);
        assert_eq!(start(Since::Time(at(9))).expired, expired(None, Some(ids[1])));
        assert_eq!(start(Since::Time(at(11))).expired, None);
        assert_eq!(start(Since::Time(at(11))).position, 4);
        // What comes next is wanted, though by the client's clock it is not time yet.
        assert_eq!(start(Since::Time(at(3600))).after, ids[3]);
        assert_eq!(start(Since::Ago(std::time::Duration::from_secs(15))).position, 2);
        assert_eq!(log.start(None, at(20)).expired, None);
        assert_eq!(log.start(None, at(20)).position, 2);
    }

    #[test]
    fn an_id_from_before_the_hub_started_has_expired() {
        let before = EventId::first_at(at(-3600));
        let log = log(1000, 100);
        let expired = Some(Expired { from: Some(before), to: None });
        assert_eq!(log.start(Some(Since::Event(before)), at(0)).expired, expired);
        assert_eq!(log.start(Some(Since::Time(at(-3600))), at(0)).expired, None);
    }
}
