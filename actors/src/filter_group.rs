//! All subscribers with one filter: it is evaluated once for each batch and its frame encoded once, however many they are.
//!
//! A group evaluates what may concern it strictly in order, because `follow` remembers; whoever needs a result first does
//! the work, and the others share it.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use dashmap::DashMap;

use crate::event::Event;
use crate::event_log::EventBatch;
use crate::filter::{Filter, Follow};
use crate::follow_set::FollowSet;
use crate::lock;
use crate::match_index::{Concern, MatchIndex, Place, Watch};
use crate::matches::{InFlight, Matches};
use crate::subscriber::{Member, SubscriberId};

/// A batch on its way to the members of one group, with room for what the filter makes of it.
#[derive(Debug)]
pub(crate) struct Delivery {
    batch: Arc<EventBatch>,
    in_flight: Arc<InFlight>,
    matches: OnceLock<Arc<Matches>>,
}

#[derive(Debug)]
pub(crate) struct FilterGroup {
    /// Tells groups apart: one that comes after another with the same filter has another.
    pub(crate) serial: u64,
    filter: Filter,
    evaluation: Mutex<Evaluation>,
    members: Mutex<BTreeMap<SubscriberId, Arc<Member>>>,
    /// How many [`GroupHandle`]s there are.
    holders: AtomicUsize,
    index: Arc<MatchIndex>,
    pub(crate) place: Place,
}

#[derive(Debug)]
struct Evaluation {
    follow: FollowSet,
    /// Sent to the members, evaluated by none yet: no more than the collector may be ahead of them.
    pending: VecDeque<Pending>,
}

/// A delivery in line, with what of it is to be evaluated.
#[derive(Debug)]
struct Pending {
    delivery: Arc<Delivery>,
    concern: Concern,
}

impl FilterGroup {
    fn new(filter: Filter, follow: FollowSet, index: Arc<MatchIndex>) -> Self {
        Self {
            serial: index.next_serial(),
            filter,
            evaluation: Mutex::new(Evaluation { follow, pending: VecDeque::new() }),
            members: Mutex::default(),
            holders: AtomicUsize::new(0),
            index,
            place: Place::default(),
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
        concern: Concern,
        in_flight: &Arc<InFlight>,
    ) -> Arc<Delivery> {
        let delivery = Arc::new(Delivery {
            batch: Arc::clone(batch),
            in_flight: Arc::clone(in_flight),
            matches: OnceLock::new(),
        });
        let pending = Pending { delivery: Arc::clone(&delivery), concern };
        lock(&self.evaluation).pending.push_back(pending);
        delivery
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
}

/// The index forgets it. It may be the collector, or who builds the index, that has held it last.
impl Drop for FilterGroup {
    fn drop(&mut self) {
        self.index.remove(self.serial, &lock(&self.evaluation).follow);
    }
}

/// All groups there are, one for each distinct filter.
#[derive(Debug)]
pub(crate) struct FilterGroups {
    groups: DashMap<Box<str>, Arc<FilterGroup>>,
    pub(crate) index: Arc<MatchIndex>,
    follow_capacity: usize,
    hasher: RandomState,
}

impl FilterGroups {
    pub(crate) fn new(follow_capacity: usize) -> Self {
        let hasher = RandomState::new();
        let index = Arc::new(MatchIndex::new(hasher.clone()));
        Self { groups: DashMap::new(), index, follow_capacity, hasher }
    }

    /// The group of a filter, as long as the handle is held. The collector asks it about every batch closed from now on.
    pub(crate) fn join(self: &Arc<Self>, filter: Filter) -> GroupHandle {
        let group =
            self.groups.entry(filter.canonical().into()).or_insert_with(|| self.new_group(filter));
        // Under the entry's lock, so that the group cannot be forgotten in between.
        group.holders.fetch_add(1, Ordering::Relaxed);
        GroupHandle { group: Arc::clone(&group), groups: Arc::clone(self) }
    }

    fn new_group(&self, filter: Filter) -> Arc<FilterGroup> {
        let follow = FollowSet::new(self.follow_capacity, self.hasher.clone());
        let group = Arc::new(FilterGroup::new(filter, follow, Arc::clone(&self.index)));
        self.index.add(&group);
        group
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// All groups that there are now.
    pub(crate) fn all(&self) -> Vec<Arc<FilterGroup>> {
        self.groups.iter().map(|group| Arc::clone(&group)).collect()
    }
}

/// A place in a group. The last one to be dropped takes the group with it.
#[derive(Debug)]
pub(crate) struct GroupHandle {
    group: Arc<FilterGroup>,
    groups: Arc<FilterGroups>,
}

impl GroupHandle {
    /// What the filter wants of a batch that was put in line.
    pub(crate) fn evaluate(&self, delivery: &Delivery) -> Arc<Matches> {
        if let Some(matches) = delivery.matches.get() {
            return Arc::clone(matches);
        }
        self.catch_up();
        Arc::clone(delivery.matches.get().expect("what was put in line is evaluated in line"))
    }

    /// Evaluates all that is in line. A member that leaves does so for what it was sent: nobody else may ever ask.
    pub(crate) fn catch_up(&self) {
        let mut evaluation = lock(&self.group.evaluation);
        let Evaluation { follow, pending } = &mut *evaluation;
        while let Some(next) = pending.front() {
            self.evaluate_next(follow, next);
            // With it goes the speculation: what has become of it stands in the index by now.
            pending.pop_front();
        }
    }

    fn evaluate_next(&self, follow: &mut FollowSet, next: &Pending) {
        let Delivery { batch, in_flight, matches } = &*next.delivery;
        let mut events = Vec::new();
        for event in next.concern.events.iter().map(|index| &batch.events[*index as usize]) {
            let (is_wanted, change) = follow.wants(&self.group.filter, event, None);
            if let Some(change) = change {
                self.group.index.followers.note(&self.group, change);
            }
            if is_wanted {
                events.push(Arc::clone(event));
            }
        }
        matches.get_or_init(|| Arc::new(Matches::new(events, Some(Arc::clone(in_flight)))));
    }

    /// An empty set of what is followed, for a replay.
    pub(crate) fn new_follow_set(&self) -> FollowSet {
        lock(&self.group.evaluation).follow.sibling()
    }

    /// To be held from before a newcomer has read the end of the log until it has joined: whatever is accepted meanwhile
    /// comes to the group, which does not yet follow what the newcomer has found.
    pub(crate) fn watch(&self) -> Option<Watch<'_>> {
        match self.group.filter.follow() {
            Follow::None => None,
            Follow::Span | Follow::Trace => Some(self.group.index.watch(&self.group)),
        }
    }

    /// From now on follows also what a newcomer's replay has found worth following.
    pub(crate) fn adopt(&self, follow: &FollowSet) {
        let mut evaluation = lock(&self.group.evaluation);
        for change in evaluation.follow.merge(follow) {
            self.group.index.followers.note(&self.group, change);
        }
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
