//! What reaches the subscribers of many filters is what each filter makes of every event, asked one by one, and `follow`
//! of it as the specification says: while filters come and go, tables are built, and the collector fails.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use telemetry_hub_actors::{
    Delivered, Event, Fault, Filter, Follow, HubConfig, HubHandle, NewEvent, Subscription,
    TraceQuery, event::json,
};
use tokio::sync::Semaphore;

use crate::harness::{
    eventually, eventually_stats, numbered, numbers, patiently, read_replay, read_until, start,
    subscribe,
};
use crate::nasty;

/// Matches every event.
const WITNESS: &str = "level=trace&follow=none";

#[derive(Debug, Clone)]
enum Action {
    Join(String),
    /// The client of this number, modulo how many there are, goes.
    Leave(usize),
    Ingest(Vec<String>),
    /// Enough for tables to be built anew.
    TimePasses,
    Break(Fault),
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    follow_capacity: usize,
    batch_bytes: usize,
}

/// What a filter follows: a list, the oldest first.
#[derive(Debug, Default)]
struct Followed(VecDeque<String>);

impl Followed {
    fn wants(&mut self, filter: &Filter, event: &Event, capacity: usize) -> bool {
        let matches = filter.matches(event);
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
        let is_followed = self.0.iter().any(|other| other == subject);
        if matches && !is_followed {
            self.0.push_back(subject.to_owned());
            if self.0.len() > capacity {
                self.0.pop_front();
            }
        }
        matches || is_followed
    }
}

struct Client {
    subscription: Subscription,
    filter: Filter,
    /// How many events had been accepted when it came.
    since: usize,
    got: Vec<Arc<Event>>,
}

struct Group {
    /// How many events had been accepted when its first client came.
    since: usize,
    clients: usize,
}

struct World {
    hub: HubHandle,
    bounds: Bounds,
    /// Sees every event.
    witness: Subscription,
    events: Vec<Arc<Event>>,
    accepted: usize,
    clients: Vec<Client>,
    /// Those that have got all there is.
    done: Vec<Subscription>,
    groups: HashMap<String, Group>,
}

impl World {
    async fn start(bounds: Bounds) -> Self {
        let hub = start(HubConfig {
            follow_capacity: bounds.follow_capacity,
            batch_bytes: bounds.batch_bytes,
            subscriber_queue_bytes: 1 << 30,
            ..HubConfig::default()
        })
        .await;
        let witness = subscribe(&hub, WITNESS).await;
        let (events, clients, done) = (Vec::new(), Vec::new(), Vec::new());
        let canonical = filter(WITNESS).canonical().to_owned();
        let groups = HashMap::from([(canonical, Group { since: 0, clients: 1 })]);
        Self { hub, bounds, witness, events, accepted: 0, clients, done, groups }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Join(query) => self.join(&query).await,
            Action::Leave(index) => self.leave(index).await,
            Action::Ingest(events) => {
                let events = events.iter().map(|json| json::read(json.as_bytes(), usize::MAX));
                let events: Vec<_> = events.collect::<Result<_, _>>().unwrap();
                self.accepted += events.len();
                patiently(self.hub.ingest(events)).await.unwrap();
            }
            Action::TimePasses => tokio::time::advance(Duration::from_secs(1)).await,
            Action::Break(fault) => {
                // Not more often than the hub puts up with.
                tokio::time::advance(Duration::from_secs(2)).await;
                self.hub.inject(fault).await;
            }
        }
    }

    async fn join(&mut self, query: &str) {
        let filter = filter(query);
        let since = self.accepted;
        let new = || Group { since, clients: 0 };
        self.groups.entry(filter.canonical().to_owned()).or_insert_with(new).clients += 1;
        let subscription = subscribe(&self.hub, query).await;
        self.clients.push(Client { subscription, filter, since, got: Vec::new() });
    }

    async fn leave(&mut self, index: usize) {
        if self.clients.is_empty() {
            return;
        }
        let gone = self.clients.swap_remove(index % self.clients.len());
        let canonical = gone.filter.canonical().to_owned();
        let group = self.groups.get_mut(&canonical).unwrap();
        group.clients -= 1;
        if group.clients == 0 {
            self.groups.remove(&canonical);
        }
        drop(gone);
        // Until its actor has ended, its filter still remembers. The witness is a subscriber too.
        let left = (self.clients.len() + 1, self.groups.len());
        eventually_stats(&self.hub, |stats| (stats.subscribers, stats.filters) == left).await;
    }

    /// Everything that was to come has come, and nothing else.
    async fn finish(mut self) -> usize {
        let accepted = self.accepted as u64;
        eventually(|| self.witness.stats().matched, |matched| *matched == accepted).await;
        read_all(&mut self.witness, &mut self.events);
        let mut count = 0;
        for mut client in std::mem::take(&mut self.clients) {
            let expected = self.expected(&client);
            let matched = || client.subscription.stats().matched as usize;
            eventually(matched, |matched| *matched >= expected.len()).await;
            read_all(&mut client.subscription, &mut client.got);
            let got = client.got.iter().map(|event| self.number(event)).collect::<Vec<_>>();
            assert_eq!(got, expected, "{}", client.filter);
            count += got.len();
            self.done.push(client.subscription);
        }
        // Nothing is on its way to anybody.
        eventually_stats(&self.hub, |stats| stats.queued == 0).await;
        let sent = self.done.iter().map(|subscription| subscription.stats().matched as usize);
        assert_eq!(sent.sum::<usize>(), count);
        count
    }

    /// The numbers of the events that a client gets.
    fn expected(&self, client: &Client) -> Vec<usize> {
        let group = &self.groups[client.filter.canonical()];
        let mut followed = Followed::default();
        let events = self.events.iter().enumerate().skip(group.since);
        let capacity = self.bounds.follow_capacity;
        let wanted = events.filter(|(_, event)| followed.wants(&client.filter, event, capacity));
        wanted.map(|(number, _)| number).filter(|number| *number >= client.since).collect()
    }

    fn number(&self, event: &Event) -> usize {
        self.events.binary_search_by_key(&event.id(), |event| event.id()).unwrap()
    }
}

fn filter(query: &str) -> Filter {
    TraceQuery::parse(query, None).unwrap().filter
}

fn read_all(subscription: &mut Subscription, events: &mut Vec<Arc<Event>>) {
    while let Some(delivered) = subscription.next().now_or_never() {
        match delivered.expect("nothing ends these streams") {
            Delivered::Events(batch) => events.extend(batch),
            Delivered::Gap(gap) => panic!("nobody misses anything: {gap:?}"),
            Delivered::CaughtUp { .. } | Delivered::Bye(_) => panic!("nobody said so"),
        }
    }
}

async fn live_through(bounds: Bounds, actions: Vec<Action>) -> usize {
    let mut world = World::start(bounds).await;
    for action in actions {
        world.act(action).await;
    }
    world.finish().await
}

fn some_action(follow_capacity: usize) -> impl Strategy<Value = Action> {
    // A batch that is routed a second time is evaluated by what is followed by then: only what was forgotten in it can
    // tell, and here nothing is.
    let forgets = follow_capacity < 10;
    let fault =
        prop_oneof![Just(Fault::KillCollector), (0..30_u32).prop_map(Fault::PanicCollectorAfter)];
    let fault = fault
        .prop_map(move |fault| Action::Break(if forgets { Fault::KillCollector } else { fault }));
    prop_oneof![
        3 => nasty::query().prop_map(Action::Join),
        2 => any::<usize>().prop_map(Action::Leave),
        8 => vec(nasty::event(), 1..8).prop_map(Action::Ingest),
        2 => Just(Action::TimePasses),
        1 => fault,
    ]
}

/// Begins with enough filters for tables to be worth while.
fn some_life() -> impl Strategy<Value = (Bounds, Vec<Action>)> {
    let bounds = (
        prop_oneof![Just(1_usize), Just(2), Just(1000)],
        prop_oneof![Just(1_usize), Just(1000), Just(100_000)],
    );
    bounds.prop_flat_map(|(follow_capacity, batch_bytes)| {
        let joins = vec(nasty::query().prop_map(Action::Join), 20..40);
        let actions = vec(some_action(follow_capacity), 10..50);
        (joins, actions).prop_map(move |(joins, actions)| {
            (Bounds { follow_capacity, batch_bytes }, joins.into_iter().chain(actions).collect())
        })
    })
}

#[test]
fn every_subscriber_gets_what_its_filter_would_make_of_every_event() {
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let count = AtomicUsize::new(0);
    let result = TestRunner::new(config).run(&some_life(), |(bounds, actions)| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let came = runtime.block_on(live_through(bounds, actions));
        count.fetch_add(came, Ordering::Relaxed);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    // Were there hardly any, the property would say hardly anything.
    let count = count.into_inner();
    assert!(count > 10_000, "only {count} events came");
}

/// What a newcomer's replay has found worth following is followed from its first live event on, whatever is routed while
/// it joins.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn newcomer_that_replays_under_load_follows_without_a_hole() {
    const NEWCOMERS: u64 = 40;
    const EVENTS: u64 = 100;
    let hub = start(HubConfig { linger: Duration::ZERO, ..HubConfig::default() }).await;
    let begin = NewEvent { kind: Some("begin".into()), ..numbered(0).span("s") };
    hub.ingest(vec![begin]).await.unwrap();
    let room = Arc::new(Semaphore::new(0));
    let (source, permits) = (hub.clone(), Arc::clone(&room));
    let flow = tokio::spawn(async move {
        for number in 1..=NEWCOMERS * EVENTS {
            permits.acquire().await.unwrap().forget();
            source.ingest(vec![numbered(number).span("s")]).await.unwrap();
        }
    });
    let mut readers = Vec::new();
    for newcomer in 0..NEWCOMERS {
        // So many come while it joins; it is the only one with its filter.
        room.add_permits(EVENTS as usize);
        let query = format!("type=begin&type=newcomer-{newcomer}&since=1h");
        let mut subscription = subscribe(&hub, &query).await;
        let replayed = numbers(&read_replay(&mut subscription).await);
        readers.push((subscription, replayed));
    }
    flow.await.unwrap();
    for (mut subscription, mut seen) in readers {
        let last = NEWCOMERS * EVENTS;
        if seen.last() != Some(&last) {
            seen.extend(numbers(&read_until(&mut subscription, last).await));
        }
        assert_eq!(seen, (0..=last).collect::<Vec<_>>());
    }
}
