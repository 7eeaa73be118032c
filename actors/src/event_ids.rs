//! Makes the ids of accepted events: UUIDv7 (RFC 9562, section 6.2, methods 3 and 1), each greater than the one before.
//!
//! Every event gets one under the log's lock, on the thread that brings it: no system call, and nothing of that thread's.

use std::hash::{BuildHasher, RandomState};

use crate::event::EventId;
use crate::tick::{COUNTER_BITS, Tick};

/// Two neighbours of a tick are less than 2^40 apart, so that one has room for 2^21 events at least. If more come, as they may while the
/// time of day is behind, the ids go on in the next one.
const STEP_BITS: u32 = 40;

/// Ids increase strictly, even if the time of day does not.
#[derive(Debug, Default)]
pub(crate) struct EventIds {
    /// Known to nobody else: ids of two hubs differ, even of one tick.
    keys: RandomState,
    tick: Tick,
    /// Begins anew, somewhere in its lower half, in each tick, and goes on by [steps](step) that nobody can foretell: the ids of two
    /// events do not tell how many came between them, as long as those are few or it was another tick.
    counter: u64,
}

impl EventIds {
    pub(crate) fn next(&mut self, now: Tick) -> EventId {
        if now > self.tick {
            self.begin(now);
        } else {
            self.counter += step(self.keys.hash_one(self.counter), STEP_BITS);
            if self.counter >> COUNTER_BITS > 0 {
                self.begin(self.tick.next());
            }
        }
        self.tick.id(self.counter)
    }

    fn begin(&mut self, tick: Tick) {
        self.tick = tick;
        self.counter = self.keys.hash_one(tick) >> (u64::BITS - COUNTER_BITS + 1);
    }
}

/// Less than 2^bits, and more than 0: each number of binary digits is as frequent as each other. At most 48 bits.
pub(crate) fn step(random: u64, bits: u32) -> u64 {
    let digits = ((random >> 48) * u64::from(bits)) >> 16;
    1 << digits | random & ((1 << digits) - 1)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn time(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_342_367_000 + milliseconds).unwrap()
    }

    fn at(milliseconds: i64) -> Tick {
        Tick::of(time(milliseconds))
    }

    #[test]
    fn ids_increase_whatever_the_clock_does() {
        let mut ids = EventIds::default();
        let times = [5, 5, 3, -2_000_000_000_000, 4, 6, 6, 1000, 999];
        let made = times.map(|milliseconds| ids.next(at(milliseconds)));
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
        assert!(made[4] < EventId::first_at(time(6)) && made[5] > EventId::first_at(time(6)));
    }

    #[test]
    fn what_came_between_two_of_one_millisecond_does_not_show() {
        let microsecond = jiff::SignedDuration::from_micros(1);
        let counter = |id: EventId| id.to_u128() as u64;
        let mut ids = EventIds::default();
        let increases = (0..1000).filter(|n| {
            let begun = time(0) + *n * 2 * microsecond;
            let [first, second] = [begun, begun + microsecond].map(Tick::of);
            counter(ids.next(first)) < counter(ids.next(second))
        });
        // As often less as more.
        assert!((400..600).contains(&increases.count()));
    }

    #[test]
    fn where_a_tick_has_no_room_the_next_one_begins() {
        let mut ids = EventIds::default();
        let first = ids.next(at(5));
        ids.counter = u64::MAX >> 2;
        let made = [first, ids.next(at(5)), ids.next(at(3)), ids.next(at(6))];
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
        let tick = |id: EventId| (id.to_u128() >> 64) as u64;
        let ticks = made.map(|id| tick(id) - tick(first));
        // With the four bits of the version between.
        assert_eq!(ticks, [0, 1, 1, 1 << 16]);
    }

    /// Of 20,000 pairs of ids of one tick with so many others between them: how far the two are apart.
    fn differences(between: usize) -> Vec<u64> {
        let mut ids = EventIds::default();
        let mut difference = || {
            let before = ids.counter;
            (0..=between).for_each(|_| _ = ids.next(at(0)));
            ids.counter - before
        };
        difference();
        (0..20_000).map(|_| difference()).collect()
    }

    /// By chance this fails less than once in 10^9 times.
    #[test]
    fn how_far_two_ids_are_apart_does_not_prove_that_others_came_between() {
        let (neighbours, ten, hundred) = (differences(0), differences(10), differences(100));
        let (farthest, nearest) =
            (*neighbours.iter().max().unwrap(), *hundred.iter().min().unwrap());
        let at_most = |differences: &[u64]| differences.iter().filter(|d| **d <= farthest).count();
        // Some 17,800, and 120: what is farther apart is no pair of neighbours.
        assert!(at_most(&ten) > 17_000, "{}", at_most(&ten));
        assert!(at_most(&hundred) > 40, "{}", at_most(&hundred));
        // Some 1,000.
        let far = neighbours.iter().filter(|d| **d >= nearest).count();
        assert!(far > 250, "{far}");
    }

    #[test]
    fn steps_of_each_length_are_as_frequent() {
        let mut found = [0; STEP_BITS as usize];
        differences(0).iter().for_each(|step| found[step.ilog2() as usize] += 1);
        assert!(found.iter().all(|found| (300..700).contains(found)), "{found:?}");
        assert_eq!([0, u64::MAX].map(|random| step(random, 40)), [1, (1 << 40) - 1]);
        assert_eq!([0, u64::MAX].map(|random| step(random, 0)), [1, 1]);
    }

    #[test]
    fn they_are_uuids_of_version_7() {
        let id: Uuid = EventIds::default().next(at(107)).to_string().parse().unwrap();
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        let (seconds, nanoseconds) = id.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanoseconds), (1_795_342_367, 107_000_000));
        let mut other = EventIds::default();
        assert_ne!(other.next(at(107)).to_string(), id.to_string());
    }
}
