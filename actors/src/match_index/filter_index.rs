//! Many filters, arranged so that those that may match an event are found without asking each of them.
//!
//! Pure: built once and never changed, it knows filters only by their numbers. An over-approximation: every filter that
//! matches is found, and some that do not.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::needles::Needles;
use super::networks::Networks;
use super::terms::{EventTerms, Needs};
use crate::event::Event;
use crate::filter::{ExactNumber, Filter, Handle};
use crate::key::KeyHash;
use crate::level::Level;

/// The numbers of the filters that are found by the same thing.
pub(super) type Found = Vec<u32>;

/// Finds, among many filters, those that may match an event. What that costs hardly depends on how many there are.
#[derive(Debug, Default)]
pub struct FilterIndex {
    size: usize,
    needles: Needles,
    networks: Networks,
    numbers: HashMap<ExactNumber, Found>,
    /// For false, and for true.
    booleans: [Found; 2],
    /// By the hash of the key.
    keys: HashMap<u64, Found>,
    levels: HashMap<Level, Found>,
    /// What nothing can be looked up for: filters that match nearly everything, of which there are few distinct ones.
    rest: Found,
}

impl FilterIndex {
    /// Arranges filters, which from now on go by their numbers, from 0.
    ///
    /// That takes about three microseconds and 600 bytes a filter, of which 160 remain.
    pub fn build<'a>(filters: impl Iterator<Item = &'a Filter> + Clone) -> Self {
        let popularity = Popularity::of(filters.clone());
        let mut index = Self::default();
        let mut needles: HashMap<Box<[u8]>, Found> = HashMap::new();
        for filter in filters {
            let number = u32::try_from(index.size).expect("memory holds fewer filters");
            index.size += 1;
            let Some(handles) = popularity.most_telling(filter) else {
                index.rest.push(number);
                continue;
            };
            for handle in handles {
                let found = match handle {
                    Handle::Needle(text) => needles.entry(Needles::key(text)).or_default(),
                    Handle::Network(network) => index.networks.entry(network),
                    Handle::Number(number) => index.numbers.entry(number).or_default(),
                    Handle::Boolean(value) => &mut index.booleans[usize::from(value)],
                    Handle::Key(key) => index.keys.entry(KeyHash::of(key)).or_default(),
                    Handle::Level(level) => index.levels.entry(level).or_default(),
                };
                found.push(number);
            }
        }
        index.rest.extend(index.needles.build(needles));
        index
    }

    /// Calls `found` with the number of every filter that may match an event, with some more than once.
    pub fn candidates(&self, event: &Event, terms: &mut EventTerms, found: impl FnMut(u32)) {
        terms.read(event, self.needs());
        self.find(terms, found);
    }

    /// How many filters there are.
    pub fn len(&self) -> usize {
        self.size
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// What must be read from an event before something can be found.
    pub(super) fn needs(&self) -> Needs {
        Needs {
            texts: !self.needles.is_empty(),
            addresses: !self.networks.is_empty(),
            keys: !self.keys.is_empty(),
        }
    }

    /// As [`FilterIndex::candidates`], by terms that were read with all that this index needs.
    pub(super) fn find(&self, terms: &mut EventTerms, mut found: impl FnMut(u32)) {
        let mut report = |numbers: &Found| numbers.iter().copied().for_each(&mut found);
        report(&self.rest);
        for (least, numbers) in &self.levels {
            if terms.level >= *least {
                report(numbers);
            }
        }
        for (value, numbers) in self.booleans.iter().enumerate() {
            if terms.booleans[value] {
                report(numbers);
            }
        }
        if !self.numbers.is_empty() {
            terms
                .numbers
                .iter()
                .filter_map(|number| self.numbers.get(number))
                .for_each(&mut report);
        }
        terms.addresses.iter().for_each(|address| self.networks.find(*address, &mut report));
        if !self.keys.is_empty() {
            terms.keys.iter().filter_map(|key| self.keys.get(key)).for_each(&mut report);
        }
        self.needles.find(&terms.texts, &mut terms.seen, &mut report);
    }
}

/// How many filters have each handle.
///
/// A filter is found by the condition that tells it best from the others: what thousands of filters share, such as a
/// type, would find them all, though each asks for an account of its own.
struct Popularity {
    hasher: RandomState,
    /// By the hash of the handle: should two have one, a filter is found by what is not quite the best.
    filters: HashMap<u64, u32>,
}

impl Popularity {
    fn of<'a>(filters: impl Iterator<Item = &'a Filter>) -> Self {
        let hasher = RandomState::new();
        let mut counts = HashMap::new();
        for handle in filters.flat_map(Filter::conditions).flatten() {
            *counts.entry(hasher.hash_one(handle)).or_insert(0) += 1;
        }
        Self { hasher, filters: counts }
    }

    /// The handles of the condition by which to find a filter, if it can be found at all.
    fn most_telling<'a>(&self, filter: &'a Filter) -> Option<Vec<Handle<'a>>> {
        filter.conditions().min_by_key(|handles| {
            let rarest = handles.iter().map(Handle::rarity).min().unwrap_or(0);
            handles
                .iter()
                .map(|handle| self.burden(handle))
                .max()
                .map(|worst| (worst, Reverse(rarest)))
        })
    }

    /// How many filters an event finds by this handle, by guess, as a logarithm. Doubled are those who share it: that a
    /// text is rare is a guess, that many share it is known.
    fn burden(&self, handle: &Handle<'_>) -> i64 {
        let sharing = self.filters.get(&self.hasher.hash_one(handle)).copied().unwrap_or(1);
        2 * i64::from(sharing.ilog2()) - i64::from(handle.rarity())
    }
}
