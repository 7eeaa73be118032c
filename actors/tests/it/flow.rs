//! How events flow: shared filters, batches, backpressure on both sides, and the end. The clock stands still.

use std::future::ready;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt};
use telemetry_hub_actors::{
    ByeReason, Delivered, EventId, HubConfig, HubHandle, IngestError, MetricsQuery, ShutdownError,
    SubscribeError, Subscription, TraceQuery,
};
use tokio::time::Instant;

use crate::harness::{
    Said, check_law, check_only, check_slow_gap, events, eventually, eventually_stats, flat, ids,
    ingest, numbered, numbers, one_by_one, patiently, read_to_end, read_until, start, subscribe,
};

const LINGER: Duration = Duration::from_millis(5);
const STALL: Duration = Duration::from_secs(30);

/// A configuration in which a subscriber that reads nothing has room for one batch.
fn cramped() -> HubConfig {
    HubConfig { subscriber_queue_bytes: 1, stall_timeout: STALL, ..one_by_one() }
}

async fn frame(subscription: &mut Subscription) -> String {
    let frame: Bytes = patiently(StreamExt::next(subscription)).await.expect("a frame");
    String::from_utf8(frame.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn equal_filters_share_a_group() {
    let hub = start(HubConfig::default()).await;
    let mut first = subscribe(&hub, "remote-ip=10.0.0.1&type=a&type=test").await;
    let mut second = subscribe(&hub, "type=test&remoteIp=10.0.0.1&type=a").await;
    assert_eq!(hub.stats().filters, 1);
    let _other = subscribe(&hub, "type=test&follow=none").await;
    assert_eq!(hub.stats().filters, 2);
    hub.ingest(vec![numbered(0).with("remote_ip", "10.0.0.1")]).await.unwrap();
    check_only(&read_until(&mut first, 0).await, [0]);
    check_only(&read_until(&mut second, 0).await, [0]);
}

#[tokio::test]
async fn frame_is_encoded_once_for_all_with_an_equal_filter() {
    let hub = start(HubConfig::default()).await;
    let mut subscriptions = Vec::new();
    for query in ["type=test&n=0&n=1", "n=1&type=test&n=0", "n=0&n=1&n=1&type=test", "type=test"] {
        subscriptions.push(subscribe(&hub, query).await);
    }
    ingest(&hub, [0, 1, 2]).await;
    let mut frames = Vec::new();
    for subscription in &mut subscriptions {
        let mut frames_with_id =
            subscription.filter(|frame| ready(frame.starts_with(b"event: trace")));
        frames.push(patiently(frames_with_id.next()).await.unwrap());
    }
    // The very same bytes in memory, not equal ones.
    assert!(frames[..3].iter().all(|frame| frame.as_ptr() == frames[0].as_ptr()));
    assert_ne!(frames[3].as_ptr(), frames[0].as_ptr());
    assert_ne!(frames[3], frames[0]);
}

#[tokio::test(start_paused = true)]
async fn stalled_subscriber_is_told_and_cut_and_the_others_notice_nothing() {
    let hub = start(cramped()).await;
    let mut stalled = subscribe(&hub, "").await;
    let mut reader = subscribe(&hub, "").await;
    let mut seen = Vec::new();
    for number in 0..3 {
        tokio::time::advance(Duration::from_secs(15)).await;
        ingest(&hub, [number]).await;
        seen.extend(read_until(&mut reader, number).await);
        assert_eq!(hub.stats().stalled, u64::from(number == 2));
    }
    check_only(&seen, 0..3);
    let ids = ids(&seen);
    let said = read_to_end(&mut stalled).await;
    check_slow_gap(said[0], 3, (ids[0], ids[2]));
    assert_eq!(said[1..], [Said::Bye(ByeReason::Stalled)]);
    let stats = stalled.stats();
    assert_eq!((stats.matched, stats.missed, stats.sent, stats.queued), (3, 3, 0, 0));
    drop(stalled);
    eventually_stats(&hub, |stats| stats.subscribers == 1).await;
    ingest(&hub, [3]).await;
    check_only(&read_until(&mut reader, 3).await, [3]);
    let stats = hub.stats();
    assert_eq!((stats.missed, stats.delivered, stats.subscriber_failures), (3, 4, 0));
}

#[tokio::test(start_paused = true)]
async fn subscriber_that_reads_now_and_then_is_not_cut() {
    let hub = start(cramped()).await;
    let mut subscription = subscribe(&hub, "").await;
    for number in 0..20 {
        tokio::time::advance(STALL - Duration::from_secs(1)).await;
        ingest(&hub, [number]).await;
        eventually(|| subscription.stats().matched, |matched| *matched == number + 1).await;
        assert!(subscription.next().now_or_never().is_some());
    }
    assert_eq!(hub.stats().stalled, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_after_the_goodbye_to_a_stalled_subscriber() {
    let hub = start(cramped()).await;
    let mut stalled = subscribe(&hub, "").await;
    ingest(&hub, [0]).await;
    eventually(|| stalled.stats().queued, |queued| *queued == 1).await;
    tokio::time::advance(STALL).await;
    // More than one of these is in the subscriber's mailbox when it is cut.
    ingest(&hub, 1..6).await;
    eventually_stats(&hub, |stats| stats.stalled == 1).await;
    let mut late = subscribe(&hub, "").await;
    ingest(&hub, [6]).await;
    read_until(&mut late, 6).await;
    let said = read_to_end(&mut stalled).await;
    assert_eq!(said.last(), Some(&Said::Bye(ByeReason::Stalled)), "{said:?}");
    assert!(numbers(&said).is_empty(), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_event_leaves_at_once_and_a_burst_within_the_linger_as_one_batch() {
    let hub = start(HubConfig { linger: LINGER, ..HubConfig::default() }).await;
    let mut subscription = subscribe(&hub, "").await;
    for round in 0..3 {
        let first = round * 10;
        let begun = Instant::now();
        ingest(&hub, [first]).await;
        check_only(&read_until(&mut subscription, first).await, [first]);
        assert_eq!(begun.elapsed(), Duration::ZERO);

        ingest(&hub, [first + 1]).await;
        tokio::time::advance(LINGER / 5).await;
        ingest(&hub, [first + 2]).await;
        tokio::time::advance(LINGER / 5).await;
        ingest(&hub, [first + 3, first + 4]).await;
        let Some(Delivered::Events(burst)) = patiently(subscription.next()).await else {
            panic!("no events");
        };
        assert_eq!(burst.len(), 4);
        assert_eq!(begun.elapsed(), LINGER);
        tokio::time::advance(LINGER).await;
    }
}

#[tokio::test(start_paused = true)]
async fn batch_that_is_full_does_not_grow() {
    let hub = start(HubConfig { linger: LINGER, batch_bytes: 2000, ..HubConfig::default() }).await;
    let mut subscription = subscribe(&hub, "").await;
    ingest(&hub, 0..20).await;
    let mut batches = Vec::new();
    while batches.iter().sum::<usize>() < 20 {
        let Some(Delivered::Events(batch)) = patiently(subscription.next()).await else {
            panic!("no events");
        };
        batches.push(batch.len());
    }
    assert!(batches.len() > 2, "{batches:?}");
}

#[tokio::test(start_paused = true)]
async fn batch_larger_than_the_ingest_queue_is_refused_whole() {
    let hub = start(HubConfig { ingest_queue_bytes: 1000, ..HubConfig::default() }).await;
    let mut subscription = subscribe(&hub, "").await;
    let refused = hub.ingest(events(0..10)).await;
    assert!(
        matches!(refused, Err(IngestError::BatchTooLarge { bytes, limit: 1000 }) if bytes > 1000),
        "{refused:?}"
    );
    assert_eq!(hub.try_ingest(events(0..10)), refused);
    ingest(&hub, [10]).await;
    check_only(&read_until(&mut subscription, 10).await, [10]);
    assert_eq!((hub.stats().refused, hub.stats().received), (20, 1));
}

#[tokio::test(start_paused = true)]
async fn full_ingest_queue_refuses_or_waits_and_loses_nothing() {
    let hub = start(HubConfig { ingest_queue_bytes: 2000, ..HubConfig::default() }).await;
    let mut subscription = subscribe(&hub, "").await;
    // Nothing here awaits, so that the collector cannot make room.
    let accepted = (0..100).take_while(|n| hub.try_ingest(events([*n])).is_ok()).count() as u64;
    assert!((1..20).contains(&accepted), "{accepted}");
    assert_eq!(hub.try_ingest(events([accepted])), Err(IngestError::QueueFull));
    assert_eq!(hub.stats().refused, 2);
    assert_eq!(hub.stats().queued as u64, accepted);
    // This awaits, and the collector makes room.
    ingest(&hub, [accepted]).await;
    check_only(&read_until(&mut subscription, accepted).await, 0..=accepted);
    assert_eq!(hub.stats().received, accepted + 1);
    eventually_stats(&hub, |stats| stats.queued == 0).await;
}

#[tokio::test(start_paused = true)]
async fn ingest_that_runs_out_of_patience_says_that_the_queue_is_full() {
    let config = HubConfig { ingest_queue_bytes: 2000, ..HubConfig::default() };
    let hub = start(HubConfig { ingest_patience: Duration::ZERO, ..config }).await;
    while hub.try_ingest(events([0])).is_ok() {}
    assert_eq!(hub.ingest(events([1])).await, Err(IngestError::QueueFull));
    eventually_stats(&hub, |stats| stats.queued == 0).await;
    assert_eq!(hub.ingest(events([1])).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn hub_that_refuses_new_work_goes_on_with_the_old() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = subscribe(&hub, "").await;
    hub.try_ingest(events(0..3)).unwrap();
    assert!(hub.is_ready());
    hub.refuse_new_work();
    assert!(!hub.is_ready());
    assert_eq!(hub.try_ingest(events(3..5)), Err(IngestError::ShuttingDown));
    assert_eq!(hub.ingest(events(3..5)).await, Err(IngestError::ShuttingDown));
    let refused = hub.subscribe(TraceQuery::everything()).await;
    assert_eq!(refused.unwrap_err(), SubscribeError::ShuttingDown);
    let refused = hub.subscribe_metrics(MetricsQuery::everything(STALL)).await;
    assert_eq!(refused.unwrap_err(), SubscribeError::ShuttingDown);
    check_only(&read_until(&mut subscription, 2).await, 0..3);
    assert_eq!((hub.stats().received, hub.stats().refused), (3, 4));
    hub.check_health(Duration::from_secs(1)).await.unwrap();
}

/// Reads all, then drops the subscription, as a connection does.
fn reader(mut subscription: Subscription) -> tokio::task::JoinHandle<Vec<Said>> {
    tokio::spawn(async move { read_to_end(&mut subscription).await })
}

#[tokio::test(start_paused = true)]
async fn shutdown_hands_over_what_is_queued_and_says_goodbye() {
    let hub = start(one_by_one()).await;
    let readers = [subscribe(&hub, "").await, subscribe(&hub, "type=test").await];
    let mut metrics = hub.subscribe_metrics(MetricsQuery::everything(STALL)).await.unwrap();
    let metrics = tokio::spawn(async move { while metrics.next().await.is_some() {} });
    // Not even routed yet.
    hub.try_ingest(events(0..50)).unwrap();
    let readers = readers.map(reader);
    let begun = Instant::now();
    assert_eq!(patiently(hub.shutdown(STALL)).await, Ok(()));
    assert!(begun.elapsed() < STALL);
    for reader in readers {
        let said = reader.await.unwrap();
        assert_eq!(numbers(&said), (0..50).collect::<Vec<_>>());
        assert_eq!(said[50..], [Said::Bye(ByeReason::Shutdown)]);
    }
    metrics.await.unwrap();
    assert_eq!(hub.ended().await, telemetry_hub_actors::HubEnd::Stopped);
    assert_eq!(hub.ingest(events([0])).await, Err(IngestError::ShuttingDown));
    assert_eq!(patiently(hub.shutdown(STALL)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn reader_that_never_reads_holds_shutdown_up_to_the_deadline() {
    let hub = start(one_by_one()).await;
    let mut idle = subscribe(&hub, "").await;
    let other = reader(subscribe(&hub, "").await);
    ingest(&hub, 0..2).await;
    let begun = Instant::now();
    let deadline = Duration::from_secs(10);
    assert_eq!(patiently(hub.shutdown(deadline)).await, Err(ShutdownError { left: 1 }));
    assert_eq!(begun.elapsed(), deadline);
    assert_eq!(numbers(&other.await.unwrap()), [0, 1]);
    // What it was owed is still there.
    let said = read_to_end(&mut idle).await;
    assert_eq!(
        (numbers(&said).as_slice(), said[2]),
        ([0, 1].as_slice(), Said::Bye(ByeReason::Shutdown))
    );
}

#[tokio::test(start_paused = true)]
async fn replay_under_way_is_finished_before_the_goodbye() {
    let hub = start(HubConfig { subscriber_queue_bytes: 100_000, ..one_by_one() }).await;
    let long = "x".repeat(2000);
    for number in 0..500 {
        hub.ingest(vec![numbered(number).text(&long)]).await.unwrap();
    }
    let mut replaying = subscribe(&hub, "replay=1000").await;
    eventually(|| replaying.stats().queued, |queued| *queued > 0).await;
    assert!(replaying.stats().matched < 400, "{:?}", replaying.stats());
    let shutdown = tokio::spawn({
        let hub = hub.clone();
        async move { hub.shutdown(STALL).await }
    });
    eventually(|| hub.is_ready(), |is_ready| !is_ready).await;
    let mut said = Vec::new();
    while let Some(delivered) = patiently(replaying.next()).await {
        said.extend(flat(delivered));
    }
    drop(replaying);
    assert_eq!(numbers(&said), (0..500).collect::<Vec<_>>());
    assert_eq!(said[500..], [Said::CaughtUp(500), Said::Bye(ByeReason::Shutdown)]);
    assert_eq!(patiently(shutdown).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn two_who_shut_down_at_once_wait_for_the_same_end() {
    let hub = start(one_by_one()).await;
    let mut reader = subscribe(&hub, "").await;
    ingest(&hub, 0..3).await;
    let read = async {
        eventually(|| hub.is_ready(), |is_ready| !is_ready).await;
        let mut said = Vec::new();
        while let Some(delivered) = patiently(reader.next()).await {
            said.extend(flat(delivered));
        }
        drop(reader);
        said
    };
    let (first, second, said) = tokio::join!(hub.shutdown(STALL), hub.shutdown(STALL), read);
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(numbers(&said), [0, 1, 2]);
    assert_eq!(said.last(), Some(&Said::Bye(ByeReason::Shutdown)));
}

#[tokio::test(start_paused = true)]
async fn one_subscriber_too_many_is_refused_until_another_goes() {
    let hub = start(HubConfig { max_subscribers: 2, ..HubConfig::default() }).await;
    let query = MetricsQuery::everything(STALL);
    let first = subscribe(&hub, "").await;
    let _second = hub.subscribe_metrics(query.clone()).await.unwrap();
    let refused = hub.subscribe(TraceQuery::everything()).await;
    assert_eq!(refused.unwrap_err(), SubscribeError::TooMany { limit: 2 });
    let refused = hub.subscribe_metrics(query).await;
    assert_eq!(refused.unwrap_err(), SubscribeError::TooMany { limit: 2 });
    drop(first);
    eventually_stats(&hub, |stats| stats.subscribers == 1).await;
    let mut third = subscribe(&hub, "").await;
    ingest(&hub, [0]).await;
    check_only(&read_until(&mut third, 0).await, [0]);
}

/// What an event or a place is known by stands in it instead of its id.
async fn frame_of_a_place(subscription: &mut Subscription) -> String {
    let frame = frame(subscription).await;
    let (kind, rest) = frame.split_once("\nid: ").expect("an id");
    let (id, data) = rest.split_once('\n').unwrap();
    id.parse::<EventId>().unwrap();
    format!("{kind}\nid: ID\n{data}")
}

async fn check_retry(subscription: &mut Subscription) {
    let retry = frame(subscription).await;
    let milliseconds = retry.strip_prefix("retry: ").unwrap().trim_end().parse::<u64>().unwrap();
    assert!((2400..=3600).contains(&milliseconds), "{retry}");
}

/// A stream without a replay begins at a place.
async fn check_opening(subscription: &mut Subscription) {
    check_retry(subscription).await;
    let ping = frame_of_a_place(subscription).await;
    assert_eq!(ping, "event: ping\nid: ID\ndata: {\"interval\":15000}\n\n");
}

const PING: &str = "event: ping\ndata: {\"interval\":15000}\n\n";

#[tokio::test(start_paused = true)]
async fn frames_begin_with_retry_and_ping_and_end_with_bye() {
    let hub = start(cramped()).await;
    let mut subscription = subscribe(&hub, "replay=0").await;
    let begun = Instant::now();
    check_retry(&mut subscription).await;
    assert_eq!(frame(&mut subscription).await, PING);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let caught_up = frame_of_a_place(&mut subscription).await;
    assert_eq!(caught_up, "event: caught-up\nid: ID\ndata: {\"replayed\":0}\n\n");
    ingest(&hub, 0..3).await;
    eventually(|| subscription.stats().missed, |missed| *missed == 2).await;
    let trace = frame(&mut subscription).await;
    let id = trace.strip_prefix("event: trace\nid: ").unwrap().lines().next().unwrap().to_owned();
    assert!(trace.contains(&format!("\ndata: [{{\"id\":\"{id}\"")), "{trace}");
    assert!(trace.ends_with("\"type\":\"test\",\"data\":{\"n\":0}}]\n\n"), "{trace}");
    let gap = frame(&mut subscription).await;
    assert!(gap.starts_with("event: gap\nid: "), "{gap}");
    assert!(gap.contains("data: {\"reason\":\"slow\",\"missed\":2,\"from\":\""), "{gap}");
    let rest = tokio::spawn(async move {
        let mut frames = Vec::new();
        while let Some(frame) = StreamExt::next(&mut subscription).await {
            frames.push(String::from_utf8(frame.to_vec()).unwrap());
        }
        frames
    });
    patiently(hub.shutdown(STALL)).await.unwrap();
    let rest = rest.await.unwrap();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert!(
        rest[0].starts_with("event: bye\ndata: {\"reason\":\"shutdown\",\"retry\":"),
        "{rest:?}"
    );
}

/// Makes the collector and the subscribers do all that they have to.
async fn settle(hub: &HubHandle, subscription: &Subscription, matched: u64) {
    eventually_stats(hub, |stats| stats.received == matched).await;
    eventually(|| subscription.stats().matched, |now| *now == matched).await;
    check_law(subscription.stats());
}

#[tokio::test(start_paused = true)]
async fn ping_comes_after_fifteen_seconds_of_silence_and_not_before() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = subscribe(&hub, "").await;
    check_opening(&mut subscription).await;
    check_ping(&mut subscription).await;
    check_ping(&mut subscription).await;

    tokio::time::advance(Duration::from_secs(10)).await;
    ingest(&hub, [0]).await;
    settle(&hub, &subscription, 1).await;
    assert!(frame(&mut subscription).await.starts_with("event: trace"));
    // Fifteen seconds after the event, not after the last ping.
    check_ping(&mut subscription).await;
}

/// A ping comes next, after fifteen seconds; a tick of the sweeper later at most.
async fn check_ping(subscription: &mut Subscription) {
    let begun = Instant::now();
    assert_eq!(frame(subscription).await, PING);
    let (elapsed, expected) = (begun.elapsed(), Duration::from_secs(15));
    let tick = Duration::from_millis(1010);
    assert!((expected..expected + tick).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn each_of_many_gets_its_ping_while_others_leave() {
    let hub = start(HubConfig::default()).await;
    let mut subscriptions = Vec::new();
    for _ in 0..300 {
        subscriptions.push(subscribe(&hub, "").await);
    }
    for number in (0..300).rev().step_by(3) {
        drop(subscriptions.swap_remove(number));
    }
    for _ in 0..2 {
        // The first is part of the opening.
        for subscription in &mut subscriptions {
            let mut pings = subscription.filter(|frame| ready(frame.starts_with(b"event: ping")));
            patiently(pings.next()).await.expect("a ping");
        }
        tokio::time::advance(Duration::from_secs(16)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_is_cut_though_no_event_comes_any_more() {
    let hub = start(cramped()).await;
    let mut subscription = subscribe(&hub, "").await;
    ingest(&hub, 0..3).await;
    eventually_stats(&hub, |stats| stats.missed == 2).await;
    tokio::time::advance(STALL).await;
    eventually_stats(&hub, |stats| stats.stalled == 1).await;
    let said = read_to_end(&mut subscription).await;
    let [Said::Gap(gap), Said::Bye(ByeReason::Stalled)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(gap.missed, Some(3));
    check_law(subscription.stats());
}

#[tokio::test(start_paused = true)]
async fn subscription_is_cut_once_by_who_writes_to_its_client() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = subscribe(&hub, "").await;
    let metrics = hub.subscribe_metrics(MetricsQuery::everything(STALL)).await.unwrap();
    ingest(&hub, 0..3).await;
    eventually(|| subscription.stats().queued, |queued| *queued == 3).await;
    for _ in 0..2 {
        subscription.cut();
        metrics.cut();
    }
    eventually_stats(&hub, |stats| stats.stalled == 2).await;
    let said = read_to_end(&mut subscription).await;
    assert!(matches!(&said[..], [Said::Gap(_), Said::Bye(ByeReason::Stalled)]), "{said:?}");
    let frames: Vec<_> = StreamExt::collect(metrics).await;
    let bye = std::str::from_utf8(frames.last().unwrap()).unwrap();
    assert!(bye.starts_with("event: bye\ndata: {\"reason\":\"stalled\""), "{bye}");
    assert_eq!((hub.stats().stalled, hub.stats().missed), (2, 3));
}

/// Ingests until the hub refuses, and says how many events it took.
async fn publish_to_the_end(hub: HubHandle) -> u64 {
    for number in 0.. {
        if hub.ingest(events([number])).await.is_err() {
            return number;
        }
    }
    unreachable!("it has to end some day")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_accepted_while_the_hub_goes_down_still_arrives() {
    for _ in 0..200 {
        let hub = start(HubConfig { linger: Duration::ZERO, ..HubConfig::default() }).await;
        let reader = reader(subscribe(&hub, "").await);
        let publisher = tokio::spawn(publish_to_the_end(hub.clone()));
        eventually_stats(&hub, |stats| stats.received > 10).await;
        patiently(hub.shutdown(STALL)).await.unwrap();
        let accepted = patiently(publisher).await.unwrap();
        let said = patiently(reader).await.unwrap();
        assert_eq!(numbers(&said).len() as u64, accepted);
        assert_eq!(said.last(), Some(&Said::Bye(ByeReason::Shutdown)));
    }
}
