//! What the sources of one series say that they have counted in all.
//!
//! Keeps the latest total of each source, and what sources had counted that have begun anew since. Decides which totals come
//! too late. It is only told of sources; it asks no clock.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};

use crate::measurement::Source;

/// What a source can count.
pub(super) trait Countable: Default {
    /// Whether this is less than what the same source had counted `before`.
    fn is_less_than(&self, before: &Self) -> bool;

    /// Adds what another has counted, or the same one in an earlier life.
    fn absorb(&mut self, other: &Self);
}

/// After how long a source is taken to be gone, if another needs its place: processes that come and go under ids of their own
/// would take all places in the end. Exporters tell every minute; one that came back after an hour would count anew.
const SILENCE: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Default)]
pub(super) struct Totals<T> {
    /// What sources had counted that have begun anew since, or gone.
    earlier: T,
    latest: BTreeMap<u64, Latest<T>>,
}

#[derive(Debug)]
struct Latest<T> {
    started: Option<Timestamp>,
    at: Option<Timestamp>,
    total: T,
}

/// How a total stands to the latest of the same source.
enum Standing {
    Late,
    GoesOn,
    BeganAnew,
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

impl<T: Countable> Totals<T> {
    /// Whether totals of this source can be kept: it has a place, or takes one, if need be that of one that has gone.
    pub(super) fn admit(&mut self, source: &Source, room: &Room) -> bool {
        self.latest.contains_key(&source.id) || room.take() || self.retire_silent(source.at)
    }

    /// Retires the source that has been silent longest, if it has been so for [`SILENCE`]. What it had counted stays.
    fn retire_silent(&mut self, now: Option<Timestamp>) -> bool {
        let heard = |(id, latest): (&u64, &Latest<T>)| Some((latest.at?, *id));
        let Some((at, id)) = self.latest.iter().filter_map(heard).min() else {
            return false;
        };
        if now.is_none_or(|now| now.duration_since(at) < SILENCE) {
            return false;
        }
        if let Some(retired) = self.latest.remove(&id) {
            self.earlier.absorb(&retired.total);
        }
        true
    }

    /// Takes the total of a source that was admitted. Says whether it counts, or came too late.
    pub(super) fn take(&mut self, source: Source, total: T) -> bool {
        let Source { id, started, at } = source;
        let next = Latest { started, at, total };
        let Some(latest) = self.latest.get_mut(&id) else {
            self.latest.insert(id, next);
            return true;
        };
        match next.after(latest) {
            Standing::Late => false,
            Standing::GoesOn => {
                // What is told once stays known.
                *latest = Latest {
                    started: next.started.or(latest.started),
                    at: next.at.or(latest.at),
                    total: next.total,
                };
                true
            }
            Standing::BeganAnew => {
                self.earlier.absorb(&mem::replace(latest, next).total);
                true
            }
        }
    }

    /// What they have counted, each for itself.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.earlier).chain(self.latest.values().map(|latest| &latest.total))
    }
}

impl<T: Countable> Latest<T> {
    fn after(&self, latest: &Self) -> Standing {
        if is_before(self.started, latest.started) {
            return Standing::Late;
        }
        if is_before(latest.started, self.started) {
            return Standing::BeganAnew;
        }
        if is_before(self.at, latest.at) {
            return Standing::Late;
        }
        if self.total.is_less_than(&latest.total) { Standing::BeganAnew } else { Standing::GoesOn }
    }
}

/// Whether both are known, and one is before the other.
fn is_before(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one < other)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Countable for u64 {
        fn is_less_than(&self, before: &Self) -> bool {
            self < before
        }

        fn absorb(&mut self, other: &Self) {
            *self += other;
        }
    }

    fn time(second: i64) -> Option<Timestamp> {
        (second >= 0).then(|| Timestamp::from_second(second).unwrap())
    }

    /// One source says these totals: when it started, when it had counted so much (-1 if unknown), and how much.
    #[track_caller]
    fn check(said: &[(i64, i64, u64)], expected: u64) {
        let (mut totals, room) = (Totals::<u64>::default(), Room::new(1));
        for &(started, at, total) in said {
            let source = Source { id: 7, started: time(started), at: time(at) };
            assert!(totals.admit(&source, &room));
            totals.take(source, total);
        }
        assert_eq!(totals.iter().sum::<u64>(), expected);
    }

    #[test]
    fn later_total_replaces() {
        check(&[(0, 10, 5), (0, 20, 8)], 8);
        check(&[(-1, -1, 5), (-1, -1, 8)], 8);
        check(&[(0, 10, 5), (0, -1, 8)], 8);
    }

    #[test]
    fn the_same_total_again_changes_nothing() {
        check(&[(0, 10, 5), (0, 10, 5)], 5);
        check(&[(-1, -1, 5), (-1, -1, 5)], 5);
    }

    #[test]
    fn late_total_is_ignored() {
        check(&[(0, 20, 8), (0, 10, 5)], 8);
        check(&[(0, 20, 8), (0, 10, 50)], 8);
        check(&[(15, 20, 8), (0, 30, 50)], 8);
        // Also past one whose time is not known.
        check(&[(0, 20, 8), (-1, -1, 9), (0, 10, 5)], 9);
    }

    #[test]
    fn later_start_is_a_new_beginning() {
        check(&[(0, 10, 5), (15, 20, 3)], 8);
        check(&[(0, 10, 5), (15, 20, 7), (15, 30, 9)], 14);
        check(&[(0, 10, 5), (15, 20, 7), (0, 12, 6)], 12);
    }

    #[test]
    fn lower_total_is_a_new_beginning() {
        check(&[(-1, 10, 5), (-1, 20, 3), (-1, 30, 4)], 9);
        check(&[(-1, -1, 5), (-1, -1, 3)], 8);
        check(&[(0, 10, 5), (0, 20, 3)], 8);
    }

    #[test]
    fn a_source_keeps_its_place_and_there_are_only_so_many() {
        let (mut totals, room) = (Totals::<u64>::default(), Room::new(2));
        for (id, is_admitted) in [(1, true), (2, true), (3, false), (1, true), (3, false)] {
            let source = Source { id, started: None, at: None };
            assert_eq!(totals.admit(&source, &room), is_admitted, "{id}");
            if is_admitted {
                totals.take(source, 10);
            }
        }
        assert_eq!(totals.iter().sum::<u64>(), 20);
        assert!(room.is_full());
    }

    #[test]
    fn a_source_that_has_gone_leaves_its_place_and_what_it_counted() {
        let (mut totals, room) = (Totals::<u64>::default(), Room::new(2));
        let said = |id, at| Source { id, started: None, at: time(at) };
        for (id, at, is_admitted) in [
            (1, 1_000, true),
            (2, 2_000, true),
            (3, 4_000, false),
            (1, 4_100, true),
            (3, 5_599, false),
            (3, 5_600, true),
            (2, 5_700, false),
        ] {
            assert_eq!(totals.admit(&said(id, at), &room), is_admitted, "{id} at {at}");
            if is_admitted {
                totals.take(said(id, at), 10);
            }
        }
        assert_eq!(totals.latest.keys().collect::<Vec<_>>(), [&1, &3]);
        assert_eq!(totals.iter().sum::<u64>(), 30);
    }
}
