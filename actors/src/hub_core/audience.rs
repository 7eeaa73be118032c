//! Who is there to see what comes.

use std::sync::Arc;

use super::HubCore;
use crate::config::HubConfig;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether anybody can ever see an event. Stands apart from the core, so that asking holds nothing of it.
#[derive(Debug)]
pub(crate) struct Audience {
    subscribers: AtomicUsize,
    /// There is a replay buffer, for those who come later.
    #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "only the layer asks"))]
    keeps_events: bool,
    has_ended: AtomicBool,
}

impl Audience {
    pub(super) fn new(config: &HubConfig) -> Self {
        Self {
            subscribers: AtomicUsize::new(0),
            keeps_events: config.replay_bytes > 0,
            has_ended: AtomicBool::new(false),
        }
    }

    pub(super) fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// The hub has ended: nobody will see anything any more.
    pub(super) fn leave(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Whether an event that comes now can be seen, now or later.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_there(&self) -> bool {
        (self.keeps_events || self.subscribers() > 0) && !self.has_left()
    }

    /// Whether the hub has ended.
    #[cfg(feature = "tracing")]
    pub(crate) fn has_left(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }
}

/// Counts one subscriber for as long as it is held.
#[derive(Debug)]
pub(crate) struct SubscriberCount(Arc<HubCore>);

impl SubscriberCount {
    pub(crate) fn take(core: &Arc<HubCore>) -> Self {
        core.audience.subscribers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(core))
    }
}

impl Drop for SubscriberCount {
    fn drop(&mut self) {
        self.0.audience.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}
