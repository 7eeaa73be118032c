//! What the stream still has, for replays that reach further back than the log: page by page, as the client reads.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::stream::State;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::timeout;

use super::connection::{Reason, time_of};
use super::consumer::{
    Reader, arrival_of, first_since, from_sequence, messages_in, preload, sequence_of,
};
use super::place::Place;
use super::session::Session;
use super::subject::{self, Carries, Subjects};
use super::{AHEAD, Link, wire};
use crate::event::{Content, CreatedAt, Event, EventId};
use crate::event_log::Expired;
use crate::query::Since;
use crate::tick::Tick;
use crate::transport::{Archive, ArchivePage, Fetched};

/// How many messages a page has at most.
const PAGE_MESSAGES: usize = 500;

/// How many bytes of them, if the stream has none that is larger.
const PAGE_BYTES: usize = 256 * 1024;

/// How long a page may take in all, with the wait for others' pages.
const PATIENCE: Duration = Duration::from_secs(10);

/// A reader of the stream.
#[derive(Debug)]
pub(super) struct StreamArchive {
    link: Arc<Link>,
    /// What this hub reads when it is opened, in which there is all that its client wants.
    subjects: Subjects,
    begin: Begin,
    /// About how many bytes are read of what came before that.
    look_back: usize,
    /// Once it is known where that is.
    course: Option<Course>,
    reader: Option<Reader>,
}

/// Where it begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    Since(Since),
    /// About so many bytes before the end.
    Last(usize),
}

/// How far it has come.
#[derive(Debug, Clone, Copy)]
struct Course {
    /// After this place all is wanted. What comes before is read to be looked at.
    asked: Place,
    /// The last event that was read, or that was asked by.
    last: Last,
    /// The message to go on with.
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    place: Place,
    id: EventId,
    /// The time in it.
    tick: Tick,
}

/// What became of reading on.
enum Read {
    Messages(Vec<Message>),
    /// There is nothing more for this hub in the stream, which stands so.
    All(State),
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
    pub(super) fn new(link: Arc<Link>, begin: Begin, look_back: usize) -> Self {
        let subjects = link.subjects();
        Self { link, subjects, begin, look_back, course: None, reader: None }
    }

    async fn fetch(&mut self) -> Result<Fetched, Reason> {
        let _turn = Arc::clone(&self.link.readers).acquire_owned().await;
        let session = self.link.status.borrow().session.clone();
        let session = session.ok_or("the stream cannot be reached")?;
        let mut expired = None;
        let mut course = match self.course {
            Some(course) => course,
            None => match self.begin(&session).await? {
                Start::Foreign => return Ok(Fetched::Foreign),
                Start::At { course, gone } => {
                    expired = gone;
                    course
                }
            },
        };
        let fetched = self.go_on(&session, &mut course, expired).await?;
        // If it fails, what it would have brought is still to come.
        self.course = Some(course);
        Ok(fetched)
    }

    /// Reads up to the next page that has something, or to the end.
    async fn go_on(
        &mut self,
        session: &Session,
        course: &mut Course,
        mut expired: Option<Expired>,
    ) -> Result<Fetched, Reason> {
        loop {
            let messages = match self.read(session, course).await? {
                Read::Messages(messages) => messages,
                Read::All(state) => {
                    let begins_after = begins_after(&state)?;
                    course.note_gone(session, state.first_sequence, begins_after, &mut expired);
                    let through = Place::before(state.last_sequence + 1).max(course.last.place);
                    return Ok(Fetched::End { expired, through: through.number() });
                }
            };
            if let Some(first) = messages.first().filter(|_| !self.subjects.are_all()) {
                // Numbers that are missing say nothing: but up to where the stream begins now, something may be gone.
                let state = session.state().await?;
                let (next, begins_after) = if sequence_of(first)? < state.first_sequence {
                    (sequence_of(first)?, Tick::of(arrival_of(first)?).previous())
                } else {
                    (state.first_sequence, begins_after(&state)?)
                };
                course.note_gone(session, next, begins_after, &mut expired);
            }
            let events = self.take_all(session, course, &messages, &mut expired)?;
            if !events.is_empty() || expired.is_some() {
                let through = course.looked_through().number();
                return Ok(Fetched::Page(ArchivePage { expired, events, through }));
            }
        }
    }

    /// Where to begin, and what of that is gone already.
    async fn begin(&mut self, session: &Session) -> Result<Start, Reason> {
        let state = session.state().await?;
        match self.begin {
            Begin::Since(Since::Event(id)) => self.begin_after(session, &state, id).await,
            Begin::Since(Since::Time(time)) => {
                let (course, gone) = self.course_at(session, &state, time).await?;
                Ok(Start::At { course, gone })
            }
            Begin::Since(Since::Ago(_)) => Err("a duration is no place in a stream".to_owned()),
            Begin::Last(bytes) => {
                let (place, tick) = (Place::before(preload(&state, bytes)), Tick::default());
                let last = Last { place, id: session.ids.id(tick, place), tick };
                Ok(Start::At { course: self.course(last, &state), gone: None })
            }
        }
    }

    async fn begin_after(
        &self,
        session: &Session,
        state: &State,
        id: EventId,
    ) -> Result<Start, Reason> {
        let Some(place) = session.ids.place(id, state.last_sequence + AHEAD) else {
            return Ok(Start::Foreign);
        };
        let (tick, sequence) = (Tick::of_id(id), place.sequence());
        let is_lost = if sequence > state.last_sequence {
            tick <= Tick::of(time_of(state.last_timestamp)?)
        } else {
            session.is_given_anew(sequence, tick).await?
        };
        if is_lost {
            // The stream has lost its end: all that it has taken since is wanted, which came later by far.
            let time = tick.next().next().time();
            let (course, _) = self.course_at(session, state, time).await?;
            let gone = Some(Expired { from: Some(id), to: Some(course.last.id) });
            return Ok(Start::At { course, gone });
        }
        if sequence > state.last_sequence {
            return Ok(Start::Foreign);
        }
        Ok(Start::At { course: self.course(Last { place, id, tick }, state), gone: None })
    }

    /// From a time on, with what of that is gone.
    async fn course_at(
        &self,
        session: &Session,
        state: &State,
        time: Timestamp,
    ) -> Result<(Course, Option<Expired>), Reason> {
        let first = first_since(session, &self.subjects, time).await?;
        let place = Place::before(first.unwrap_or(state.last_sequence + 1));
        let tick = Tick::of(time).previous();
        let last = Last { place, id: session.ids.id(tick, place), tick };
        let begins_after = begins_after(state)?;
        let is_gone = state.first_sequence > 1 && begins_after > tick;
        let to = session.ids.id(begins_after, Place::before(state.first_sequence));
        let gone = is_gone.then_some(Expired { from: None, to: Some(to) });
        Ok((self.course(last, state), gone))
    }

    /// From there on, and so far before that as is to be looked at.
    fn course(&self, last: Last, state: &State) -> Course {
        let asked = last.place;
        let wanted = messages_in(state, self.look_back);
        let next = asked.sequence().saturating_sub(wanted).max(state.first_sequence);
        Course { asked, last, next: next.min(asked.sequence()) }
    }

    async fn read(&mut self, session: &Session, course: &Course) -> Result<Read, Reason> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(session, &self.subjects, from_sequence(course.next)).await?,
        };
        if reader.pending == 0 {
            // That may have been a while ago, and a server that stands still says it for ever: the leader knows. What comes from now
            // on is in the log, or will be.
            let state = session.state().await?;
            let end = session.last_sequence(&self.subjects).await?;
            if end <= course.last.place.sequence() {
                return Ok(Read::All(state));
            }
        }
        let messages = reader.fetch(PAGE_MESSAGES, PAGE_BYTES.max(2 * session.max_payload)).await?;
        self.reader = Some(reader);
        Ok(Read::Messages(messages))
    }

    /// The events of the messages that were not read yet, as far as nothing is missing between them. If that is so before the first
    /// one, it is told.
    fn take_all(
        &mut self,
        session: &Session,
        course: &mut Course,
        messages: &[Message],
        expired: &mut Option<Expired>,
    ) -> Result<Vec<Arc<Event>>, Reason> {
        let mut events = Vec::new();
        for message in messages {
            let sequence = sequence_of(message)?;
            if self.subjects.are_all() && sequence > course.last.place.sequence() + 1 {
                if !events.is_empty() {
                    // The next page begins with that.
                    self.reader = None;
                    return Ok(events);
                }
                let tick = course.tick(sequence, arrival_of(message)?).previous();
                let before = session.ids.id(tick, Place::before(sequence));
                *expired = Some(Expired { from: Some(course.last.id), to: Some(before) });
            }
            self.take(session, course, message, sequence, &mut events)?;
        }
        Ok(events)
    }

    fn take(
        &self,
        session: &Session,
        course: &mut Course,
        message: &Message,
        sequence: u64,
        events: &mut Vec<Arc<Event>>,
    ) -> Result<(), Reason> {
        let arrived = arrival_of(message)?;
        let tick = course.tick(sequence, arrived);
        let is_of_events =
            subject::carries(&self.link.config.prefix, &message.subject) == Carries::Events;
        // One that is not of a hub's making was counted when it came.
        let of_message =
            if is_of_events { wire::decode(&message.payload).unwrap_or_default() } else { vec![] };
        let ids = session.ids.of_message(tick, sequence, of_message.len());
        for (event, (id, place)) in of_message.into_iter().zip(ids) {
            let is_new = place > course.last.place;
            // What was looked at once is not looked at again.
            if !is_new && (self.look_back == 0 || place > course.asked) {
                continue;
            }
            let created_at = event.created_at.unwrap_or(CreatedAt::new(arrived, 3));
            let size = event.size();
            let content = Content::Given(event);
            events.push(Arc::new(Event { id, offset: place.number(), size, created_at, content }));
            if is_new {
                course.last = Last { place, id, tick };
            }
        }
        course.pass(sequence);
        Ok(())
    }
}

impl Course {
    /// The time in the ids of a message: it increases from one to the next, whatever a server's clock does. Of one that is only looked at
    /// it is before that of all that are wanted.
    fn tick(&self, sequence: u64, arrived: Timestamp) -> Tick {
        let (tick, last) = (Tick::of(arrived), self.last.tick);
        match sequence.cmp(&self.last.place.sequence()) {
            Ordering::Less => tick.min(last.previous()),
            Ordering::Equal => last,
            Ordering::Greater => tick.max(last.next()),
        }
    }

    /// Nothing of that message is wanted again, though it may have had no event.
    fn pass(&mut self, sequence: u64) {
        let place = Place::before(sequence + 1);
        self.last.place = place.max(self.last.place);
        self.next = sequence;
    }

    /// All up to there has been looked at.
    fn looked_through(&self) -> Place {
        self.last.place.min(Place::before(self.next + 1))
    }

    /// Tells of what is gone, or may be, between what has been read and this message, which comes after this tick, and goes on with that.
    fn note_gone(
        &mut self,
        session: &Session,
        next: u64,
        tick: Tick,
        expired: &mut Option<Expired>,
    ) {
        if next <= self.last.place.sequence() + 1 {
            return;
        }
        let (tick, place) = (tick.max(self.last.tick), Place::before(next));
        let id = session.ids.id(tick, place);
        let from = expired.map_or(Some(self.last.id), |earlier| earlier.from);
        *expired = Some(Expired { from, to: Some(id) });
        self.last = Last { place, id, tick };
    }
}

/// The tick after which what is in the stream came. An empty one knows only when its last message came.
fn begins_after(state: &State) -> Result<Tick, Reason> {
    Ok(if state.messages == 0 {
        Tick::of(time_of(state.last_timestamp)?)
    } else {
        Tick::of(time_of(state.first_timestamp)?).previous()
    })
}

/// Whether a replay can begin there.
enum Start {
    At { course: Course, gone: Option<Expired> },
    Foreign,
}
