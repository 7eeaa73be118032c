//! The latest that each source of one series has said, and when.
//!
//! Places are bounded over all series by a [`Room`]; within a series, a source that has gone leaves its own. What becomes of
//! what it had said is up to those who hold the places, counters and gauges alike. It asks no clock.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::sync::atomic::{AtomicUsize, Ordering};

/// After how long a source is taken to be gone, if another needs its place: processes that come and go under ids of their own
/// would take all places in the end. Exporters tell every minute; one that came back after an hour would count anew.
const SILENCE: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug)]
pub(super) struct Places<K, T> {
    latest: BTreeMap<K, Latest<T>>,
    /// None of them was heard last before this: until it is long ago, nobody need be asked. `None` if none told a time.
    heard_since: Option<Timestamp>,
}

#[derive(Debug)]
struct Latest<T> {
    at: Option<Timestamp>,
    said: T,
}

/// Whether what a source says is new, or was overtaken by what it said later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    InTime,
    Late,
}

/// How many places there are, and how many are taken. None is given back; within a series, one that has gone leaves its own.
#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    taken: AtomicUsize,
}

impl Room {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, taken: AtomicUsize::new(0) }
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.limit
    }

    /// Takes a place, if one is left.
    pub(super) fn take(&self) -> bool {
        let next = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

impl<K: Ord + Copy, T> Places<K, T> {
    pub(super) fn contains(&self, key: &K) -> bool {
        self.latest.contains_key(key)
    }

    pub(super) fn get(&self, key: &K) -> Option<&T> {
        self.latest.get(key).map(|latest| &latest.said)
    }

    /// Whether a source was heard of after this.
    pub(super) fn has_newer(&self, key: &K, at: Option<Timestamp>) -> bool {
        self.latest.get(key).is_some_and(|latest| is_before(at, latest.at))
    }

    /// The last source before this one that has a place, from `first` on.
    pub(super) fn last_between(&self, first: K, end: K) -> Option<K> {
        self.latest.range(first..end).next_back().map(|(key, _)| *key)
    }

    /// Puts what a source says, which has a place or took one, in the place of what it said before. A time that was told
    /// once stays known.
    pub(super) fn put(&mut self, key: K, at: Option<Timestamp>, said: T) -> Option<T> {
        // A missing time is less than any.
        self.heard_since = self.heard_since.min(at).or(self.heard_since).or(at);
        let before = self.latest.remove(&key);
        let at = at.or(before.as_ref().and_then(|before| before.at));
        self.latest.insert(key, Latest { at, said });
        before.map(|before| before.said)
    }

    /// Takes the place of a source that was not heard of since then.
    pub(super) fn retire(&mut self, key: &K, since: Option<Timestamp>) -> Option<T> {
        let is_silent = is_before(self.latest.get(key)?.at, since);
        is_silent.then(|| self.latest.remove(key)).flatten().map(|latest| latest.said)
    }

    /// Takes the place of the source that has been silent longest, if it has been so for [`SILENCE`].
    pub(super) fn retire_silent(&mut self, now: Option<Timestamp>) -> Option<T> {
        let is_long_ago = |at| now.is_some_and(|now| now.duration_since(at) >= SILENCE);
        if !self.heard_since.is_some_and(is_long_ago) {
            return None;
        }
        let mut longest = self.longest_silent();
        let retired = longest
            .filter(|(at, _)| is_long_ago(*at))
            .and_then(|(_, key)| self.latest.remove(&key));
        if retired.is_some() {
            longest = self.longest_silent();
        }
        self.heard_since = longest.map(|(at, _)| at);
        retired.map(|retired| retired.said)
    }

    fn longest_silent(&self) -> Option<(Timestamp, K)> {
        self.latest.iter().filter_map(|(key, latest)| Some((latest.at?, *key))).min()
    }

    /// What they said last, each for itself.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.latest.values().map(|latest| &latest.said)
    }
}

impl<K, T> Default for Places<K, T> {
    fn default() -> Self {
        Self { latest: BTreeMap::new(), heard_since: None }
    }
}

/// Whether both are known, and one is before the other.
pub(super) fn is_before(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one < other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Option<Timestamp> {
        Some(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn while_nobody_can_be_gone_nobody_is_asked() {
        let mut places = Places::default();
        assert_eq!(places.retire_silent(time(9_000)), None);
        places.put(1, None, 'a');
        assert_eq!((places.heard_since, places.retire_silent(time(9_000))), (None, None));
        places.put(2, time(1_000), 'b');
        places.put(3, time(2_000), 'c');
        places.put(2, time(3_000), 'd');
        assert_eq!(places.heard_since, time(1_000));
        // One look for all until the next may be gone.
        assert_eq!(places.retire_silent(time(4_600)), None);
        assert_eq!(places.heard_since, time(2_000));
        assert_eq!(places.retire_silent(time(5_600)), Some('c'));
        assert_eq!(places.heard_since, time(3_000));
        // Whoever is heard of for the first time may have spoken long ago.
        places.put(4, time(500), 'e');
        assert_eq!(places.retire_silent(time(5_600)), Some('e'));
        assert_eq!(places.retire_silent(time(6_600)), Some('d'));
        assert_eq!((places.heard_since, places.retire_silent(time(9_000))), (None, None));
        assert!(places.contains(&1));
    }
}
