//! Following: once an event has matched, the later events of its span or trace pass too.
//!
//! Whom to follow depends on the order of events: a set is only ever given them in order. What came before an event that
//! matched is not followed, also when it is looked at again later, in a replay.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::event::Event;
use crate::filter::Filter;

/// The spans or traces that a filter has matched: the later events of each pass too. The oldest are forgotten first.
///
/// Kept as keyed hashes: 64 bits a span instead of its id, and nobody outside can make two collide.
#[derive(Debug, Clone)]
pub(crate) struct FollowSet {
    capacity: usize,
    hasher: RandomState,
    /// Each subject with the offset of the event that made it followed.
    since: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

/// What became of a set: whom it follows now, and whom no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) followed: u64,
    pub(crate) forgotten: Option<u64>,
}

impl FollowSet {
    pub(crate) fn new(capacity: usize, hasher: RandomState) -> Self {
        Self { capacity, hasher, since: HashMap::new(), order: VecDeque::new() }
    }

    /// An empty set that can be merged into this one later.
    pub(crate) fn sibling(&self) -> Self {
        Self::new(self.capacity, self.hasher.clone())
    }

    /// The events that match, and those that belong to what has matched before, here or in the other set.
    pub(crate) fn select(
        &mut self,
        filter: &Filter,
        events: &[Arc<Event>],
        other: Option<&Self>,
    ) -> Vec<Arc<Event>> {
        events.iter().filter(|event| self.wants(filter, event, other).0).cloned().collect()
    }

    /// Whether an event matches, or belongs to what has matched before, here or in the other set; and what this did to
    /// this set.
    pub(crate) fn wants(
        &mut self,
        filter: &Filter,
        event: &Event,
        other: Option<&Self>,
    ) -> (bool, Option<Change>) {
        let matches = filter.matches(event);
        let Some(subject) = filter.follow().subject(event).map(|id| self.hasher.hash_one(id))
        else {
            return (matches, None);
        };
        if matches {
            return (true, self.insert(subject, event.offset));
        }
        let follows = self.follows(subject, event.offset)
            || other.is_some_and(|other| other.follows(subject, event.offset));
        (follows && filter.admits(event), None)
    }

    /// Whom it follows.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = u64> {
        self.order.iter().copied()
    }

    fn follows(&self, subject: u64, offset: u64) -> bool {
        self.since.get(&subject).is_some_and(|since| *since <= offset)
    }

    fn insert(&mut self, subject: u64, offset: u64) -> Option<Change> {
        if let Some(since) = self.since.get_mut(&subject) {
            *since = offset.min(*since);
            return None;
        }
        let forgotten =
            if self.order.len() >= self.capacity { self.order.pop_front() } else { None };
        if let Some(oldest) = forgotten {
            self.since.remove(&oldest);
        }
        self.since.insert(subject, offset);
        self.order.push_back(subject);
        Some(Change { followed: subject, forgotten })
    }

    /// Follows also whom the other follows.
    pub(crate) fn merge(&mut self, other: &Self) -> Vec<Change> {
        let since = |subject| other.since.get(&subject).map(|since| (subject, *since));
        let others = other.subjects().filter_map(since);
        others.filter_map(|(subject, offset)| self.insert(subject, offset)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_is_forgotten_first() {
        let mut set = FollowSet::new(2, RandomState::new());
        let changes = [(1, 10), (2, 20), (1, 25), (3, 30)].map(|(s, offset)| set.insert(s, offset));
        let change = |followed, forgotten| Some(Change { followed, forgotten });
        assert_eq!(changes, [change(1, None), change(2, None), None, change(3, Some(1))]);
        assert!(!set.follows(1, 99));
        assert!(set.follows(2, 20) && set.follows(3, 30));
        assert_eq!((set.since.len(), set.order.len()), (2, 2));
    }

    #[test]
    fn what_came_before_is_not_followed() {
        let mut set = FollowSet::new(2, RandomState::new());
        assert!(set.insert(1, 10).is_some());
        assert!(!set.follows(1, 9));
        assert!(set.follows(1, 10) && set.follows(1, 11));
        let mut earlier = set.sibling();
        assert!(earlier.insert(1, 5).is_some());
        assert_eq!(set.merge(&earlier), []);
        assert!(set.follows(1, 5) && !set.follows(1, 4));
    }
}
