//! One metrics subscriber: owns the sending half of a client's metrics stream.
//!
//! Supervision: a *temporary* child of [`Hub`](crate::hub::Hub), never restarted: the stream ends, and the client
//! reconnects. It is on its sampler's roster for as long as it lives, and no longer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::hub_core::{HubCore, SubscriberCount};
use crate::lock;
use crate::metrics_slot::{MetricsFrame, MetricsSlot};
use crate::selection::Selection;
use crate::sse::{self, Bye, ByeReason};
use crate::subscriber::SubscriberId;

#[derive(Debug)]
pub(crate) enum MetricsSubscriberMessage {
    /// Puts a frame where the stream finds it, in place of an older one. Never waits for the client.
    Deliver(Arc<MetricsFrame>),
    /// Says why the stream ends.
    Close(ByeReason),
    /// Ends the stream of a client that does not read.
    Cut,
    /// Fails on purpose.
    #[cfg(feature = "fault-injection")]
    Panic,
}

/// Who gets the frames of one sampler. Lives outside it, so that a restarted one knows whom to serve.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<BTreeMap<SubscriberId, Arc<MetricsMember>>>);

/// A metrics subscriber as its sampler knows it.
#[derive(Debug)]
pub(crate) struct MetricsMember {
    pub(crate) selection: Selection,
    slot: Arc<MetricsSlot>,
    subscriber: ActorRef<MetricsSubscriberMessage>,
    /// Whether it has been sent a frame.
    welcomed: AtomicBool,
}

impl MetricsMember {
    /// Whether it still waits for its first frame.
    pub(crate) fn is_new(&self) -> bool {
        !self.welcomed.load(Ordering::Relaxed)
    }

    /// Sends a frame, unless the last one is still in the mailbox.
    pub(crate) fn send(&self, frame: &Arc<MetricsFrame>) {
        self.welcomed.store(true, Ordering::Relaxed);
        if self.slot.reserve() {
            // One that is gone is about to leave the roster.
            self.subscriber.cast(MetricsSubscriberMessage::Deliver(Arc::clone(frame))).ok();
        }
    }
}

impl Roster {
    pub(crate) fn members(&self) -> MutexGuard<'_, BTreeMap<SubscriberId, Arc<MetricsMember>>> {
        lock(&self.0)
    }
}

pub(crate) struct MetricsSubscriber;

pub(crate) struct MetricsSubscriberArguments {
    pub(crate) id: SubscriberId,
    pub(crate) core: Arc<HubCore>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) selection: Selection,
    pub(crate) slot: Arc<MetricsSlot>,
}

pub(crate) struct MetricsSubscriberState {
    id: SubscriberId,
    core: Arc<HubCore>,
    roster: Arc<Roster>,
    slot: Arc<MetricsSlot>,
    _count: SubscriberCount,
}

impl Actor for MetricsSubscriber {
    type Msg = MetricsSubscriberMessage;
    type State = MetricsSubscriberState;
    type Arguments = MetricsSubscriberArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let MetricsSubscriberArguments { id, core, roster, selection, slot } = arguments;
        let member = MetricsMember {
            selection,
            slot: Arc::clone(&slot),
            subscriber: myself,
            welcomed: AtomicBool::new(false),
        };
        roster.members().insert(id, Arc::new(member));
        let count = SubscriberCount::take(&core);
        Ok(MetricsSubscriberState { id, core, roster, slot, _count: count })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MetricsSubscriberMessage::Deliver(frame) => state.slot.put(frame),
            MetricsSubscriberMessage::Close(reason) => state.close(reason),
            MetricsSubscriberMessage::Cut => state.cut(),
            #[cfg(feature = "fault-injection")]
            MetricsSubscriberMessage::Panic => panic!("a test asked for it"),
        }
        Ok(())
    }
}

impl MetricsSubscriberState {
    fn close(&self, reason: ByeReason) {
        let bye = Bye { reason, retry: sse::jittered(self.core.config.retry) };
        match reason {
            // It is to end now.
            ByeReason::ExpiredToken | ByeReason::ClosedByAdmin => self.slot.cut(bye),
            ByeReason::Shutdown | ByeReason::Stalled => self.slot.finish(bye),
        }
        self.leave();
    }

    fn cut(&self) {
        if !self.slot.has_ended() {
            tracing::warn!("a subscriber of metrics was cut: it did not read");
            self.core.counters.stalled.add(1);
            self.close(ByeReason::Stalled);
        }
    }

    fn leave(&self) {
        self.roster.members().remove(&self.id);
    }
}

/// Whatever ended the subscriber, its sampler forgets it and its stream ends.
impl Drop for MetricsSubscriberState {
    fn drop(&mut self) {
        self.leave();
        self.slot.end();
    }
}
