//! One counter: what was added, and what sources say that they have counted.
//!
//! Whole numbers, which is what nearly all count, are added in one atomic operation, without a lock.

use std::sync::Mutex;

use super::places::{Arrival, Room};
use super::series::update;
use super::totals::{Countable, Totals};
use crate::lock;
use crate::measurement::Source;
use crate::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Counter {
    pub(super) added: Total,
    totals: Mutex<Totals<f64>>,
}

/// A sum that many may add to, in two parts. Who reads one sees of the other what its writer saw.
#[derive(Debug, Default)]
pub(super) struct Total {
    /// Whole numbers.
    whole: AtomicU64,
    /// The bits of what the sum is more, or less, than that.
    rest: AtomicU64,
}

impl Counter {
    /// Takes the total of a source, or gives it back if there is no room for its source.
    pub(super) fn take_total(
        &self,
        source: Source,
        total: f64,
        room: &Room,
    ) -> Result<Arrival, f64> {
        let mut totals = lock(&self.totals);
        if !totals.admit(&source, room) {
            return Err(total);
        }
        Ok(totals.take(source, total))
    }

    pub(super) fn get(&self) -> f64 {
        let told: f64 = lock(&self.totals).iter().sum();
        (self.added.get() + told).min(f64::MAX)
    }
}

impl Countable for f64 {
    fn is_less_than(&self, before: &Self) -> bool {
        self < before
    }

    fn absorb(&mut self, other: &Self) {
        *self = (*self + other).min(Self::MAX);
    }
}

impl Total {
    /// The most that is added as a whole number: it would take so many of them again to make the sum run over.
    const MOST_WHOLE: u64 = u32::MAX as u64;

    pub(super) fn add_whole(&self, amount: u64) {
        if amount <= Self::MOST_WHOLE {
            self.whole.fetch_add(amount, Ordering::Release);
        } else {
            self.add_to_rest(amount as f64);
        }
    }

    pub(super) fn add(&self, amount: f64) {
        if amount.fract() == 0.0 && amount <= Self::MOST_WHOLE as f64 {
            self.add_whole(amount as u64);
        } else {
            self.add_to_rest(amount);
        }
    }

    fn add_to_rest(&self, amount: f64) {
        // It may never become infinite: JSON has no word for that.
        update(&self.rest, |rest| (rest + amount).min(f64::MAX));
    }

    pub(super) fn set(&self, total: f64) {
        let rest = total - self.whole();
        self.rest.store(rest.to_bits(), Ordering::Release);
    }

    /// Sets it if that makes it greater.
    pub(super) fn raise(&self, to: f64) {
        let least = to - self.whole();
        update(&self.rest, |rest| rest.max(least));
    }

    pub(super) fn get(&self) -> f64 {
        let mut rest = self.rest();
        loop {
            let whole = self.whole();
            // Had the sum been set in between, the parts would not belong together.
            let before = std::mem::replace(&mut rest, self.rest());
            if rest.to_bits() == before.to_bits() {
                return (whole + rest).min(f64::MAX);
            }
        }
    }

    fn whole(&self) -> f64 {
        self.whole.load(Ordering::Acquire) as f64
    }

    fn rest(&self) -> f64 {
        f64::from_bits(self.rest.load(Ordering::Acquire))
    }
}

#[cfg(test)]
#[cfg(model)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_one_sum() {
        let total = Total::default();
        total.add(2.0);
        total.add(0.5);
        total.add_whole(3);
        assert_eq!(total.get(), 5.5);
        total.set(4.25);
        assert_eq!(total.get(), 4.25);
        total.raise(4.0);
        assert_eq!(total.get(), 4.25);
        total.raise(7.0);
        total.add_whole(1);
        assert_eq!(total.get(), 8.0);
    }

    #[test]
    fn large_amounts_do_not_make_it_run_over() {
        let total = Total::default();
        for _ in 0..5 {
            total.add_whole(u64::MAX);
            total.add((1_u64 << 53) as f64);
        }
        let expected = 5.0 * (u64::MAX as f64 + (1_u64 << 53) as f64);
        assert!((total.get() / expected - 1.0).abs() < 1e-9, "{}", total.get());
        total.add(f64::MAX);
        total.add(f64::MAX);
        assert_eq!(total.get(), f64::MAX);
    }

    #[test]
    fn many_threads_lose_nothing() {
        let total = Total::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        total.add_whole(1);
                        total.add(0.5);
                    }
                });
            }
        });
        assert_eq!(total.get(), 60_000.0);
    }
}
