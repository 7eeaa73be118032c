//! Replays that begin before the log does, from a stream that other hubs read as well.

use std::sync::Mutex;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use proptest::prelude::*;
use ractor::{ActorCell, ActorRef, SpawnErr};

use super::*;
use crate::error::IngestError;
use crate::event::CreatedAt;
use crate::event_log::Arrival;
use crate::hub::HubMessage;
use crate::lock;
use crate::measurement::Measurement;
use crate::metric_store::Sample;
use crate::transport::nats::place::{Place, StreamIds};
use crate::transport::{Broker, Transport, TransportState};

/// What each event counts as, in bytes.
const SIZE: usize = 100;

/// A stream in memory. Its messages have one to three events.
#[derive(Debug)]
struct Stream {
    ids: StreamIds,
    /// The first message that is still there.
    first: Mutex<u64>,
    messages: Mutex<Vec<Vec<&'static str>>>,
}

impl Stream {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ids: StreamIds::of("S", 7),
            first: Mutex::new(1),
            messages: Mutex::default(),
        })
    }

    /// Three messages a millisecond.
    fn milliseconds(sequence: u64) -> u64 {
        1_795_342_367_000 + sequence / 3
    }

    fn event(&self, sequence: u64, index: usize, kind: &str) -> Arc<Event> {
        let place = Place::new(sequence, index);
        let id = self.ids.id(Self::milliseconds(sequence), place);
        let content = Content::Given(NewEvent::new(kind));
        let created_at = CreatedAt::new(Timestamp::UNIX_EPOCH, 3);
        Arc::new(Event { id, offset: place.number(), size: SIZE, created_at, content })
    }

    /// The events of one message.
    fn message(&self, sequence: u64) -> Option<Vec<Arc<Event>>> {
        let messages = lock(&self.messages);
        let kinds = messages.get(usize::try_from(sequence - 1).unwrap())?;
        let events = kinds.iter().enumerate();
        Some(events.map(|(index, kind)| self.event(sequence, index, kind)).collect())
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

    fn archive(&self, since: Since) -> Box<dyn Archive> {
        Box::new(Reader { stream: Arc::clone(&self.0), since, after: None })
    }

    fn number(&self, id: EventId) -> Option<u64> {
        self.0.ids.place(id).map(Place::number)
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
    after: Option<Place>,
}

impl Archive for Reader {
    fn next_page(mut self: Box<Self>) -> BoxFuture<'static, (Box<dyn Archive>, Fetched)> {
        let fetched = self.fetch();
        std::future::ready((self as Box<dyn Archive>, fetched)).boxed()
    }
}

impl Reader {
    fn fetch(&mut self) -> Fetched {
        let stream = Arc::clone(&self.stream);
        let first = *lock(&stream.first);
        let mut expired = None;
        let after = match (self.after, self.since) {
            (Some(after), _) => after,
            (None, Since::Event(id)) => match stream.ids.place(id) {
                Some(place) if place.sequence() <= stream.last_sequence() => place,
                Some(_) | None => return Fetched::Foreign,
            },
            (None, _) => Place::before(1),
        };
        let next = after.sequence().max(first);
        if after < Place::before(first) {
            let before = stream.ids.id(Stream::milliseconds(first), Place::before(first));
            expired = Some(Expired { from: None, to: Some(before) });
        }
        let mut events = Vec::new();
        let mut through = after;
        for sequence in next..next + 2 {
            let Some(message) = (sequence > 0).then(|| stream.message(sequence)).flatten() else {
                continue;
            };
            events.extend(message.into_iter().filter(|event| event.offset > after.number()));
            through = through.max(Place::before(sequence + 1));
        }
        self.after = Some(through);
        if events.is_empty() && expired.is_none() && through == after {
            return Fetched::End { through: Some(through.number()) };
        }
        Fetched::Page(ArchivePage { expired, events, through: through.number() })
    }
}

/// A hub that has read some of the stream into a log with room for few events.
struct Scene {
    core: HubCore,
    stream: Arc<Stream>,
    read: u64,
}

impl Scene {
    /// The hub begins to read behind the first `skipped` messages.
    fn new(skipped: u64, room: usize) -> Self {
        let stream = Stream::new();
        let config =
            HubConfig { replay_bytes: room * SIZE, batch_bytes: 2 * SIZE, ..HubConfig::default() };
        let transport = Transport::Broker(Arc::new(Joined(Arc::clone(&stream))));
        Self { core: HubCore::joined(config, transport), stream, read: skipped }
    }

    fn publish(&self, kinds: Vec<&'static str>) {
        lock(&self.stream.messages).push(kinds);
    }

    /// The hub reads all there is.
    fn read(&mut self) {
        while let Some(events) = self.stream.message(self.read + 1) {
            let sequence = self.read + 1;
            if self.core.log.tail() == 0 && self.core.log.read(0, 1).batches.is_empty() {
                let place = Place::before(sequence);
                let id = self.stream.ids.id(Stream::milliseconds(sequence), place);
                self.core.log.begin_after(id);
            }
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
            self.read = sequence;
        }
    }

    /// All events of the stream, the oldest first.
    fn all(&self) -> Vec<Arc<Event>> {
        (1..=self.stream.last_sequence()).flat_map(|s| self.stream.message(s).unwrap()).collect()
    }

    /// What a client with this query is sent, with `between` before each step.
    fn replay(&mut self, query: &str, mut between: impl FnMut(&mut Self)) -> Replayed {
        let query = TraceQuery::parse(query, None).unwrap();
        let group = self.core.groups.join(query.filter);
        let outbox = Outbox::new(&self.core.config, Arc::clone(&self.core.counters));
        let mut replayer = Replayer::new(&self.core, &group, &outbox, query.replay.unwrap());
        let mut joined_at = None;
        for _ in 0..10_000 {
            between(self);
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
}

impl Replayed {
    fn of(outbox: &Outbox) -> Self {
        let mut replayed = Self::default();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            match outbox.poll_next(&mut context) {
                std::task::Poll::Ready(Some(Item::Events(matches))) => {
                    replayed.ids.extend(matches.events.iter().map(|event| event.id));
                }
                std::task::Poll::Ready(Some(Item::Gap(_))) => replayed.gaps += 1,
                std::task::Poll::Ready(Some(_)) => {}
                std::task::Poll::Ready(None) | std::task::Poll::Pending => return replayed,
            }
        }
    }
}

fn kinds() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..4)
}

proptest! {
    #[test]
    fn a_client_gets_all_after_its_last_event_once_and_in_order(
        messages in prop::collection::vec(kinds(), 1..40),
        later in prop::collection::vec(kinds(), 0..10),
        skipped in 0..40u64, room in 1..30usize, at: prop::sample::Index, last in prop::option::of(0..20usize),
    ) {
        let mut scene = Scene::new(skipped.min(messages.len() as u64 - 1), room);
        messages.into_iter().for_each(|kinds| scene.publish(kinds));
        scene.read();
        let since = Arc::clone(at.get(&scene.all())).id;
        let last_query = last.map_or(String::new(), |last| format!("&replay={last}"));
        let before = scene.all().len();
        let mut later = later.into_iter();
        let replayed = scene.replay(&format!("type=a&follow=none&since={since}{last_query}"), |scene| {
            if let Some(kinds) = later.next() {
                scene.publish(kinds);
                scene.read();
            }
        });
        let all = scene.all();
        let is_wanted = |event: &Arc<Event>| event.id > since && event.content().kind.as_deref() == Some("a");
        let old: Vec<_> = all[..before].iter().filter(|event| is_wanted(event)).map(|event| event.id).collect();
        let new = all[before..].iter().filter(|event| is_wanted(event)).map(|event| event.id);
        let old = &old[old.len().saturating_sub(last.unwrap_or(usize::MAX))..];
        let wanted: Vec<_> = old.iter().copied().chain(new).collect();
        prop_assert_eq!(replayed.gaps, 0);
        prop_assert_eq!(replayed.ids, wanted);
    }
}

#[test]
fn what_the_stream_no_longer_has_is_told_once() {
    let mut scene = Scene::new(15, 4);
    (0..20).for_each(|_| scene.publish(vec!["a", "a"]));
    scene.read();
    *lock(&scene.stream.first) = 10;
    let since = scene.all()[3].id;
    let replayed = scene.replay(&format!("since={since}"), |_| {});
    assert_eq!(replayed.gaps, 1);
    assert_eq!(replayed.ids, scene.all()[18..].iter().map(|event| event.id).collect::<Vec<_>>());
}

#[test]
fn a_client_that_was_further_at_another_hub_waits_until_this_one_has_come_as_far() {
    let mut scene = Scene::new(0, 100);
    (0..3).for_each(|_| scene.publish(vec!["a"]));
    scene.read();
    scene.publish(vec!["a", "a"]);
    scene.publish(vec!["a"]);
    let since = scene.all()[3].id;
    let mut steps = 0;
    let replayed = scene.replay(&format!("since={since}"), |scene| {
        steps += 1;
        if steps == 10 {
            scene.read();
        }
    });
    assert!(steps >= 10);
    assert_eq!(replayed.gaps, 0);
    assert_eq!(replayed.ids, scene.all()[4..].iter().map(|event| event.id).collect::<Vec<_>>());
}

#[test]
fn an_id_of_another_stream_is_told_as_expired() {
    let mut scene = Scene::new(0, 100);
    scene.publish(vec!["a"]);
    scene.read();
    let since = StreamIds::of("T", 1).id(Stream::milliseconds(1), Place::new(1, 0));
    let replayed = scene.replay(&format!("since={since}"), |_| {});
    assert_eq!((replayed.gaps, replayed.ids.len()), (1, usize::from(scene.all()[0].id > since)));
}
