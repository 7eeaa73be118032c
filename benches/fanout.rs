//! What does it cost to bring ten events to every subscriber? With one filter, with 100 distinct ones, and beside a
//! subscriber that never reads, where the slowest rounds count: their 99th percentile is printed, too. The floor: a bare `tokio::sync::broadcast` to as many tasks.
//!
//! Each run checks its sum: all that was offered was delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use telemetry_hub_actors::{Delivered, HubConfig, HubHandle, NewEvent, Subscription, TraceQuery};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::sample;

const EVENTS: u64 = 10;
const SUBSCRIBERS: [u64; 3] = [1, 100, 10_000];

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = fanout, stalled
}

fn fanout(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fanout");
    for subscribers in SUBSCRIBERS {
        group.throughput(Throughput::Elements(EVENTS * subscribers));
        for filters in [1, 100] {
            let id = BenchmarkId::new(format!("hub-{filters}-filters"), subscribers);
            let runtime = sample::runtime();
            let bed = runtime.block_on(Bed::new(subscribers, filters, 0));
            group.bench_function(id, |bencher| bencher.to_async(&runtime).iter(|| bed.round()));
            runtime.block_on(bed.check());
        }
        let runtime = sample::runtime();
        let floor = Floor::new(&runtime, subscribers);
        group.bench_function(BenchmarkId::new("floor-broadcast", subscribers), |bencher| {
            bencher.to_async(&runtime).iter(|| floor.round());
        });
    }
    group.finish();
}

fn stalled(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fanout-beside-stalled");
    group.throughput(Throughput::Elements(EVENTS * 100));
    for stalled in [0, 1] {
        let runtime = sample::runtime();
        let bed = runtime.block_on(Bed::new(100, 1, stalled));
        let mut is_run = false;
        group.bench_function(BenchmarkId::new("stalled", stalled), |bencher| {
            is_run = true;
            bencher.to_async(&runtime).iter(|| bed.round());
        });
        if !is_run {
            continue;
        }
        let [median, p99] = runtime.block_on(bed.percentiles());
        println!("fanout-beside-stalled/stalled/{stalled}: p50 {median:?}, p99 {p99:?}");
        runtime.block_on(bed.check());
    }
    group.finish();
}

/// How many events have arrived in all, and who waits for them.
#[derive(Default)]
struct Arrivals {
    count: AtomicU64,
    target: AtomicU64,
    reached: Notify,
}

impl Arrivals {
    fn expect_more(&self, more: u64) {
        self.target.fetch_add(more, Ordering::SeqCst);
    }

    fn note(&self, events: u64) {
        let count = self.count.fetch_add(events, Ordering::SeqCst) + events;
        if count == self.target.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }
}

/// A hub and its readers, a task each.
struct Bed {
    hub: HubHandle,
    arrivals: Arc<Arrivals>,
    subscribers: u64,
    readers: JoinSet<()>,
    /// Never read, as long as they are held.
    stalled: Vec<Subscription>,
}

impl Bed {
    async fn new(subscribers: u64, filters: u64, stalled: u64) -> Self {
        // Nobody is cut: the one that stalls does so to the end.
        let (linger, stall_timeout) = (Duration::ZERO, Duration::from_secs(3600));
        let config = HubConfig { linger, stall_timeout, ..HubConfig::default() };
        let hub = HubHandle::start(config).await.expect("a hub starts");
        let arrivals = Arc::new(Arrivals::default());
        let mut readers = JoinSet::new();
        for number in 0..subscribers {
            let query = format!("filter=word{:03}", number % filters);
            let query = TraceQuery::parse(&query, None).expect("a good query");
            let subscription = hub.subscribe(query).await.expect("there is room");
            readers.spawn(read(subscription, Arc::clone(&arrivals)));
        }
        let mut bed = Self { hub, arrivals, subscribers, readers, stalled: Vec::new() };
        for _ in 0..stalled {
            let subscription = bed.hub.subscribe(TraceQuery::everything()).await;
            bed.stalled.push(subscription.expect("there is room"));
        }
        bed
    }

    /// From one call of `ingest` to the last event in the last reader's hands.
    async fn round(&self) {
        self.arrivals.expect_more(EVENTS * self.subscribers);
        let events = (0..EVENTS).map(|_| event()).collect();
        self.hub.ingest(events).await.expect("there is room");
        self.arrivals.reached.notified().await;
    }

    /// Half of the rounds, and 99 of 100, take no longer than this.
    async fn percentiles(&self) -> [Duration; 2] {
        const ROUNDS: usize = 2000;
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            self.round().await;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        [times[ROUNDS / 2], times[ROUNDS * 99 / 100]]
    }

    async fn check(mut self) {
        let (stats, arrivals) = (self.hub.stats(), &self.arrivals);
        assert_eq!(stats.delivered, stats.received * self.subscribers, "{stats:?}");
        assert_eq!(stats.delivered, arrivals.count.load(Ordering::SeqCst));
        self.readers.shutdown().await;
    }
}

async fn read(mut subscription: Subscription, arrivals: Arc<Arrivals>) {
    while let Some(delivered) = subscription.next().await {
        match delivered {
            Delivered::Events(events) => arrivals.note(events.len() as u64),
            Delivered::Gap(gap) => panic!("{gap:?}"),
            Delivered::CaughtUp { .. } | Delivered::Bye(_) => {}
        }
    }
}

/// An event that each of the hundred filters matches.
fn event() -> NewEvent {
    let words: Vec<String> = (0..100).map(|number| format!("word{number:03}")).collect();
    NewEvent::new("bench").text(&words.join(" "))
}

/// The least that any fan-out to tasks must do.
struct Floor {
    sender: broadcast::Sender<Arc<NewEvent>>,
    arrivals: Arc<Arrivals>,
    subscribers: u64,
    _readers: JoinSet<()>,
}

impl Floor {
    fn new(runtime: &Runtime, subscribers: u64) -> Self {
        let (sender, _) = broadcast::channel(1024);
        let arrivals = Arc::new(Arrivals::default());
        let mut readers = JoinSet::new();
        for _ in 0..subscribers {
            let (mut receiver, arrivals) = (sender.subscribe(), Arc::clone(&arrivals));
            let read = async move {
                while receiver.recv().await.is_ok() {
                    arrivals.note(1);
                }
            };
            readers.spawn_on(read, runtime.handle());
        }
        Self { sender, arrivals, subscribers, _readers: readers }
    }

    async fn round(&self) {
        self.arrivals.expect_more(EVENTS * self.subscribers);
        for _ in 0..EVENTS {
            self.sender.send(Arc::new(event())).expect("there are readers");
        }
        self.arrivals.reached.notified().await;
    }
}
