//! Hubs joined by NATS behind a proxy: each in turn ends and is started anew, and nobody who watches or sends through the proxy misses
//! or doubles anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, interval, sleep_until};

use crate::harness::{LiveStream, Transport, within_patience};
use crate::hubs::{Hub, LOOK_AGAIN, event};
use crate::nats::Nats;
use crate::proxy::{KINDS, Proxy, TRANSPORTS};

const WATCHERS: usize = 12;

/// After so long a proxy has noticed that a hub is back: nginx leaves it alone for two seconds, HAProxy wants two good answers.
const NOTICED: Duration = Duration::from_secs(3);

const COMES_BACK_AFTER: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn hubs_are_replaced_one_after_another_and_nothing_is_lost() {
    for kind in KINDS {
        let nats = Nats::start().await;
        let seed = nats.seed.to_str().unwrap();
        let settings =
            [("NATS", nats.url.as_str()), ("NATS_NKEY", seed), ("NATS_MAX_BYTES", "100MiB")];
        let mut hubs = Hub::three(&settings).await;
        let proxy = Proxy::start(kind, &Hub::addresses(&hubs)).await;
        for hub in &hubs {
            hub.is_ready().await;
        }
        let (begun, ended) = (Notify::new(), AtomicBool::new(false));
        let replacing = async {
            for hub in &mut hubs {
                hub.signal("-TERM").await;
                assert_eq!(hub.ended().await, Some(0));
                // Those who watched the first have had no event yet, and are on their way.
                begun.notify_one();
                *hub = Hub::start_at(&hub.address.to_string(), &settings).await;
                hub.is_ready().await;
                sleep_until(Instant::now() + NOTICED).await;
            }
            ended.store(true, Ordering::SeqCst);
        };
        let clients = (0..WATCHERS).map(|number| proxy.client(TRANSPORTS[number % 2]));
        let clients: Vec<_> = clients.collect();
        let streams = join_all(clients.iter().map(async |client| proxy.watch(client).await)).await;
        let watching = streams.into_iter().zip(&clients);
        let watching = join_all(watching.map(|(stream, client)| watch(stream, &proxy, client)));
        let start = Instant::now();
        let (watched, (taken, refused), ()) =
            tokio::join!(watching, publish(&proxy, &begun, &ended), replacing);
        let moves: usize = watched.iter().map(|one| one.moves).sum();
        println!(
            "{proxy}: {} events taken, {refused} refused in {:.1?}; {WATCHERS} watchers moved {moves} times",
            taken.len(),
            start.elapsed(),
        );
        for one in &watched {
            assert_eq!(one.numbers, watched[0].numbers, "{proxy}: one order");
            let mut numbers = one.numbers.clone();
            numbers.sort_unstable();
            // One that was answered otherwise may be there, once.
            let is_double = numbers.windows(2).any(|pair| pair[0] == pair[1]);
            assert!(!is_double, "{proxy}: {numbers:?}");
            let lost: Vec<_> =
                taken.iter().filter(|&n| numbers.binary_search(n).is_err()).collect();
            assert!(lost.is_empty(), "{proxy}: {lost:?}");
        }
        assert!(moves >= WATCHERS && taken.len() > 20, "{proxy}: {moves} {}", taken.len());
        assert_eq!(nats.complaints(), Vec::<String>::new());
    }
}

const LAST: usize = 1_000_000;

/// Once the first hub has ended, sends event after event until the hubs have been replaced, and then a last one: which were taken, and how many were not.
async fn publish(proxy: &Proxy, begun: &Notify, ended: &AtomicBool) -> (Vec<usize>, usize) {
    let client = proxy.client(Transport::Http2Tls);
    begun.notified().await;
    let (mut taken, mut refused, mut tick) = (Vec::new(), 0, interval(LOOK_AGAIN));
    for number in 0.. {
        tick.tick().await;
        let is_last = ended.load(Ordering::SeqCst);
        let number = if is_last { LAST + number } else { number };
        match proxy.post(&client, &event(number)).await.status().as_u16() {
            200 => taken.push(number),
            // 502: the hub ended while it had it.
            502 | 503 => refused += 1,
            other => panic!("{proxy}: {other}"),
        }
        if is_last && taken.last() == Some(&number) {
            break;
        }
    }
    (taken, refused)
}

#[derive(Default)]
struct Watched {
    numbers: Vec<usize>,
    moves: usize,
}

/// Follows a stream up to the last event, going on after the last id whenever it ends.
async fn watch(mut stream: LiveStream, proxy: &Proxy, client: &reqwest::Client) -> Watched {
    let (mut watched, mut last_id) = (Watched::default(), None);
    loop {
        let Some(frame) = stream.frame().await else {
            watched.moves += 1;
            // As a browser does, it waits a little: meanwhile events come.
            sleep_until(Instant::now() + COMES_BACK_AFTER).await;
            stream = again(proxy, client, last_id.as_deref()).await;
            continue;
        };
        assert_ne!(frame.event, "gap", "{proxy}: {}", frame.data);
        // The first `ping` has one, too: a hub may end before this client has had an event of it.
        if !frame.id.is_empty() {
            last_id = Some(frame.id);
        }
        if frame.event == "trace" {
            let events: Vec<Value> = serde_json::from_str(&frame.data).unwrap();
            let numbers = events.iter().map(|event| event["data"]["number"].as_u64().unwrap());
            watched.numbers.extend(numbers.map(|number| usize::try_from(number).unwrap()));
            if watched.numbers.last() >= Some(&LAST) {
                return watched;
            }
        }
    }
}

async fn again(proxy: &Proxy, client: &reqwest::Client, last_id: Option<&str>) -> LiveStream {
    let mut request = client.get(proxy.url("/api/telemetry/traces/live"));
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    LiveStream::open(within_patience(request.send()).await.unwrap())
}
