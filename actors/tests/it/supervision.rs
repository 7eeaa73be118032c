//! Each actor is killed, and made to panic: what is restarted, what ends, what the client is told, what the counters say.

use std::time::Duration;

use futures_util::StreamExt;
use telemetry_hub_actors::{
    Fault, HubConfig, IngestError, MetricsQuery, NewEvent, SubscribeError, Subscription, TraceQuery,
};

use crate::harness::{
    break_collector, check_failed, check_only, events, eventually_stats, ids, ingest, numbers,
    one_by_one, patiently, read_replay, read_to_end, read_until, resume, start, subscribe,
};

const SECOND: Duration = Duration::from_secs(1);

/// Subscribers with several filters, all of which every numbered event matches.
async fn crowd(hub: &telemetry_hub_actors::HubHandle, size: usize) -> Vec<Subscription> {
    let queries = ["", "type=test", "type=test&follow=none", "filter=test", "level=info"];
    let mut crowd = Vec::new();
    for index in 0..size {
        crowd.push(subscribe(hub, queries[index % queries.len()]).await);
    }
    crowd
}

async fn check_collector_loses_nothing(fault: Fault) {
    let hub = start(one_by_one()).await;
    let mut subscription = subscribe(&hub, "").await;
    ingest(&hub, 0..3).await;
    hub.inject(fault).await;
    ingest(&hub, 3..6).await;
    check_only(&read_until(&mut subscription, 5).await, 0..6);
    eventually_stats(&hub, |stats| stats.collector_restarts == 1).await;
    ingest(&hub, 6..7).await;
    check_only(&read_until(&mut subscription, 6).await, 6..7);
    assert_eq!(hub.stats().subscriber_failures, 0);
    patiently(hub.check_health(SECOND)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn killed_collector_is_restarted_and_nothing_is_lost() {
    check_collector_loses_nothing(Fault::KillCollector).await;
}

#[tokio::test(start_paused = true)]
async fn panicking_collector_is_restarted_and_nothing_is_lost() {
    check_collector_loses_nothing(Fault::PanicCollector).await;
}

#[tokio::test(start_paused = true)]
async fn collector_that_panics_amid_a_fan_out_goes_on_where_it_broke_off() {
    for deliveries in [0, 1, 7, 12, 19] {
        let hub = start(one_by_one()).await;
        let mut crowd = crowd(&hub, 20).await;
        hub.inject(Fault::PanicCollectorAfter(deliveries)).await;
        ingest(&hub, 0..3).await;
        for subscription in &mut crowd {
            check_only(&read_until(subscription, 2).await, 0..3);
        }
        assert_eq!(hub.stats().collector_restarts, 1);
        // A double would come before this.
        ingest(&hub, 3..4).await;
        for subscription in &mut crowd {
            check_only(&read_until(subscription, 3).await, 3..4);
        }
        assert_eq!((hub.stats().delivered, hub.stats().queued), (80, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn collector_that_panics_under_load_loses_and_doubles_nothing() {
    let hub = start(HubConfig { batch_bytes: 2000, ..HubConfig::default() }).await;
    let crowd = crowd(&hub, 20).await;
    let readers: Vec<_> = crowd
        .into_iter()
        .map(|mut subscription| {
            tokio::spawn(async move { read_until(&mut subscription, 1999).await })
        })
        .collect();
    for first in (0..2000).step_by(20) {
        if first % 400 == 200 {
            hub.inject(Fault::PanicCollectorAfter(u32::try_from(first).unwrap() % 37)).await;
        }
        ingest(&hub, first..first + 20).await;
    }
    for reader in readers {
        check_only(&patiently(reader).await.unwrap(), 0..2000);
    }
    assert!((1..=5).contains(&hub.stats().collector_restarts), "{:?}", hub.stats());
}

#[tokio::test(start_paused = true)]
async fn batch_routed_twice_over_is_followed_once() {
    let hub = start(HubConfig::default()).await;
    let mut first = subscribe(&hub, "type=test&follow=span").await;
    let mut second = subscribe(&hub, "type=test&follow=span").await;
    hub.inject(Fault::PanicCollectorAfter(1)).await;
    // The first event of the span comes before the one that matches, and must not be followed on the second round.
    let other = |number: u64| NewEvent::new("other").with("n", number).span("s");
    let start = crate::harness::numbered(1).span("s");
    hub.ingest(vec![other(0), start, other(2)]).await.unwrap();
    check_only(&read_until(&mut first, 2).await, [1, 2]);
    check_only(&read_until(&mut second, 2).await, [1, 2]);
    assert_eq!(hub.stats().collector_restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn collector_that_fails_again_and_again_fails_the_hub() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = subscribe(&hub, "").await;
    for _ in 0..10 {
        break_collector(&hub, Fault::KillCollector).await;
    }
    ingest(&hub, 0..1).await;
    check_only(&read_until(&mut subscription, 0).await, 0..1);
    hub.inject(Fault::PanicCollector).await;
    check_failed(&patiently(hub.ended()).await);
    check_only(&read_to_end(&mut subscription).await, []);
    assert_eq!(hub.stats().collector_restarts, 10);
    assert_eq!(hub.ingest(events(0..1)).await, Err(IngestError::ShuttingDown));
}

#[tokio::test(start_paused = true)]
async fn collector_that_fails_now_and_then_is_always_restarted() {
    let hub = start(HubConfig::default()).await;
    for _ in 0..25 {
        break_collector(&hub, Fault::PanicCollector).await;
        tokio::time::advance(SECOND).await;
    }
    patiently(hub.check_health(SECOND)).await.unwrap();
}

async fn check_subscriber_ends_and_client_resumes(fault: Fault) {
    let hub = start(one_by_one()).await;
    let mut subscription = subscribe(&hub, "type=test").await;
    ingest(&hub, 0..3).await;
    let seen = read_until(&mut subscription, 1).await;
    hub.inject(fault).await;
    eventually_stats(&hub, |stats| stats.subscriber_failures == 1).await;
    ingest(&hub, 3..5).await;
    // What was queued is still there; then it ends, without a `bye`.
    check_only(&read_to_end(&mut subscription).await, 2..3);
    assert_eq!((hub.stats().subscribers, hub.stats().filters), (0, 0));

    let last = *ids(&seen).last().unwrap();
    let mut resumed = resume(&hub, "type=test", last).await;
    assert_eq!(numbers(&read_replay(&mut resumed).await), [2, 3, 4]);
    ingest(&hub, 5..6).await;
    check_only(&read_until(&mut resumed, 5).await, 5..6);
    assert_eq!(hub.stats().collector_restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn killed_subscriber_ends_its_stream_and_the_client_resumes() {
    check_subscriber_ends_and_client_resumes(Fault::KillSubscribers).await;
}

#[tokio::test(start_paused = true)]
async fn panicking_subscriber_ends_its_stream_and_the_client_resumes() {
    check_subscriber_ends_and_client_resumes(Fault::PanicSubscribers).await;
}

#[tokio::test(start_paused = true)]
async fn subscriber_that_fails_tells_what_it_missed_before_the_end() {
    let hub = start(HubConfig { subscriber_queue_bytes: 1, ..one_by_one() }).await;
    let mut subscription = subscribe(&hub, "").await;
    ingest(&hub, 0..3).await;
    eventually_stats(&hub, |stats| stats.missed == 2).await;
    hub.inject(Fault::KillSubscribers).await;
    let said = read_to_end(&mut subscription).await;
    assert_eq!((numbers(&said).as_slice(), said.len()), ([0].as_slice(), 2), "{said:?}");
    assert_eq!(subscription.stats().missed, 2);
}

async fn check_metrics_subscriber_ends(fault: Fault) {
    let hub = start(HubConfig::default()).await;
    let query = MetricsQuery::everything(SECOND);
    let mut subscription = hub.subscribe_metrics(query.clone()).await.unwrap();
    assert!(patiently(subscription.next()).await.is_some());
    hub.inject(fault).await;
    eventually_stats(&hub, |stats| stats.subscriber_failures == 1).await;
    assert_eq!(hub.stats().subscribers, 0);
    while patiently(subscription.next()).await.is_some() {}
    let mut again = hub.subscribe_metrics(query).await.unwrap();
    for _ in 0..3 {
        assert!(patiently(again.next()).await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn killed_metrics_subscriber_ends_its_stream_and_another_can_begin() {
    check_metrics_subscriber_ends(Fault::KillSubscribers).await;
}

#[tokio::test(start_paused = true)]
async fn panicking_metrics_subscriber_ends_its_stream_and_another_can_begin() {
    check_metrics_subscriber_ends(Fault::PanicSubscribers).await;
}

async fn check_frames_go_on(fault: Fault) {
    let hub = start(HubConfig::default()).await;
    let mut subscription = hub.subscribe_metrics(MetricsQuery::everything(SECOND)).await.unwrap();
    assert!(patiently(subscription.next()).await.is_some());
    hub.inject(fault).await;
    for _ in 0..3 {
        assert!(patiently(subscription.next()).await.is_some());
    }
    let stats = hub.stats();
    assert_eq!((stats.sampler_restarts, stats.subscribers, stats.subscriber_failures), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn killed_sampler_is_restarted_and_frames_go_on() {
    check_frames_go_on(Fault::KillSamplers).await;
}

#[tokio::test(start_paused = true)]
async fn panicking_sampler_is_restarted_and_frames_go_on() {
    check_frames_go_on(Fault::PanicSamplers).await;
}

#[tokio::test(start_paused = true)]
async fn sampler_that_fails_again_and_again_fails_the_hub() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = hub.subscribe_metrics(MetricsQuery::everything(SECOND)).await.unwrap();
    for restart in 1..=10 {
        hub.inject(Fault::KillSamplers).await;
        eventually_stats(&hub, |stats| stats.sampler_restarts == restart).await;
    }
    hub.inject(Fault::PanicSamplers).await;
    check_failed(&patiently(hub.ended()).await);
    while patiently(subscription.next()).await.is_some() {}
}

async fn check_pings_go_on(fault: Fault) {
    let hub = start(HubConfig { ping_interval: SECOND, ..HubConfig::default() }).await;
    let mut subscription = subscribe(&hub, "").await;
    for restarts in 1..=2 {
        hub.inject(fault).await;
        eventually_stats(&hub, |stats| stats.sweeper_restarts == restarts).await;
        let frames = (&mut subscription)
            .filter(|frame| std::future::ready(frame.starts_with(b"event: ping")));
        // The first is part of the opening.
        assert_eq!(patiently(frames.take(2).count()).await, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn killed_sweeper_is_restarted_and_pings_go_on() {
    check_pings_go_on(Fault::KillSweeper).await;
}

#[tokio::test(start_paused = true)]
async fn panicking_sweeper_is_restarted_and_pings_go_on() {
    check_pings_go_on(Fault::PanicSweeper).await;
}

/// A sampler that is still there would be restarted.
async fn check_no_sampler(hub: &telemetry_hub_actors::HubHandle) {
    hub.inject(Fault::KillSamplers).await;
    let mut other = hub.subscribe_metrics(MetricsQuery::everything(2 * SECOND)).await.unwrap();
    assert!(patiently(other.next()).await.is_some());
    assert_eq!(hub.stats().sampler_restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn sampler_stops_with_its_last_subscriber() {
    let hub = start(HubConfig::default()).await;
    let query = MetricsQuery::everything(SECOND);
    let first = hub.subscribe_metrics(query.clone()).await.unwrap();
    let mut second = hub.subscribe_metrics(query).await.unwrap();
    drop(first);
    eventually_stats(&hub, |stats| stats.subscribers == 1).await;
    for _ in 0..3 {
        assert!(patiently(second.next()).await.is_some());
    }
    drop(second);
    eventually_stats(&hub, |stats| stats.subscribers == 0).await;
    check_no_sampler(&hub).await;
}

#[tokio::test(start_paused = true)]
async fn sampler_stops_when_its_last_subscriber_fails() {
    for fault in [Fault::KillSubscribers, Fault::PanicSubscribers] {
        let hub = start(HubConfig::default()).await;
        let query = MetricsQuery::everything(SECOND);
        let subscription = hub.subscribe_metrics(query).await.unwrap();
        hub.inject(fault).await;
        eventually_stats(&hub, |stats| stats.subscriber_failures == 1).await;
        check_no_sampler(&hub).await;
        drop(subscription);
    }
}

#[tokio::test(start_paused = true)]
async fn hub_that_panics_ends_all_streams_and_says_so() {
    let hub = start(one_by_one()).await;
    let mut subscription = subscribe(&hub, "").await;
    let query = MetricsQuery::everything(SECOND);
    let mut metrics = hub.subscribe_metrics(query.clone()).await.unwrap();
    ingest(&hub, 0..2).await;
    read_until(&mut subscription, 0).await;
    hub.inject(Fault::PanicHub).await;
    check_failed(&patiently(hub.ended()).await);
    check_only(&read_to_end(&mut subscription).await, 1..2);
    while patiently(metrics.next()).await.is_some() {}

    assert_eq!(hub.ingest(events(0..1)).await, Err(IngestError::ShuttingDown));
    let refused = patiently(hub.subscribe(TraceQuery::everything())).await;
    assert_eq!(refused.unwrap_err(), SubscribeError::ShuttingDown);
    let refused = patiently(hub.subscribe_metrics(query)).await;
    assert_eq!(refused.unwrap_err(), SubscribeError::ShuttingDown);
    assert!(patiently(hub.check_health(SECOND)).await.is_err());
    assert!(!hub.is_ready());
    assert_eq!(patiently(hub.shutdown(SECOND)).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn last_handle_that_goes_ends_the_hub_and_its_streams() {
    let hub = start(one_by_one()).await;
    let mut subscription = subscribe(&hub, "").await;
    let mut metrics = hub.subscribe_metrics(MetricsQuery::everything(SECOND)).await.unwrap();
    let other_handle = hub.clone();
    drop(hub);
    ingest(&other_handle, 0..1).await;
    check_only(&read_until(&mut subscription, 0).await, 0..1);
    drop(other_handle);
    check_only(&read_to_end(&mut subscription).await, []);
    while patiently(metrics.next()).await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn subscription_that_is_dropped_ends_its_actor() {
    let hub = start(HubConfig::default()).await;
    let first = subscribe(&hub, "type=a").await;
    let second = subscribe(&hub, "type=a").await;
    assert_eq!((hub.stats().subscribers, hub.stats().filters), (2, 1));
    drop(first);
    eventually_stats(&hub, |stats| (stats.subscribers, stats.filters) == (1, 1)).await;
    drop(second);
    eventually_stats(&hub, |stats| (stats.subscribers, stats.filters) == (0, 0)).await;
    ingest(&hub, 0..10).await;
    eventually_stats(&hub, |stats| stats.queued == 0).await;
    let stats = hub.stats();
    assert_eq!((stats.subscriber_failures, stats.delivered, stats.missed), (0, 0, 0));
}
