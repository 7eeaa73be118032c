//! What the stream still has, for replays that reach further back than the log: page by page, as the client reads.

use std::sync::Arc;
use std::time::Duration;

use async_nats::datetime::from_nanos;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, PullConsumer};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::time::timeout;

use super::connection::{self, Reason, told};
use super::feed::{consumer, from_sequence, milliseconds_of, time_of};
use super::place::Place;
use super::subject::{self, Carries};
use super::{Link, Session, wire};
use crate::event::{Content, CreatedAt, Event, EventId};
use crate::event_log::Expired;
use crate::query::Since;
use crate::transport::{Archive, ArchivePage, Fetched};

/// How many messages a page has at most.
const PAGE_MESSAGES: usize = 500;

/// How many bytes of them, if the stream has none that is larger.
const PAGE_BYTES: usize = 256 * 1024;

/// How long a page may take in all, with the wait for others' pages.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the server may take for a page.
const FETCHED_WITHIN: Duration = Duration::from_secs(2);

/// For how long a client may read its page before the server forgets where it is: then it is told again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// A reader of the stream.
#[derive(Debug)]
pub(super) struct StreamArchive {
    link: Arc<Link>,
    since: Since,
    /// The last event that was read, or that was asked by.
    last: Option<Last>,
    reader: Option<Reader>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    place: Place,
    id: EventId,
    /// The time in it.
    milliseconds: u64,
}

/// A consumer, and what it has still to bring.
#[derive(Debug)]
struct Reader {
    consumer: PullConsumer,
    pending: u64,
    /// Its own count of what it has brought.
    brought: u64,
}

impl Archive for StreamArchive {
    fn next_page(mut self: Box<Self>) -> BoxFuture<'static, (Box<dyn Archive>, Fetched)> {
        async move {
            let fetched = timeout(PATIENCE, self.fetch()).await;
            let fetched = fetched.unwrap_or_else(|_| Err("it takes too long".to_owned()));
            let fetched = fetched.unwrap_or_else(|reason| {
                tracing::debug!(reason, "a replay cannot go on yet");
                self.reader = None;
                Fetched::Failed
            });
            (self as Box<dyn Archive>, fetched)
        }
        .boxed()
    }
}

impl StreamArchive {
    pub(super) fn new(link: Arc<Link>, since: Since) -> Self {
        Self { link, since, last: None, reader: None }
    }

    async fn fetch(&mut self) -> Result<Fetched, Reason> {
        let _turn = Arc::clone(&self.link.readers).acquire_owned().await;
        let session = self.link.status.borrow().session.clone();
        let session = session.ok_or("the stream cannot be reached")?;
        let mut expired = None;
        if self.last.is_none() {
            match self.begin(&session).await? {
                Start::Foreign => return Ok(Fetched::Foreign),
                Start::At { gone } => expired = gone,
            }
        }
        loop {
            let messages = self.read(&session).await?;
            if messages.is_empty() {
                let through = self.last.map(|last| last.place.number());
                // Of some services alone nothing more can be gone: that would have shown at the beginning.
                let through = if self.link.reads_all() { through } else { Some(u64::MAX) };
                return Ok(Fetched::End { through });
            }
            let events = self.take_all(&session, &messages, &mut expired)?;
            let through = self.last.filter(|_| !events.is_empty() || expired.is_some());
            if let Some(last) = through {
                return Ok(Fetched::Page(ArchivePage {
                    expired,
                    events,
                    through: last.place.number(),
                }));
            }
        }
    }

    /// Where to begin, and what of that is gone already.
    async fn begin(&mut self, session: &Session) -> Result<Start, Reason> {
        let state = connection::stream_state(session, &self.link.config).await?;
        let first = time_of(state.first_timestamp)?;
        let before = session.ids.id(milliseconds_of(first), Place::before(state.first_sequence));
        match self.since {
            Since::Event(id) => match session.ids.place(id) {
                Some(place) if place.sequence() <= state.last_sequence => {
                    self.last = Some(Last { place, id, milliseconds: id.milliseconds() });
                    // Otherwise the first message tells, or the end.
                    let is_gone =
                        !self.link.reads_all() && place.sequence() + 1 < state.first_sequence;
                    let gone = Expired { from: Some(id), to: Some(before) };
                    Ok(Start::At { gone: is_gone.then_some(gone) })
                }
                Some(_) | None => Ok(Start::Foreign),
            },
            Since::Time(time) => {
                let is_gone = state.first_sequence > 1 && first > time;
                let gone = Expired { from: None, to: Some(before) };
                Ok(Start::At { gone: is_gone.then_some(gone) })
            }
            Since::Ago(_) => Err("a duration is no place in a stream".to_owned()),
        }
    }

    /// The next messages, none if there are no more.
    async fn read(&mut self, session: &Session) -> Result<Vec<Message>, Reason> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.open(session).await?,
        };
        // That may have been a while ago, and a server that stands still says it for ever: the leader knows.
        if reader.pending == 0 && self.has_read_all(session).await? {
            // What comes from now on is in the log, or will be.
            return Ok(Vec::new());
        }
        let most = PAGE_BYTES.max(2 * session.max_payload);
        let batch = reader
            .consumer
            .fetch()
            .max_messages(PAGE_MESSAGES)
            .max_bytes(most)
            .expires(FETCHED_WITHIN);
        let failed = |error: async_nats::Error| told("the stream cannot be read", error.as_ref());
        let mut batch = batch.messages().await.map_err(|error| failed(error.into()))?;
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
            reader.brought += 1;
            if info.consumer_sequence != reader.brought {
                return Err("messages were lost on their way from the server".to_owned());
            }
            reader.pending = info.pending;
        }
        if messages.is_empty() {
            return Err("there are messages, and the server brings none".to_owned());
        }
        self.reader = Some(reader);
        Ok(messages)
    }

    async fn has_read_all(&self, session: &Session) -> Result<bool, Reason> {
        let Some(last) = self.last else { return Ok(true) };
        let end = connection::last_sequence(session, &self.link.config).await?;
        Ok(end <= last.place.sequence())
    }

    async fn open(&self, session: &Session) -> Result<Reader, Reason> {
        let policy = match (self.last, self.since) {
            // The rest of its message may be wanted.
            (Some(last), _) => from_sequence(last.place.sequence()),
            (None, Since::Time(time)) => {
                let start_time = from_nanos(time.as_nanosecond());
                let start_time = start_time.map_err(|error| told("not a time", error.as_ref()))?;
                DeliverPolicy::ByStartTime { start_time }
            }
            (None, Since::Event(_) | Since::Ago(_)) => from_sequence(1),
        };
        let consumer = consumer(session, &self.link.config, policy, FORGOTTEN_AFTER).await?;
        let pending = consumer.cached_info().num_pending;
        Ok(Reader { consumer, pending, brought: 0 })
    }

    /// The events of the messages that were not read yet, as far as nothing is missing between them. If that is so before the first
    /// one, it is told.
    fn take_all(
        &mut self,
        session: &Session,
        messages: &[Message],
        expired: &mut Option<Expired>,
    ) -> Result<Vec<Arc<Event>>, Reason> {
        let mut events = Vec::new();
        for message in messages {
            let info =
                message.info().map_err(|error| format!("not a message of a stream: {error}"))?;
            let (sequence, arrived) = (info.stream_sequence, time_of(info.published)?);
            let milliseconds = milliseconds_of(arrived);
            let milliseconds =
                self.last.map_or(milliseconds, |last| milliseconds.max(last.milliseconds));
            let is_next = |last: &Last| sequence <= last.place.sequence() + 1;
            if let Some(last) = self.last.filter(|last| self.link.reads_all() && !is_next(last)) {
                if !events.is_empty() {
                    // The next page begins with that.
                    self.reader = None;
                    return Ok(events);
                }
                let before = session.ids.id(milliseconds, Place::before(sequence));
                *expired = Some(Expired { from: Some(last.id), to: Some(before) });
            }
            self.take(session, message, sequence, arrived, milliseconds, &mut events);
        }
        Ok(events)
    }

    fn take(
        &mut self,
        session: &Session,
        message: &Message,
        sequence: u64,
        arrived: Timestamp,
        milliseconds: u64,
        events: &mut Vec<Arc<Event>>,
    ) {
        let after = self.last.map(|last| last.place);
        let carries = subject::carries(&self.link.config.prefix, &message.subject);
        let is_of_events = carries == Carries::Events;
        // One that is not of a hub's making was counted when it came.
        let of_message = if is_of_events {
            wire::decode(&message.payload).unwrap_or_default()
        } else {
            Vec::new()
        };
        for (index, event) in of_message.into_iter().enumerate() {
            let place = Place::new(sequence, index);
            if after.is_some_and(|after| place <= after) {
                continue;
            }
            let id = session.ids.id(milliseconds, place);
            let created_at = event.created_at.unwrap_or(CreatedAt::new(arrived, 3));
            let size = event.size();
            let content = Content::Given(event);
            events.push(Arc::new(Event { id, offset: place.number(), size, created_at, content }));
            self.last = Some(Last { place, id, milliseconds });
        }
        // Nothing of that message is wanted again, though it may have had no event.
        let place = Place::before(sequence + 1);
        let id = self.last.map_or_else(|| session.ids.id(milliseconds, place), |last| last.id);
        self.last = Some(Last { place, id, milliseconds });
    }
}

/// Whether a replay can begin there.
enum Start {
    At { gone: Option<Expired> },
    Foreign,
}
