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

impl FollowSet {
    pub(crate) fn new(capacity: usize) -> Self {
        let since = HashMap::new();
        Self { capacity, hasher: RandomState::new(), since, order: VecDeque::new() }
    }

    /// An empty set that can be merged into this one later.
    pub(crate) fn sibling(&self) -> Self {
        Self { hasher: self.hasher.clone(), ..Self::new(self.capacity) }
    }

    /// The events that match, and those that belong to what has matched before, here or in the other set.
    pub(crate) fn select(
        &mut self,
        filter: &Filter,
        events: &[Arc<Event>],
        other: Option<&Self>,
    ) -> Vec<Arc<Event>> {
        let wanted = |event: &&Arc<Event>| {
            let subject = filter.follow().subject(event).map(|id| self.hasher.hash_one(id));
            let matches = filter.matches(event);
            let Some(subject) = subject else {
                return matches;
            };
            if matches {
                self.insert(subject, event.offset);
                return true;
            }
            self.follows(subject, event.offset)
                || other.is_some_and(|other| other.follows(subject, event.offset))
        };
        events.iter().filter(wanted).cloned().collect()
    }

    fn follows(&self, subject: u64, offset: u64) -> bool {
        self.since.get(&subject).is_some_and(|since| *since <= offset)
    }

    fn insert(&mut self, subject: u64, offset: u64) {
        if let Some(since) = self.since.get_mut(&subject) {
            *since = offset.min(*since);
            return;
        }
        if self.order.len() >= self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.since.remove(&oldest);
        }
        self.since.insert(subject, offset);
        self.order.push_back(subject);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for subject in &other.order {
            if let Some(offset) = other.since.get(subject) {
                self.insert(*subject, *offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_is_forgotten_first() {
        let mut set = FollowSet::new(2);
        for (subject, offset) in [(1, 10), (2, 20), (1, 25), (3, 30)] {
            set.insert(subject, offset);
        }
        assert!(!set.follows(1, 99));
        assert!(set.follows(2, 20) && set.follows(3, 30));
        assert_eq!((set.since.len(), set.order.len()), (2, 2));
    }

    #[test]
    fn what_came_before_is_not_followed() {
        let mut set = FollowSet::new(2);
        set.insert(1, 10);
        assert!(!set.follows(1, 9));
        assert!(set.follows(1, 10) && set.follows(1, 11));
        let mut earlier = set.sibling();
        earlier.insert(1, 5);
        set.merge(&earlier);
        assert!(set.follows(1, 5) && !set.follows(1, 4));
    }
}
