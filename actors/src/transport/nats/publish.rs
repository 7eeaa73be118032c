//! From a source to the stream: a message is published until the stream acknowledges it, under one id, so that it is there once.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use futures_util::future::try_join_all;
use rand::{random, random_range};
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::subject::{self, Carries};
use super::wire::{self, Message, TooLarge};
use super::{Link, Progress, Session, measurements};
use crate::error::IngestError;
use crate::event::{Content, NewEvent};
use crate::hub_core::EVENTS_DROPPED;
use crate::lock;
use crate::measurement::{Measurement, MeasurementError};

/// How long to wait for an acknowledgement before the message is published again.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);

/// How long to wait before that, in milliseconds, if the stream says no: another server may be about to take over.
const PAUSE: std::ops::Range<u64> = 50..250;

/// How many events that nobody waits for are published at once.
const OFFERED_AT_ONCE: usize = 1000;

/// What became of publishing a message once.
enum Outcome {
    Done,
    Again(PublishError),
    TooLarge,
}

/// A message that nobody waits for, with its id.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    message: Message,
    id: String,
    /// How much room comes free once the stream has it.
    room: usize,
}

impl Pending {
    fn new(message: Message, room: usize) -> Self {
        Self { message, id: new_id(), room }
    }
}

/// What will not be published.
#[derive(Debug, Clone, Copy)]
struct Lost {
    events: u64,
    measurements: u64,
}

impl Lost {
    const MEASUREMENT: Self = Self { events: 0, measurements: 1 };

    /// Events of which subscribers can be told: not what would have told them of others, lest that never end.
    fn events<'a>(events: impl IntoIterator<Item = &'a NewEvent>) -> Self {
        let told = |event: &&NewEvent| event.kind.as_deref() != Some(EVENTS_DROPPED);
        Self { events: events.into_iter().filter(told).count() as u64, measurements: 0 }
    }
}

/// An id by which the stream knows a message that comes again.
fn new_id() -> String {
    format!("{:032x}", random::<u128>())
}

/// The oldest of what was offered, and how much room that takes.
fn take_some<T>(offered: &Mutex<VecDeque<(T, usize)>>) -> (Vec<T>, usize) {
    let mut offered = lock(offered);
    let number = offered.len().min(OFFERED_AT_ONCE);
    let room = offered.iter().take(number).map(|(_, size)| size).sum();
    (offered.drain(..number).map(|(item, _)| item).collect(), room)
}

impl From<TooLarge> for IngestError {
    fn from(TooLarge { bytes, limit }: TooLarge) -> Self {
        Self::EventTooLarge { bytes, limit }
    }
}

impl Link {
    /// Resolves once the stream has all of the events.
    pub(super) async fn publish(&self, events: Vec<NewEvent>) -> Result<(), IngestError> {
        let deadline = Instant::now() + self.config.patience;
        let bytes = events.iter().map(NewEvent::size).sum();
        let _room = self.take_room(bytes, deadline).await?;
        self.publish_all(&events, deadline).await
    }

    /// Resolves once the stream has all of the measurements.
    pub(super) async fn publish_measurements(
        &self,
        measurements: Vec<Measurement>,
    ) -> Result<(), IngestError> {
        let deadline = Instant::now() + self.config.patience;
        let bytes = measurements.iter().map(Measurement::size).sum();
        let _room = self.take_room(bytes, deadline).await?;
        self.publish_measured(&measurements, deadline).await
    }

    async fn take_room(
        &self,
        bytes: usize,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, IngestError> {
        let permits = u32::try_from(bytes.min(self.room_bytes)).expect("it was cut to what fits");
        let room = timeout_at(deadline, self.room.acquire_many(permits)).await;
        room.map_err(|_| IngestError::QueueFull)?.map_err(|_| IngestError::ShuttingDown)
    }

    /// Fails if an event of this size has no room in a message.
    pub(super) fn check_event<'a>(
        &self,
        size: usize,
        event: impl FnOnce() -> &'a NewEvent,
    ) -> Result<(), IngestError> {
        let limit = self.max_payload().unwrap_or(usize::MAX);
        Ok(wire::check(size, event, limit)?)
    }

    /// Fails if a measurement has no room in a message.
    pub(super) fn check_measurement(
        &self,
        measurement: &Measurement,
    ) -> Result<(), MeasurementError> {
        let limit = self.max_payload().unwrap_or(usize::MAX);
        measurements::check(measurement, limit)
            .map_err(|TooLarge { bytes, limit }| MeasurementError::TooLarge { bytes, limit })
    }

    /// Takes events that nobody waits for, if each fits into a message and there is room.
    pub(super) fn offer(&self, events: Vec<(Content, usize)>) -> Result<(), IngestError> {
        for (content, size) in &events {
            self.check_event(*size, || content.get())?;
        }
        let bytes: usize = events.iter().map(|(_, size)| size).sum();
        let permits = u32::try_from(bytes).map_err(|_| IngestError::QueueFull)?;
        self.room.try_acquire_many(permits).map_err(|_| IngestError::QueueFull)?.forget();
        lock(&self.offered).extend(events);
        self.offers.notify_one();
        Ok(())
    }

    /// Takes a measurement that nobody waits for, if there is room.
    pub(super) fn offer_measurement(&self, measurement: Measurement) -> Result<(), IngestError> {
        let size = measurement.size();
        let permits = u32::try_from(size).map_err(|_| IngestError::QueueFull)?;
        self.room.try_acquire_many(permits).map_err(|_| IngestError::QueueFull)?.forget();
        lock(&self.offered_measurements).push_back((measurement, size));
        self.offers.notify_one();
        Ok(())
    }

    /// Publishes a message of what was offered, once there is any and the stream can be reached. What the stream has not acknowledged stays,
    /// under the id that it has been given: for as long as the stream knows ids again (its duplicate window), it is there once, whoever
    /// publishes it again.
    pub(super) async fn forward(&self) {
        while !self.has_offers() {
            self.offers.notified().await;
        }
        let mut status = self.status.subscribe();
        status.wait_for(|status| status.session.is_some()).await.ok();
        let Some(max_payload) = self.max_payload() else { return };
        let Some(Pending { message, id, .. }) = self.next_pending(max_payload) else { return };
        let deadline = Instant::now() + self.config.patience.max(ACKNOWLEDGED_WITHIN);
        match self.publish_under(&id, &message, deadline).await {
            Ok(()) => {}
            // Nothing will make it smaller.
            Err(error @ IngestError::EventTooLarge { .. }) => {
                self.give_up(&error, self.lost_with(&message));
            }
            // It is still the oldest.
            Err(_) => return,
        }
        self.let_go(&id);
    }

    /// Forgets the oldest message, unless another one has done that: who was to publish it before may have ended a moment too late.
    fn let_go(&self, id: &str) {
        let mut pending = lock(&self.pending);
        if pending.front().is_some_and(|pending| pending.id == id)
            && let Some(Pending { room, .. }) = pending.pop_front()
        {
            self.room.add_permits(room);
        }
    }

    fn has_offers(&self) -> bool {
        !lock(&self.pending).is_empty()
            || !lock(&self.offered).is_empty()
            || !lock(&self.offered_measurements).is_empty()
    }

    /// The oldest message of what was offered, made of it if there is none yet.
    fn next_pending(&self, max_payload: usize) -> Option<Pending> {
        let mut pending = lock(&self.pending);
        if pending.is_empty() {
            let (messages, room) = self.encode_offered(max_payload);
            pending.extend(messages.into_iter().map(|message| Pending::new(message, 0)));
            match pending.back_mut() {
                Some(last) => last.room = room,
                None => self.room.add_permits(room),
            }
        }
        pending.front().cloned()
    }

    /// Messages of some of what was offered, and how much room that takes. What is too large for one is given up.
    fn encode_offered(&self, max_payload: usize) -> (Vec<Message>, usize) {
        let prefix = &self.config.prefix;
        let (events, events_room) = take_some(&self.offered);
        let (measured, measured_room) = take_some(&self.offered_measurements);
        let of_events =
            |events: &[Content]| wire::encode(events.iter().map(Content::get), prefix, max_payload);
        let of_measurements =
            |measured: &[Measurement]| measurements::encode(measured, prefix, max_payload);
        let mut messages =
            self.encode_some(&events, of_events, |event| Lost::events([event.get()]));
        messages.extend(self.encode_some(&measured, of_measurements, |_| Lost::MEASUREMENT));
        (messages, events_room + measured_room)
    }

    fn encode_some<T>(
        &self,
        items: &[T],
        encode: impl Fn(&[T]) -> Result<Vec<Message>, TooLarge>,
        lost: impl Fn(&T) -> Lost,
    ) -> Vec<Message> {
        encode(items).unwrap_or_else(|_| {
            // The others are small enough.
            let alone = items.iter().map(|item| (item, encode(std::slice::from_ref(item))));
            let kept = alone.filter_map(|(item, message)| {
                message.map_err(|error| self.give_up(&error.into(), lost(item))).ok()
            });
            kept.flatten().collect()
        })
    }

    /// What is lost with a message.
    fn lost_with(&self, message: &Message) -> Lost {
        match subject::carries(&self.config.prefix, &message.subject) {
            Carries::Events => Lost::events(&wire::decode(&message.payload).unwrap_or_default()),
            Carries::Measurements | Carries::HubSeries => {
                Lost { events: 0, measurements: message.events as u64 }
            }
        }
    }

    /// Counts what was taken and is too large for a message after all, as how large one may be was not known then, or has changed; and
    /// sees to it that the subscribers are told.
    fn give_up(&self, error: &IngestError, lost: Lost) {
        self.counters.failed.add(1);
        tracing::warn!(%error, "something that nobody waits for is not published");
        if let Some(core) = self.hub_core() {
            core.counters.measurements_refused.add(lost.measurements);
            if lost.events > 0 {
                core.lose_events(lost.events);
            }
        }
    }

    /// Resolves once nothing is on its way to the stream, and what was published has been read; or at once while the stream cannot be
    /// reached: nobody knows for how long.
    pub(super) async fn settled(&self) {
        let mut status = self.status.subscribe();
        tokio::select! {
            () = self.all_read() => {}
            _ = status.wait_for(|status| status.session.is_none()) => self.count_left(),
        }
    }

    /// What was offered and has not been published goes with the hub: nobody will send it again.
    fn count_left(&self) {
        let mut lost = Lost {
            events: lock(&self.offered).len() as u64,
            measurements: lock(&self.offered_measurements).len() as u64,
        };
        for pending in lock(&self.pending).iter() {
            let Lost { events, measurements } = self.lost_with(&pending.message);
            lost.events += events;
            lost.measurements += measurements;
        }
        let left = lost.events + lost.measurements;
        if left == 0 {
            return;
        }
        self.counters.failed.add(left);
        tracing::warn!(left, "lost at the end: the stream cannot be reached");
        if let Some(core) = self.hub_core() {
            // Nobody can be told any more: that would have to be published as well.
            core.counters.dropped.add(lost.events);
            core.counters.measurements_refused.add(lost.measurements);
        }
    }

    async fn all_read(&self) {
        let all = u32::try_from(self.room_bytes).expect("it was cut to what fits");
        drop(self.room.acquire_many(all).await);
        let mut progress = self.progress.subscribe();
        let is_read = |progress: &Progress| {
            let last = progress.ids.map_or(0, |ids| self.acknowledged(&ids));
            progress.sequence >= last
        };
        // One that reads some services alone may never come to what it has published.
        if self.subjects().are_all() {
            progress.wait_for(is_read).await.ok();
        }
    }

    async fn publish_all(&self, events: &[NewEvent], deadline: Instant) -> Result<(), IngestError> {
        let session = self.session(deadline).await?;
        let messages = wire::encode(events, &self.config.prefix, session.max_payload)?;
        self.publish_messages(messages, deadline).await
    }

    async fn publish_measured(
        &self,
        measurements: &[Measurement],
        deadline: Instant,
    ) -> Result<(), IngestError> {
        let session = self.session(deadline).await?;
        let messages =
            measurements::encode(measurements, &self.config.prefix, session.max_payload)?;
        self.publish_messages(messages, deadline).await
    }

    async fn publish_messages(
        &self,
        messages: Vec<Message>,
        deadline: Instant,
    ) -> Result<(), IngestError> {
        try_join_all(messages.into_iter().map(|message| self.publish_one(message, deadline)))
            .await?;
        Ok(())
    }

    /// Publishes a message until the stream has it, or the deadline has come.
    async fn publish_one(&self, message: Message, deadline: Instant) -> Result<(), IngestError> {
        self.publish_under(&new_id(), &message, deadline).await
    }

    async fn publish_under(
        &self,
        id: &str,
        message: &Message,
        deadline: Instant,
    ) -> Result<(), IngestError> {
        loop {
            let session =
                self.session(deadline).await.inspect_err(|_| self.counters.failed.add(1))?;
            match self.try_publish(&session, message, id, deadline).await {
                Outcome::Done => return Ok(()),
                Outcome::TooLarge => {
                    let (bytes, limit) = (message.payload.len(), session.max_payload);
                    return Err(IngestError::EventTooLarge { bytes, limit });
                }
                Outcome::Again(error) if Instant::now() >= deadline => {
                    self.counters.failed.add(1);
                    tracing::warn!(%error, "the stream has not acknowledged what was published");
                    return Err(IngestError::Unavailable);
                }
                Outcome::Again(error) => {
                    self.counters.repeated.add(1);
                    tracing::debug!(%error, "publishing again");
                    let pause = Duration::from_millis(random_range(PAUSE));
                    sleep_until((Instant::now() + pause).min(deadline)).await;
                }
            }
        }
    }

    async fn try_publish(
        &self,
        session: &Session,
        message: &Message,
        id: &str,
        deadline: Instant,
    ) -> Outcome {
        let publish = PublishMessage::build().payload(message.payload.clone()).message_id(id);
        let acknowledged =
            async { session.context.send_publish(message.subject.clone(), publish).await?.await };
        let deadline = deadline.min(Instant::now() + ACKNOWLEDGED_WITHIN);
        let mut status = self.status.subscribe();
        let acknowledged = tokio::select! {
            acknowledged = timeout_at(deadline, acknowledged) => acknowledged,
            // The answer goes to a connection that is no more.
            _ = status.wait_for(|status| status.session.is_none()) => {
                return Outcome::Again(PublishError::new(PublishErrorKind::BrokenPipe));
            }
        };
        match acknowledged {
            Ok(Ok(acknowledgement)) => {
                self.counters.published.add(1);
                self.note_acknowledged(session.ids, acknowledgement.sequence);
                Outcome::Done
            }
            Ok(Err(error)) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                Outcome::TooLarge
            }
            Ok(Err(error)) => Outcome::Again(error),
            Err(_) => Outcome::Again(PublishError::new(PublishErrorKind::TimedOut)),
        }
    }
}

#[cfg(test)]
mod tests;
