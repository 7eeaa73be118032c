//! One hub, and everything that can go wrong at once: actors break, clocks jump, clients stall, leave and come back, others send
//! garbage. Whatever happens, every event that was answered 200 reaches everybody whom it concerns once, in order, or is told as
//! missed, and nothing is left behind.
//!
//! What breaks when follows from a seed, which is printed (CONTRIBUTING.md tells how to have a run again).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use telemetry_hub_actors::{Fault, Follow, HubHandle};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::harness::{PATIENCE, TestServer, eventually, within_patience};
use events::{Events, Wish};
use health::{Answers, Health};
use heckler::Heckler;
use journal::{Journal, Phase};
use metrics_subscriber::MetricsSubscriber;
use monkey::{Monkey, WildClock};
use publisher::Publisher;
use script::{Script, Targets};
use subscriber::{Manners, Record, Subscriber, Transport};
use verdict::{Truth, Verdict};

mod events;
mod frames;
mod health;
mod heckler;
mod journal;
mod metrics_subscriber;
mod monkey;
mod process;
mod publisher;
mod script;
mod subscriber;
mod verdict;

const PUBLISHERS: usize = 4;

/// A run: a hub of its own, and all who take part.
struct Run {
    server: TestServer,
    script: Script,
    clock: WildClock,
    journal: Arc<Journal>,
    health: Arc<Health>,
}

/// What those who take part came back with.
struct Returned {
    truth: Truth,
    records: Vec<Record>,
    blows: BTreeMap<String, u32>,
    nuisances: BTreeMap<String, u32>,
    answers: Answers,
    metrics_frames: u64,
}

/// Bounds that are reached all the time.
fn cramped() -> Value {
    json!({
        "subscriber_queue_bytes": "60KiB",
        "batch_bytes": "10KiB",
        "replay_bytes": "2MiB",
        "ingest_queue_bytes": "100KiB",
        "ingest_patience": "200ms",
        "max_body_bytes": "1MiB",
        "stall_timeout": "3s",
        "write_timeout": "8s",
        "head_timeout": "2s",
        "ping_interval": "1s",
        "drain_timeout": "30s",
    })
}

/// Room for all.
fn roomy() -> Value {
    json!({"ping_interval": "1s", "drain_timeout": "30s"})
}

impl Run {
    async fn start(script: Script, settings: Value) -> Self {
        let clock = WildClock::default();
        let server = TestServer::with_clock(settings, clock.clock()).await;
        let journal = Arc::new(Journal::new(PUBLISHERS));
        Self { server, script, clock, journal, health: Arc::default() }
    }

    fn subscriber(&self, name: String, manners: Manners, transport: Transport) -> Subscriber {
        let wishes = [
            (Wish::Everything, Follow::None),
            (Wish::Publisher(1), Follow::None),
            (Wish::Red, Follow::Span),
            (Wish::Red, Follow::None),
            (Wish::RedSomewhere, Follow::Trace),
            (Wish::Warn, Follow::Span),
        ];
        let wanted = wishes[usize::try_from(script::hash(&name)).unwrap() % wishes.len()];
        let (url, journal) = (self.server.base.clone(), Arc::clone(&self.journal));
        Subscriber { name, wanted, manners, transport, url, seed: self.script.seed, journal }
    }

    /// Two of each kind.
    fn all_kinds(&self) -> Vec<Subscriber> {
        let mut subscribers = Vec::new();
        for manners in [Manners::Good, Manners::Stalls, Manners::Trickles, Manners::Leaves] {
            for transport in [Transport::Socket, Transport::Chunks, Transport::Http2] {
                for number in 1..=2 {
                    let name = format!("{manners:?} over {transport:?} {number}");
                    subscribers.push(self.subscriber(name, manners, transport));
                }
            }
        }
        subscribers
    }

    /// Lets it all happen, to the end of the script; then everybody comes to rest, and is told goodbye.
    async fn go(self, subscribers: Vec<Subscriber>, hecklers: usize) -> Verdict {
        let Self { server, script, clock, journal, health } = self;
        let (hub, seed) = (server.hub.clone(), script.seed);
        let url = || server.base.clone();
        let events = Events { seed };
        let scribe = {
            let (hub, journal) = (hub.clone(), Arc::clone(&journal));
            tokio::spawn(async move { journal::write_down(hub, &journal).await })
        };
        let (check_in, mut all_checked_in) = mpsc::channel(1);
        let (mut watching, mut measuring, mut publishing, mut heckling) =
            (JoinSet::new(), JoinSet::new(), JoinSet::new(), JoinSet::new());
        for subscriber in subscribers {
            watching.spawn(subscriber.watch(check_in.clone()));
        }
        for (interval, stalls) in [("0.5", false), ("0.2", true)] {
            let subscriber =
                MetricsSubscriber { url: url(), interval, stalls, journal: Arc::clone(&journal) };
            measuring.spawn(subscriber.watch(check_in.clone()));
        }
        drop(check_in);
        for number in 0..PUBLISHERS {
            let journal = Arc::clone(&journal);
            publishing
                .spawn(Publisher { url: url(), events, number, pause: 50..350, journal }.publish());
        }
        for number in 0..hecklers {
            let (name, journal) = (format!("heckler {number}"), Arc::clone(&journal));
            heckling.spawn(Heckler { url: url(), name, seed, journal }.heckle());
        }
        let polling = tokio::spawn(Arc::clone(&health).poll(url(), Arc::clone(&journal)));
        let monkey = Monkey { hub: hub.clone(), clock, journal: Arc::clone(&journal), health };
        let blows = monkey.run(script).await;

        journal.phase.send_replace(Phase::Ending);
        within_patience(publishing.join_all()).await;
        server.accept(&json!([Events::last(PUBLISHERS)])).await;
        let truth = Truth::new(events, within_patience(scribe).await.unwrap());
        // Who has checked in has dropped its sender.
        let checked_in = tokio::time::timeout(2 * PATIENCE, all_checked_in.recv()).await;
        let nuisances = merged(within_patience(heckling.join_all()).await);
        let answers = within_patience(polling).await.unwrap();
        eventually(|| hub.stats().queued == 0).await;
        let mut verdict = Verdict::default();
        verdict.expect("who has not come to rest", checked_in.is_err(), false);
        verdict.expect("the drain", server.stop().await.map_err(|e| e.to_string()), Ok(()));
        let records = within_patience(watching.join_all()).await;
        let metrics_frames = within_patience(measuring.join_all()).await.iter().sum();
        truth.check_posts(&journal, hub.stats().received, &mut verdict);
        Returned { truth, records, blows, nuisances, answers, metrics_frames }.judge(&hub, verdict)
    }
}

impl Returned {
    fn judge(self, hub: &HubHandle, mut verdict: Verdict) -> Verdict {
        for record in &self.records {
            self.truth.check(record, &mut verdict);
        }
        for (what, count) in self.blows.into_iter().chain(self.nuisances) {
            verdict.count(&what, count.into());
        }
        for lie in self.answers.lies {
            verdict.finding(format!("/healthz lied: {lie}"));
        }
        verdict.count("metrics frames", self.metrics_frames);
        verdict.count("/healthz 200", self.answers.healthy);
        verdict.count("/healthz 503", self.answers.stuck);
        verdict.count("/healthz not judged", self.answers.unjudged);
        let slowest = u64::try_from(self.answers.slowest.as_millis()).unwrap();
        verdict.count("ms for the slowest 503", slowest);
        let stats = hub.stats();
        let told = verdict.counts.get("events told as missed").copied().unwrap_or_default();
        let read = verdict.counts.get("events read").copied().unwrap_or_default();
        verdict.expect("no more is told as missed than was", told <= stats.missed, true);
        verdict.expect("no more is read than was delivered", read <= stats.delivered, true);
        let left = (stats.subscribers, stats.filters, stats.queued);
        verdict.expect("subscribers, filters and events left", left, (0, 0, 0));
        verdict.count("collector restarts", stats.collector_restarts);
        verdict.count("sampler restarts", stats.sampler_restarts);
        verdict.count("sweeper restarts", stats.sweeper_restarts);
        verdict.count("subscribers broken", stats.subscriber_failures);
        verdict.count("subscribers cut", stats.stalled);
        verdict
    }
}

fn merged(all: Vec<BTreeMap<String, u32>>) -> BTreeMap<String, u32> {
    let mut sums = BTreeMap::new();
    for (what, count) in all.into_iter().flatten() {
        *sums.entry(what).or_default() += count;
    }
    sums
}

/// Runs on a runtime of its own, on which nothing may be left in the end.
fn on_a_runtime_of_its_own(run: impl Future<Output = Verdict>) -> Verdict {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let verdict = run.await;
        let metrics = tokio::runtime::Handle::current().metrics();
        let nobody_is_left = eventually(|| metrics.num_alive_tasks() == 0);
        nobody_is_left.await;
        verdict
    })
}

#[test]
fn whatever_breaks_nothing_is_lost_or_doubled_and_nothing_is_left() {
    let script = Script::new(Script::some_seed(), Script::length(25), Targets::All);
    println!("{script}");
    let seed = script.seed;
    let verdict = on_a_runtime_of_its_own(async {
        let run = Run::start(script, cramped()).await;
        let subscribers = run.all_kinds();
        run.go(subscribers, 6).await
    });
    verdict.pronounce(seed);
    assert!(verdict.counts["gaps slow"] > 0, "else it would say little");
}

/// What ARCHITECTURE.md promises of the collector: clients see nothing of its end, no event is lost, none comes twice.
#[test]
fn clients_that_read_see_nothing_of_a_collector_that_breaks() {
    let script = Script::new(Script::some_seed(), Script::length(10), Targets::Collector);
    println!("{script}");
    let seed = script.seed;
    let mut verdict = on_a_runtime_of_its_own(async {
        let run = Run::start(script, roomy()).await;
        let transports = [Transport::Socket, Transport::Chunks, Transport::Http2];
        let subscribers = (0..12).map(|number| {
            let (name, transport) = (format!("reader {number}"), transports[number % 3]);
            run.subscriber(name, Manners::Good, transport)
        });
        let subscribers = subscribers.collect();
        run.go(subscribers, 0).await
    });
    let count = |what| verdict.counts.get(what).copied().unwrap_or_default();
    let (streams, gaps, kills) =
        (count("streams"), count("gaps slow") + count("gaps expired"), count("collector restarts"));
    verdict.expect("streams of twelve readers", streams, 12);
    verdict.expect("gaps", gaps, 0);
    verdict.expect("the collector breaks", kills >= 3, true);
    verdict.pronounce(seed);
}

#[tokio::test]
async fn a_collector_that_breaks_too_often_fails_the_hub_and_the_server_says_so() {
    let server = TestServer::start().await;
    let stream = server.watch("").await;
    let hub = server.hub.clone();
    for restarts in 1..=10 {
        hub.inject(Fault::KillCollector).await;
        eventually(|| hub.stats().collector_restarts == restarts).await;
    }
    assert_eq!(server.get("/healthz").await.status(), 200);
    server.accept(&json!({"type": "t"})).await;
    hub.inject(Fault::KillCollector).await;
    let error = server.stop_failed().await;
    assert!(matches!(error, telemetry_hub::ServerError::HubEnded(_)), "{error:?}");
    let frames: Vec<_> = stream.rest().await.into_iter().map(|frame| frame.event).collect();
    assert!(frames.iter().all(|event| ["ping", "trace"].contains(&event.as_str())), "{frames:?}");
}
