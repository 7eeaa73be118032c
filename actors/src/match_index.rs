//! Which filter groups may want an event, found without asking each of them.
//!
//! An over-approximation: the group decides exactly. A group is found by its filter's [`Handle`](crate::filter::Handle)s in
//! a [`FilterIndex`], built off the collector's way, or by the span or trace that it follows ([`Followers`]). Newcomers are
//! asked one by one until an index has them. However many distinct filters there are, an event costs about the same.
//!
//! It keeps no group alive. Nothing may be made alive again under one of its locks: a group that goes takes them.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::filter_group::FilterGroup;
use crate::follow_set::FollowSet;
use crate::lock;

mod filter_index;
mod followers;
mod needles;
mod networks;
mod router;
mod terms;
#[cfg(test)]
mod tests;

pub use filter_index::FilterIndex;
use followers::Followers;
pub(crate) use router::{Candidate, Concern, Place, Router};
pub use terms::EventTerms;

/// So many groups are asked one by one, if that is all there are: no dearer than looking them up.
const FEW: usize = 16;

/// So many newcomers are not asked one by one for longer than it takes to index them.
const MANY: usize = 1024;

/// Building takes no more than one part of so many of the time of one core.
const REST: u32 = 10;

/// However little there is to build: who comes meanwhile is in one go with the others.
const MIN_REST: Duration = Duration::from_millis(100);

/// The young generation is built anew for each crowd of newcomers, and the old one, which has nearly all groups, only
/// once the young has grown to one part of so many of it.
const YOUNG_PART: usize = 4;

#[derive(Debug)]
pub(crate) struct MatchIndex {
    state: Mutex<State>,
    pub(crate) followers: Arc<Followers>,
    /// How many groups there have been.
    groups: AtomicU64,
    /// How many batches have been asked about.
    batches: AtomicU64,
}

#[derive(Debug)]
struct State {
    old: Arc<Generation>,
    young: Arc<Generation>,
    /// Groups that no generation has, by their serial numbers.
    recent: BTreeMap<u64, Weak<FilterGroup>>,
    /// Groups that are candidates whatever comes, while a newcomer joins.
    joining: BTreeMap<u64, Weak<FilterGroup>>,
    /// About how many groups of the generations are gone. Of each its allocation is left (300 bytes; what it held was
    /// freed when it went) and its handles, until half of all groups are gone and an event comes.
    gone: usize,
    /// When something may be built again; `None` while it is.
    next_build: Option<Instant>,
}

/// Groups that were indexed together.
#[derive(Debug, Default)]
struct Generation {
    filters: FilterIndex,
    /// By the numbers of their filters.
    groups: Vec<Weak<FilterGroup>>,
}

/// The index as it is for one batch.
#[derive(Debug)]
struct View {
    generations: [Arc<Generation>; 2],
    recent: Vec<Weak<FilterGroup>>,
    joining: Vec<Weak<FilterGroup>>,
}

impl MatchIndex {
    /// The hasher is that of the groups' sets.
    pub(crate) fn new(hasher: RandomState) -> Self {
        let state = State {
            old: Arc::default(),
            young: Arc::default(),
            recent: BTreeMap::new(),
            joining: BTreeMap::new(),
            gone: 0,
            next_build: Some(Instant::now()),
        };
        Self {
            state: Mutex::new(state),
            followers: Arc::new(Followers::new(hasher)),
            groups: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        }
    }

    /// A number for a group to come.
    pub(crate) fn next_serial(&self) -> u64 {
        self.groups.fetch_add(1, Ordering::Relaxed)
    }

    /// A new group is found from now on.
    pub(crate) fn add(&self, group: &Arc<FilterGroup>) {
        lock(&self.state).recent.insert(group.serial, Arc::downgrade(group));
    }

    /// A group that is gone is not found any more, and what it followed is forgotten.
    pub(crate) fn remove(&self, serial: u64, followed: &FollowSet) {
        self.followers.forget(serial, followed);
        let mut state = lock(&self.state);
        if state.recent.remove(&serial).is_none() {
            state.gone += 1;
        }
    }

    /// Until the guard is dropped, the group is a candidate for every event.
    ///
    /// For a newcomer that will get all that comes after a point: what it follows is noted only after that point, and an
    /// event must not be routed in between.
    pub(crate) fn watch<'a>(&'a self, group: &Arc<FilterGroup>) -> Watch<'a> {
        lock(&self.state).joining.insert(group.serial, Arc::downgrade(group));
        Watch { index: self, serial: group.serial }
    }

    /// The index as it is now: it has every group that had a member when the batch was closed.
    fn view(&self) -> View {
        let state = lock(&self.state);
        View {
            generations: [Arc::clone(&state.old), Arc::clone(&state.young)],
            recent: state.recent.values().cloned().collect(),
            joining: state.joining.values().cloned().collect(),
        }
    }

    /// Has newcomers indexed, and those that are gone forgotten, if it is worth it and time for it.
    pub(crate) fn keep_up(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let is_time = |next| next <= Instant::now() || state.recent.len() > MANY;
        if state.is_stale() && state.next_build.is_some_and(is_time) {
            state.next_build = None;
            let index = Arc::clone(self);
            tokio::task::spawn_blocking(move || index.build());
        }
    }

    /// Indexes all groups that there are now.
    fn build(&self) {
        let _under_way = Building { index: self, begun: Instant::now() };
        self.install(self.plan().build(FEW));
    }

    /// What is to be built.
    fn plan(&self) -> Plan {
        let state = lock(&self.state);
        let replaces_old = state.is_old_outgrown();
        let replaced = [Some(&state.young), replaces_old.then_some(&state.old)];
        let known = replaced.into_iter().flatten().flat_map(|generation| &generation.groups);
        Plan { groups: known.chain(state.recent.values()).cloned().collect(), replaces_old }
    }

    fn install(&self, built: Built) {
        let Built { generation, groups, replaces_old } = built;
        let mut state = lock(&self.state);
        for group in &groups {
            match &generation {
                Some(_) => state.recent.remove(&group.serial),
                None => state.recent.insert(group.serial, Arc::downgrade(group)),
            };
        }
        let replaced = state.replace(generation.unwrap_or_default(), replaces_old);
        drop(state);
        // After the lock: there may be much to free, and some of the groups may have gone meanwhile.
        drop((replaced, groups));
    }
}

/// Held while something is built. However that ends, something may be built again after a rest.
#[derive(Debug)]
struct Building<'a> {
    index: &'a MatchIndex,
    begun: Instant,
}

impl Drop for Building<'_> {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        let rest = (REST * took).max(MIN_REST);
        lock(&self.index.state).next_build = Some(self.begun + took + rest);
    }
}

/// What is to be built: the groups of the young generation, or of both, and the newcomers.
#[derive(Debug)]
struct Plan {
    groups: Vec<Weak<FilterGroup>>,
    replaces_old: bool,
}

/// What has been built of a [`Plan`].
#[derive(Debug)]
struct Built {
    /// `None` if there are so few groups that they are better asked one by one.
    generation: Option<Arc<Generation>>,
    /// Those that were still there.
    groups: Vec<Arc<FilterGroup>>,
    replaces_old: bool,
}

impl Plan {
    fn build(self, few: usize) -> Built {
        let groups: Vec<Arc<FilterGroup>> = self.groups.iter().filter_map(Weak::upgrade).collect();
        let is_worth_it = groups.len() > few || !self.replaces_old;
        let generation = is_worth_it.then(|| Arc::new(Generation::new(&groups)));
        Built { generation, groups, replaces_old: self.replaces_old }
    }
}

impl State {
    fn is_stale(&self) -> bool {
        let is_indexed = !self.old.groups.is_empty() || !self.young.groups.is_empty();
        self.recent.len() > FEW || (is_indexed && !self.recent.is_empty()) || self.is_half_gone()
    }

    fn is_half_gone(&self) -> bool {
        let indexed = self.old.groups.len() + self.young.groups.len();
        self.gone > FEW.max(indexed / 2)
    }

    fn is_old_outgrown(&self) -> bool {
        let young = self.young.groups.len() + self.recent.len();
        young > self.old.groups.len() / YOUNG_PART || self.is_half_gone()
    }

    /// Returns what is replaced.
    fn replace(&mut self, generation: Arc<Generation>, replaces_old: bool) -> [Arc<Generation>; 2] {
        if replaces_old {
            self.gone = 0;
            [std::mem::replace(&mut self.old, generation), std::mem::take(&mut self.young)]
        } else {
            [std::mem::replace(&mut self.young, generation), Arc::default()]
        }
    }
}

impl Generation {
    fn new(groups: &[Arc<FilterGroup>]) -> Self {
        Self {
            filters: FilterIndex::build(groups.iter().map(|group| group.filter())),
            groups: groups.iter().map(Arc::downgrade).collect(),
        }
    }

    /// A group by the number of its filter, if it is still there.
    fn group(&self, number: u32) -> Option<Arc<FilterGroup>> {
        self.groups[usize::try_from(number).expect("it is an index")].upgrade()
    }
}

/// Held while a newcomer joins a group.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    index: &'a MatchIndex,
    serial: u64,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        lock(&self.index.state).joining.remove(&self.serial);
    }
}
