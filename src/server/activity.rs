//! What goes on on a connection over HTTP/2: whether a request has come in time, and whether one has come lately.
//!
//! Written here because hyper's own timeout for heads begins only when it knows the version, and knows nothing of HTTP/2's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

/// No timer ticks faster.
const TICK: Duration = Duration::from_millis(1);

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// There has been a request.
    begun: CancellationToken,
    /// How many there have been.
    requests: AtomicUsize,
    under_way: Arc<()>,
}

impl Activity {
    /// A request has come, which is under way for as long as this is held.
    pub(super) fn begin(&self) -> Arc<()> {
        self.begun.cancel();
        self.requests.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.under_way)
    }

    /// Returns if no request has come in the time for its head.
    pub(super) async fn first(&self, head_timeout: Duration) {
        if timeout(head_timeout, self.begun.cancelled()).await.is_ok() {
            std::future::pending().await
        }
    }

    /// Returns once there has been no request for so long, and a quarter of it more at most.
    pub(super) async fn idleness(&self, patience: Duration) {
        let (mut seen, mut idle, mut tick) = (0, 0, interval((patience / 4).max(TICK)));
        while idle <= 4 {
            tick.tick().await;
            let requests = self.requests.load(Ordering::Relaxed);
            let is_idle = requests == seen && Arc::strong_count(&self.under_way) == 1;
            idle = if is_idle { idle + 1 } else { 0 };
            seen = requests;
        }
    }
}
