//! Who is there: what is told of every subscriber, how one is ended, and how many one client may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use telemetry_hub_actors::{
    ByeReason, Client, Clock, Fault, HubConfig, HubHandle, MetricsQuery, MetricsSubscription,
    NoSuchSubscriber, StreamState, SubscribeError, SubscriberId, SubscriberInfo, SubscriberPage,
    SubscribersQuery, Subscription, TraceQuery, Watched,
};

use crate::harness::{
    Said, check_law, check_slow_gap, eventually, eventually_stats, ids, ingest, numbers,
    one_by_one, patiently, read_replay, read_to_end, read_until, start, subscribe,
};

const HOUR: Duration = Duration::from_secs(3600);

fn client(address: &str, name: &str) -> Client {
    Client { address: address.parse().ok(), name: (!name.is_empty()).then(|| name.into()) }
}

async fn subscribe_as(hub: &HubHandle, client: Client) -> Result<Subscription, SubscribeError> {
    patiently(hub.subscribe(TraceQuery { client, ..TraceQuery::everything() })).await
}

async fn watch_metrics(hub: &HubHandle, query: &str) -> MetricsSubscription {
    patiently(hub.subscribe_metrics(MetricsQuery::parse(query).unwrap())).await.unwrap()
}

async fn list(hub: &HubHandle, after: Option<SubscriberId>, limit: usize) -> SubscriberPage {
    patiently(hub.subscribers(SubscribersQuery { after, limit })).await
}

async fn all(hub: &HubHandle) -> Vec<SubscriberInfo> {
    patiently(hub.subscribers(SubscribersQuery::default())).await.subscribers
}

async fn only(hub: &HubHandle) -> SubscriberInfo {
    let mut subscribers = all(hub).await;
    assert_eq!(subscribers.len(), 1, "{subscribers:?}");
    subscribers.remove(0)
}

/// Waits until the hub has seen that these are all who are left.
async fn eventually_left(hub: &HubHandle, left: usize) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    patiently(async {
        while list(hub, None, 1).await.total != left {
            ticks.tick().await;
        }
    })
    .await;
}

fn id(number: usize) -> SubscriberId {
    number.to_string().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn all_are_listed_in_the_order_of_their_coming_a_page_at_a_time() {
    let hub = start(HubConfig::default()).await;
    let (mut events, mut metrics) = (Vec::new(), Vec::new());
    for number in 0..25 {
        if number % 5 == 0 {
            metrics.push(watch_metrics(&hub, "").await);
        } else {
            events.push(subscribe(&hub, "").await);
        }
    }
    let ids = |page: &SubscriberPage| {
        page.subscribers.iter().map(|subscriber| subscriber.id).collect::<Vec<_>>()
    };
    let first = list(&hub, None, 10).await;
    assert_eq!(
        (first.total, first.next, ids(&first)),
        (25, Some(id(10)), (1..=10).map(id).collect())
    );
    let kinds = first.subscribers.iter().map(|subscriber| subscriber.signal == Watched::Metrics);
    assert_eq!(kinds.collect::<Vec<_>>(), (0..10).map(|n| n % 5 == 0).collect::<Vec<_>>());
    // The last one of a page may go before the next page is asked for.
    drop(events.remove(7));
    eventually_left(&hub, 24).await;
    let second = list(&hub, first.next, 10).await;
    assert_eq!((second.total, ids(&second)), (24, (11..=20).map(id).collect()));
    let third = list(&hub, second.next, 10).await;
    assert_eq!((third.next, ids(&third)), (None, (21..=25).map(id).collect()));
    assert_eq!(list(&hub, Some(id(20)), 5).await.next, None, "nothing comes after a full page");
    assert_eq!(ids(&list(&hub, Some(id(9)), 1).await), [id(11)]);
    assert_eq!(ids(&list(&hub, Some(id(25)), 1).await), []);
    assert_eq!(list(&hub, None, 0).await.subscribers.len(), 1);
    assert_eq!(patiently(hub.subscriber(id(25))).await.unwrap().id, id(25));
    assert_eq!(patiently(hub.subscriber(id(10))).await, Err(NoSuchSubscriber(id(10))));
    drop((events, metrics));
    eventually_left(&hub, 0).await;
    assert_eq!(list(&hub, None, 10).await, SubscriberPage::default());
    let _again = subscribe(&hub, "").await;
    assert_eq!(list(&hub, None, 1).await.subscribers[0].id, id(26), "no id comes again");
}

#[tokio::test(start_paused = true)]
async fn everyone_is_told_as_who_and_with_what_they_asked_for() {
    let clock = Clock::new(|| "2026-11-22T10:12:19.123456789Z".parse().unwrap());
    let hub = start(HubConfig { clock, ..HubConfig::default() }).await;
    let query = TraceQuery::parse("level=error&remoteIp=10.0.0.0/8", None).unwrap();
    let filter = query.filter.within(&"account=alice".parse().unwrap());
    let alice = client("::ffff:192.0.2.1", "alice");
    let _alice =
        patiently(hub.subscribe(TraceQuery { filter, client: alice, ..query })).await.unwrap();
    let _unknown = watch_metrics(&hub, "metrics=b,a&interval=5").await;
    let told = serde_json::to_value(all(&hub).await).unwrap();
    let expected = serde_json::json!([
        {
            "id": 1, "signal": "traces", "address": "192.0.2.1", "name": "alice",
            "filter": "level=ERROR&remote-ip=10.0.0.0%2F8&follow=span within account=alice&follow=span",
            "since": "2026-11-22T10:12:19.123Z", "state": "live",
            "matched": 0, "sent": 0, "missed": 0, "queued": 0, "queuedBytes": 0, "lag": 0.0,
        },
        {
            "id": 2, "signal": "metrics", "address": null, "name": null,
            "filter": "interval=5&metrics=a,b",
            "since": "2026-11-22T10:12:19.123Z", "state": "live",
            "matched": 1, "sent": 0, "missed": 0, "queued": 1, "queuedBytes": null, "lag": 0.0,
        },
    ]);
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_shows_what_is_queued_for_it_and_how_old_that_is() {
    let now = Arc::new(AtomicI64::new(1_795_342_367_000));
    let told = Arc::clone(&now);
    let clock =
        Clock::new(move || jiff::Timestamp::from_millisecond(told.load(Ordering::SeqCst)).unwrap());
    let config = HubConfig { clock, subscriber_queue_bytes: 1, ..one_by_one() };
    let hub = start(config).await;
    let mut slow = subscribe(&hub, "").await;
    ingest(&hub, [0]).await;
    eventually_stats(&hub, |stats| stats.received == 1 && stats.queued == 1).await;
    now.fetch_add(1500, Ordering::SeqCst);
    ingest(&hub, 1..4).await;
    eventually_stats(&hub, |stats| stats.missed == 3).await;
    let status = only(&hub).await.status;
    assert_eq!(status.stats, slow.stats());
    assert_eq!((status.stats.queued, status.stats.missed, status.stats.sent), (1, 3, 0));
    assert_eq!((status.lag, status.state), (Duration::from_millis(1500), StreamState::Live));
    assert!(status.queued_bytes.is_some_and(|bytes| bytes > 1), "{status:?}");
    // The gap stands between what was queued and what comes now.
    assert_eq!(numbers(&read_until(&mut slow, 0).await), [0]);
    ingest(&hub, [4]).await;
    let Said::Gap(gap) = read_until(&mut slow, 4).await[0] else { panic!("no gap") };
    let status = only(&hub).await.status;
    assert_eq!(gap.missed, Some(status.stats.missed));
    assert_eq!((status.stats.sent, status.stats.queued), (2, 0));
    assert_eq!((status.queued_bytes, status.lag), (Some(0), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn one_that_replays_says_so_until_it_is_live() {
    let hub = start(HubConfig { subscriber_queue_bytes: 1, ..one_by_one() }).await;
    // More than one page.
    let pad = "x".repeat(1000);
    for number in 0..1000 {
        let event = crate::harness::numbered(number).text(&pad);
        hub.ingest(vec![event]).await.unwrap();
    }
    let mut replayed = subscribe(&hub, "replay=1000").await;
    assert_eq!(only(&hub).await.status.state, StreamState::Replaying);
    assert_eq!(numbers(&read_replay(&mut replayed).await).len(), 1000);
    let status = only(&hub).await.status;
    assert_eq!((status.state, status.stats.sent), (StreamState::Live, 1000));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_ended_is_told_what_it_does_not_get_and_is_there_until_it_knows() {
    let hub = start(one_by_one()).await;
    let mut events = subscribe(&hub, "").await;
    let mut other = subscribe(&hub, "").await;
    ingest(&hub, 0..3).await;
    let said = read_until(&mut other, 2).await;
    eventually(|| events.stats().queued, |queued| *queued == 3).await;
    for _ in 0..2 {
        patiently(hub.end_subscriber(id(1))).await.unwrap();
        let subscriber = patiently(hub.subscriber(id(1))).await.unwrap();
        assert_eq!(subscriber.status.state, StreamState::Ending);
        check_law(subscriber.status.stats);
    }
    let heard = read_to_end(&mut events).await;
    check_slow_gap(heard[0], 3, (ids(&said)[0], ids(&said)[2]));
    assert_eq!(heard[1..], [Said::Bye(ByeReason::ClosedByAdmin)]);
    let stats = events.stats();
    assert_eq!((stats.matched, stats.sent, stats.missed, stats.queued), (3, 0, 3, 0));
    drop(events);
    eventually_left(&hub, 1).await;
    assert_eq!(patiently(hub.end_subscriber(id(1))).await, Err(NoSuchSubscriber(id(1))));
    assert_eq!(patiently(hub.end_subscriber(id(9))).await, Err(NoSuchSubscriber(id(9))));
    // Nobody else has noticed.
    ingest(&hub, [3]).await;
    assert_eq!(numbers(&read_until(&mut other, 3).await), [3]);
    let stats = hub.stats();
    assert_eq!((stats.subscribers_ended, stats.subscriber_failures, stats.stalled), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_replays_and_one_that_watches_metrics_can_be_ended_as_well() {
    let hub = start(HubConfig { subscriber_queue_bytes: 1, ..one_by_one() }).await;
    let pad = "x".repeat(1000);
    for number in 0..1000 {
        hub.ingest(vec![crate::harness::numbered(number).text(&pad)]).await.unwrap();
    }
    let mut replayed = subscribe(&hub, "replay=1000").await;
    let mut metrics = watch_metrics(&hub, "interval=3600").await;
    assert!(patiently(metrics.next()).await.is_some());
    for number in [1, 2] {
        patiently(hub.end_subscriber(id(number))).await.unwrap();
    }
    assert_eq!(patiently(metrics.next()).await, None);
    assert_eq!(read_to_end(&mut replayed).await.last(), Some(&Said::Bye(ByeReason::ClosedByAdmin)));
    assert!(replayed.stats().matched < 1000, "what it had not come to is not its own");
    drop((replayed, metrics));
    eventually_left(&hub, 0).await;
}

/// How a subscriber comes to its end.
#[derive(Debug, Clone, Copy)]
enum End {
    Dropped,
    Ended,
    Panicked,
    Killed,
}

/// Ends all subscribers.
async fn end_all(hub: &HubHandle, end: End, subscriptions: Vec<Subscription>) {
    match end {
        End::Dropped => drop(subscriptions),
        End::Ended => {
            for subscriber in all(hub).await {
                patiently(hub.end_subscriber(subscriber.id)).await.unwrap();
            }
            for mut subscription in subscriptions {
                read_to_end(&mut subscription).await;
            }
        }
        End::Panicked => hub.inject(Fault::PanicSubscribers).await,
        End::Killed => hub.inject(Fault::KillSubscribers).await,
    }
    eventually_left(hub, 0).await;
}

#[tokio::test(start_paused = true)]
async fn one_client_has_so_many_places_and_they_come_free_however_a_subscriber_ends() {
    let config = HubConfig {
        max_subscribers_per_address: 2,
        max_subscribers_per_token: 3,
        ..HubConfig::default()
    };
    let hub = start(config).await;
    let of_address = Some(SubscribeError::TooManyFromAddress { limit: 2 });
    let of_token = Some(SubscribeError::TooManyOfToken { limit: 3 });
    let mut refused = 0;
    for end in [End::Dropped, End::Ended, End::Panicked, End::Killed] {
        let mut subscriptions = Vec::new();
        for (client, expected) in [
            (client("192.0.2.1", "a"), None),
            (client("::ffff:192.0.2.1", "b"), None),
            (client("192.0.2.1", "c"), of_address),
            (client("192.0.2.2", "a"), None),
            (client("2001:db8::1", "d"), None),
            (client("2001:db8::2:0:0:1", ""), None),
            (client("2001:db8::3:0:0:1", ""), of_address),
            (client("2001:db8:0:1::1", ""), None),
            (client("127.0.0.1", "a"), None),
            (client("127.0.0.1", "a"), of_token),
            (client("", "a"), of_token),
            (client("127.0.0.1", ""), None),
            (client("127.0.0.1", ""), None),
            (client("::1", ""), None),
            (Client::default(), None),
        ] {
            let told = format!("{client:?} before {end:?}");
            let outcome = subscribe_as(&hub, client).await;
            assert_eq!(outcome.as_ref().err(), expected.as_ref(), "{told}");
            subscriptions.extend(outcome);
        }
        refused += 4;
        let stats = hub.stats();
        assert_eq!((stats.subscribers_refused, stats.subscribers_over_limit), (refused, refused));
        end_all(&hub, end, subscriptions).await;
    }
    // Metrics are counted with the rest.
    let _first = subscribe_as(&hub, client("192.0.2.1", "")).await.unwrap();
    let query = MetricsQuery { client: client("192.0.2.1", ""), ..MetricsQuery::everything(HOUR) };
    let _second = patiently(hub.subscribe_metrics(query.clone())).await.unwrap();
    assert_eq!(patiently(hub.subscribe_metrics(query)).await.err(), of_address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_law_holds_for_everyone_who_is_listed_at_any_moment() {
    let config = HubConfig {
        subscriber_queue_bytes: 4000,
        batch_bytes: 1000,
        linger: Duration::ZERO,
        ..HubConfig::default()
    };
    let hub = start(config).await;
    let (mut readers, mut stalled) = (Vec::new(), Vec::new());
    for number in 0..20 {
        let mut subscription = subscribe(&hub, ["", "type=test", "replay=100"][number % 3]).await;
        // Every other one reads nothing.
        if number % 2 == 0 {
            readers.push(tokio::spawn(async move { while subscription.next().await.is_some() {} }));
        } else {
            stalled.push(subscription);
        }
    }
    let mut metrics = Vec::new();
    for _ in 0..4 {
        metrics.push(watch_metrics(&hub, "interval=100ms").await);
    }
    let publisher = tokio::spawn({
        let hub = hub.clone();
        async move {
            for first in (0..2000).step_by(10) {
                ingest(&hub, first..first + 10).await;
            }
        }
    });
    let mut most_missed = 0;
    // Who reads nothing has missed some in the end.
    patiently(async {
        while !publisher.is_finished() || most_missed == 0 {
            for subscriber in all(&hub).await {
                check_law(subscriber.status.stats);
                most_missed = most_missed.max(subscriber.status.stats.missed);
            }
        }
    })
    .await;
    patiently(publisher).await.unwrap();
    drop((stalled, metrics));
    patiently(hub.shutdown(HOUR)).await.unwrap();
    for reader in readers {
        patiently(reader).await.unwrap();
    }
}
