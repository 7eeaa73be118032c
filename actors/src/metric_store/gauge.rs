//! One gauge: what was set or changed, and what each of several sources says is its part.
//!
//! What has no source is set and changed in one atomic operation, without a lock.

use std::sync::Mutex;

use jiff::Timestamp;

use super::places::{Arrival, Places, Room, is_before};
use super::series::update;
use crate::lock;
use crate::measurement::Source;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A value that many may set and change.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// The bits of what was set or changed.
    value: AtomicU64,
    told: Mutex<Told>,
}

/// What was said by those who say when.
#[derive(Debug, Default)]
struct Told {
    /// When the value was measured that was set last by one who knows.
    set_at: Option<Timestamp>,
    parts: Places<u64, Part>,
}

/// What one source says. Nothing of it is kept when it begins anew or has gone: a gauge does not go on from an earlier life.
#[derive(Debug)]
struct Part {
    started: Option<Timestamp>,
    value: f64,
}

impl Gauge {
    pub(super) fn set(&self, value: f64) {
        self.value.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Sets it unless a value that was measured later is there already.
    pub(super) fn set_measured(&self, source: Source, value: f64) -> Arrival {
        let mut told = lock(&self.told);
        if is_before(source.at, told.set_at) {
            return Arrival::Late;
        }
        told.set_at = source.at.or(told.set_at);
        self.set(value);
        Arrival::InTime
    }

    pub(super) fn change(&self, change: f64) {
        update(&self.value, |value| clamped(value + change));
    }

    /// Takes the part of a source, or gives it back if there is no room for its source.
    pub(super) fn take_total(
        &self,
        source: Source,
        value: f64,
        room: &Room,
    ) -> Result<Arrival, f64> {
        let Source { id, started, at } = source;
        let parts = &mut lock(&self.told).parts;
        let has_place = parts.contains(&id) || room.take() || parts.retire_silent(at).is_some();
        if !has_place {
            return Err(value);
        }
        let before = parts.get(&id).and_then(|before| before.started);
        let is_late =
            is_before(started, before) || (!is_before(before, started) && parts.has_newer(&id, at));
        if is_late {
            return Ok(Arrival::Late);
        }
        parts.put(id, at, Part { started: started.or(before), value });
        Ok(Arrival::InTime)
    }

    pub(super) fn get(&self) -> f64 {
        let set = f64::from_bits(self.value.load(Ordering::Relaxed));
        lock(&self.told).parts.iter().fold(set, |sum, part| clamped(sum + part.value))
    }
}

/// JSON has no word for what is infinite.
fn clamped(value: f64) -> f64 {
    value.clamp(f64::MIN, f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(id: u64, started: i64, at: i64) -> Source {
        let time = |second| (second >= 0).then(|| Timestamp::from_second(second).unwrap());
        Source { id, started: time(started), at: time(at) }
    }

    /// Sources say these values: id, when it started, when it measured (-1 if unknown), and the value.
    #[track_caller]
    fn check(said: &[(u64, i64, i64, f64)], expected: f64) {
        let (gauge, room) = (Gauge::default(), Room::new(2));
        for &(id, started, at, value) in said {
            gauge.take_total(source(id, started, at), value, &room).unwrap();
        }
        assert_eq!(gauge.get(), expected);
    }

    #[test]
    fn gauge_is_what_was_set_and_the_latest_of_each_source() {
        check(&[(1, 0, 10, 5.0), (2, 0, 10, 7.0)], 12.0);
        check(&[(1, 0, 10, 5.0), (2, 0, 10, 7.0), (1, 0, 20, -3.0)], 4.0);
        check(&[(1, -1, -1, 5.0), (1, -1, -1, 4.0)], 4.0);
        check(&[(1, 0, 1, f64::MAX), (2, 0, 1, f64::MAX)], f64::MAX);
        let (gauge, room) = (Gauge::default(), Room::new(1));
        gauge.take_total(source(1, 0, 1), 5.0, &room).unwrap();
        gauge.set(10.0);
        gauge.change(-1.0);
        assert_eq!(gauge.get(), 14.0);
    }

    #[test]
    fn nothing_is_kept_of_an_earlier_life() {
        check(&[(1, 0, 10, 5.0), (1, 15, 20, 3.0)], 3.0);
        check(&[(1, 0, 10, 5.0), (1, 15, 9, 3.0)], 3.0);
        check(&[(1, 0, 10, 5.0), (1, -1, 20, 3.0), (1, 0, 30, 4.0)], 4.0);
    }

    #[test]
    fn late_values_are_told_and_change_nothing() {
        let (gauge, room) = (Gauge::default(), Room::new(1));
        let said = [(5, 20, 8.0, Arrival::InTime), (5, 10, 7.0, Arrival::Late)];
        for (started, at, value, arrival) in said.into_iter().chain([(0, 30, 6.0, Arrival::Late)]) {
            assert_eq!(gauge.take_total(source(1, started, at), value, &room), Ok(arrival));
            assert_eq!(gauge.get(), 8.0);
        }
        let gauge = Gauge::default();
        for (id, at, value, arrival, shown) in [
            (1, 20, 8.0, Arrival::InTime, 8.0),
            (2, 10, 7.0, Arrival::Late, 8.0),
            (2, 20, 6.0, Arrival::InTime, 6.0),
            (2, -1, 5.0, Arrival::InTime, 5.0),
            (1, 19, 4.0, Arrival::Late, 5.0),
        ] {
            assert_eq!(gauge.set_measured(source(id, 0, at), value), arrival, "{id} at {at}");
            assert_eq!(gauge.get(), shown);
        }
        gauge.set(1.0);
        assert_eq!(gauge.get(), 1.0);
    }

    #[test]
    fn a_source_that_has_gone_takes_its_value_with_it() {
        let (gauge, room) = (Gauge::default(), Room::new(2));
        gauge.take_total(source(1, 0, 1_000), 5.0, &room).unwrap();
        gauge.take_total(source(2, 0, 2_000), 7.0, &room).unwrap();
        assert_eq!(gauge.take_total(source(3, 0, 4_599), 9.0, &room), Err(9.0));
        assert_eq!(gauge.take_total(source(3, 0, 4_600), 9.0, &room), Ok(Arrival::InTime));
        assert_eq!(gauge.get(), 16.0);
    }
}
