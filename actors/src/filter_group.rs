//! All subscribers with one filter: it is evaluated once for each batch and its frame encoded once, however many they are.
//!
//! A group evaluates its batches strictly in order, because `follow` remembers; whoever needs a result first does the
//! work, and the others share it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use dashmap::DashMap;

use crate::event::Event;
use crate::event_log::EventBatch;
use crate::filter::Filter;
use crate::follow_set::FollowSet;
use crate::lock;
use crate::matches::{InFlight, Matches};
use crate::subscriber::{Member, SubscriberId};

/// A batch on its way to the members of one group, with room for what the filter makes of it.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) batch: Arc<EventBatch>,
    in_flight: Arc<InFlight>,
    matches: OnceLock<Arc<Matches>>,
}

#[derive(Debug)]
pub(crate) struct FilterGroup {
    filter: Filter,
    evaluation: Mutex<Evaluation>,
    members: Mutex<BTreeMap<SubscriberId, Arc<Member>>>,
    /// How many [`GroupHandle`]s there are.
    holders: AtomicUsize,
}

#[derive(Debug)]
struct Evaluation {
    follow: FollowSet,
    /// Sent to the members, evaluated by none yet: no more than the collector may be ahead of them.
    pending: VecDeque<Arc<Delivery>>,
}

impl FilterGroup {
    fn new(filter: Filter, follow_capacity: usize) -> Self {
        let follow = FollowSet::new(follow_capacity);
        Self {
            filter,
            evaluation: Mutex::new(Evaluation { follow, pending: VecDeque::new() }),
            members: Mutex::default(),
            holders: AtomicUsize::new(0),
        }
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Those who get what this group's filter matches, the longest-standing first.
    pub(crate) fn members(&self) -> MutexGuard<'_, BTreeMap<SubscriberId, Arc<Member>>> {
        lock(&self.members)
    }

    /// Puts a batch in line. Everything put in line before it will be evaluated before it.
    pub(crate) fn enqueue(
        &self,
        batch: &Arc<EventBatch>,
        in_flight: &Arc<InFlight>,
    ) -> Arc<Delivery> {
        let delivery = Arc::new(Delivery {
            batch: Arc::clone(batch),
            in_flight: Arc::clone(in_flight),
            matches: OnceLock::new(),
        });
        lock(&self.evaluation).pending.push_back(Arc::clone(&delivery));
        delivery
    }

    /// What the filter wants of a batch that was put in line.
    pub(crate) fn evaluate(&self, delivery: &Delivery) -> Arc<Matches> {
        if let Some(matches) = delivery.matches.get() {
            return Arc::clone(matches);
        }
        let mut evaluation = lock(&self.evaluation);
        while let Some(next) = evaluation.pending.front().cloned() {
            let events = evaluation.follow.select(&self.filter, &next.batch.events, None);
            let matches = Matches::new(events, Some(Arc::clone(&next.in_flight)));
            let matches = next.matches.get_or_init(|| Arc::new(matches));
            evaluation.pending.pop_front();
            if std::ptr::eq(&raw const *next, delivery) {
                return Arc::clone(matches);
            }
        }
        drop(evaluation);
        // Somebody else evaluated it between the look and the lock.
        Arc::clone(delivery.matches.get().expect("what was put in line is evaluated in line"))
    }

    /// What the filter wants of old events, by what a newcomer's replay and this group have followed since.
    pub(crate) fn select_old(
        &self,
        follow: &mut FollowSet,
        events: &[Arc<Event>],
    ) -> Vec<Arc<Event>> {
        let evaluation = lock(&self.evaluation);
        follow.select(&self.filter, events, Some(&evaluation.follow))
    }

    /// From now on follows also what a newcomer's replay has found worth following.
    pub(crate) fn adopt(&self, follow: &FollowSet) {
        lock(&self.evaluation).follow.merge(follow);
    }
}

/// All groups there are, one for each distinct filter.
#[derive(Debug)]
pub(crate) struct FilterGroups {
    groups: DashMap<Box<str>, Arc<FilterGroup>>,
    follow_capacity: usize,
}

impl FilterGroups {
    pub(crate) fn new(follow_capacity: usize) -> Self {
        Self { groups: DashMap::new(), follow_capacity }
    }

    /// The group of a filter, as long as the handle is held.
    pub(crate) fn join(self: &Arc<Self>, filter: Filter) -> GroupHandle {
        let group = self
            .groups
            .entry(filter.canonical().into())
            .or_insert_with(|| Arc::new(FilterGroup::new(filter, self.follow_capacity)));
        // Under the entry's lock, so that the group cannot be forgotten in between.
        group.holders.fetch_add(1, Ordering::Relaxed);
        GroupHandle { group: Arc::clone(&group), groups: Arc::clone(self) }
    }

    pub(crate) fn all(&self) -> Vec<Arc<FilterGroup>> {
        self.groups.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }
}

/// A place in a group. The last one to be dropped takes the group with it.
#[derive(Debug)]
pub(crate) struct GroupHandle {
    group: Arc<FilterGroup>,
    groups: Arc<FilterGroups>,
}

impl GroupHandle {
    /// An empty set of what is followed, for a replay.
    pub(crate) fn new_follow_set(&self) -> FollowSet {
        lock(&self.group.evaluation).follow.sibling()
    }
}

impl std::ops::Deref for GroupHandle {
    type Target = FilterGroup;

    fn deref(&self) -> &FilterGroup {
        &self.group
    }
}

impl Drop for GroupHandle {
    fn drop(&mut self) {
        let canonical = self.group.filter.canonical();
        self.groups
            .groups
            .remove_if(canonical, |_, group| group.holders.fetch_sub(1, Ordering::Relaxed) == 1);
    }
}
