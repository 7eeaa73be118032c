//! Replay: what the log still has of a subscriber's events, page by page as its client reads, and then the join with the
//! live events, with neither a hole nor a double.
//!
//! While it replays, a subscriber gets nothing live: what is accepted meanwhile is in the log, ahead of it. The last page
//! and the joining happen under the lock of the group's members, past which no batch can slip.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::event::EventId;
use crate::event_log::{EventBatch, EventLog, Expired, Page};
use crate::filter::Follow;
use crate::filter_group::{FilterGroup, GroupHandle};
use crate::follow_set::FollowSet;
use crate::hub_core::HubCore;
use crate::matches::Matches;
use crate::outbox::{Item, Outbox};
use crate::query::Replay;
use crate::sse::{Gap, GapReason};
use crate::subscriber::{Member, SubscriberId};

/// How much of the log one step reads: some 500 events, which one core filters in a fraction of a millisecond.
const PAGE_BYTES: usize = 256 * 1024;

/// The state of one subscriber's replay.
#[derive(Debug)]
pub(crate) struct Replayer {
    /// The next batch to read.
    position: u64,
    /// Events up to this one are not sent. They may still tell what to follow.
    after: EventId,
    /// While the last `n` matching events are being looked for.
    search: Option<Search>,
    follow: FollowSet,
    replayed: u64,
}

/// Finds the event after which exactly the last `last` matching ones come.
#[derive(Debug)]
struct Search {
    last: usize,
    /// The position from which on events have come since the subscription was granted: they are sent, whatever `last` is.
    until: u64,
    /// The ids of the last `last + 1` matching events.
    found: VecDeque<EventId>,
}

/// How a replay goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// With the next step, at once.
    Again,
    /// When the client has read some.
    Wait,
    /// It is over; the subscriber has joined the live events.
    Done,
}

impl Replayer {
    pub(crate) fn new(
        core: &HubCore,
        group: &GroupHandle,
        outbox: &Outbox,
        replay: Replay,
    ) -> Self {
        let start = core.log.start(replay.since, core.config.clock.now());
        if let Some(expired) = start.expired {
            tell_expired(core, group, outbox, expired);
        }
        Self {
            position: first_position(&core.log, group, start.position),
            after: start.after,
            search: replay.last.map(|last| Search {
                last,
                until: core.log.seal(),
                found: VecDeque::new(),
            }),
            follow: group.new_follow_set(),
            replayed: 0,
        }
    }

    /// Reads a page. After the last one, calls `join` with the position from which the events are live.
    pub(crate) fn step(
        &mut self,
        core: &HubCore,
        group: &GroupHandle,
        outbox: &Outbox,
        join: impl FnOnce(&mut BTreeMap<SubscriberId, Arc<Member>>, u64),
    ) -> Step {
        if self.search.is_some() {
            return self.search_page(&core.log, group);
        }
        if !outbox.has_room_to_refill() {
            return Step::Wait;
        }
        let page = core.log.read(self.position, PAGE_BYTES);
        let is_last = page.is_last;
        self.send_page(page, core, group, outbox);
        if !is_last {
            return Step::Again;
        }
        let mut members = group.members();
        let _watch = group.watch();
        let page = core.log.read(self.position, PAGE_BYTES);
        if !page.is_last {
            return Step::Again;
        }
        self.send_page(page, core, group, outbox);
        group.adopt(&self.follow);
        outbox.push(Item::CaughtUp { replayed: self.replayed });
        join(&mut members, self.position);
        Step::Done
    }

    fn send_page(&mut self, page: Page, core: &HubCore, group: &FilterGroup, outbox: &Outbox) {
        if let Some(lost) = page.lost_through.filter(|lost| *lost > self.after) {
            // Evicted while this client was reading what came before it.
            tell_expired(core, group, outbox, Expired { from: None, to: Some(lost) });
            self.after = lost;
        }
        for batch in page.batches {
            let mut events = group.select_old(&mut self.follow, &batch.events);
            events.retain(|event| event.id > self.after);
            let matches = Matches::new(events, None);
            self.replayed += matches.count();
            outbox.push_replayed(Arc::new(matches));
            self.position = batch.position + 1;
            self.after = self.after.max(batch.last_id());
        }
    }

    /// Looks through a page for the last matching events. After the last one, the sending begins.
    fn search_page(&mut self, log: &EventLog, group: &GroupHandle) -> Step {
        let page = log.read(self.position, PAGE_BYTES);
        let until = self.search.as_ref().map_or(0, |search| search.until);
        for batch in page.batches.iter().filter(|batch| batch.position < until) {
            self.search_batch(batch, group);
        }
        // All of that may have been evicted since the last page: then this one begins behind it.
        let reaches = |batch: &Arc<EventBatch>| batch.position + 1 >= until;
        if (page.is_last || page.batches.last().is_some_and(reaches))
            && let Some(search) = self.search.take()
        {
            self.after = search.boundary().unwrap_or(self.after);
            self.position = first_position(log, group, log.position_after(self.after));
            self.follow = group.new_follow_set();
        }
        Step::Again
    }

    fn search_batch(&mut self, batch: &EventBatch, group: &FilterGroup) {
        let events = group.select_old(&mut self.follow, &batch.events);
        self.position = batch.position + 1;
        if let Some(search) = &mut self.search {
            let wanted = events.iter().map(|event| event.id).filter(|id| *id > self.after);
            wanted.for_each(|id| search.note(id));
        }
    }
}

/// That the log does not have all that was asked for. Who may not see all events is told the id of none that may be another's.
fn tell_expired(core: &HubCore, group: &FilterGroup, outbox: &Outbox, expired: Expired) {
    let Expired { from, to } = expired;
    let to = to.filter(|_| !group.filter().is_limited());
    outbox.push(Item::Gap(Gap { reason: GapReason::Expired, missed: None, from, to }));
    core.counters.replays_expired.add(1);
}

impl Search {
    fn note(&mut self, id: EventId) {
        if self.found.len() > self.last {
            self.found.pop_front();
        }
        self.found.push_back(id);
    }

    /// The event before the wanted ones, if there are more than are wanted.
    fn boundary(&self) -> Option<EventId> {
        if self.found.len() > self.last { self.found.front().copied() } else { None }
    }
}

/// Where to begin reading. To know what to follow, what came before the start must be looked at too.
fn first_position(log: &EventLog, group: &FilterGroup, start: u64) -> u64 {
    match group.filter().follow() {
        Follow::None => start,
        Follow::Span | Follow::Trace => log.tail(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HubConfig;
    use crate::event::{Content, NewEvent};
    use crate::query::TraceQuery;

    #[test]
    fn a_search_ends_though_all_that_it_looks_through_is_evicted() {
        let core = HubCore::new(HubConfig {
            replay_bytes: 4 * PAGE_BYTES,
            batch_bytes: PAGE_BYTES / 10,
            ..HubConfig::default()
        });
        let fill = || {
            for _ in 0..6 * PAGE_BYTES / 1000 {
                core.log
                    .accept([(Content::Given(NewEvent::new("a")), 1000)], jiff::Timestamp::now());
                if let Some(batch) = core.log.next_unrouted() {
                    core.log.mark_routed(&batch);
                }
            }
        };
        fill();
        let query = TraceQuery::parse("type=a&replay=10", None).unwrap();
        let group = core.groups.join(query.filter);
        let outbox = Outbox::new(&core.config, Arc::clone(&core.counters));
        let mut replayer = Replayer::new(&core, &group, &outbox, query.replay.unwrap());
        let mut step = || replayer.step(&core, &group, &outbox, |_, _| {});
        assert_eq!(step(), Step::Again);
        fill();
        assert!((0..100).any(|_| step() == Step::Done));
    }
}
