//! How far the collector may go ahead.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::HubCore;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// How far the collector is ahead of the subscribers' actors, in batches.
///
/// It stops at [`Credit::LIMIT`] and goes on when the slowest actor has handled one: this is what bounds the mailboxes.
/// Actors never wait for a client, so that no client can hold it up.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    used: AtomicUsize,
    wanted: AtomicBool,
    /// How long it took to hand out the last batch that all have handled, in nanoseconds.
    took: AtomicU64,
}

impl Credit {
    /// Enough that no core runs dry, few enough that a mailbox stays small.
    const LIMIT: usize = 4;

    /// Whether the collector may go ahead. If not, the return of a [`CreditNote`] wakes it.
    pub(crate) fn is_left(&self) -> bool {
        if self.used.load(Ordering::Acquire) < Self::LIMIT {
            return true;
        }
        // One may have come back just before it was wanted. The exchange sees to it that this is seen.
        self.wanted.swap(true, Ordering::SeqCst);
        self.used.load(Ordering::SeqCst) < Self::LIMIT
    }

    /// How long it took to hand out a batch, the last time.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.took.load(Ordering::Relaxed))
    }
}

/// Held in every mailbox that a batch was sent to; the last one dropped gives the credit back.
#[derive(Debug)]
pub(crate) struct CreditNote {
    core: Arc<HubCore>,
    begun: Instant,
}

impl CreditNote {
    pub(crate) fn take(core: &Arc<HubCore>) -> Arc<Self> {
        core.credit.used.fetch_add(1, Ordering::SeqCst);
        Arc::new(Self { core: Arc::clone(core), begun: Instant::now() })
    }
}

impl Drop for CreditNote {
    fn drop(&mut self) {
        let credit = &self.core.credit;
        let took = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        credit.took.store(took, Ordering::Relaxed);
        credit.used.fetch_sub(1, Ordering::SeqCst);
        if credit.wanted.swap(false, Ordering::SeqCst) {
            self.core.wake_collector();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HubConfig;

    #[test]
    fn credit_runs_out_and_comes_back_with_the_last_note_of_a_batch() {
        let core = Arc::new(HubCore::new(HubConfig::default()));
        let notes: Vec<_> = (0..Credit::LIMIT).map(|_| CreditNote::take(&core)).collect();
        assert!(!core.credit.is_left());
        let in_a_mailbox = Arc::clone(&notes[0]);
        drop(notes);
        assert!(core.credit.is_left());
        assert!(!core.claim_wake(), "who gave credit back has woken the collector");
        core.release_wake();
        drop(in_a_mailbox);
        assert!(core.claim_wake(), "nobody was waiting any more");
    }
}
