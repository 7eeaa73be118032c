//! Replays of hubs that are joined by a real NATS server, which reach further back than their logs.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use telemetry_hub_actors::{
    EventId, Gap, GapReason, HubConfig, HubHandle, NewEvent, Subscription, TraceQuery,
};

use crate::harness::{
    Said, eventually, ids, numbered, numbers, patiently, read_replay, read_until, subscribe,
};
use crate::nats_server::{Server, join};

/// A log with room for little.
fn forgetful() -> HubConfig {
    HubConfig {
        replay_bytes: 20_000,
        batch_bytes: 2_000,
        subscriber_queue_bytes: 10_000,
        ..HubConfig::default()
    }
}

fn of_service(service: &str, number: u64) -> NewEvent {
    numbered(number).with("service.name", service)
}

async fn publish(hub: &HubHandle, events: Vec<NewEvent>) {
    patiently(hub.ingest(events)).await.unwrap();
}

/// More than such a log has room for.
async fn publish_much(hub: &HubHandle, service: &str) {
    for first in [1_000, 1_200, 1_400] {
        let much = (first..first + 200).map(|number| of_service(service, number));
        publish(hub, much.collect()).await;
    }
}

/// A hub that reads this service alone.
async fn of_one_service(server: &Server, service: &str) -> HubHandle {
    let mut nats = server.nats(service);
    nats.services = vec![service.to_owned()];
    let hub = HubHandle::start_joined(forgetful(), nats).await.unwrap();
    join(&hub).await;
    hub
}

/// What is replayed, with no gap.
async fn replayed(mut subscription: Subscription) -> Vec<u64> {
    let said = read_replay(&mut subscription).await;
    assert!(!said.iter().any(|said| matches!(said, Said::Gap(_))), "{said:?}");
    let numbers = numbers(&said);
    assert_eq!(said.last(), Some(&Said::CaughtUp(numbers.len() as u64)));
    numbers
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn of_a_stream_without_events_nobody_waits_for_the_first() {
    let server = Server::started();
    let hub = server.joined("one").await;
    for query in ["replay=5", "type=a&replay=5", "type=a&since=1h"] {
        assert_eq!(replayed(subscribe(&hub, query).await).await, [0; 0], "{query}");
    }
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_service_that_has_been_quiet_is_found_in_the_stream() {
    let server = Server::started();
    let all = server.hub_with("all", forgetful()).await;
    join(&all).await;
    publish(&all, vec![of_service("nightly", 1), of_service("nightly", 2)]).await;
    publish_much(&all, "shop").await;
    // It has read nothing of its own when it is asked.
    let nightly = of_one_service(&server, "nightly").await;
    assert_eq!(replayed(subscribe(&nightly, "since=1h").await).await, [1, 2]);
    let first = subscribe(&nightly, "since=1h&replay=1").await;
    assert_eq!(replayed(first).await, [2]);
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn what_the_stream_discards_while_a_hub_of_one_service_reads_it_is_told() {
    let server = Server::started();
    let mut nats = server.nats("all");
    nats.max_bytes = 1_000_000;
    let all = HubHandle::start_joined(forgetful(), nats).await.unwrap();
    join(&all).await;
    // More than two pages of the stream.
    for number in 0..1_200 {
        publish(&all, vec![of_service("nightly", number)]).await;
    }
    let nightly = of_one_service(&server, "nightly").await;
    let mut slow = subscribe(&nightly, "since=1h").await;
    eventually(|| slow.stats(), |stats| stats.queued > 0).await;
    let large = |number| of_service("shop", number).text(&"x".repeat(10_000));
    for _ in 0..30 {
        publish(&all, (0..10).map(large).collect()).await;
    }
    let said = read_replay(&mut slow).await;
    let gap = said.iter().position(|said| matches!(said, Said::Gap(_))).unwrap();
    let (before, after) = (numbers(&said[..gap]), numbers(&said[gap + 1..]));
    let count = before.len() as u64;
    assert_eq!(before, (0..count).collect::<Vec<_>>());
    // What its own log still has.
    assert!(after.first().is_some_and(|first| *first > count), "{after:?}");
    assert!(after.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{after:?}");
    assert_eq!(after.last(), Some(&1_199));
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn who_comes_from_a_hub_that_shows_more_waits_for_nothing() {
    let server = Server::started();
    let all = server.joined("all").await;
    let nightly = of_one_service(&server, "nightly").await;
    publish(&all, vec![of_service("nightly", 1)]).await;
    let mut watching = subscribe(&all, "").await;
    publish(&all, vec![of_service("shop", 2)]).await;
    let last = ids(&read_until(&mut watching, 2).await)[0];
    let query = format!("since={last}");
    assert_eq!(replayed(subscribe(&nightly, &query).await).await, [0; 0]);
    let mut waiting = subscribe(&nightly, &query).await;
    read_replay(&mut waiting).await;
    publish(&all, vec![of_service("nightly", 3)]).await;
    assert_eq!(numbers(&read_until(&mut waiting, 3).await), [3]);
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn who_has_had_no_event_goes_on_at_another_hub_after_the_place_where_the_stream_began() {
    let server = Server::started();
    let [one, other] = [server.joined("one").await, server.hub_with("other", forgetful()).await];
    join(&other).await;
    publish(&one, vec![numbered(1)]).await;
    let mut watching = subscribe(&other, "since=1h").await;
    for watching in [&mut watching, &mut subscribe(&one, "since=1h").await] {
        read_until(watching, 1).await;
    }
    let place = place(subscribe(&one, "").await).await.expect("a place");
    let query = format!("since={place}");
    assert_eq!(replayed(subscribe(&other, &query).await).await, [0; 0]);
    // All of that is in the log, and then some of it is not any more.
    for last in (21..=601).step_by(20) {
        publish(&one, (last - 19..=last).map(numbered).collect()).await;
        read_until(&mut watching, last).await;
        let expected = Vec::from_iter(2..=last);
        assert_eq!(replayed(subscribe(&other, &query).await).await, expected);
    }
    // Its time would tell of others' events.
    let query = TraceQuery::parse("", None).unwrap();
    let limit = TraceQuery::parse("type=own", None).unwrap().filter;
    let limited = TraceQuery { filter: query.filter.within(&limit), ..query };
    assert_eq!(self::place(one.subscribe(limited).await.unwrap()).await, None);
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn an_id_that_is_made_up_is_not_known_wherever_it_would_lie() {
    let server = Server::started();
    let hub = server.joined("one").await;
    let mut watching = subscribe(&hub, "").await;
    publish(&hub, vec![numbered(0)]).await;
    let own = ids(&read_until(&mut watching, 0).await)[0];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    for number in 1..3 {
        // Of this moment, and made of one that there is, by adding to it what once led to the next message.
        let own = u128::from_str_radix(&own.to_string().replace('-', ""), 16).unwrap();
        for bits in [now << 80 | 7 << 76 | 2 << 62, own + (1 << 18), own + (1 << 19)] {
            let id: EventId = format!("{bits:032x}").parse().unwrap();
            let limit = TraceQuery::parse("type=own", None).unwrap().filter;
            let query = TraceQuery::parse(&format!("since={id}"), None).unwrap();
            let limited = TraceQuery { filter: query.filter.within(&limit), ..query };
            let said = read_replay(&mut hub.subscribe(limited).await.unwrap()).await;
            let gap = Gap { reason: GapReason::Expired, missed: None, from: Some(id), to: None };
            assert_eq!(said, [Said::Gap(gap), Said::CaughtUp(0)], "{number}");
        }
        publish(&hub, vec![numbered(number)]).await;
        read_until(&mut watching, number).await;
    }
}

/// The id that the stream begins with.
async fn place(mut subscription: Subscription) -> Option<EventId> {
    patiently(StreamExt::next(&mut subscription)).await.expect("retry");
    let ping = patiently(StreamExt::next(&mut subscription)).await.expect("ping");
    let id = std::str::from_utf8(&ping).unwrap().strip_prefix("event: ping\nid: ")?.lines().next();
    Some(id.unwrap().parse().unwrap())
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn what_followed_in_the_stream_follows_in_a_replay() {
    let server = Server::started();
    let hub = server.hub_with("all", forgetful()).await;
    join(&hub).await;
    let mut watching = subscribe(&hub, "").await;
    publish(&hub, vec![of_service("shop", 1)]).await;
    let begin = NewEvent { kind: Some("begin".into()), ..numbered(2).span("s") };
    publish(&hub, vec![begin, numbered(3).span("t"), numbered(4).span("s")]).await;
    publish(&hub, vec![numbered(5).span("s")]).await;
    let ids = ids(&read_until(&mut watching, 5).await);
    publish_much(&hub, "shop").await;
    publish(&hub, vec![numbered(6).span("s")]).await;
    // From the event before it, by that event itself, and by those that followed it.
    for (since, expected) in [(0, &[2, 4, 5, 6][..]), (1, &[4, 5, 6]), (3, &[5, 6]), (4, &[6])] {
        let query = format!("type=begin&since={}", ids[since]);
        assert_eq!(replayed(subscribe(&hub, &query).await).await, expected, "{since}");
    }
    let last = subscribe(&hub, "type=begin&since=1h&replay=3").await;
    assert_eq!(replayed(last).await, [4, 5, 6]);
    let all = subscribe(&hub, "type=begin&since=1h").await;
    assert_eq!(replayed(all).await, [2, 4, 5, 6]);
}
