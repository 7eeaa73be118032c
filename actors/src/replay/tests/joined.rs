//! Replays that begin before the log does, from a stream that other hubs read as well.

use std::cmp::Ordering;
use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use proptest::prelude::*;
use ractor::{ActorCell, ActorRef, SpawnErr};

use super::search::MOST_OF_STREAM;
use super::*;
use crate::error::IngestError;
use crate::event::CreatedAt;
use crate::event_log::Arrival;
use crate::hub::HubMessage;
use crate::lock;
use crate::measurement::Measurement;
use crate::metric_store::Sample;
use crate::tick::Tick;
use crate::transport::nats::place::{Place, StreamIds};
use crate::transport::{Broker, Transport, TransportState};

/// What each event counts as, in bytes.
const SIZE: usize = 100;

/// The type of an event, and its span; those of one message are of one service.
type Kind = (&'static str, Option<&'static str>);

/// More messages than a stream here ever loses.
const AHEAD: u64 = 100;

/// What a service does that a hub may not read.
const ELSEWHERE: &str = "elsewhere";

/// A stream in memory. Its messages have one to three events.
#[derive(Debug)]
struct Stream {
    ids: StreamIds,
    /// The first message that is still there.
    first: Mutex<u64>,
    /// What each has, and in which life of the stream it came.
    messages: Mutex<Vec<(Vec<Kind>, u64)>>,
    life: Mutex<u64>,
    /// Whether the hub reads all.
    is_whole: bool,
    /// All up to this message that is for the hub is in its log, and its ids have this time.
    read: Mutex<(u64, Tick)>,
    /// The server's clock was ahead when it took this message: by so many ticks.
    ahead: (u64, u64),
}

impl Stream {
    fn new(is_whole: bool, read: u64, ahead: (u64, u64)) -> Arc<Self> {
        Arc::new(Self {
            ids: StreamIds::of("S", 7, None),
            first: Mutex::new(1),
            messages: Mutex::default(),
            life: Mutex::default(),
            is_whole,
            read: Mutex::new((read, Tick::default())),
            ahead,
        })
    }

    /// When the server took a message, by its clock. Three messages came one right after the other, nine in a millisecond.
    fn arrival(&self, sequence: u64) -> Tick {
        let ahead = if sequence == self.ahead.0 { self.ahead.1 } else { 0 };
        let messages = lock(&self.messages);
        let message = usize::try_from(sequence).ok().and_then(|n| messages.get(n.checked_sub(1)?));
        let ahead = ahead + 1_000_000 * message.map_or(0, |(_, life)| *life);
        Tick::some(sequence / 3 * 1365 + sequence % 3 + ahead)
    }

    fn event((id, place): (EventId, Place), (kind, span): Kind) -> Arc<Event> {
        let event = NewEvent::new(kind);
        let content = Content::Given(match span {
            Some(span) => event.span(span),
            None => event,
        });
        let created_at = CreatedAt::new(Timestamp::UNIX_EPOCH, 3);
        Arc::new(Event { id, offset: place.number(), size: SIZE, created_at, content })
    }

    /// The events of one message, none if it is not for the hub.
    fn message(&self, sequence: u64, tick: Tick) -> Option<Vec<Arc<Event>>> {
        let messages = lock(&self.messages);
        let (kinds, _) = messages.get(usize::try_from(sequence - 1).unwrap())?;
        if !self.is_whole && kinds[0].0 == ELSEWHERE {
            return Some(Vec::new());
        }
        let ids = self.ids.of_message(tick, sequence, kinds.len());
        Some(ids.zip(kinds).map(|(id, kind)| Self::event(id, *kind)).collect())
    }

    /// What a client is given that comes when this message has been read.
    fn mark(&self, sequence: u64, tick: Tick) -> EventId {
        self.ids.id(tick, Place::before(sequence + 1))
    }

    /// The mark of the hub that has given this id.
    fn mark_after(&self, id: EventId) -> EventId {
        self.mark(self.place(id).sequence(), Tick::of_id(id))
    }

    fn place(&self, id: EventId) -> Place {
        self.ids.place(id, self.last_sequence()).unwrap()
    }

    fn last_sequence(&self) -> u64 {
        lock(&self.messages).len() as u64
    }
}

#[derive(Debug)]
struct Joined(Arc<Stream>);

impl Broker for Joined {
    fn start<'a>(
        &self,
        _hub: &'a ActorRef<HubMessage>,
        _core: &'a Arc<HubCore>,
    ) -> BoxFuture<'a, Result<ActorCell, SpawnErr>> {
        unreachable!("these tests have no actors")
    }

    fn state(&self) -> TransportState {
        TransportState::Joined
    }

    fn services(&self) -> &[String] {
        &[]
    }

    fn max_event_bytes(&self) -> Option<usize> {
        None
    }

    fn has_joined(&self) -> bool {
        true
    }

    fn publish(&self, _events: Vec<NewEvent>) -> BoxFuture<'_, Result<(), IngestError>> {
        unreachable!("these tests write into the stream")
    }

    fn offer(&self, _events: Vec<(Content, usize)>) -> Result<(), IngestError> {
        unreachable!("these tests write into the stream")
    }

    fn publish_measurements(
        &self,
        _measurements: Vec<Measurement>,
    ) -> BoxFuture<'_, Result<(), IngestError>> {
        unreachable!("these tests write into the stream")
    }

    fn offer_measurement(&self, _measurement: Measurement) -> Result<(), IngestError> {
        unreachable!("these tests write into the stream")
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn archive(&self, since: Since, look_back: usize) -> Box<dyn Archive> {
        let looks_back = look_back > 0;
        Box::new(Reader {
            stream: Arc::clone(&self.0),
            since,
            looks_back,
            course: None,
            is_lost: false,
        })
    }

    fn archive_of_last(&self, _bytes: usize, look_back: usize) -> Box<dyn Archive> {
        self.archive(Since::Time(Timestamp::MIN), look_back)
    }

    fn mark(&self) -> Option<EventId> {
        let (sequence, tick) = *lock(&self.0.read);
        Some(self.0.mark(sequence, tick))
    }

    fn has_read(&self, id: EventId) -> bool {
        self.0.ids.place(id, lock(&self.0.read).0).is_some()
    }

    fn number(&self, id: EventId) -> Option<u64> {
        let (read, tick) = *lock(&self.0.read);
        let place = self.0.ids.place(id, self.0.last_sequence() + AHEAD)?;
        (place.sequence() <= read || Tick::of_id(id) > tick).then_some(place.number())
    }

    fn samples(&self) -> Vec<Sample> {
        Vec::new()
    }

    fn hub_name(&self) -> &str {
        "this"
    }

    fn samples_of_others(&self) -> Vec<Sample> {
        Vec::new()
    }
}

/// Reads two messages at a time.
#[derive(Debug)]
struct Reader {
    stream: Arc<Stream>,
    since: Since,
    /// Whether it also reads all that came before.
    looks_back: bool,
    course: Option<Course>,
    /// It has begun at what the stream has lost, and has not said so.
    is_lost: bool,
}

#[derive(Debug, Clone, Copy)]
struct Course {
    asked: Place,
    after: Place,
    /// The time in the ids of that.
    tick: Tick,
    next: u64,
}

impl Archive for Reader {
    fn next_page(mut self: Box<Self>) -> BoxFuture<'static, (Box<dyn Archive>, Fetched)> {
        let fetched = self.fetch();
        std::future::ready((self as Box<dyn Archive>, fetched)).boxed()
    }
}

impl Reader {
    fn begin(&mut self) -> Option<Course> {
        let (asked, tick) = match self.since {
            Since::Event(id) => {
                let (place, tick) = (
                    self.stream.ids.place(id, self.stream.last_sequence() + AHEAD)?,
                    Tick::of_id(id),
                );
                let last = self.stream.last_sequence();
                if place.sequence() > last || self.stream.arrival(place.sequence()) > tick {
                    // Of what the stream has lost: what came later has another life's time.
                    let later = (1..=last).find(|sequence| self.stream.arrival(*sequence) > tick);
                    self.is_lost = true;
                    (Place::before(later.unwrap_or(last + 1)), tick.next())
                } else {
                    (place, tick)
                }
            }
            Since::Time(_) | Since::Ago(_) => (Place::before(1), Tick::default()),
        };
        let next = if self.looks_back { 1 } else { asked.sequence() };
        Some(Course { asked, after: asked, tick, next })
    }

    fn fetch(&mut self) -> Fetched {
        let Some(mut course) = self.course.or_else(|| self.begin()) else {
            return Fetched::Foreign;
        };
        let stream = &self.stream;
        let first = *lock(&stream.first);
        let gone = |place| Expired { from: None, to: Some(stream.ids.id(course.tick, place)) };
        let mut expired = std::mem::take(&mut self.is_lost).then(|| gone(course.after));
        if course.after < Place::before(first) {
            let from = stream.ids.id(course.tick, course.after);
            (course.tick, course.after) = (stream.arrival(first).previous(), Place::before(first));
            let to = stream.ids.id(course.tick, course.after);
            expired = Some(Expired { from: Some(from), to: Some(to) });
        }
        course.next = course.next.max(first).max(1);
        let mut events = Vec::new();
        let mut is_end = true;
        while is_end && course.next <= stream.last_sequence() {
            for sequence in course.next..course.next + 2 {
                let old = course.asked.number();
                let new = course.after.number();
                let arrival = stream.arrival(sequence);
                let tick = match sequence.cmp(&course.after.sequence()) {
                    Ordering::Less => arrival.min(course.tick.previous()),
                    Ordering::Equal => course.tick,
                    Ordering::Greater => arrival.max(course.tick.next()),
                };
                let Some(mut message) = stream.message(sequence, tick) else { continue };
                message
                    .retain(|event| event.offset <= old && self.looks_back || event.offset > new);
                events.extend(message);
                if sequence > course.after.sequence() {
                    (course.tick, course.after) = (tick, Place::before(sequence + 1));
                }
            }
            course.next = (course.next + 2).min(stream.last_sequence() + 1);
            is_end = events.is_empty();
        }
        course.after = course.after.max(Place::before(course.next));
        self.course = Some(course);
        let through = course.after.min(Place::before(course.next)).number();
        if is_end {
            return Fetched::End { expired, through };
        }
        Fetched::Page(ArchivePage { expired, events, through })
    }
}

/// A hub that has read some of the stream into a log with room for few events.
struct Scene {
    core: HubCore,
    stream: Arc<Stream>,
}

impl Scene {
    /// The hub begins to read behind the first `skipped` messages.
    fn new(is_whole: bool, skipped: u64, room: usize) -> Self {
        Self::by_a_clock(is_whole, skipped, room, (0, 0))
    }

    fn by_a_clock(is_whole: bool, skipped: u64, room: usize, ahead: (u64, u64)) -> Self {
        let stream = Stream::new(is_whole, skipped, ahead);
        let config = HubConfig {
            replay_bytes: room * SIZE,
            batch_bytes: 2 * SIZE,
            // Nobody reads while these replays go on.
            subscriber_queue_bytes: 1 << 30,
            ..HubConfig::default()
        };
        let transport = Transport::Broker(Arc::new(Joined(Arc::clone(&stream))));
        Self { core: HubCore::joined(config, transport), stream }
    }

    fn publish(&self, kinds: &[Kind]) {
        let life = *lock(&self.stream.life);
        lock(&self.stream.messages).push((kinds.to_vec(), life));
    }

    /// The stream loses all after this message, and the hub goes on with what comes next.
    fn set_back(&self, sequence: u64) {
        lock(&self.stream.messages).truncate(usize::try_from(sequence).unwrap());
        *lock(&self.stream.life) += 1;
        lock(&self.stream.read).0 = sequence;
        self.core.log.renew(Expired { from: Some(self.core.log.last_id()), to: None });
    }

    /// The hub reads all there is; up to this message nothing of what is done elsewhere, as nobody has wanted that. Returns the place from
    /// which on the log has that, too.
    fn read_narrowly(&self, until: u64) -> Option<EventId> {
        let (read, _) = *lock(&self.stream.read);
        self.read_up_to(until.max(read), |message| {
            message.retain(|event| event.content().kind.as_deref() != Some(ELSEWHERE));
        });
        let mark = self.core.broker().unwrap().mark();
        self.read();
        mark
    }

    /// The hub reads all there is.
    fn read(&self) {
        self.read_up_to(self.stream.last_sequence(), |_| {});
    }

    fn read_up_to(&self, last: u64, leave_out: impl Fn(&mut Vec<Arc<Event>>)) {
        let (read, _) = *lock(&self.stream.read);
        for sequence in read + 1..=last {
            let arrival = self.stream.arrival(sequence);
            let tick = arrival.max(lock(&self.stream.read).1.next());
            let is_empty = || self.core.log.read(0, 1).batches.is_empty();
            if lock(&self.stream.read).1 == Tick::default() && is_empty() {
                let place = Place::before(sequence);
                self.core.log.begin_after(self.stream.ids.id(tick.previous(), place));
            }
            let mut message = self.stream.message(sequence, tick).unwrap();
            leave_out(&mut message);
            self.accept(message);
            *lock(&self.stream.read) = (sequence, tick);
        }
    }

    fn accept(&self, events: impl IntoIterator<Item = Arc<Event>>) {
        self.core.log.accept_arrivals(events.into_iter().map(|event| Arrival {
            id: event.id,
            offset: event.offset,
            arrived: Timestamp::UNIX_EPOCH,
            content: Content::Given(event.content().clone()),
            size: SIZE,
        }));
        while let Some(batch) = self.core.log.next_unrouted() {
            self.core.log.mark_routed(&batch);
        }
    }

    /// All events of the stream that are for the hub, the oldest first, with the ids that they have at a hub that reads from this one on.
    fn all_from(&self, first: u64) -> Vec<Arc<Event>> {
        let mut last = Tick::default();
        let messages = (1..=self.stream.last_sequence()).flat_map(|sequence| {
            let arrival = self.stream.arrival(sequence);
            last = if sequence > first { arrival.max(last.next()) } else { arrival };
            self.stream.message(sequence, last).unwrap()
        });
        messages.collect()
    }

    fn all(&self) -> Vec<Arc<Event>> {
        self.all_from(1)
    }

    /// What a client with this query is sent, with `between` before each step.
    fn replay(&self, query: &str, between: impl FnMut()) -> Replayed {
        self.replay_to(query, None, between)
    }

    /// To a client of which the log has all that it wants only from this place on.
    fn replay_to(
        &self,
        query: &str,
        covered_since: Option<EventId>,
        mut between: impl FnMut(),
    ) -> Replayed {
        let query = TraceQuery::parse(query, None).unwrap();
        let group = self.core.groups.join(query.filter);
        let outbox = Outbox::new(&self.core.config, Arc::clone(&self.core.counters));
        let replay = query.replay.unwrap();
        let mut replayer = Replayer::new(&self.core, &group, &outbox, replay, covered_since);
        let mut joined_at = None;
        for _ in 0..10_000 {
            between();
            let core = &self.core;
            let mut step = replayer.step(core, &group, &outbox, |_, at| joined_at = Some(at));
            while let Step::Fetch(archive) = step {
                let (archive, fetched) = archive.next_page().now_or_never().unwrap();
                step = replayer.take_fetched(archive, fetched, core, &group, &outbox);
            }
            if matches!(step, Step::Done) {
                assert_eq!(joined_at, Some(self.core.log.seal()));
                return Replayed::of(&outbox);
            }
        }
        panic!("it never ends");
    }
}

/// What a client was sent.
#[derive(Debug, Default)]
struct Replayed {
    ids: Vec<EventId>,
    gaps: usize,
    /// Where it came to.
    mark: Option<EventId>,
}

impl Replayed {
    fn of(outbox: &Outbox) -> Self {
        let mut sent = Self::default();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            match outbox.poll_next(&mut context) {
                std::task::Poll::Ready(Some(Item::Events(matches))) => {
                    sent.ids.extend(matches.events.iter().map(|event| event.id));
                }
                std::task::Poll::Ready(Some(Item::Gap(_))) => sent.gaps += 1,
                std::task::Poll::Ready(Some(Item::CaughtUp { replayed, mark })) => {
                    assert_eq!(replayed, sent.ids.len() as u64);
                    sent.mark = mark;
                }
                std::task::Poll::Ready(Some(_)) => {}
                std::task::Poll::Ready(None) | std::task::Poll::Pending => return sent,
            }
        }
    }
}

/// The events of one message.
fn message() -> impl Strategy<Value = Vec<Kind>> {
    let kind = prop::sample::select(vec!["a", "b"]);
    let span = prop::sample::select(vec![None, Some("s"), Some("t")]);
    let own = prop::collection::vec((kind, span.clone()), 1..4);
    let of_another = prop::collection::vec((Just(ELSEWHERE), span), 1..4);
    prop_oneof![3 => own, 1 => of_another]
}

/// The numbers of those that `type=a` wants, with those that follow them, if one knows what comes from the first of them on.
fn wanted(events: &[Arc<Event>], follows: bool) -> Vec<u64> {
    let mut followed = Vec::new();
    let wanted = events.iter().filter(|event| {
        let (content, span) = (event.content(), event.content().span_id.clone());
        if content.kind.as_deref() == Some("a") {
            followed.extend(span.filter(|_| follows));
            return true;
        }
        span.is_some_and(|span| followed.contains(&span))
    });
    wanted.map(|event| event.offset).collect()
}

proptest! {
    /// What follows from an event that is long gone may come or not: one looks back, but not for ever.
    #[test]
    fn a_client_gets_all_after_its_last_event_once_and_in_order(
        messages in prop::collection::vec(message(), 1..40),
        later in prop::collection::vec(message(), 0..10),
        skipped in 0..40u64, room in 1..30usize, at: prop::sample::Index, last in prop::option::of(0..20usize),
        is_whole: bool, follows: bool, is_by_mark: bool,
        ahead in (0..40u64, prop::sample::select(vec![0, 2, 5000])), other_from in 1..40u64,
        narrow_until in prop::option::of(0..40u64), is_newcomer: bool,
    ) {
        let skipped = skipped.min(messages.len() as u64 - 1);
        // Where its log begins, a hub does not know of the message before.
        prop_assume!(ahead.1 == 0 || ahead.0 != skipped);
        let scene = Scene::by_a_clock(is_whole, skipped, room, ahead);
        messages.iter().for_each(|kinds| scene.publish(kinds));
        let until = narrow_until.map_or(0, |until| until.min(messages.len() as u64));
        // Who follows, wants all; else the log has had all that it wants, or that may be so.
        let covered_since = scene.read_narrowly(until).filter(|_| follows || is_newcomer);
        // While a server's clock is ahead, the last so many are some more or fewer.
        let last = last.filter(|_| ahead.1 == 0);
        // By an id of another hub, which has begun to read elsewhere.
        let old = scene.all_from(other_from);
        prop_assume!(!old.is_empty());
        let index = at.index(old.len());
        let id = old[index].id;
        let since = if is_by_mark { scene.stream.mark_after(id) } else { id };
        let follow = if follows { "" } else { "&follow=none" };
        let last_query = last.map_or(String::new(), |last| format!("&replay={last}"));
        let mut later = later.iter();
        let query = format!("type=a&since={since}{last_query}{follow}");
        let replayed = scene.replay_to(&query, covered_since, || {
            if let Some(kinds) = later.next() {
                scene.publish(kinds);
                scene.read();
            }
        });
        let all = scene.all();
        let number = |id| scene.stream.place(id).number();
        let (since, granted) = (number(since), old.last().unwrap().offset);
        let is_old = |number: &&u64| **number <= granted;
        // The event that was asked by may tell what to follow. A mark is none.
        let begin = if is_by_mark { old.partition_point(|event| event.offset < since) } else { index };
        let mut least = wanted(&all[begin..], follows);
        least.retain(|number| *number > since);
        let most = wanted(&all, follows);
        prop_assert_eq!(replayed.gaps, 0);
        // Who comes back from there gets nothing twice, and misses nothing.
        prop_assert!(replayed.mark.map(number) >= all.last().map(|event| event.offset));
        let sent: Vec<_> = replayed.ids.iter().map(|id| number(*id)).collect();
        prop_assert!(sent.is_sorted_by(|a, b| a < b), "{:?}", sent);
        prop_assert!(sent.iter().all(|number| *number > since && most.contains(number)));
        if let Some(last) = last {
            let old = sent.iter().filter(is_old).count();
            let least_old = least.iter().filter(is_old).count().min(last);
            prop_assert!((least_old..=last).contains(&old), "{} {}", old, least_old);
            let first = sent.first();
            least.retain(|number| first.map_or(*number > granted, |first| number >= first));
        }
        let lost: Vec<_> = least.iter().filter(|number| !sent.contains(number)).collect();
        prop_assert!(lost.is_empty(), "{:?}", lost);
    }
}

proptest! {
    #[test]
    fn who_comes_back_to_a_stream_that_was_set_back_gets_what_it_has_and_is_told_of_the_rest(
        messages in prop::collection::vec(message(), 1..40), to: prop::sample::Index,
        again in prop::collection::vec(message(), 0..40), later in prop::collection::vec(message(), 0..10),
        narrow_until in prop::option::of(0..40u64), is_newcomer: bool, skipped in 0..40u64, room in 1..30usize, at: prop::sample::Index, is_whole: bool, is_by_mark: bool,
        follows: bool, last in prop::option::of(0..20usize),
    ) {
        let scene = Scene::new(is_whole, skipped.min(messages.len() as u64 - 1), room);
        messages.iter().for_each(|kinds| scene.publish(kinds));
        scene.read();
        let mut ever = scene.all();
        scene.set_back(to.index(messages.len()) as u64);
        again.iter().for_each(|kinds| scene.publish(kinds));
        let until = narrow_until.map_or(0, |until| until.min(scene.stream.last_sequence()));
        let covered_since = scene.read_narrowly(until).filter(|_| narrow_until.is_some() && (follows || is_newcomer));
        ever.extend(scene.all());
        prop_assume!(!ever.is_empty());
        let id = at.get(&ever).id;
        let place = scene.stream.ids.place(id, u64::MAX).unwrap();
        let mark = || scene.stream.mark(place.sequence(), Tick::of_id(id));
        let since = if is_by_mark { mark() } else { id };
        let (evictions, mut later) = (later.len(), later.iter());
        let follow = if follows { "" } else { "&follow=none" };
        let last_query = last.map_or(String::new(), |last| format!("&replay={last}"));
        let query = format!("type=a&since={since}{last_query}{follow}");
        let replayed = scene.replay_to(&query, covered_since, || {
            if let Some(kinds) = later.next() {
                scene.publish(kinds);
                scene.read();
            }
        });
        let is_wanted = |event: &&Arc<Event>| {
            event.id > since && event.content().kind.as_deref() == Some("a")
        };
        let all = scene.all();
        let missing = |events: &[Arc<Event>]| {
            let wanted = events.iter().filter(is_wanted).map(|event| event.id);
            wanted.filter(|id| !replayed.ids.contains(id)).collect::<Vec<_>>()
        };
        prop_assert!(replayed.ids.is_sorted_by(|a, b| a < b), "{:?}", replayed.ids);
        prop_assert!(replayed.ids.iter().all(|id| *id > since));
        prop_assert!(last.is_some() || missing(&all).is_empty(), "{:?}", missing(&all));
        // What neither the stream nor the log has any trace of, nobody can tell. Nor of what it was not to have.
        let complete_from = complete_from(&scene.core, covered_since);
        let has_trace = complete_from < scene.core.log.renewed_after().unwrap();
        prop_assert!(last.is_some() || missing(&ever).is_empty() || replayed.gaps > 0 || !has_trace);
        // Each time that the log lets go what the stream has not got any more, that is one.
        prop_assert!(replayed.gaps < 4 + evictions, "{}", replayed.gaps);
        prop_assert!(all.iter().all(|event| Some(event.id) < replayed.mark));
    }
}

const A: Kind = ("a", None);

fn ids(events: &[Arc<Event>]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

#[test]
fn what_the_stream_no_longer_has_is_told_once() {
    for is_whole in [true, false] {
        let scene = Scene::new(is_whole, 15, 4);
        (0..20).for_each(|_| scene.publish(&[A, A]));
        scene.read();
        *lock(&scene.stream.first) = 10;
        let since = scene.all()[3].id;
        let replayed = scene.replay(&format!("since={since}"), || {});
        assert_eq!(replayed.gaps, 1);
        assert_eq!(replayed.ids, ids(&scene.all()[18..]));
    }
}

#[test]
fn what_the_stream_has_lost_to_its_end_is_told_as_far_as_the_log_does_not_have_it() {
    let scene = Scene::new(true, 0, 4);
    (0..20).for_each(|_| scene.publish(&[A]));
    scene.read();
    *lock(&scene.stream.first) = 21;
    let since = scene.all()[3].id;
    let replayed = scene.replay(&format!("since={since}"), || {});
    assert_eq!(replayed.gaps, 1);
    assert_eq!(replayed.ids, ids(&scene.all()[16..]));
}

#[test]
fn the_last_ones_are_found_with_those_that_follow_them() {
    let scene = Scene::new(true, 5, 4);
    let span = Some("s");
    [("a", span), ("b", span), ("b", span)].iter().for_each(|kind| scene.publish(&[*kind]));
    (0..10).for_each(|_| scene.publish(&[("c", None)]));
    scene.read();
    let all = scene.all();
    let replayed = scene.replay("type=a&replay=1&since=2020-01-01T00:00:00Z", || {});
    assert_eq!((replayed.gaps, replayed.ids), (0, ids(&all[2..3])));
    // By the id of the one that they follow.
    let replayed = scene.replay(&format!("type=a&since={}", all[0].id), || {});
    assert_eq!((replayed.gaps, replayed.ids), (0, ids(&all[1..3])));
}

/// Ten messages of what a hub reads in any case, and after each one of what is done elsewhere.
fn here_and_elsewhere() -> Scene {
    let scene = Scene::new(true, 0, 100);
    for _ in 0..10 {
        scene.publish(&[A]);
        scene.publish(&[(ELSEWHERE, None)]);
    }
    scene
}

#[test]
fn the_last_ones_are_found_also_of_the_time_in_which_the_log_had_not_all() {
    let scene = here_and_elsewhere();
    let covered_since = scene.read_narrowly(12);
    let all: Vec<_> = scene.all().into_iter().skip(1).step_by(2).collect();
    for last in [2, 7, 100] {
        let query = format!("type={ELSEWHERE}&replay={last}");
        let replayed = scene.replay_to(&query, covered_since, || {});
        let expected = ids(&all[all.len().saturating_sub(last)..]);
        assert_eq!((replayed.gaps, replayed.ids), (0, expected), "{last}");
    }
}

#[test]
fn nobody_waits_for_what_the_stream_has_lost() {
    for (messages, to, room) in [(1, 0, 100), (5, 1, 100), (5, 1, 1)] {
        let scene = Scene::new(true, 0, room);
        (0..messages).for_each(|_| scene.publish(&[A]));
        scene.read();
        let since = scene.stream.mark_after(scene.all().last().unwrap().id);
        scene.set_back(to);
        for query in ["", "&replay=0", "&replay=3", "&type=a", "&type=a&replay=3"] {
            let replayed = scene.replay(&format!("since={since}{query}"), || {});
            assert!(replayed.ids.is_empty() && replayed.gaps < 2, "{messages} {to} {room} {query}");
        }
    }
}

#[test]
fn what_a_client_wanted_throughout_it_is_sent_from_the_log_though_the_stream_has_lost_it() {
    let scene = here_and_elsewhere();
    let covered_since = scene.read_narrowly(20);
    *lock(&scene.stream.first) = 15;
    let all = scene.all();
    for query in ["type=a&follow=none&replay=9".to_owned(), format!("type=a&since={}", all[0].id)] {
        let replayed = scene.replay(&query, || {});
        assert_eq!((replayed.gaps, replayed.ids.len()), (0, 9), "{query}");
    }
    let query = format!("since={}", all[0].id);
    assert_eq!(scene.replay_to(&query, covered_since, || {}).gaps, 1);
}

/// By its own clock a client may want what comes after something that is still to come. All that comes is live.
#[test]
fn what_comes_is_sent_though_it_is_not_time_yet() {
    let scene = Scene::new(true, 0, 100);
    scene.publish(&[(ELSEWHERE, None)]);
    let covered_since = scene.read_narrowly(1);
    let mut later = 0;
    let replayed = scene.replay_to("since=2100-01-01T00:00:00Z", covered_since, || {
        if later < 5 {
            later += 1;
            scene.publish(&[A]);
            scene.read();
        }
    });
    assert_eq!((replayed.gaps, replayed.ids), (0, ids(&scene.all()[1..])));
}

#[test]
fn the_last_ones_are_as_many_also_when_the_log_has_none_of_the_stream_since_it_was_set_back() {
    let scene = Scene::new(true, 0, 100);
    (0..3).for_each(|_| scene.publish(&[A]));
    scene.read();
    scene.set_back(2);
    (0..20).for_each(|_| scene.publish(&[(ELSEWHERE, None)]));
    let covered_since = scene.read_narrowly(22);
    let replayed = scene.replay_to(&format!("type={ELSEWHERE}&replay=5"), covered_since, || {});
    assert_eq!(replayed.ids, ids(&scene.all()[17..]));
}

#[test]
fn of_a_stream_so_many_of_the_last_are_found_and_no_more() {
    let scene = Scene::new(true, 0, 4);
    let message = [A; 1_000];
    (0..MOST_OF_STREAM / message.len() + 2).for_each(|_| scene.publish(&message));
    scene.read();
    let wished = MOST_OF_STREAM + 500;
    let replayed = scene.replay(&format!("since=2020-01-01T00:00:00Z&replay={wished}"), || {});
    assert_eq!((replayed.gaps, replayed.ids.len()), (0, MOST_OF_STREAM));
    assert_eq!(replayed.ids, ids(&scene.all()[2 * message.len()..]));
}

#[test]
fn a_client_that_was_further_at_another_hub_waits_until_this_one_has_come_as_far() {
    let scene = Scene::new(true, 0, 100);
    (0..3).for_each(|_| scene.publish(&[A]));
    scene.read();
    scene.publish(&[A, A]);
    scene.publish(&[A]);
    let since = scene.all()[3].id;
    let mut steps = 0;
    let replayed = scene.replay(&format!("since={since}"), || {
        steps += 1;
        if steps == 10 {
            scene.read();
        }
    });
    assert!(steps >= 10);
    assert_eq!(replayed.gaps, 0);
    assert_eq!(replayed.ids, ids(&scene.all()[4..]));
}

#[test]
fn nobody_waits_for_an_event_that_will_not_come_to_this_hub() {
    let scene = Scene::new(false, 0, 100);
    scene.publish(&[A]);
    scene.publish(&[(ELSEWHERE, None)]);
    scene.read();
    let mut of_elsewhere = scene.stream.ids.of_message(scene.stream.arrival(2), 2, 1);
    let (elsewhere, _) = of_elsewhere.next().unwrap();
    // An event of another service, and one that there never was.
    let never = scene.stream.mark(1, scene.stream.arrival(1));
    for since in [elsewhere, never] {
        let replayed = scene.replay(&format!("since={since}"), || {});
        assert_eq!((replayed.gaps, replayed.ids), (0, vec![]));
    }
}

#[test]
fn an_id_of_another_stream_is_told_as_expired() {
    let scene = Scene::new(true, 0, 100);
    scene.publish(&[A]);
    scene.read();
    let since = StreamIds::of("T", 1, None).id(scene.stream.arrival(1), Place::before(2));
    let replayed = scene.replay(&format!("since={since}"), || {});
    assert_eq!((replayed.gaps, replayed.ids.len()), (1, usize::from(scene.all()[0].id > since)));
}

#[test]
fn what_the_log_has_of_the_stream_before_this_one_is_gone_on_after() {
    let scene = Scene::new(true, 0, 100);
    let before = StreamIds::of("T", 1, None);
    let (first, last) = (Tick::default().next(), Tick::default().next().next());
    let [first, last] = [(first, 1), (last, 2)]
        .map(|(tick, sequence)| before.of_message(tick, sequence, 1).next().unwrap());
    scene.core.log.begin_after(before.id(Tick::default(), Place::before(1)));
    scene.accept([first, last].map(|id| Stream::event(id, A)));
    scene.publish(&[A]);
    scene.read();
    let replayed = scene.replay(&format!("since={}", first.0), || {});
    assert_eq!((replayed.gaps, replayed.ids), (0, vec![last.0, scene.all()[0].id]));
}

/// These are asked for what came before their first event, too, to know what to follow: once.
#[test]
fn a_stream_without_events_has_been_looked_through_when_it_has_answered() {
    let scene = Scene::new(true, 0, 100);
    let begin = scene.stream.mark(0, scene.stream.arrival(0));
    scene.core.log.begin_after(begin);
    for query in
        ["type=a&replay=5".to_owned(), "type=a&since=1h".to_owned(), format!("since={begin}")]
    {
        let replayed = scene.replay(&query, || {});
        assert_eq!((replayed.gaps, replayed.ids), (0, vec![]), "{query}");
    }
}

#[test]
fn an_id_that_is_not_known_is_told_once_also_to_who_wants_the_last_ones() {
    let scene = Scene::new(true, 0, 4);
    (0..20).for_each(|_| scene.publish(&[A]));
    scene.read();
    let since = StreamIds::of("T", 1, None).id(Tick::default(), Place::before(2));
    let replayed = scene.replay(&format!("type=a&since={since}&replay=2"), || {});
    assert_eq!((replayed.gaps, replayed.ids), (1, ids(&scene.all()[18..])));
}

#[test]
fn what_follows_is_found_in_a_log_that_begins_in_the_stream_before_this_one() {
    let scene = Scene::new(true, 0, 100);
    let before = StreamIds::of("T", 1, None);
    let begin = before.id(Tick::default(), Place::before(1));
    scene.core.log.begin_after(begin);
    let of_before = before.of_message(Tick::default().next(), 1, 1).next().unwrap();
    scene.accept([Stream::event(of_before, A)]);
    scene.core.log.renew(Expired { from: None, to: None });
    scene.publish(&[A]);
    scene.read();
    let all = vec![of_before.0, scene.all()[0].id];
    for query in ["type=a&replay=5".to_owned(), format!("type=a&since={begin}")] {
        let replayed = scene.replay(&query, || {});
        assert_eq!(replayed.ids, all, "{query}");
        assert!((1..=2).contains(&replayed.gaps), "{query}: {}", replayed.gaps);
    }
}
