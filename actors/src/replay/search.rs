//! `replay=N`: finding where the last ones begin, before anything is sent.

use std::collections::VecDeque;
use std::sync::Arc;

use super::resume::{in_log, number};
use super::{PAGE_BYTES, Replayer, Step, first_position};
use crate::event::{Event, EventId};
use crate::event_log::EventBatch;
use crate::filter_group::{FilterGroup, GroupHandle};
use crate::hub_core::HubCore;

/// How many of the last matching events one can ask for, of a stream that may have any number: their ids are kept.
pub(super) const MOST_OF_STREAM: usize = 100_000;

/// Finds the event after which exactly the last `last` matching ones come.
#[derive(Debug)]
pub(super) struct Search {
    last: usize,
    /// The position from which on events have come since the subscription was granted: they are sent, whatever `last` is.
    until: u64,
    /// The last event that had come by then.
    granted: EventId,
    /// Its number in the stream, or that up to which it had been read.
    granted_number: Option<u64>,
    /// All up to this event has been looked at.
    pub(super) reached: EventId,
    /// The ids of the last `last + 1` matching events.
    found: VecDeque<EventId>,
}

impl Search {
    pub(super) fn new(core: &HubCore, last: usize, reached: EventId) -> Self {
        Self {
            last: if core.broker().is_some() { last.min(MOST_OF_STREAM) } else { last },
            until: core.log.seal(),
            granted: core.log.last_id(),
            granted_number: granted_number(core),
            reached,
            found: VecDeque::new(),
        }
    }

    /// Whether an event that has not been looked at had come when the subscription was granted.
    pub(super) fn has_granted(&self, event: &Event) -> bool {
        let had_come = match self.granted_number {
            Some(granted) => event.offset <= granted,
            None => event.id <= self.granted,
        };
        event.id > self.reached && had_come
    }

    /// Notes what matches of some events, of which this is the last.
    pub(super) fn look_through(&mut self, wanted: &[Arc<Event>], last: Option<EventId>) {
        wanted.iter().for_each(|event| self.note(event.id));
        self.reached = last.map_or(self.reached, |last| last.max(self.reached));
    }

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

impl Replayer {
    /// Looks through a page for the last matching events. After the last one, the sending begins.
    pub(super) fn search_page(&mut self, core: &HubCore, group: &GroupHandle) -> Step {
        let log = &core.log;
        let page = log.read(self.position, PAGE_BYTES);
        let reached = self.search.as_ref().map_or(self.after, |search| search.reached);
        if self.must_go_back(core, &page, reached) {
            return Step::Again;
        }
        self.look_back = 0;
        let until = self.search.as_ref().map_or(0, |search| search.until);
        for batch in page.batches.iter().filter(|batch| batch.position < until) {
            self.search_batch(batch, group);
        }
        // All of that may have been evicted since the last page: then this one begins behind it.
        let reaches = |batch: &Arc<EventBatch>| batch.position + 1 >= until;
        if (page.is_last || page.batches.last().is_some_and(reaches))
            && let Some(search) = self.search.take()
        {
            let after = search.boundary().unwrap_or(self.after);
            self.after = in_log(core, after, self.complete_from(core)).unwrap_or(after);
            self.position = first_position(log, group, log.position_after(self.after));
            self.return_to_archive(core, search.boundary());
        }
        Step::Again
    }

    fn search_batch(&mut self, batch: &EventBatch, group: &FilterGroup) {
        let mut events = group.select_old(&mut self.follow, &batch.events);
        self.position = batch.position + 1;
        if let Some(search) = &mut self.search {
            events.retain(|event| event.id > search.reached);
            search.look_through(&events, Some(batch.last_id()));
        }
    }
}

/// Up to what number of the stream an event is old. The hub may have read further than its log tells, which had not all of it.
fn granted_number(core: &HubCore) -> Option<u64> {
    let last = number(core, core.log.last_id());
    last.max(core.broker()?.mark().and_then(|mark| number(core, mark)))
}
