//! The time in ids: UUIDv7 (RFC 9562, section 6.2, method 3) has room for milliseconds and 4,096ths of them.

use jiff::Timestamp;
use uuid::Uuid;

use crate::event::EventId;

/// What stands behind the time in an id has so many bits.
pub(crate) const COUNTER_BITS: u32 = 62;

const FRACTION_BITS: u32 = 12;

/// The 4,096th part of a millisecond, 244 ns; so many since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tick(u64);

impl Tick {
    /// That in which this time lies. What was before 1970 counts as then.
    pub(crate) fn of(time: Timestamp) -> Self {
        let (Ok(seconds), Ok(nanoseconds)) =
            (u64::try_from(time.as_second()), u64::try_from(time.subsec_nanosecond()))
        else {
            return Self::default();
        };
        let milliseconds = seconds * 1000 + nanoseconds / 1_000_000;
        let fraction = ((nanoseconds % 1_000_000) << FRACTION_BITS) / 1_000_000;
        Self(milliseconds << FRACTION_BITS | fraction)
    }

    pub(crate) fn of_id(id: EventId) -> Self {
        let bits = id.to_u128();
        Self(((bits >> 80) << FRACTION_BITS | (bits >> 64) & ((1 << FRACTION_BITS) - 1)) as u64)
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The id of this time that goes on so.
    pub(crate) fn id(self, counter: u64) -> EventId {
        let (milliseconds, fraction) =
            (self.0 >> FRACTION_BITS, self.0 & ((1 << FRACTION_BITS) - 1));
        let [milliseconds, fraction, counter] = [milliseconds, fraction, counter].map(u128::from);
        let bits = milliseconds << 80 | 7 << 76 | fraction << 64 | 0b10 << COUNTER_BITS | counter;
        EventId::new(Uuid::from_u128(bits))
    }

    /// The greatest id of this time.
    pub(crate) fn last_id(self) -> EventId {
        self.id(u64::MAX >> (u64::BITS - COUNTER_BITS))
    }
}

#[cfg(any(feature = "nats", test))]
impl Tick {
    pub(crate) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// When it begins.
    pub(crate) fn time(self) -> Timestamp {
        let (milliseconds, fraction) =
            (self.0 >> FRACTION_BITS, self.0 & ((1 << FRACTION_BITS) - 1));
        let nanoseconds = (fraction * 1_000_000).div_ceil(1 << FRACTION_BITS);
        let nanoseconds = i128::from(milliseconds) * 1_000_000 + i128::from(nanoseconds);
        Timestamp::from_nanosecond(nanoseconds).unwrap_or(Timestamp::MAX)
    }

    /// Its number.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
impl Tick {
    /// So many after the beginning of a millisecond of 2026.
    pub(crate) fn some(ticks: u64) -> Self {
        Self((1_795_342_367_107 << FRACTION_BITS) + ticks)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tick_is_the_4096th_part_of_a_millisecond() {
        let of = |nanoseconds| {
            let time = Tick::some(0).time().as_nanosecond() + nanoseconds;
            Tick::of(Timestamp::from_nanosecond(time).unwrap())
        };
        let some = [-1, 0, 244, 245, 500_000, 1_000_000].map(of);
        assert_eq!(
            some,
            [
                Tick::some(0).previous(),
                Tick::some(0),
                Tick::some(0),
                Tick::some(1),
                Tick::some(2048),
                Tick::some(4096)
            ]
        );
        assert_eq!(Tick::some(4096).id(7).milliseconds() - Tick::some(0).id(7).milliseconds(), 1);
        let before = Timestamp::from_nanosecond(-1).unwrap();
        assert_eq!([Timestamp::MIN, before, Timestamp::UNIX_EPOCH].map(Tick::of), [Tick(0); 3]);
        assert_eq!((Tick::of(Timestamp::MAX).0 >> 60, Tick(u64::MAX).time()), (0, Timestamp::MAX));
    }

    proptest! {
        #[test]
        fn it_is_found_again_by_its_time_and_in_its_ids(ticks in 0..1u64 << 50, counter in 0..1u64 << COUNTER_BITS) {
            let tick = Tick(ticks);
            prop_assert_eq!((Tick::of(tick.time()), Tick::of_id(tick.id(counter))), (tick, tick));
            prop_assert_eq!((tick.next().previous(), tick.id(counter).milliseconds()), (tick, ticks >> 12));
            let nanosecond = jiff::SignedDuration::from_nanos(1);
            prop_assert!(ticks == 0 || Tick::of(tick.time() - nanosecond) == tick.previous());
        }
    }
}
