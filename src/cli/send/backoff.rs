//! When to try again, and when to give up.
//!
//! Pure but for the clock: waits double from [`FIRST_WAIT`] to [`LONGEST_WAIT`], each half of it random, so that many
//! senders whose hub has restarted do not come back at once.

use std::time::Duration;

use tokio::time::Instant;

const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A hub that is back is noticed within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The attempts at one batch.
#[derive(Debug)]
pub(super) struct Backoff {
    retry_for: Duration,
    failing_since: Option<Instant>,
    failures: u32,
}

impl Backoff {
    /// Gives up `retry_for` after the first failure.
    pub(super) fn new(retry_for: Duration) -> Self {
        Self { retry_for, failing_since: None, failures: 0 }
    }

    /// After a failure: how long to wait for the next attempt, or `None` to give up. The last attempt falls on the end
    /// of the time, even if the hub asked for more.
    pub(super) fn next_wait(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        let left = self.retry_for.checked_sub(self.failing_for()).filter(|left| !left.is_zero())?;
        self.failing_since.get_or_insert_with(Instant::now);
        let wait = wait(self.failures, retry_after, rand::random());
        self.failures = self.failures.saturating_add(1);
        Some(wait.min(left))
    }

    /// The time since the first failure.
    pub(super) fn failing_for(&self) -> Duration {
        self.failing_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// The wait after so many earlier failures; `roll` is from 0 to 1.
fn wait(earlier_failures: u32, retry_after: Option<Duration>, roll: f64) -> Duration {
    if let Some(asked) = retry_after {
        return asked + FIRST_WAIT.mul_f64(roll);
    }
    let step = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(earlier_failures)).min(LONGEST_WAIT);
    step.mul_f64(0.5 + 0.5 * roll)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(earlier_failures: u32, retry_after: Option<u64>, roll: f64, milliseconds: u64) {
        let retry_after = retry_after.map(Duration::from_secs);
        let expected = Duration::from_millis(milliseconds);
        assert_eq!(wait(earlier_failures, retry_after, roll), expected);
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        check(0, None, 1.0, 100);
        check(1, None, 1.0, 200);
        check(5, None, 1.0, 3200);
        check(6, None, 1.0, 5000);
        check(u32::MAX, None, 1.0, 5000);
    }

    #[test]
    fn half_of_a_wait_is_random() {
        check(1, None, 0.0, 100);
        check(1, None, 0.5, 150);
    }

    #[test]
    fn never_earlier_than_asked() {
        check(0, Some(7), 0.0, 7000);
        check(9, Some(1), 1.0, 1100);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_when_the_time_is_over() {
        let mut backoff = Backoff::new(Duration::from_secs(10));
        let mut waits = Vec::new();
        while let Some(wait) = backoff.next_wait(None) {
            waits.push(wait);
            tokio::time::advance(wait).await;
        }
        assert_eq!(waits.iter().sum::<Duration>(), Duration::from_secs(10));
        assert_eq!(backoff.failing_for(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn last_attempt_is_at_the_end_of_the_time() {
        let mut backoff = Backoff::new(Duration::from_secs(10));
        assert_eq!(
            backoff.next_wait(Some(Duration::from_secs(3600))),
            Some(Duration::from_secs(10))
        );
        assert_eq!(Backoff::new(Duration::ZERO).next_wait(None), None);
        assert!(Backoff::new(Duration::MAX).next_wait(None).is_some());
    }
}
