//! Hubs that read no more of the stream than those who watch may want, joined by a real NATS server.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{join, join_all};
use telemetry_hub_actors::{
    Fault, HubConfig, HubHandle, Measurement, MetricsQuery, NewEvent, Storage, SubscribeError,
    Subscription, TraceQuery,
};
use tokio::sync::oneshot;

use crate::harness::{
    Said, eventually, flat, ids, numbered, numbers, patiently, read_replay, resume, subscribe,
};
use crate::nats_server::{self, Server};

/// How many services there are. Each event is of the next one.
const SERVICES: u64 = 20;

/// How many events are published at once, a message each.
const SOME: u64 = 5;

fn of_service(number: u64) -> NewEvent {
    numbered(number).with("service.name", format!("s{}", number % SERVICES))
}

/// What a client asks for that wants this service alone.
fn wanting(service: u64) -> String {
    wanting_all(service..service + 1)
}

fn wanting_all(services: Range<u64>) -> String {
    let services: Vec<_> = services.map(|service| format!("%22s{service}%22")).collect();
    let services = services.join(",");
    format!("follow=none&where=data%5B%22service.name%22%5D%20in%20%5B{services}%5D")
}

async fn narrow_hub(server: &Server) -> HubHandle {
    narrow_hub_with(server, HubConfig::default()).await
}

async fn narrow_hub_with(server: &Server, config: HubConfig) -> HubHandle {
    let mut nats = server.nats("narrow");
    nats.narrow = true;
    let hub = HubHandle::start_joined(config, nats).await.unwrap();
    nats_server::join(&hub).await;
    hub
}

async fn is_narrowed_to(hub: &HubHandle, services: Option<usize>) {
    eventually(|| hub.narrowed_to(), |narrowed| *narrowed == services).await;
}

/// Publishes some events after the others, and tells which is the last that is in the stream.
async fn publish(hub: HubHandle, last: Arc<AtomicU64>) {
    for first in (1..).step_by(SOME as usize) {
        if hub.ingest((first..first + SOME).map(of_service).collect()).await.is_err() {
            return;
        }
        last.store(first + SOME - 1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

/// What comes up to an event of this number or more.
async fn read_past(subscription: &mut Subscription, last: u64) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    while seen.last().is_none_or(|number| *number < last) {
        let said = flat(patiently(subscription.next()).await.unwrap());
        assert!(!said.iter().any(|said| matches!(said, Said::Gap(_))), "{said:?}");
        seen.extend(numbers(&said));
    }
    seen
}

/// All that comes, up to the event of this number or more, once that is known.
async fn read_until_told(
    subscription: &mut Subscription,
    mut last: oneshot::Receiver<u64>,
) -> Vec<u64> {
    let mut seen = read_past(subscription, 1).await;
    loop {
        let next = seen[seen.len() - 1] + 1;
        if let Ok(last) = last.try_recv() {
            seen.extend(read_past(subscription, last.max(next)).await);
            return seen;
        }
        seen.extend(read_past(subscription, next).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn whoever_comes_misses_nothing_that_comes_after_it() {
    misses_nothing(async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn whoever_comes_misses_nothing_though_what_reads_the_stream_is_killed_again_and_again() {
    misses_nothing(async |hub: &HubHandle| {
        for restarts in 1..=8 {
            hub.inject(Fault::KillTransport).await;
            eventually(|| hub.stats().transport_restarts, |seen| *seen == restarts).await;
            nats_server::join(hub).await;
        }
    })
    .await;
}

/// Somebody comes who wants a service from now on, or from the beginning, and misses nothing.
async fn comes(hub: &HubHandle, last: &AtomicU64, service: u64) -> Subscription {
    let replay = ["", "&replay=0", "&since=1h"][service as usize % 3];
    let mut subscription = subscribe(hub, &format!("{}{replay}", wanting(service))).await;
    let granted = last.load(Ordering::SeqCst);
    let until = granted.next_multiple_of(SERVICES) + 3 * SERVICES + service;
    let seen = read_past(&mut subscription, until).await;
    let (from, to) = (seen[0], seen[seen.len() - 1]);
    assert_eq!(seen, (from..=to).step_by(SERVICES as usize).collect::<Vec<_>>());
    match replay {
        "&since=1h" => assert_eq!(from, service),
        // The next one, if not one that came at about the same time.
        _ => assert!(from > service && from <= granted + SERVICES, "{from} after {granted}"),
    }
    subscription
}

/// While services are asked for that nobody has asked for, and this is done to the hub.
async fn misses_nothing(meanwhile: impl AsyncFnOnce(&HubHandle)) {
    let server = Server::started();
    let all = server.joined("all").await;
    let narrow = narrow_hub(&server).await;
    let last = Arc::new(AtomicU64::new(0));
    let publishing = tokio::spawn(publish(all.clone(), Arc::clone(&last)));
    // Half of all: of these there is always something on its way.
    let mut first = subscribe(&narrow, &wanting_all(0..10)).await;
    is_narrowed_to(&narrow, Some(10)).await;
    let (stop, stopped) = oneshot::channel::<u64>();
    let reading = tokio::spawn(async move { read_until_told(&mut first, stopped).await });

    // Each asks for a service that nobody has asked for, while events of it come.
    let watching = (10..SERVICES).map(async |service| comes(&narrow, &last, service).await);
    let (subscriptions, ()) = patiently(join(join_all(watching), meanwhile(&narrow))).await;
    is_narrowed_to(&narrow, Some(SERVICES as usize)).await;
    drop(subscriptions);
    is_narrowed_to(&narrow, Some(10)).await;
    // Also when it has not changed since what reads the stream was started anew.
    comes(&narrow, &last, 10).await;
    stop.send(last.load(Ordering::SeqCst) + SERVICES).unwrap();
    let seen = patiently(reading).await.unwrap();
    let expected = (seen[0]..).filter(|number| number % SERVICES < 10).take(seen.len());
    assert_eq!(seen, expected.collect::<Vec<_>>());
    publishing.abort();
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn what_was_not_read_is_found_in_the_stream() {
    let server = Server::started();
    let all = server.joined("all").await;
    let narrow = narrow_hub(&server).await;
    let ingest = async |numbers: Range<u64>| {
        patiently(all.ingest(numbers.map(of_service).collect())).await.unwrap();
    };
    ingest(1..101).await;
    let watching = subscribe(&narrow, &wanting(1)).await;
    // A key is a text, which may be in the name of any service: it has all read.
    let by_key = subscribe(&narrow, "service.name=s1&follow=none").await;
    assert_eq!(narrow.narrowed_to(), None);
    drop(by_key);
    is_narrowed_to(&narrow, Some(1)).await;
    ingest(101..201).await;
    let of = |service| (service..201).step_by(SERVICES as usize).collect::<Vec<_>>();

    // Somebody was at another hub.
    let mut other = subscribe(&all, &format!("{}&since=1h", wanting(2))).await;
    let seen = read_replay(&mut other).await;
    assert_eq!(numbers(&seen), of(2));
    for (index, id) in ids(&seen).into_iter().enumerate() {
        let said = read_replay(&mut resume(&narrow, &wanting(2), id).await).await;
        assert_eq!(numbers(&said), of(2)[index + 1..], "{index}");
        assert!(!said.iter().any(|said| matches!(said, Said::Gap(_))), "{said:?}");
        assert_eq!(narrow.narrowed_to(), Some(2));
    }
    for (query, expected) in [
        (format!("{}&replay=3", wanting(3)), &of(3)[7..]),
        (format!("{}&replay=100", wanting(4)), &of(4)[..]),
        (format!("{}&since=1h&replay=2", wanting(5)), &of(5)[8..]),
    ] {
        let said = read_replay(&mut subscribe(&narrow, &query).await).await;
        assert_eq!(numbers(&said), expected, "{query}");
    }
    let said = read_replay(&mut subscribe(&narrow, "since=1h").await).await;
    let mut seen = numbers(&said);
    seen.sort_unstable();
    assert_eq!(seen, (1..201).collect::<Vec<_>>());
    drop(watching);
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn whoever_comes_while_the_stream_is_away_gets_all_when_it_is_back() {
    let mut server = Server::started();
    let mut nats = server.nats("all");
    nats.storage = Storage::File;
    let all = HubHandle::start_joined(HubConfig::default(), nats).await.unwrap();
    nats_server::join(&all).await;
    let narrow = narrow_hub(&server).await;
    let _watching = subscribe(&narrow, &wanting(1)).await;
    is_narrowed_to(&narrow, Some(1)).await;
    server.stop();
    for hub in [&all, &narrow] {
        eventually(|| hub.transport().to_string(), |state| state.contains("cut off")).await;
    }
    let mut newcomer = subscribe(&narrow, "").await;
    server.start();
    for hub in [&all, &narrow] {
        nats_server::join(hub).await;
    }
    patiently(all.ingest((1..101).map(of_service).collect())).await.unwrap();
    // One message after the other, each with the events of one service.
    let mut seen = read_past(&mut newcomer, 100).await;
    seen.sort_unstable();
    assert_eq!(seen, (1..101).collect::<Vec<_>>());
    assert_eq!(narrow.narrowed_to(), None);
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn what_all_measure_is_read_in_any_case() {
    let server = Server::started();
    let all = server.joined("all").await;
    let narrow = narrow_hub(&server).await;
    let _watching = subscribe(&narrow, &wanting(1)).await;
    is_narrowed_to(&narrow, Some(1)).await;
    let measurement = Measurement::gauge("of.another", 7.0);
    patiently(all.record_all(vec![measurement])).await.unwrap();
    let query = MetricsQuery::parse("metrics=of.another&interval=0.1");
    let mut metrics = patiently(narrow.subscribe_metrics(query.unwrap())).await.unwrap();
    while patiently(metrics.next()).await.unwrap().is_empty() {}
    assert_eq!(narrow.narrowed_to(), Some(1));
    // A limit that names a service lets what is followed be of none other.
    let limit = TraceQuery::parse(&wanting(2), None).unwrap().filter;
    let mut query = TraceQuery::parse("level=info", None).unwrap();
    query.filter = query.filter.within(&limit);
    let _limited = patiently(narrow.subscribe(query)).await.unwrap();
    assert_eq!(narrow.narrowed_to(), Some(2));
}

/// As what reads the stream stands still, because nobody takes what it has read.
#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn whoever_cannot_be_let_in_in_time_is_told_so_and_counted() {
    let server = Server::started();
    let all = server.joined("all").await;
    let config = HubConfig { ingest_queue_bytes: 1_000, ..HubConfig::default() };
    let narrow = narrow_hub_with(&server, config).await;
    let _watching = subscribe(&narrow, &wanting(1)).await;
    is_narrowed_to(&narrow, Some(1)).await;
    narrow.inject(Fault::HangCollector).await;
    let much = (0..50).map(|_| of_service(1)).collect();
    patiently(all.ingest(much)).await.unwrap();
    eventually(|| narrow.stats().queued, |queued| *queued > 0).await;
    let query = || TraceQuery::parse(&wanting(2), None).unwrap();
    let refused = patiently(narrow.subscribe(query())).await;
    assert_eq!(refused.err(), Some(SubscribeError::NotCovered));
    assert_eq!(narrow.stats().subscribers_refused, 1);
    narrow.inject(Fault::KillCollector).await;
    let granted = patiently(narrow.subscribe(query())).await;
    assert!(granted.is_ok(), "{granted:?}");
}
