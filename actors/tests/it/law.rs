//! The law, as a property: matched = sent + missed + queued, for every subscriber at every moment, whatever it reads,
//! whatever breaks. What matches is computed here a second time, by a model that knows nothing of the crate's filters.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use telemetry_hub_actors::{
    EventId, Fault, Gap, GapReason, HubConfig, HubHandle, Level, NewEvent, Subscription,
};

use crate::harness::{
    Said, check_law, eventually_stats, flat, ids, numbers, patiently, read_replay, start, subscribe,
};

/// An event in short.
#[derive(Debug, Clone, Copy)]
struct Spec {
    red: bool,
    warn: Option<bool>,
    span: Option<u8>,
    trace: Option<u8>,
    padding: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wish {
    Everything,
    Red,
    Warn,
    BlueAndWarn,
    TenthAndRed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Follow {
    None,
    Span,
    Trace,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Live,
    Last(usize),
    /// After the event so many from the end.
    After(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Reads all there is, after every step.
    Fast,
    /// Reads one thing, after every step.
    Slow,
    /// Reads at the end only.
    Stalled,
}

/// So many live events a second.
type MaxRate = usize;

#[derive(Debug, Clone)]
enum Action {
    Join(Wish, Follow, Start, Reader, Option<MaxRate>),
    Ingest(Vec<Spec>),
    /// The subscriber of this number, modulo how many there are, goes.
    Leave(usize),
    Break(Fault),
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    subscriber_queue_bytes: usize,
    batch_bytes: usize,
    linger: Duration,
}

/// So much that nobody ever misses anything.
const PLENTY: usize = 8 << 20;

impl Spec {
    fn event(self, number: usize) -> NewEvent {
        let mut event = NewEvent::new(if self.red { "is.red" } else { "is.blue" })
            .with("n", number as u64)
            .text(&"x".repeat(self.padding));
        event.level =
            self.warn.map(|is_warning| if is_warning { Level::Warn } else { Level::Debug });
        event.span_id = self.span.map(|span| format!("s{span}").into());
        event.trace_id = self.trace.map(|trace| format!("t{trace}").into());
        event
    }

    /// What a filter follows: a trace, a span, or nothing.
    fn subject(self, follow: Follow) -> Option<(char, u8)> {
        let span = self.span.map(|span| ('s', span));
        match follow {
            Follow::None => None,
            Follow::Span => span,
            Follow::Trace => self.trace.map(|trace| ('t', trace)).or(span),
        }
    }
}

impl Wish {
    fn query(self) -> &'static str {
        match self {
            Self::Everything => "",
            Self::Red => "type=Red&type=red",
            Self::Warn => "level=warn",
            Self::BlueAndWarn => "type=blue&level=warn",
            Self::TenthAndRed => "n=10&n=20&n=30&n=40&filter=red",
        }
    }

    fn wants(self, spec: Spec, number: usize) -> bool {
        let is_warning = spec.warn == Some(true);
        match self {
            Self::Everything => true,
            Self::Red => spec.red,
            Self::Warn => is_warning,
            Self::BlueAndWarn => !spec.red && is_warning,
            Self::TenthAndRed => [10, 20, 30, 40].contains(&number) && spec.red,
        }
    }
}

type Group = (Wish, Follow);

/// What must come out, computed anew from all that went in.
#[derive(Debug, Default)]
struct Model {
    accepted: Vec<Spec>,
    /// For each filter that somebody has: how many have it, and from which event on it remembers what it matched.
    groups: HashMap<Group, (usize, usize)>,
}

impl Model {
    fn passes(&self, (wish, follow): Group, number: usize, remembers_from: usize) -> bool {
        let spec = self.accepted[number];
        let starts_it = |earlier: usize| {
            self.accepted[earlier].subject(follow) == spec.subject(follow)
                && wish.wants(self.accepted[earlier], earlier)
        };
        wish.wants(spec, number)
            || (spec.subject(follow).is_some() && (remembers_from..number).any(starts_it))
    }

    /// Takes note of a newcomer, and says what it gets at once.
    fn join(&mut self, group: Group, start: Start) -> Vec<usize> {
        let head = self.accepted.len();
        let (holders, remembers_from) = self.groups.entry(group).or_insert((0, head));
        *holders += 1;
        let replayed = |model: &Self, from: usize| {
            (from..head).filter(|number| model.passes(group, *number, 0)).collect::<Vec<_>>()
        };
        match start {
            Start::Live => return Vec::new(),
            // Who replays reads all there is, and what it remembers the whole group remembers.
            Start::Last(_) | Start::After(_) => *remembers_from = 0,
        }
        match start {
            Start::Live => Vec::new(),
            Start::Last(count) => {
                let all = replayed(self, 0);
                all[all.len().saturating_sub(count)..].to_vec()
            }
            Start::After(back) => replayed(self, head.saturating_sub(back)),
        }
    }

    fn leave(&mut self, group: Group) {
        let (holders, _) = self.groups.get_mut(&group).unwrap();
        *holders -= 1;
        if *holders == 0 {
            self.groups.remove(&group);
        }
    }

    /// Which of the events from a number on a group's subscribers get live.
    fn live(&self, group: Group, from: usize) -> Vec<usize> {
        let (_, remembers_from) = self.groups[&group];
        (from..self.accepted.len())
            .filter(|number| self.passes(group, *number, remembers_from))
            .collect()
    }
}

struct Client {
    subscription: Subscription,
    reader: Reader,
    record: Record,
}

/// What a subscriber was told, and what it should have been.
struct Record {
    group: Group,
    max_rate: Option<MaxRate>,
    expected: Vec<usize>,
    said: Vec<Said>,
}

impl Client {
    fn say(&mut self) -> bool {
        let Some(delivered) = self.subscription.next().now_or_never() else {
            return false;
        };
        self.record.said.extend(flat(delivered.expect("nothing ends these streams")));
        check_law(self.subscription.stats());
        true
    }

    fn read(&mut self) {
        match self.reader {
            Reader::Fast => while self.say() {},
            Reader::Slow => {
                self.say();
            }
            Reader::Stalled => {}
        }
    }
}

impl Record {
    /// Checks that what was said is what was expected, in order, each event either there or in a gap in its place.
    /// Returns what is still to come.
    fn check<'a>(&'a self, id_of: &[EventId]) -> &'a [usize] {
        assert_eq!(self.max_rate, None);
        let mut rest = &self.expected[..];
        for said in &self.said {
            match said {
                Said::Event(number, id) => {
                    assert_eq!(rest.first(), Some(&usize::try_from(*number).unwrap()), "{said:?}");
                    assert_eq!(*id, id_of[rest[0]]);
                    rest = &rest[1..];
                }
                Said::Gap(gap) => {
                    assert_eq!(gap.reason, GapReason::Slow);
                    let missed = usize::try_from(gap.missed.unwrap()).unwrap();
                    assert!((1..=rest.len()).contains(&missed), "{gap:?} of {rest:?}");
                    assert_eq!(gap.from, Some(id_of[rest[0]]));
                    assert_eq!(gap.to, Some(id_of[rest[missed - 1]]));
                    rest = &rest[missed..];
                }
                Said::CaughtUp(_) => {}
                Said::Bye(_) => panic!("nobody said goodbye"),
            }
        }
        rest
    }

    /// Checks the same of who gets a sample, whose gaps of that kind stand among what was sent: all that was said was expected,
    /// in order, and no gap begins or ends with what was sent. Returns how many are still to come.
    fn check_sample(&self, id_of: &[EventId]) -> usize {
        let numbers: Vec<usize> =
            numbers(&self.said).iter().map(|number| usize::try_from(*number).unwrap()).collect();
        let is_expected = |id: EventId| self.expected.iter().any(|number| id_of[*number] == id);
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        assert!(numbers.iter().all(|number| is_expected(id_of[*number])), "{numbers:?}");
        for gap in self.said.iter().filter_map(gap) {
            let (from, to) = (gap.from.unwrap(), gap.to.unwrap());
            assert!(from <= to && is_expected(from) && is_expected(to), "{gap:?}");
            assert!(numbers.iter().all(|number| ![from, to].contains(&id_of[*number])), "{gap:?}");
            let stretch =
                self.expected.iter().filter(|number| (from..=to).contains(&id_of[**number]));
            assert!(gap.missed.unwrap() <= stretch.count() as u64, "{gap:?}");
        }
        let missed = self.missed(GapReason::Slow) + self.missed(GapReason::Sampled);
        let told = numbers.len() + usize::try_from(missed).unwrap();
        self.expected.len().checked_sub(told).expect("no more was said than was expected")
    }

    /// How many are still to come.
    fn to_come(&self, id_of: &[EventId]) -> usize {
        match self.max_rate {
            None => self.check(id_of).len(),
            Some(_) => self.check_sample(id_of),
        }
    }

    fn missed(&self, reason: GapReason) -> u64 {
        let gaps = self.said.iter().filter_map(gap);
        gaps.filter(|gap| gap.reason == reason).map(|gap| gap.missed.unwrap()).sum()
    }
}

fn gap(said: &Said) -> Option<&Gap> {
    match said {
        Said::Gap(gap) => Some(gap),
        Said::Event(..) | Said::CaughtUp(_) | Said::Bye(_) => None,
    }
}

struct World {
    hub: HubHandle,
    bounds: Bounds,
    model: Model,
    clients: Vec<Client>,
    gone: Vec<Record>,
}

impl World {
    async fn start(bounds: Bounds) -> Self {
        let Bounds { subscriber_queue_bytes, batch_bytes, linger } = bounds;
        let hub = start(HubConfig {
            subscriber_queue_bytes,
            batch_bytes,
            linger,
            stall_timeout: Duration::from_secs(86_400),
            ..HubConfig::default()
        })
        .await;
        let (model, clients, gone) = (Model::default(), Vec::new(), Vec::new());
        Self { hub, bounds, model, clients, gone }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Join(wish, follow, start, reader, max_rate) => {
                self.join((wish, follow), start, reader, max_rate).await;
            }
            Action::Ingest(specs) => self.ingest(specs).await,
            Action::Leave(index) => self.leave(index).await,
            Action::Break(fault) => {
                // Not more often than the hub puts up with.
                tokio::time::advance(Duration::from_secs(2)).await;
                self.hub.inject(fault).await;
            }
        }
        self.clients.iter_mut().for_each(Client::read);
    }

    async fn join(
        &mut self,
        (wish, follow): Group,
        start: Start,
        reader: Reader,
        max_rate: Option<MaxRate>,
    ) {
        // What matches everything has nothing to follow.
        let follow = if wish == Wish::Everything { Follow::None } else { follow };
        let rate = max_rate.map(|rate| format!("&max-rate={rate}")).unwrap_or_default();
        let follow_name = format!("{follow:?}").to_lowercase();
        let query = format!("{}&follow={follow_name}{rate}", wish.query());
        let (query, replays) = match start {
            Start::Live => (query, false),
            Start::Last(count) => (format!("{query}&replay={count}"), true),
            Start::After(back) if back >= self.model.accepted.len() => {
                (format!("{query}&since=1h"), true)
            }
            Start::After(back) => {
                (format!("{query}&since={}", self.id_from_the_end(back + 1).await), true)
            }
        };
        let mut subscription = subscribe(&self.hub, &query).await;
        let said = if replays { read_replay(&mut subscription).await } else { Vec::new() };
        let expected = self.model.join((wish, follow), start);
        let record = Record { group: (wish, follow), max_rate, expected, said };
        self.clients.push(Client { subscription, reader, record });
    }

    async fn ingest(&mut self, specs: Vec<Spec>) {
        let from = self.model.accepted.len();
        let events = specs.iter().enumerate().map(|(index, spec)| spec.event(from + index));
        patiently(self.hub.ingest(events.collect())).await.unwrap();
        self.model.accepted.extend(specs);
        for client in &mut self.clients {
            let record = &mut client.record;
            record.expected.extend(self.model.live(record.group, from));
        }
        self.settle().await;
    }

    /// Waits until every event has reached every outbox, or been counted as missed there. This clock moves only once
    /// nobody has anything left to do.
    async fn settle(&self) {
        let mut ticks = tokio::time::interval(self.bounds.linger + Duration::from_millis(1));
        for _ in 0..4 {
            ticks.tick().await;
        }
        for client in &self.clients {
            let stats = client.subscription.stats();
            check_law(stats);
            assert_eq!(stats.matched, client.record.expected.len() as u64);
        }
    }

    async fn leave(&mut self, index: usize) {
        if self.clients.is_empty() {
            return;
        }
        let index = index % self.clients.len();
        let Client { subscription, record, .. } = self.clients.swap_remove(index);
        self.model.leave(record.group);
        self.gone.push(record);
        drop(subscription);
        // Until its actor has ended, its filter still remembers.
        let left = (self.clients.len(), self.model.groups.len());
        eventually_stats(&self.hub, |stats| (stats.subscribers, stats.filters) == left).await;
    }

    async fn all_ids(&self) -> Vec<EventId> {
        let mut subscription = subscribe(&self.hub, "replay=1000000").await;
        let ids = ids(&read_replay(&mut subscription).await);
        drop(subscription);
        let left = self.clients.len();
        eventually_stats(&self.hub, |stats| stats.subscribers == left).await;
        ids
    }

    async fn id_from_the_end(&self, back: usize) -> EventId {
        let ids = self.all_ids().await;
        ids[ids.len() - back]
    }

    /// Waits until all that a sample has left out has been told: a second, and a tick of the sweeper.
    async fn wait_for_samples(&self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(2_100));
        for _ in 0..2 {
            ticks.tick().await;
        }
    }

    /// Reads everything, checks everything, and says how many events were missed, and left out.
    async fn finish(mut self) -> (u64, u64) {
        // Whatever came twice would come before these.
        let last = Spec { red: true, warn: Some(true), span: None, trace: None, padding: 0 };
        self.ingest(vec![last, Spec { red: false, ..last }]).await;
        let id_of = self.all_ids().await;
        assert_eq!(id_of.len(), self.model.accepted.len());
        self.wait_for_samples().await;
        let (mut missed, mut left_out) = (0, 0);
        for client in &mut self.clients {
            while client.say() {}
            let record = &client.record;
            assert_eq!(record.to_come(&id_of), 0, "{:?}", record.said);
            let stats = client.subscription.stats();
            let (slow, sampled) =
                (record.missed(GapReason::Slow), record.missed(GapReason::Sampled));
            assert_eq!((stats.queued, stats.missed), (0, slow + sampled));
            missed += slow;
            left_out += sampled;
        }
        for record in &self.gone {
            record.to_come(&id_of);
        }
        if self.bounds.subscriber_queue_bytes == PLENTY {
            assert_eq!(missed, 0);
        }
        (missed, left_out)
    }
}

async fn live_through(bounds: Bounds, actions: Vec<Action>) -> (u64, u64) {
    let mut world = World::start(bounds).await;
    for action in actions {
        world.act(action).await;
    }
    world.finish().await
}

fn some_spec() -> impl Strategy<Value = Spec> {
    let subject = || proptest::option::of(0..4_u8);
    let parts = (any::<bool>(), any::<Option<bool>>(), subject(), subject(), 0..400_usize);
    parts.prop_map(|(red, warn, span, trace, padding)| Spec { red, warn, span, trace, padding })
}

fn some_join() -> impl Strategy<Value = Action> {
    let wish = prop_oneof![
        Just(Wish::Everything),
        Just(Wish::Red),
        Just(Wish::Warn),
        Just(Wish::BlueAndWarn),
        Just(Wish::TenthAndRed),
    ];
    let follow = prop_oneof![Just(Follow::None), Just(Follow::Span), Just(Follow::Trace)];
    let start = prop_oneof![
        2 => Just(Start::Live),
        1 => (0..40_usize).prop_map(Start::Last),
        1 => (0..40_usize).prop_map(Start::After),
    ];
    let reader = prop_oneof![Just(Reader::Fast), Just(Reader::Slow), Just(Reader::Stalled)];
    let rate = proptest::option::weighted(0.3, prop_oneof![Just(1), Just(3), Just(20)]);
    (wish, follow, start, reader, rate).prop_map(|(w, f, s, r, m)| Action::Join(w, f, s, r, m))
}

fn some_action() -> impl Strategy<Value = Action> {
    let fault = prop_oneof![
        Just(Fault::KillCollector),
        Just(Fault::PanicCollector),
        (0..20_u32).prop_map(Fault::PanicCollectorAfter),
    ];
    prop_oneof![
        4 => some_join(),
        6 => proptest::collection::vec(some_spec(), 1..12).prop_map(Action::Ingest),
        1 => any::<usize>().prop_map(Action::Leave),
        2 => fault.prop_map(Action::Break),
    ]
}

fn some_bounds() -> impl Strategy<Value = Bounds> {
    let queue = prop_oneof![Just(1), Just(2_000), Just(6_000), Just(PLENTY)];
    let batch = prop_oneof![Just(1), Just(1_500), Just(100_000)];
    let linger = prop_oneof![Just(Duration::ZERO), Just(Duration::from_millis(5))];
    (queue, batch, linger).prop_map(|(subscriber_queue_bytes, batch_bytes, linger)| Bounds {
        subscriber_queue_bytes,
        batch_bytes,
        linger,
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(future)
}

#[test]
fn every_event_that_matches_is_sent_or_reported_missed_or_queued() {
    const CASES: u32 = 200;
    let with_gaps = AtomicUsize::new(0);
    let with_samples = AtomicUsize::new(0);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let actions = proptest::collection::vec(some_action(), 5..30);
    let result = TestRunner::new(config).run(&(some_bounds(), actions), |(bounds, actions)| {
        let (missed, left_out) = block_on(live_through(bounds, actions));
        with_gaps.fetch_add(usize::from(missed > 0), Ordering::Relaxed);
        with_samples.fetch_add(usize::from(left_out > 0), Ordering::Relaxed);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    // Were there hardly any, the property would say hardly anything.
    let with_gaps = with_gaps.into_inner();
    assert!(with_gaps > CASES as usize / 4, "only {with_gaps} of {CASES} had gaps");
    let with_samples = with_samples.into_inner();
    assert!(with_samples > CASES as usize / 4, "only {with_samples} of {CASES} had samples");
}

#[test]
fn stalled_reader_with_little_room_surely_misses_some() {
    let spec = Spec { red: true, warn: None, span: None, trace: None, padding: 300 };
    let bounds = Bounds { subscriber_queue_bytes: 2_000, batch_bytes: 1, linger: Duration::ZERO };
    let mut actions =
        vec![Action::Join(Wish::Red, Follow::None, Start::Live, Reader::Stalled, None)];
    actions.extend(std::iter::repeat_n(Action::Ingest(vec![spec; 4]), 5));
    assert!(block_on(live_through(bounds, actions)).0 > 10);
}

#[test]
fn reader_with_plenty_of_room_misses_nothing() {
    let spec = Spec { red: true, warn: None, span: Some(1), trace: None, padding: 300 };
    let bounds = Bounds { subscriber_queue_bytes: PLENTY, batch_bytes: 1, linger: Duration::ZERO };
    let mut actions = vec![
        Action::Join(Wish::Red, Follow::Span, Start::Live, Reader::Fast, None),
        Action::Join(Wish::Red, Follow::Span, Start::Live, Reader::Stalled, None),
    ];
    actions.extend(std::iter::repeat_n(Action::Ingest(vec![spec; 12]), 20));
    assert_eq!(block_on(live_through(bounds, actions)), (0, 0));
}

#[test]
#[should_panic(expected = "left: None")]
fn model_sees_an_event_too_many() {
    let id: EventId = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000".parse().unwrap();
    let group = (Wish::Everything, Follow::None);
    let said = vec![Said::Event(0, id)];
    Record { group, max_rate: None, expected: Vec::new(), said }.check(&[id]);
}

#[test]
#[should_panic(expected = "left: Some")]
fn model_sees_a_gap_in_the_wrong_place() {
    let [first, second] = ["1", "2"].map(|end| format!("0199aaaa-bbbb-7ccc-8ddd-eeeeffff000{end}"));
    let id_of = [first, second].map(|id| id.parse::<EventId>().unwrap());
    let (from, to) = (Some(id_of[1]), Some(id_of[1]));
    let gap = Gap { reason: GapReason::Slow, missed: Some(1), from, to };
    let group = (Wish::Everything, Follow::None);
    let said = vec![Said::Gap(gap)];
    Record { group, max_rate: None, expected: vec![0, 1], said }.check(&id_of);
}
