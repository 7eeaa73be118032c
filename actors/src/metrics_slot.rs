//! The place between a metrics subscriber and its client's stream: room for one frame, the newest.
//!
//! A frame that nobody took before the next came is replaced, and counted. That loses no total: a frame says how
//! everything stands, and the next one says it again.

use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::lock;
use crate::metric_store::Sample;
use crate::register::{StreamState, StreamStatus};
use crate::silence::Silence;
use crate::sse::{self, Bye};
use crate::stats::{HubCounters, SubscriptionStats};

/// The series of one selection at one tick, encoded at most once, for all who asked for the same.
#[derive(Debug)]
pub(crate) struct MetricsFrame {
    samples: Vec<Sample>,
    encoded: OnceLock<Bytes>,
}

impl MetricsFrame {
    pub(crate) fn new(samples: Vec<Sample>) -> Self {
        Self { samples, encoded: OnceLock::new() }
    }

    pub(crate) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    pub(crate) fn encoded(&self) -> Bytes {
        self.encoded.get_or_init(|| sse::metrics(&self.samples)).clone()
    }
}

/// What a stream takes out.
#[derive(Debug)]
pub(crate) enum Taken {
    Frame(Arc<MetricsFrame>),
    /// Nothing has been said for so long.
    Ping(Duration),
    Bye(Bye),
}

#[derive(Debug)]
pub(crate) struct MetricsSlot {
    totals: Arc<HubCounters>,
    state: Mutex<SlotState>,
}

#[derive(Debug)]
struct SlotState {
    /// Of frames.
    stats: SubscriptionStats,
    /// Whether a frame is in the subscriber's mailbox: no second one is sent after it.
    in_mailbox: bool,
    frame: Option<Arc<MetricsFrame>>,
    /// When it was put there.
    put: Instant,
    bye: Option<Bye>,
    ended: bool,
    silence: Silence,
    waker: Option<Waker>,
}

impl MetricsSlot {
    pub(crate) fn new(ping_interval: Duration, totals: Arc<HubCounters>) -> Self {
        let state = SlotState {
            stats: SubscriptionStats::default(),
            in_mailbox: false,
            frame: None,
            put: Instant::now(),
            bye: None,
            ended: false,
            silence: Silence::new(ping_interval),
            waker: None,
        };
        Self { totals, state: Mutex::new(state) }
    }

    /// Whether a frame may be sent to the subscriber: there is never more than one in its mailbox.
    pub(crate) fn reserve(&self) -> bool {
        let mut state = lock(&self.state);
        let free = !std::mem::replace(&mut state.in_mailbox, true);
        state.stats.matched += 1;
        state.stats.queued += 1;
        if !free {
            state.stats.miss_queued();
            self.totals.metric_frames_replaced.add(1);
        }
        free
    }

    /// Puts in the frame that a place was reserved for.
    pub(crate) fn put(&self, frame: Arc<MetricsFrame>) {
        let mut state = lock(&self.state);
        state.in_mailbox = false;
        if state.ended {
            state.stats.miss_queued();
            return;
        }
        state.put = Instant::now();
        if state.frame.replace(frame).is_some() {
            state.stats.miss_queued();
            self.totals.metric_frames_replaced.add(1);
        }
        state.wake();
    }

    /// The last word.
    pub(crate) fn finish(&self, bye: Bye) {
        let mut state = lock(&self.state);
        if !state.ended {
            state.bye = Some(bye);
            state.ended = true;
            state.wake();
        }
    }

    /// The last word to one who may not watch any more: the frame that waits is missed.
    pub(crate) fn cut(&self, bye: Bye) {
        let mut state = lock(&self.state);
        if state.frame.take().is_some() {
            state.stats.miss_queued();
        }
        // It takes the place of another last word that waits; but nothing comes after one that has been taken.
        if !state.ended || state.bye.is_some() {
            state.bye = Some(bye);
            state.ended = true;
            state.wake();
        }
    }

    /// The subscriber is gone: after what is there, the stream ends.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.wake();
    }

    /// Whether the last word has been said.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.state).ended
    }

    /// The client is gone: nothing of it is kept.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        (state.frame, state.bye, state.waker) = (None, None, None);
    }

    /// How it stands with the stream.
    pub(crate) fn status(&self) -> StreamStatus {
        let state = lock(&self.state);
        StreamStatus {
            state: if state.ended { StreamState::Ending } else { StreamState::Live },
            stats: state.stats,
            queued_bytes: None,
            lag: state.frame.as_ref().map_or(Duration::ZERO, |_| state.put.elapsed()),
        }
    }

    /// To be called now and then: sees to it that a silent stream says something.
    pub(crate) fn look(&self, now: Instant) {
        let mut state = lock(&self.state);
        if !state.ended && state.frame.is_none() && state.silence.has_lasted(now) {
            state.wake();
        }
    }

    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut state = lock(&self.state);
        if let Some(frame) = state.frame.take() {
            state.stats.queued -= 1;
            state.stats.sent += 1;
            state.silence.broken(Instant::now());
            return Poll::Ready(Some(Taken::Frame(frame)));
        }
        if let Some(bye) = state.bye.take() {
            return Poll::Ready(Some(Taken::Bye(bye)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if let Some(interval) = state.silence.take_ping() {
            return Poll::Ready(Some(Taken::Ping(interval)));
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl SlotState {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(slot: &MetricsSlot) -> String {
        match slot.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => "-".to_owned(),
            Poll::Ready(None) => "end".to_owned(),
            Poll::Ready(Some(Taken::Ping(_))) => "ping".to_owned(),
            Poll::Ready(Some(Taken::Bye(_))) => "bye".to_owned(),
            Poll::Ready(Some(Taken::Frame(frame))) => frame.samples()[0].id().to_owned(),
        }
    }

    const BYE: Bye = Bye { reason: sse::ByeReason::Shutdown, retry: Duration::ZERO };

    fn frame(id: &str) -> Arc<MetricsFrame> {
        Arc::new(MetricsFrame::new(vec![Sample::own_counter(id, 1)]))
    }

    #[test]
    fn newest_frame_replaces_and_is_counted() {
        let totals = Arc::new(HubCounters::default());
        let slot = MetricsSlot::new(Duration::from_secs(15), Arc::clone(&totals));
        assert!(slot.reserve());
        assert!(!slot.reserve());
        slot.put(frame("a"));
        assert!(slot.reserve());
        slot.put(frame("b"));
        assert_eq!(totals.metric_frames_replaced.get(), 2);
        let stats = SubscriptionStats { matched: 3, sent: 0, missed: 2, queued: 1 };
        assert_eq!(slot.status().stats, stats);
        assert_eq!([take(&slot), take(&slot)], ["b", "-"]);
        assert_eq!(slot.status().stats, SubscriptionStats { sent: 1, queued: 0, ..stats });
        slot.finish(BYE);
        assert!(slot.reserve());
        slot.put(frame("c"));
        assert_eq!([take(&slot), take(&slot)], ["bye", "end"]);
        let stats = SubscriptionStats { matched: 4, sent: 1, missed: 3, queued: 0 };
        assert_eq!(slot.status().stats, stats);
    }

    #[test]
    fn one_that_is_cut_gets_no_frame_any_more() {
        let slot = MetricsSlot::new(Duration::from_secs(15), Arc::default());
        assert!(slot.reserve());
        slot.put(frame("a"));
        assert!(slot.reserve());
        // Whether or not it had been told to end already, and however often.
        slot.finish(BYE);
        slot.cut(BYE);
        slot.put(frame("b"));
        slot.cut(BYE);
        let stats = SubscriptionStats { matched: 2, sent: 0, missed: 2, queued: 0 };
        assert_eq!(slot.status().stats, stats);
        assert_eq!([take(&slot), take(&slot)], ["bye", "end"]);
        slot.cut(BYE);
        assert_eq!(take(&slot), "end");
    }
}
