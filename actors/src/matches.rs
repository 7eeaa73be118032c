//! What a filter makes of a batch: the events that it wants, and their frame, encoded once for all who get it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::event::Event;
use crate::sse;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// What a filter wants of one batch, or of one page of a replay.
#[derive(Debug)]
pub(crate) struct Matches {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) bytes: usize,
    frame: OnceLock<Bytes>,
    /// Held until the last subscriber has taken it.
    in_flight: Option<Arc<InFlight>>,
}

impl Matches {
    pub(crate) fn new(events: Vec<Arc<Event>>, in_flight: Option<Arc<InFlight>>) -> Self {
        let bytes = events.iter().map(|event| event.size).sum();
        // What no subscriber will queue keeps nothing in flight.
        let in_flight = in_flight.filter(|_| !events.is_empty());
        Self { events, bytes, frame: OnceLock::new(), in_flight }
    }

    /// Some of its events. While they are queued, its batch is in flight.
    pub(crate) fn part(&self, events: Vec<Arc<Event>>) -> Self {
        Self::new(events, self.in_flight.clone())
    }

    /// The SSE frame, encoded when first asked for.
    pub(crate) fn frame(&self) -> Bytes {
        self.frame.get_or_init(|| sse::trace(&self.events)).clone()
    }

    /// How many events there are.
    pub(crate) fn count(&self) -> u64 {
        self.events.len() as u64
    }
}

/// Counts the events of a batch as long as anybody still has to get it.
#[derive(Debug)]
pub(crate) struct InFlight {
    events: usize,
    total: Arc<AtomicUsize>,
}

impl InFlight {
    pub(crate) fn new(events: usize, total: &Arc<AtomicUsize>) -> Arc<Self> {
        total.fetch_add(events, Ordering::Relaxed);
        Arc::new(Self { events, total: Arc::clone(total) })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.total.fetch_sub(self.events, Ordering::Relaxed);
    }
}
