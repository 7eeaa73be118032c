//! From a source to the stream: a message is published until the stream acknowledges it, under one id, so that it is there once.

use std::time::Duration;

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use futures_util::future::try_join_all;
use rand::{random, random_range};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::wire::{self, Message, TooLarge};
use super::{Link, Offered, Session};
use crate::error::IngestError;
use crate::event::{Content, NewEvent};
use crate::lock;

/// How long to wait for an acknowledgement before the message is published again.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);

/// How long to wait before that, in milliseconds, if the stream says no: another server may be about to take over.
const PAUSE: std::ops::Range<u64> = 50..250;

/// How many events that nobody waits for are published at once.
const OFFERED_AT_ONCE: usize = 1000;

/// What publishing again cannot mend.
enum Outcome {
    Done,
    Again(PublishError),
    TooLarge,
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
        let bytes: usize = events.iter().map(NewEvent::size).sum();
        let permits = u32::try_from(bytes.min(self.room_bytes)).expect("it was cut to what fits");
        let room = timeout_at(deadline, self.room.acquire_many(permits)).await;
        let _room =
            room.map_err(|_| IngestError::QueueFull)?.map_err(|_| IngestError::ShuttingDown)?;
        self.publish_all(&events, random(), deadline).await
    }

    /// Takes events that nobody waits for, if there is room.
    pub(super) fn offer(&self, events: Vec<(Content, usize)>) -> Result<(), IngestError> {
        let bytes: usize = events.iter().map(|(_, size)| size).sum();
        let permits = u32::try_from(bytes).map_err(|_| IngestError::QueueFull)?;
        self.room.try_acquire_many(permits).map_err(|_| IngestError::QueueFull)?.forget();
        lock(&self.offered).events.extend(events);
        self.wake.notify_one();
        Ok(())
    }

    /// Publishes what was offered. What cannot be published stays. Who calls this opens connections: it does not wait for one.
    pub(super) async fn forward(&self) -> Result<(), IngestError> {
        while let Some((some, id)) = self.next_offered() {
            let mut status = self.status.subscribe();
            let outcome = tokio::select! {
                outcome = self.publish_all(&some, id, Instant::now() + self.config.patience) => outcome,
                _ = status.wait_for(|status| status.session.is_none()) => {
                    Err(IngestError::Unavailable)
                }
            };
            match outcome {
                // Nothing will make it smaller.
                Ok(()) | Err(IngestError::EventTooLarge { .. }) => self.forget_offered(some.len()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What is published next of what was offered, and under which ids.
    fn next_offered(&self) -> Option<(Vec<NewEvent>, u128)> {
        let Offered { events, underway } = &mut *lock(&self.offered);
        if events.is_empty() {
            return None;
        }
        let most = events.len().min(OFFERED_AT_ONCE);
        let (count, id) = *underway.get_or_insert_with(|| (most, random()));
        Some((events.iter().take(count).map(|(event, _)| event.get().clone()).collect(), id))
    }

    fn forget_offered(&self, count: usize) {
        let mut offered = lock(&self.offered);
        offered.underway = None;
        let bytes = offered.events.drain(..count).map(|(_, size)| size).sum();
        self.room.add_permits(bytes);
    }

    /// Resolves once nothing is on its way to the stream, and what was published has been read; or at once while the stream cannot be
    /// reached: nobody knows for how long.
    pub(super) async fn settled(&self) {
        let mut status = self.status.subscribe();
        tokio::select! {
            () = self.all_read() => {}
            _ = status.wait_for(|status| status.session.is_none()) => {}
        }
    }

    async fn all_read(&self) {
        let all = u32::try_from(self.room_bytes).expect("it was cut to what fits");
        drop(self.room.acquire_many(all).await);
        let last = self.acknowledged();
        let mut progress = self.progress.subscribe();
        progress.wait_for(|progress| progress.sequence >= last).await.ok();
    }

    /// Publishes events under this id and those that follow it, one for each message.
    async fn publish_all(
        &self,
        events: &[NewEvent],
        id: u128,
        deadline: Instant,
    ) -> Result<(), IngestError> {
        let session = self.session(deadline).await?;
        let messages = wire::encode(events, &self.config.prefix, session.max_payload)?;
        let messages = messages.into_iter().zip(0..);
        try_join_all(
            messages.map(|(message, index)| {
                self.publish_one(message, id.wrapping_add(index), deadline)
            }),
        )
        .await?;
        Ok(())
    }

    /// Publishes a message until the stream has it, or the deadline has come.
    async fn publish_one(
        &self,
        message: Message,
        id: u128,
        deadline: Instant,
    ) -> Result<(), IngestError> {
        let id = format!("{id:032x}");
        loop {
            let session =
                self.session(deadline).await.inspect_err(|_| self.counters.failed.add(1))?;
            match self.try_publish(&session, &message, &id, deadline).await {
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
                let mut last = lock(&self.acknowledged);
                *last = acknowledgement.sequence.max(*last);
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
