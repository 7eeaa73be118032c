//! What a client holds: the receiving half of its subscriber. Dropping it ends the subscriber.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use ractor::ActorRef;
use tokio::sync::oneshot;

use crate::config::HubConfig;
use crate::event::{Event, EventId};
use crate::metric_store::Sample;
use crate::metrics_slot::{MetricsSlot, Taken};
use crate::metrics_subscriber::MetricsSubscriberMessage;
use crate::outbox::{Item, Outbox};
use crate::sse::{self, Bye, Gap};
use crate::stats::SubscriptionStats;
use crate::subscriber::SubscriberMessage;

/// Live events, as ready SSE frames: a [`Stream`] of [`Bytes`], `retry` and `ping` included.
///
/// A host that wants no SSE takes the events themselves from [`next`](Self::next).
#[derive(Debug)]
pub struct Subscription {
    outbox: Arc<Outbox>,
    subscriber: ActorRef<SubscriberMessage>,
    opening: Opening,
    /// Ends when it is granted.
    granted: Option<oneshot::Receiver<()>>,
}

/// What a [`Subscription`] has to say.
#[derive(Debug, Clone)]
pub enum Delivered {
    /// Events that match, in order.
    Events(Vec<Arc<Event>>),
    /// Events that match and were missed.
    Gap(Gap),
    /// The replay is over; what comes now is live.
    CaughtUp {
        /// How many events it had.
        replayed: u64,
    },
    /// The hub ends the subscription.
    Bye(Bye),
}

impl Subscription {
    pub(crate) fn new(
        outbox: Arc<Outbox>,
        subscriber: ActorRef<SubscriberMessage>,
        mark: Option<EventId>,
        granted: Option<oneshot::Receiver<()>>,
        config: &HubConfig,
    ) -> Self {
        let opening = Opening { mark, ..Opening::new(config).with_ping() };
        Self { outbox, subscriber, opening, granted }
    }

    /// Resolves when it is granted, or has ended.
    pub(crate) async fn granted(&mut self) {
        if let Some(granted) = self.granted.take() {
            // Nobody sends anything.
            granted.await.ok();
        }
    }

    /// The next events, or what became of them; `None` after the last.
    pub async fn next(&mut self) -> Option<Delivered> {
        loop {
            return Some(match std::future::poll_fn(|context| self.poll_item(context)).await? {
                Item::Events(matches) => Delivered::Events(matches.events.clone()),
                Item::Gap(gap) => Delivered::Gap(gap),
                Item::CaughtUp { replayed, mark: _ } => Delivered::CaughtUp { replayed },
                Item::Ping(_) => continue,
                Item::Bye(bye) => Delivered::Bye(bye),
            });
        }
    }

    /// Ends it because its client does not read, as whoever writes to it can tell: what is queued is missed, and told by `gap`
    /// and `bye` if the client ever reads again. Counted as stalled.
    pub fn cut(&self) {
        self.cutter().cut();
    }

    /// Can [`cut`](Self::cut) it from elsewhere.
    pub fn cutter(&self) -> Cutter {
        Cutter(CutOff::Events(self.subscriber.clone()))
    }

    /// What it has counted so far.
    pub fn stats(&self) -> SubscriptionStats {
        self.outbox.stats()
    }

    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        let item = self.outbox.poll_next(context);
        if self.outbox.take_refill() {
            // One that is gone has ended the stream already.
            self.subscriber.cast(SubscriberMessage::Replay).ok();
        }
        item
    }
}

impl Stream for Subscription {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(frame) = self.opening.next() {
            return Poll::Ready(Some(frame));
        }
        self.poll_item(context).map(|item| {
            item.map(|item| match item {
                Item::Events(matches) => matches.frame(),
                Item::Gap(gap) => sse::gap(&gap),
                Item::CaughtUp { replayed, mark } => sse::caught_up(replayed, mark),
                Item::Ping(interval) => sse::ping(interval, None),
                Item::Bye(bye) => sse::bye(&bye),
            })
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.outbox.close();
        self.subscriber.stop(None);
    }
}

/// Live metrics, as ready SSE frames: a [`Stream`] of [`Bytes`], `retry` and `ping` included.
///
/// A host that wants no SSE takes the samples themselves from [`next`](Self::next). Who reads more slowly than its
/// interval gets the newest frame, and not the ones before it.
#[derive(Debug)]
pub struct MetricsSubscription {
    slot: Arc<MetricsSlot>,
    subscriber: ActorRef<MetricsSubscriberMessage>,
    opening: Opening,
}

impl MetricsSubscription {
    pub(crate) fn new(
        slot: Arc<MetricsSlot>,
        subscriber: ActorRef<MetricsSubscriberMessage>,
        interval: Duration,
        config: &HubConfig,
    ) -> Self {
        let mut opening = Opening::new(config);
        if interval > config.ping_interval {
            opening = opening.with_ping();
        }
        Self { slot, subscriber, opening }
    }

    /// The next samples; `None` after the last.
    pub async fn next(&mut self) -> Option<Vec<Sample>> {
        loop {
            match std::future::poll_fn(|context| self.slot.poll_next(context)).await? {
                Taken::Frame(frame) => return Some(frame.samples().to_vec()),
                Taken::Ping(_) | Taken::Bye(_) => {}
            }
        }
    }

    /// Ends it because its client does not read, as whoever writes to it can tell: `bye` is told if it ever reads again. Counted
    /// as stalled.
    pub fn cut(&self) {
        self.cutter().cut();
    }

    /// Can [`cut`](Self::cut) it from elsewhere.
    pub fn cutter(&self) -> Cutter {
        Cutter(CutOff::Metrics(self.subscriber.clone()))
    }
}

impl Stream for MetricsSubscription {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(frame) = self.opening.next() {
            return Poll::Ready(Some(frame));
        }
        self.slot.poll_next(context).map(|taken| {
            taken.map(|taken| match taken {
                Taken::Frame(frame) => frame.encoded(),
                Taken::Ping(interval) => sse::ping(interval, None),
                Taken::Bye(bye) => sse::bye(&bye),
            })
        })
    }
}

impl Drop for MetricsSubscription {
    fn drop(&mut self) {
        self.slot.close();
        self.subscriber.stop(None);
    }
}

/// Ends a subscription from elsewhere than where it is read, if its client does not. Keeps nothing of it.
#[derive(Debug, Clone)]
pub struct Cutter(CutOff);

#[derive(Debug, Clone)]
enum CutOff {
    Events(ActorRef<SubscriberMessage>),
    Metrics(ActorRef<MetricsSubscriberMessage>),
}

impl Cutter {
    /// As [`Subscription::cut`] and [`MetricsSubscription::cut`].
    pub fn cut(&self) {
        // One that is gone has ended the stream already.
        match &self.0 {
            CutOff::Events(subscriber) => _ = subscriber.cast(SubscriberMessage::Cut),
            CutOff::Metrics(subscriber) => _ = subscriber.cast(MetricsSubscriberMessage::Cut),
        }
    }
}

/// The frames that a stream begins with.
#[derive(Debug)]
struct Opening {
    retry: Option<Duration>,
    ping: Option<Duration>,
    ping_interval: Duration,
    /// Where the stream begins.
    mark: Option<EventId>,
}

impl Opening {
    fn new(config: &HubConfig) -> Self {
        let (retry, ping_interval) = (Some(config.retry), config.ping_interval);
        Self { retry, ping: None, ping_interval, mark: None }
    }

    fn with_ping(self) -> Self {
        Self { ping: Some(self.ping_interval), ..self }
    }

    fn next(&mut self) -> Option<Bytes> {
        let retry = self.retry.take().map(|delay| sse::retry(sse::jittered(delay)));
        retry.or_else(|| self.ping.take().map(|interval| sse::ping(interval, self.mark)))
    }
}
