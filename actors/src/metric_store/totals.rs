//! What the sources of one series say that they have counted in all.
//!
//! Keeps the latest total of each source, and what sources had counted that have begun anew since. Decides which totals come
//! too late. It is only told of sources; it asks no clock.

use jiff::Timestamp;

use super::places::{Arrival, Places, Room};
use crate::measurement::Source;

/// What a source can count.
pub(super) trait Countable: Default {
    /// Whether this is less than what the same source had counted `before`.
    fn is_less_than(&self, before: &Self) -> bool;

    /// Adds what another has counted, or the same one in an earlier life.
    fn absorb(&mut self, other: &Self);
}

#[derive(Debug, Default)]
pub(super) struct Totals<T> {
    /// What sources had counted that have begun anew since, or gone.
    earlier: T,
    latest: Places<Life, T>,
}

/// One who counts: a source, and when it began. Those that share an id may be one that was restarted, or several processes
/// that do not tell themselves apart; either way each has counted for itself.
type Life = (u64, Option<Timestamp>);

impl<T: Countable> Totals<T> {
    /// Whether totals of this source can be kept: it has a place, or takes one, if need be that of one that has gone.
    pub(super) fn admit(&mut self, source: &Source, room: &Room) -> bool {
        let life = self.life(source);
        self.latest.contains(&life) || room.take() || self.retire_for(life, source.at)
    }

    /// Whose total it is. One that does not say when it began is the latest begun.
    fn life(&self, source: &Source) -> Life {
        let Source { id, started, .. } = *source;
        let latest_begun = || self.latest.last_between((id, None), (id, Some(Timestamp::MAX)));
        match started {
            Some(_) => (id, started),
            None => latest_begun().unwrap_or((id, None)),
        }
    }

    /// Retires one that has been silent for long, or that this one took over from: it was begun before, and not heard of
    /// since. What it had counted stays.
    fn retire_for(&mut self, life: Life, now: Option<Timestamp>) -> bool {
        let (id, started) = life;
        let retired = self.latest.retire_silent(now).or_else(|| {
            let before = self.latest.last_between((id, None), life)?;
            self.latest.retire(&before, started)
        });
        if let Some(total) = &retired {
            self.earlier.absorb(total);
        }
        retired.is_some()
    }

    /// Takes the total of a source that was admitted.
    pub(super) fn take(&mut self, source: Source, total: T) -> Arrival {
        let life = self.life(&source);
        if self.latest.has_newer(&life, source.at) {
            return Arrival::Late;
        }
        let has_begun_anew =
            self.latest.get(&life).is_some_and(|before| total.is_less_than(before));
        let before = self.latest.put(life, source.at, total);
        if let Some(before) = before.filter(|_| has_begun_anew) {
            self.earlier.absorb(&before);
        }
        Arrival::InTime
    }

    /// What they have counted, each for itself.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.earlier).chain(self.latest.iter())
    }
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
        let (mut totals, room) = (Totals::<u64>::default(), Room::new(2));
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
        check(&[(0, 20, 8), (15, 30, 4), (0, 10, 50)], 12);
        // Also past one whose time is not known.
        check(&[(0, 20, 8), (-1, -1, 9), (0, 10, 5)], 9);
    }

    #[test]
    fn later_start_is_a_new_beginning() {
        check(&[(0, 10, 5), (15, 20, 3)], 8);
        check(&[(0, 10, 5), (15, 20, 7), (15, 30, 9)], 14);
        // Whoever does not say when it began is the one that began last.
        check(&[(0, 10, 5), (15, 20, 7), (-1, 30, 9)], 14);
    }

    #[test]
    fn processes_that_share_an_id_count_side_by_side() {
        check(&[(15, 20, 8), (0, 30, 50)], 58);
        check(&[(15, 20, 8), (0, 21, 50), (15, 30, 9), (0, 31, 60), (15, 40, 10)], 70);
    }

    #[test]
    fn restarts_use_up_no_places() {
        let (mut totals, room) = (Totals::<u64>::default(), Room::new(2));
        let mut say = |started, at, total| {
            let source = Source { id: 7, started: time(started), at: time(at) };
            let is_admitted = totals.admit(&source, &room);
            if is_admitted {
                totals.take(source, total);
            }
            (is_admitted, totals.iter().sum::<u64>())
        };
        assert_eq!(say(0, 10, 1), (true, 1));
        for life in 1..10 {
            assert_eq!(say(life * 100, life * 100 + 10, 1), (true, 1 + life as u64));
        }
        // One that was heard of since the newcomer began is another process.
        assert_eq!(say(905, 920, 1), (false, 10));
        assert_eq!(say(850, 920, 1), (true, 11));
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
        let has_place = |id| totals.latest.contains(&(id, None));
        assert_eq!([1, 2, 3].map(has_place), [true, false, true]);
        assert_eq!(totals.iter().sum::<u64>(), 30);
    }
}
