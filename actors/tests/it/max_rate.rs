//! Streams of at most so many events a second. The clock stands still until nobody has anything left to do.

use std::future::ready;
use std::time::Duration;

use futures_util::StreamExt as _;
use telemetry_hub_actors::{Gap, GapReason, HubConfig, HubHandle, Level, NewEvent, Subscription};

use crate::harness::{
    Said, check_law, check_only, flat, ids, ingest, numbered, numbers, patiently, read_replay,
    read_until, resume, start, subscribe,
};

/// Reads until a gap.
async fn read_to_gap(subscription: &mut Subscription) -> (Vec<Said>, Gap) {
    let mut said = Vec::new();
    loop {
        said.extend(flat(patiently(subscription.next()).await.unwrap()));
        check_law(subscription.stats());
        if let Some(Said::Gap(gap)) = said.last() {
            let gap = *gap;
            said.pop();
            return (said, gap);
        }
    }
}

async fn a_second_later() {
    let mut ticks = tokio::time::interval(Duration::from_millis(1_100));
    ticks.tick().await;
    ticks.tick().await;
}

async fn hub_with(numbers: std::ops::Range<u64>) -> HubHandle {
    let hub = start(HubConfig::default()).await;
    ingest(&hub, numbers).await;
    hub
}

#[tokio::test(start_paused = true)]
async fn a_sample_comes_in_order_and_what_is_left_out_is_told_though_nothing_comes_after_it() {
    let hub = hub_with(0..0).await;
    let mut all = subscribe(&hub, "").await;
    let mut some = subscribe(&hub, "max-rate=10").await;
    assert_eq!(hub.stats().filters, 1, "a rate is no part of the filter");
    ingest(&hub, 0..100).await;
    let ids = ids(&read_until(&mut all, 99).await);
    let (said, gap) = read_to_gap(&mut some).await;
    let got = numbers(&said);
    assert!(got.len() == 10 && got.is_sorted(), "{got:?}");
    let left_out: Vec<u64> = (0..100).filter(|number| !got.contains(number)).collect();
    let id_of = |number: &u64| ids[usize::try_from(*number).unwrap()];
    let expected = Gap {
        reason: GapReason::Sampled,
        missed: Some(90),
        from: left_out.first().map(id_of),
        to: left_out.last().map(id_of),
    };
    assert_eq!(gap, expected);
    assert_eq!(hub.stats().missed, 90);
    a_second_later().await;
    ingest(&hub, [100]).await;
    check_only(&read_until(&mut some, 100).await, [100]);
}

#[tokio::test(start_paused = true)]
async fn errors_are_kept_and_sample_the_others() {
    let hub = hub_with(0..0).await;
    let mut some = subscribe(&hub, "max-rate=5&follow=none").await;
    let is_error = |number: u64| number % 30 == 7;
    let level = |number| if is_error(number) { Level::Error } else { Level::Debug };
    let events: Vec<NewEvent> =
        (0..100).map(|number| numbered(number).level(level(number))).collect();
    patiently(hub.ingest(events)).await.unwrap();
    let (said, gap) = read_to_gap(&mut some).await;
    let got = numbers(&said);
    assert_eq!(got.iter().filter(|number| is_error(**number)).count(), 4);
    assert_eq!((got.len(), gap.missed), (5, Some(95)));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exceed_the_rate_is_the_frame_that_all_share() {
    let hub = hub_with(0..0).await;
    let mut subscriptions =
        [subscribe(&hub, "type=test").await, subscribe(&hub, "type=test&max-rate=100").await];
    ingest(&hub, 0..50).await;
    let mut frames = Vec::new();
    for subscription in &mut subscriptions {
        let mut traces = subscription.filter(|frame| ready(frame.starts_with(b"event: trace")));
        frames.push(patiently(traces.next()).await.unwrap());
    }
    assert_eq!(frames[0].as_ptr(), frames[1].as_ptr());
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_whole_and_so_is_what_a_client_comes_back_for() {
    let hub = hub_with(0..100).await;
    let mut some = subscribe(&hub, "max-rate=10&replay=50").await;
    assert_eq!(numbers(&read_replay(&mut some).await), (50..100).collect::<Vec<_>>());
    a_second_later().await;
    ingest(&hub, 100..200).await;
    let (said, _) = read_to_gap(&mut some).await;
    drop(some);
    let last = *ids(&said).last().unwrap();
    let from = numbers(&said).last().unwrap() + 1;
    let mut some = resume(&hub, "max-rate=10", last).await;
    assert_eq!(numbers(&read_replay(&mut some).await), (from..200).collect::<Vec<_>>());
}
