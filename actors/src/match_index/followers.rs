//! Who follows a span or a trace, or may be about to.
//!
//! Counted: one for a subject that stands in a group's [`FollowSet`], one for each event on its way to the group that
//! may put it there ([`Speculation`]). So it is a superset of what the sets will be when an event that is routed now is
//! evaluated, and no larger than the sets and what is in flight.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeMap, HashMap, btree_map};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::event::Event;
use crate::filter::Follow;
use crate::filter_group::FilterGroup;
use crate::follow_set::{Change, FollowSet};
use crate::lock;

#[derive(Debug)]
pub(crate) struct Followers {
    /// That of the sets.
    hasher: RandomState,
    subjects: Mutex<HashMap<u64, Following>>,
    /// How many subjects are followed, told without the lock.
    size: AtomicUsize,
}

/// Who follows one subject: nearly always one group.
#[derive(Debug)]
enum Following {
    One(u64, Follower),
    /// By their serial numbers.
    Many(BTreeMap<u64, Follower>),
}

#[derive(Debug, Clone)]
struct Follower {
    group: Weak<FilterGroup>,
    /// Never 0.
    count: u32,
}

/// The span and the trace of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subjects {
    span: Option<u64>,
    trace: Option<u64>,
}

impl Subjects {
    /// What a filter that follows so would follow of the event.
    pub(super) fn chosen_by(self, follow: Follow) -> Option<u64> {
        follow.choose(self.span, self.trace)
    }
}

impl Followers {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self { hasher, subjects: Mutex::default(), size: AtomicUsize::new(0) }
    }

    pub(super) fn subjects_of(&self, event: &Event) -> Subjects {
        let content = event.content();
        let hash = |id: Option<&str>| id.map(|id| self.hasher.hash_one(id));
        Subjects {
            span: hash(content.span_id.as_deref()),
            trace: hash(content.trace_id.as_deref()),
        }
    }

    /// Whether nobody follows anything.
    pub(super) fn is_empty(&self) -> bool {
        self.size.load(Ordering::Relaxed) == 0
    }

    /// Puts the groups that may be following one of these on the list.
    pub(super) fn find(&self, subjects: Subjects, list: &mut Vec<Weak<FilterGroup>>) {
        let following = lock(&self.subjects);
        for subject in [subjects.span, subjects.trace].into_iter().flatten() {
            match following.get(&subject) {
                None => {}
                Some(Following::One(_, follower)) => list.push(Weak::clone(&follower.group)),
                Some(Following::Many(followers)) => {
                    list.extend(followers.values().map(|follower| Weak::clone(&follower.group)));
                }
            }
        }
    }

    /// A group's set has changed.
    pub(crate) fn note(&self, group: &Arc<FilterGroup>, change: Change) {
        self.add(&Arc::downgrade(group), group.serial, change.followed);
        if let Some(forgotten) = change.forgotten {
            self.take(group.serial, forgotten);
        }
    }

    /// A group is gone, and its set with it.
    pub(crate) fn forget(&self, serial: u64, set: &FollowSet) {
        // One by one: whoever routes or evaluates gets the lock in between.
        set.subjects().for_each(|subject| self.take(serial, subject));
    }

    fn add(&self, group: &Weak<FilterGroup>, serial: u64, subject: u64) {
        let new = || Follower { group: Weak::clone(group), count: 0 };
        let mut subjects = lock(&self.subjects);
        let following = subjects.entry(subject).or_insert_with(|| Following::One(serial, new()));
        following.follower(serial, new).count += 1;
        self.size.store(subjects.len(), Ordering::Relaxed);
    }

    fn take(&self, serial: u64, subject: u64) {
        let mut subjects = lock(&self.subjects);
        let Entry::Occupied(mut following) = subjects.entry(subject) else {
            return;
        };
        if following.get_mut().take(serial) == 0 {
            following.remove();
            self.size.store(subjects.len(), Ordering::Relaxed);
        }
    }
}

impl Following {
    fn follower(&mut self, serial: u64, new: impl FnOnce() -> Follower) -> &mut Follower {
        if let Self::One(other, follower) = self
            && *other != serial
        {
            *self = Self::Many(BTreeMap::from([(*other, follower.clone())]));
        }
        match self {
            Self::One(_, follower) => follower,
            Self::Many(followers) => followers.entry(serial).or_insert_with(new),
        }
    }

    /// Takes one from a group's count. Returns how many groups are left.
    fn take(&mut self, serial: u64) -> usize {
        match self {
            Self::One(other, follower) => {
                follower.count -= u32::from(*other == serial);
                usize::from(follower.count > 0)
            }
            Self::Many(followers) => {
                if let btree_map::Entry::Occupied(mut follower) = followers.entry(serial) {
                    follower.get_mut().count -= 1;
                    if follower.get().count == 0 {
                        follower.remove();
                    }
                }
                followers.len()
            }
        }
    }
}

/// What a group may come to follow by the events on their way to it. Taken back when it is dropped: once they are
/// evaluated, or if they never are.
#[derive(Debug)]
pub(crate) struct Speculation {
    serial: u64,
    subjects: Vec<u64>,
    /// As soon as there are subjects: most batches go to many groups, and have none for them.
    followers: Option<Arc<Followers>>,
}

impl Speculation {
    pub(super) fn new(serial: u64) -> Self {
        Self { serial, subjects: Vec::new(), followers: None }
    }

    pub(super) fn add(
        &mut self,
        followers: &Arc<Followers>,
        group: &Weak<FilterGroup>,
        subject: u64,
    ) {
        // The events of a span mostly come one after the other.
        if self.subjects.last() != Some(&subject) {
            followers.add(group, self.serial, subject);
            self.subjects.push(subject);
            self.followers.get_or_insert_with(|| Arc::clone(followers));
        }
    }
}

impl Drop for Speculation {
    fn drop(&mut self) {
        if let Some(followers) = &self.followers {
            self.subjects.iter().for_each(|subject| followers.take(self.serial, *subject));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_followed_by(followers: &Followers, subject: u64) -> usize {
        let mut list = Vec::new();
        followers.find(Subjects { span: Some(subject), trace: None }, &mut list);
        list.len()
    }

    #[test]
    fn groups_are_counted() {
        let (followers, group) = (Followers::new(RandomState::new()), Weak::new());
        for serial in [1, 2, 1, 3] {
            followers.add(&group, serial, 7);
        }
        assert_eq!((is_followed_by(&followers, 7), is_followed_by(&followers, 8)), (3, 0));
        for (serial, left) in [(1, 3), (2, 2), (1, 1), (4, 1), (3, 0), (3, 0)] {
            followers.take(serial, 7);
            assert_eq!(is_followed_by(&followers, 7), left, "after {serial}");
        }
        assert!(followers.is_empty());
    }

    #[test]
    fn what_was_speculated_is_taken_back() {
        let followers = Arc::new(Followers::new(RandomState::new()));
        let mut speculation = Speculation::new(1);
        for subject in [7, 7, 8] {
            speculation.add(&followers, &Weak::new(), subject);
        }
        followers.add(&Weak::new(), 1, 7);
        drop(speculation);
        assert_eq!((is_followed_by(&followers, 7), is_followed_by(&followers, 8)), (1, 0));
    }
}
