//! Consumers: how the stream is read, forwards from a message or a time, of some subjects or of all.

use std::time::Duration;

use async_nats::datetime::from_nanos;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message;
use async_nats::jetstream::stream::State;
use futures_util::StreamExt;
use jiff::Timestamp;

use super::connection::{Reason, time_of, told};
use super::session::Session;
use super::subject::Subjects;

/// How long the server may take for a page.
const FETCHED_WITHIN: Duration = Duration::from_secs(2);

/// For how long a client may read its page before the server forgets where it is: then it is told again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// A consumer, and what it has still to bring.
#[derive(Debug)]
pub(super) struct Reader {
    consumer: PullConsumer,
    pub(super) pending: u64,
    /// Its own count of what it has brought.
    brought: u64,
}

pub(super) fn from_sequence(start: u64) -> DeliverPolicy {
    DeliverPolicy::ByStartSequence { start_sequence: start.max(1) }
}

/// A consumer of one hub's own, in one server's memory, that nobody has to acknowledge anything to.
pub(super) async fn consumer(
    session: &Session,
    subjects: &Subjects,
    deliver_policy: DeliverPolicy,
    inactive_threshold: Duration,
) -> Result<PullConsumer, Reason> {
    let config = pull::Config {
        deliver_policy,
        ack_policy: AckPolicy::None,
        filter_subjects: subjects.filter(),
        inactive_threshold,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    let created = session.context.create_consumer_on_stream(config, &*session.stream).await;
    created.map_err(|error| told("the stream cannot be read", &error))
}

impl Reader {
    pub(super) async fn open(
        session: &Session,
        subjects: &Subjects,
        policy: DeliverPolicy,
    ) -> Result<Self, Reason> {
        let consumer = consumer(session, subjects, policy, FORGOTTEN_AFTER).await?;
        let pending = consumer.cached_info().num_pending;
        Ok(Self { consumer, pending, brought: 0 })
    }

    pub(super) async fn fetch(
        &mut self,
        messages: usize,
        bytes: usize,
    ) -> Result<Vec<Message>, Reason> {
        let failed = |error: async_nats::Error| told("the stream cannot be read", error.as_ref());
        let batch = self.consumer.fetch().max_messages(messages).max_bytes(bytes);
        let batch = batch.expires(FETCHED_WITHIN).messages().await;
        let mut batch = batch.map_err(|error| failed(error.into()))?;
        let mut messages: Vec<Message> = Vec::new();
        while let Some(message) = batch.next().await {
            match message {
                Ok(message) => messages.push(message),
                Err(error) if messages.is_empty() => return Err(failed(error)),
                // The page is full: the next message is larger than what is left of it.
                Err(_) => break,
            }
        }
        for message in &messages {
            let info = message.info().map_err(failed)?;
            self.brought += 1;
            if info.consumer_sequence != self.brought {
                return Err("messages were lost on their way from the server".to_owned());
            }
            self.pending = info.pending;
        }
        if messages.is_empty() {
            return Err("there are messages, and the server brings none".to_owned());
        }
        Ok(messages)
    }
}

/// The first message for this hub that came at that time or later.
pub(super) async fn first_since(
    session: &Session,
    subjects: &Subjects,
    time: Timestamp,
) -> Result<Option<u64>, Reason> {
    let start_time = from_nanos(time.as_nanosecond());
    let start_time = start_time.map_err(|error| told("not a time", error.as_ref()))?;
    let policy = DeliverPolicy::ByStartTime { start_time };
    let mut reader = Reader::open(session, subjects, policy).await?;
    if reader.pending == 0 {
        return Ok(None);
    }
    let messages = reader.fetch(1, 2 * session.max_payload).await?;
    Ok(Some(sequence_of(&messages[0])?))
}

/// Where to begin, so that what comes fills the replay buffer: about so many bytes before the end.
pub(super) fn preload(state: &State, bytes: usize) -> u64 {
    let start = (state.last_sequence + 1).saturating_sub(messages_in(state, bytes));
    start.max(state.first_sequence).max(1)
}

/// About how many messages of the stream have so many bytes.
pub(super) fn messages_in(state: &State, bytes: usize) -> u64 {
    let average = state.bytes.checked_div(state.messages).unwrap_or(0).max(1);
    (bytes as u64).div_ceil(average)
}

pub(super) fn sequence_of(message: &Message) -> Result<u64, Reason> {
    Ok(info_of(message)?.stream_sequence)
}

pub(super) fn arrival_of(message: &Message) -> Result<Timestamp, Reason> {
    time_of(info_of(message)?.published)
}

fn info_of(message: &Message) -> Result<message::Info<'_>, Reason> {
    message.info().map_err(|error| format!("not a message of a stream: {error}"))
}
