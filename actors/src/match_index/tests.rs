//! The index against the plain evaluation of every filter on every event: whatever order filters come and go in, batches
//! are routed and evaluated in, and tables are built in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::router::Candidate;
use super::*;
use crate::event::{Content, CreatedAt, Data, Event, EventId, NewEvent, json};
use crate::event_log::EventBatch;
use crate::filter::{Filter, Follow};
use crate::filter_group::{Delivery, FilterGroups, GroupHandle};
use crate::matches::InFlight;
use crate::query::TraceQuery;
use crate::value::Object;

#[path = "../../tests/it/nasty.rs"]
mod nasty;

/// A filter, held to the limits of another if there is a second query behind ` within `.
fn filter(query: &str) -> Filter {
    let parse = |query| TraceQuery::parse(query, None).unwrap().filter;
    match query.split_once(LIMIT) {
        Some((own, limit)) => parse(own).within(&parse(limit)),
        None => parse(query),
    }
}

const LIMIT: &str = " within ";

/// Every fifth is limited.
fn some_query() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => nasty::query(),
        1 => (nasty::query(), nasty::query()).prop_map(|(own, limit)| format!("{own}{LIMIT}{limit}")),
    ]
}

fn event(json: &str, offset: u64) -> Arc<Event> {
    accepted(json::read(json.as_bytes(), usize::MAX).unwrap(), offset)
}

/// The same event, with all members of its data shared but the first and the last.
fn sharing(event: &Event) -> Arc<Event> {
    let mut content = event.content().clone();
    let mut members: Vec<_> = Object::from(content.data).into_iter().collect();
    let own: Object = members.pop().into_iter().collect();
    let (before, shared) = members.split_at(members.len().min(1));
    let own: Object = before.iter().cloned().chain(own).collect();
    let shared: Object = shared.iter().cloned().collect();
    content.data = Data::with_shared(own, before.len(), Arc::new(shared.into()));
    accepted(content, event.offset)
}

fn accepted(content: NewEvent, offset: u64) -> Arc<Event> {
    let content = Content::Given(content);
    let now = jiff::Timestamp::UNIX_EPOCH;
    let (id, created_at) = (EventId::first_at(now), CreatedAt::exact(now));
    Arc::new(Event { id, offset, size: 1, created_at, content })
}

fn run<S: Strategy>(cases: u32, strategy: &S, check: impl Fn(S::Value)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(strategy, |value| {
        check(value);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn every_filter_that_matches_is_found() {
    let (matched, found) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let strategy = (vec(some_query(), 1..40), vec(nasty::event(), 1..20));
    run(300, &strategy, |(queries, events)| {
        let filters: Vec<Filter> = queries.iter().map(|query| filter(query)).collect();
        let index = FilterIndex::build(filters.iter());
        let mut terms = EventTerms::default();
        let events = events.iter().map(|json| event(json, 0));
        for event in events.flat_map(|event| [sharing(&event), event]) {
            let mut candidates = vec![false; filters.len()];
            index.candidates(&event, &mut terms, |number| candidates[number as usize] = true);
            for (filter, is_candidate) in filters.iter().zip(candidates) {
                let matches = filter.matches(&event);
                assert!(is_candidate || !matches, "{filter} is not found by {event:?}");
                matched.fetch_add(usize::from(matches), Ordering::Relaxed);
                found.fetch_add(usize::from(is_candidate), Ordering::Relaxed);
            }
        }
    });
    let (matched, found) = (matched.into_inner(), found.into_inner());
    // Were hardly any found, or all, the property would say hardly anything.
    assert!(matched > 6_000 && found < 3 * matched, "{matched} matched, {found} found");
}

#[test]
fn what_an_event_shares_is_filtered_as_its_own() {
    let strategy = (vec(nasty::query(), 1..40), vec(nasty::event(), 1..20));
    run(300, &strategy, |(queries, events)| {
        let filters: Vec<Filter> = queries.iter().map(|query| filter(query)).collect();
        for event in events.iter().map(|json| event(json, 0)) {
            let sharing = sharing(&event);
            assert_eq!(sharing, event);
            for filter in &filters {
                assert_eq!(filter.matches(&sharing), filter.matches(&event), "{filter}: {event:?}");
            }
        }
    });
}

#[test]
fn who_shares_a_type_is_found_by_what_he_does_not_share() {
    let queries = (0..1000).map(|n| format!("type=delivery.completed&filter=u{n}&level=info"));
    let filters: Vec<Filter> = queries.map(|query| filter(&query)).collect();
    let index = FilterIndex::build(filters.iter());
    let event = event(r#"{"type":"delivery.completed","data":{"to":"u123@example.org"}}"#, 0);
    let mut found = Vec::new();
    index.candidates(&event, &mut EventTerms::default(), |number| found.push(number));
    found.sort_unstable();
    assert_eq!(found, [1, 12, 123]);
}

#[derive(Debug, Clone)]
enum Action {
    Join(String),
    /// Joins after a replay of all that was, while a batch is being routed.
    Replay(String, Vec<String>),
    /// The client of this number, modulo how many there are, goes with what is in its mailbox.
    Leave(usize),
    Route(Vec<String>),
    /// The client of this number handles its next message.
    Handle(usize),
    /// What is to be built is looked up.
    Plan,
    /// And built, and from now on used.
    Build,
}

/// Follows as the specification says, with a list.
#[derive(Debug, Clone, Default)]
struct Naive {
    followed: VecDeque<(String, u64)>,
}

impl Naive {
    fn wants(&mut self, filter: &Filter, event: &Event, capacity: usize, other: &Self) -> bool {
        let (own, limit) = match filter.canonical().split_once(LIMIT) {
            Some((own, limit)) => (self::filter(own), Some(self::filter(limit))),
            None => (filter.clone(), None),
        };
        if limit.is_some_and(|limit| !limit.matches(event)) {
            return false;
        }
        let matches = own.matches(event);
        let content = event.content();
        let (span, trace) = (content.span_id.as_deref(), content.trace_id.as_deref());
        let subject = match filter.follow() {
            Follow::None => None,
            Follow::Span => span,
            Follow::Trace => trace.or(span),
        };
        let Some(subject) = subject else {
            return matches;
        };
        if matches {
            self.follow(subject, event.offset, capacity);
        }
        let belongs =
            |(followed, since): &(String, u64)| followed == subject && *since <= event.offset;
        matches || self.followed.iter().chain(&other.followed).any(belongs)
    }

    fn follow(&mut self, subject: &str, offset: u64, capacity: usize) {
        match self.followed.iter_mut().find(|(followed, _)| followed == subject) {
            Some((_, since)) => *since = offset.min(*since),
            None => self.followed.push_back((subject.to_owned(), offset)),
        }
        if self.followed.len() > capacity {
            self.followed.pop_front();
        }
    }
}

struct Client {
    group: GroupHandle,
    mailbox: VecDeque<Arc<Delivery>>,
    got: Vec<u64>,
    expected: Vec<u64>,
}

/// A hub without actors.
struct World {
    capacity: usize,
    groups: Arc<FilterGroups>,
    router: Router,
    plan: Option<Plan>,
    /// All that was ever routed.
    events: Vec<Arc<Event>>,
    clients: Vec<Client>,
    /// What each group follows, by its serial number.
    naive: BTreeMap<u64, Naive>,
}

impl World {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            groups: Arc::new(FilterGroups::new(capacity)),
            router: Router::default(),
            plan: None,
            events: Vec::new(),
            clients: Vec::new(),
            naive: BTreeMap::new(),
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Join(query) => {
                let group = self.groups.join(filter(&query));
                self.join(group);
            }
            Action::Replay(query, events) => self.replay(&query, &events),
            Action::Leave(index) => self.leave(index),
            Action::Route(events) => {
                let (batch, candidates) = self.route(&events);
                self.send(&batch, candidates);
            }
            Action::Handle(index) => {
                let index = index.checked_rem(self.clients.len());
                index.into_iter().for_each(|index| self.handle(index));
            }
            Action::Plan => self.plan = Some(self.groups.index.plan()),
            Action::Build => {
                let plan = self.plan.take().unwrap_or_else(|| self.groups.index.plan());
                self.groups.index.install(plan.build(2));
            }
        }
    }

    fn join(&mut self, group: GroupHandle) {
        let (mailbox, got, expected) = (VecDeque::new(), Vec::new(), Vec::new());
        self.naive.entry(group.serial).or_default();
        self.clients.push(Client { group, mailbox, got, expected });
    }

    fn replay(&mut self, query: &str, events: &[String]) {
        let group = self.groups.join(filter(query));
        self.naive.entry(group.serial).or_default();
        // Who is in the group already follows what the newcomer found from some moment on; here, from this one.
        for index in 0..self.clients.len() {
            if self.clients[index].group.serial == group.serial {
                while !self.clients[index].mailbox.is_empty() {
                    self.handle(index);
                }
            }
        }
        let watch = group.watch();
        let mut follow = group.new_follow_set();
        let got: Vec<u64> =
            group.select_old(&mut follow, &self.events).iter().map(|event| event.offset).collect();
        let mut naive = Naive::default();
        let known = &self.naive[&group.serial];
        let wants = |event: &&Arc<Event>| naive.wants(group.filter(), event, self.capacity, known);
        let expected: Vec<u64> =
            self.events.iter().filter(wants).map(|event| event.offset).collect();
        assert_eq!(got, expected);
        for (subject, offset) in &naive.followed {
            let known = self.naive.get_mut(&group.serial).unwrap();
            known.follow(subject, *offset, self.capacity);
        }
        let (batch, candidates) = self.route_while(events, |world| {
            group.adopt(&follow);
            drop(watch);
            world.join(world.groups.join(filter(query)));
        });
        self.send(&batch, candidates);
    }

    fn leave(&mut self, index: usize) {
        if self.clients.is_empty() {
            return;
        }
        let Client { group, got, expected, .. } =
            self.clients.swap_remove(index % self.clients.len());
        group.catch_up();
        assert!(expected.starts_with(&got), "{got:?} of {expected:?} for {}", group.filter());
        if self.clients.iter().all(|client| client.group.serial != group.serial) {
            self.naive.remove(&group.serial);
        }
    }

    fn route(&mut self, events: &[String]) -> (Arc<EventBatch>, Vec<Candidate>) {
        self.route_while(events, |_| {})
    }

    fn route_while(
        &mut self,
        events: &[String],
        meanwhile: impl FnOnce(&mut Self),
    ) -> (Arc<EventBatch>, Vec<Candidate>) {
        let offsets = self.events.len() as u64..;
        let events: Vec<_> = offsets.zip(events).map(|(at, json)| event(json, at)).collect();
        let batch = Arc::new(EventBatch { position: 0, events, bytes: 1, lost: None });
        let candidates = self.router.candidates(&self.groups.index, &batch);
        meanwhile(self);
        self.events.extend(batch.events.iter().cloned());
        self.expect(&batch);
        (batch, candidates)
    }

    /// What is to come of a batch.
    fn expect(&mut self, batch: &EventBatch) {
        for event in &batch.events {
            for (serial, naive) in &mut self.naive {
                let mut clients: Vec<&mut Client> = self
                    .clients
                    .iter_mut()
                    .filter(|client| client.group.serial == *serial)
                    .collect();
                let filter = clients[0].group.filter();
                if naive.wants(filter, event, self.capacity, &Naive::default()) {
                    clients.iter_mut().for_each(|client| client.expected.push(event.offset));
                }
            }
        }
    }

    fn send(&mut self, batch: &Arc<EventBatch>, candidates: Vec<Candidate>) {
        let in_flight = InFlight::new(0, &Arc::default());
        for Candidate { group, concern } in candidates {
            let mut members: Vec<&mut Client> = self
                .clients
                .iter_mut()
                .filter(|client| client.group.serial == group.serial)
                .collect();
            assert!(!members.is_empty(), "{} is gone", group.filter());
            let delivery = group.enqueue(batch, concern, &in_flight);
            members.iter_mut().for_each(|client| client.mailbox.push_back(Arc::clone(&delivery)));
        }
    }

    fn handle(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if let Some(delivery) = client.mailbox.pop_front() {
            let matches = client.group.evaluate(&delivery);
            client.got.extend(matches.events.iter().map(|event| event.offset));
        }
    }

    /// Everything has come, and when all are gone nothing is left. Returns how many events came.
    fn finish(mut self) -> usize {
        let mut count = 0;
        for index in 0..self.clients.len() {
            while !self.clients[index].mailbox.is_empty() {
                self.handle(index);
            }
            let Client { group, got, expected, .. } = &self.clients[index];
            assert_eq!(got, expected, "{}", group.filter());
            count += got.len();
        }
        let index = Arc::clone(&self.groups.index);
        self.check_followers();
        drop(self);
        check_nothing_is_left(&index);
        count
    }

    /// With nothing in flight, the index knows just what the groups follow.
    fn check_followers(&self) {
        let follows = |naive: &Naive, id: &str| naive.followed.iter().any(|(other, _)| other == id);
        for id in ["s1", "s2", "s3", "s4", "t1", "t2", "a"] {
            let json = format!(r#"{{"type":"x","spanId":"{id}"}}"#);
            let subjects = self.groups.index.followers.subjects_of(&event(&json, 0));
            let mut followers = Vec::new();
            self.groups.index.followers.find(subjects, &mut followers);
            let expected = self.naive.values().filter(|naive| follows(naive, id)).count();
            assert_eq!(followers.len(), expected, "followers of {id}");
        }
    }
}

fn check_nothing_is_left(index: &MatchIndex) {
    assert!(index.followers.is_empty());
    assert!(index.view().recent.is_empty());
    index.install(index.plan().build(0));
    lock(&index.state).gone = usize::MAX / 2;
    index.install(index.plan().build(0));
    let view = index.view();
    assert!(view.joining.is_empty());
    assert!(view.generations.iter().all(|generation| generation.groups.is_empty()));
}

fn some_action() -> impl Strategy<Value = Action> {
    let batch = || vec(nasty::event(), 1..6);
    prop_oneof![
        6 => some_query().prop_map(Action::Join),
        2 => (some_query(), batch()).prop_map(|(query, events)| Action::Replay(query, events)),
        3 => any::<usize>().prop_map(Action::Leave),
        8 => batch().prop_map(Action::Route),
        16 => any::<usize>().prop_map(Action::Handle),
        1 => Just(Action::Plan),
        2 => Just(Action::Build),
    ]
}

/// A few filters that come again and again, so that they have groups of several.
fn some_life() -> impl Strategy<Value = (usize, Vec<Action>)> {
    let few = vec(some_query(), 4);
    let actions = vec((some_action(), option_of_few()), 10..120);
    let capacity = prop_oneof![Just(1_usize), Just(2), Just(1000)];
    (few, actions, capacity).prop_map(|(few, actions, capacity)| {
        let again = |(action, familiar): (Action, Option<usize>)| match (action, familiar) {
            (Action::Join(_), Some(index)) => Action::Join(few[index].clone()),
            (Action::Replay(_, events), Some(index)) => Action::Replay(few[index].clone(), events),
            (action, _) => action,
        };
        (capacity, actions.into_iter().map(again).collect())
    })
}

fn option_of_few() -> impl Strategy<Value = Option<usize>> {
    proptest::option::of(0..4_usize)
}

#[test]
fn index_and_group_make_of_every_event_what_every_filter_would() {
    let came = AtomicUsize::new(0);
    run(200, &some_life(), |(capacity, actions)| {
        let mut world = World::new(capacity);
        actions.into_iter().for_each(|action| world.act(action));
        came.fetch_add(world.finish(), Ordering::Relaxed);
    });
    let came = came.into_inner();
    assert!(came > 3_000, "only {came} events came");
}

#[test]
fn group_that_is_gone_is_forgotten() {
    let mut world = World::new(10);
    let begin = r#"{"type":"begin","spanId":"s"}"#.to_owned();
    let later = r#"{"type":"other","spanId":"s"}"#.to_owned();
    for action in [
        Action::Join("type=begin".to_owned()),
        Action::Join("type=other".to_owned()),
        Action::Join("type=none".to_owned()),
        Action::Build,
        Action::Route(vec![begin.clone()]),
    ] {
        world.act(action);
    }
    assert_eq!(world.route(std::slice::from_ref(&later)).1.len(), 2);
    // It goes with an event in its mailbox by which it would have come to follow.
    let weak = lock(&world.groups.index.state).old.groups.clone();
    let are_there = || weak.iter().filter(|group| group.strong_count() > 0).count();
    assert_eq!((are_there(), world.groups.index.followers.is_empty()), (3, false));
    world.act(Action::Leave(0));
    assert_eq!((are_there(), world.groups.index.followers.is_empty()), (2, true));
    assert_eq!(world.route(&[begin, later]).1.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn tables_are_built_when_there_are_many_and_not_again_at_once() {
    let groups = Arc::new(FilterGroups::new(10));
    let index = &groups.index;
    let join = |range: std::ops::Range<usize>| -> Vec<GroupHandle> {
        range.map(|n| groups.join(filter(&format!("filter=text-{n}")))).collect()
    };
    let recent = || lock(&index.state).recent.len();
    let built = async || {
        index.keep_up();
        while lock(&index.state).next_build.is_none() {
            tokio::task::yield_now().await;
        }
    };
    let few = join(0..FEW);
    built().await;
    assert_eq!(recent(), FEW);
    let many = join(FEW..100);
    built().await;
    assert_eq!(recent(), 0);
    let more = join(100..110);
    built().await;
    assert_eq!(recent(), 10, "it is too early");
    tokio::time::advance(MIN_REST).await;
    built().await;
    let sizes = || {
        let state = lock(&index.state);
        (state.old.groups.len(), state.young.groups.len(), state.gone)
    };
    assert_eq!((recent(), sizes()), (0, (100, 10, 0)));
    drop(many);
    tokio::time::advance(MIN_REST).await;
    built().await;
    assert_eq!((recent(), sizes()), (0, (26, 0, 0)));
    drop(few);
    tokio::time::advance(MIN_REST).await;
    built().await;
    assert_eq!((recent(), sizes()), (0, (26, 0, 16)), "so few are no burden");
    drop(more);
    tokio::time::advance(MIN_REST).await;
    built().await;
    assert_eq!((recent(), sizes()), (0, (0, 0, 0)));
    let crowd = join(200..200 + MANY);
    built().await;
    assert_eq!(recent(), MANY, "it is too early");
    let one_more = join(100..101);
    built().await;
    assert_eq!(recent(), 0, "they are too many to ask one by one");
    drop((crowd, one_more));
}

#[tokio::test(start_paused = true)]
async fn after_a_build_that_fails_there_is_another() {
    let groups = Arc::new(FilterGroups::new(10));
    let index = &groups.index;
    let few: Vec<_> = (0..=FEW).map(|n| groups.join(filter(&format!("filter=text-{n}")))).collect();
    lock(&index.state).next_build = None;
    let failed = std::panic::catch_unwind(|| {
        let _under_way = Building { index, begun: Instant::now() };
        panic!("a test asked for it");
    });
    assert!(failed.is_err() && lock(&index.state).next_build.is_some());
    tokio::time::advance(MIN_REST).await;
    index.keep_up();
    while !lock(&index.state).recent.is_empty() {
        tokio::task::yield_now().await;
    }
    drop(few);
}
