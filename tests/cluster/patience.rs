//! How tests wait.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

/// How long anything may take that must happen: an election of NATS takes up to nine seconds, and two may come one after the
/// other. Only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Fails if it takes too long.
#[track_caller]
pub(crate) fn within_patience<T>(
    what: &str,
    future: impl Future<Output = T>,
) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let Ok(value) = timeout(PATIENCE, future).await else {
            panic!("{place}: {what}: not within {PATIENCE:?}")
        };
        value
    }
}

/// Looks until there is something to be had.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    within_patience(what, async move {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            pause(LOOK).await;
        }
    })
}

pub(crate) async fn pause(time: Duration) {
    sleep_until(Instant::now() + time).await;
}
