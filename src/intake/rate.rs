//! How much the holder of a token may bring in a second, by governor's GCRA: as much at once, and then as it comes back.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use telemetry_hub_actors::SmolStr;

/// How often those are looked for who have brought nothing for a while, and are forgotten.
const SPENT_BETWEEN_LOOKS: usize = 4096;

/// How many of something each may bring in a second.
pub(super) struct Rate {
    limiter: RateLimiter<SmolStr, HashMapStateStore<SmolStr>, DefaultClock>,
    per_second: u32,
    spent: AtomicUsize,
    /// What is counted.
    unit: &'static str,
}

/// Why something may not be brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Not now.
    Wait(Duration),
    /// Not ever at once.
    TooMany,
}

impl Rate {
    /// None if there is no limit, which is what 0 says.
    pub(super) fn new(per_second: u32, unit: &'static str) -> Option<Self> {
        let limit = NonZeroU32::new(per_second)?;
        let limiter = RateLimiter::hashmap(Quota::per_second(limit));
        Some(Self { limiter, per_second, spent: AtomicUsize::new(0), unit })
    }

    /// Takes so many from what a holder may bring.
    pub(super) fn spend(&self, holder: &SmolStr, number: usize) -> Result<(), Excess> {
        let Some(number) = u32::try_from(number).map_or(Some(NonZeroU32::MAX), NonZeroU32::new)
        else {
            return Ok(());
        };
        if self.spent.fetch_add(1, Ordering::Relaxed).is_multiple_of(SPENT_BETWEEN_LOOKS) {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key_n(holder, number) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(later)) => Err(Excess::Wait(later.wait_time_from(self.limiter.clock().now()))),
            Err(_) => Err(Excess::TooMany),
        }
    }

    /// What is told of the limit.
    pub(super) fn told(&self) -> String {
        format!("{} {} a second for a token", self.per_second, self.unit)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rate({})", self.told())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_may_bring_so_many_and_no_more() {
        let rate = Rate::new(100, "events").unwrap();
        let (one, other) = ("one".into(), "other".into());
        assert_eq!(rate.spend(&one, 0), Ok(()));
        assert_eq!(rate.spend(&one, 60), Ok(()));
        assert!(
            matches!(rate.spend(&one, 60), Err(Excess::Wait(wait)) if wait <= Duration::from_secs(1))
        );
        assert_eq!(rate.spend(&other, 100), Ok(()), "each has their own");
        for many in [101, usize::MAX] {
            assert_eq!(rate.spend(&other, many), Err(Excess::TooMany));
        }
        assert!(Rate::new(0, "events").is_none());
    }

    #[test]
    fn holders_that_brought_nothing_for_a_while_are_forgotten() {
        let rate = Rate::new(u32::MAX, "events").unwrap();
        for number in 0..3 * SPENT_BETWEEN_LOOKS {
            assert_eq!(rate.spend(&number.to_string().into(), 1), Ok(()));
        }
        assert!(rate.limiter.len() <= SPENT_BETWEEN_LOOKS + 1, "{}", rate.limiter.len());
    }
}
