//! Makes the ids of accepted events: UUIDv7 (RFC 9562, section 6.2, method 1), each greater than the one before.
//!
//! Every event gets one under the log's lock, on the thread that brings it: no system call, and nothing of that thread's.

use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;
use uuid::Uuid;

use crate::event::EventId;

/// One less than how far two ids of a millisecond are apart at most.
const LARGEST_STEP: u64 = (1 << 16) - 1;

/// Ids increase strictly, even if the time of day does not.
#[derive(Debug, Default)]
pub(crate) struct EventIds {
    /// Known to nobody else: ids of two hubs differ, even of one millisecond.
    keys: RandomState,
    milliseconds: u64,
    /// Begins anew, somewhere, in each millisecond, and goes on by steps that nobody can foretell: the ids of two events do not tell how
    /// many came between them. So far from its end that no millisecond takes it there.
    counter: u64,
}

impl EventIds {
    pub(crate) fn next(&mut self, now: Timestamp) -> EventId {
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        if milliseconds > self.milliseconds {
            self.milliseconds = milliseconds;
            self.counter = self.keys.hash_one(milliseconds) >> 1;
        } else {
            self.counter += 1 + (self.keys.hash_one(self.counter) & LARGEST_STEP);
        }
        let (high, low) = (self.counter >> 52, self.counter & ((1 << 52) - 1));
        let [time, high, low] = [self.milliseconds, high, low].map(u128::from);
        EventId::new(Uuid::from_u128(time << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low << 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_342_367_000 + milliseconds).unwrap()
    }

    #[test]
    fn ids_increase_whatever_the_clock_does() {
        let mut ids = EventIds::default();
        let times = [5, 5, 3, -2_000_000_000_000, 4, 6, 6, 1000, 999];
        let made = times.map(|milliseconds| ids.next(at(milliseconds)));
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
        assert!(made[4] < EventId::first_at(at(6)) && made[5] > EventId::first_at(at(6)));
    }

    #[test]
    fn counter_goes_on_past_its_low_bits() {
        let mut ids = EventIds { milliseconds: u64::MAX >> 16, ..EventIds::default() };
        ids.counter = (1 << 52) - 2;
        let made = [0; 4].map(|_| ids.next(at(0)));
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
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
