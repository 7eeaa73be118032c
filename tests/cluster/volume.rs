//! Much that happens while one is away.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::events::Wish;
use crate::proxy::{Link, set_all};
use crate::publisher::Pace;
use crate::run::{Plan, Run};
use crate::subscriber::{Loyalty, Record, Watching};
use crate::verdict::{Verdict, print_row};

/// Events that a hub has to catch up with.
const MANY: u64 = 100_000;

const BULK: Pace = Pace { batch: 500, text: 20, pause: Duration::ZERO };

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_hub_comes_back_after_100_000_events() {
    // Nobody is to be told of being slow: that is another matter.
    let settings = BTreeMap::from([("SUBSCRIBER_QUEUE_BYTES", "256MiB".to_owned())]);
    let plan = Plan { settings, loyalty: Loyalty::Stays, latecomers: false, ..Plan::default() };
    let mut run = Run::start("100,000 events while a hub is down", plan).await;
    run.publishers.post(2, 500, BULK).await;
    // Each has an id to go on from.
    for subscriber in &run.subscribers {
        subscriber.has_seen(1).await;
    }
    run.hubs.kill(2).await;
    let halves = [0, 1].map(|hub| run.publishers.post(hub, MANY / 2, BULK));
    futures_util::future::join_all(halves).await;
    run.hubs.restart(2).await;
    let ledger = run.finish().await;
    assert!(ledger.accepted.len() as u64 >= MANY, "{} were accepted", ledger.accepted.len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn who_watches_or_comes_back_is_told_what_the_stream_has_no_longer() {
    let fault = "the stream overflows its limits while a client is away and a hub is cut off";
    let settings = BTreeMap::from([
        ("NATS_MAX_BYTES", "512KiB".to_owned()),
        ("REPLAY_BYTES", "128KiB".to_owned()),
    ]);
    let loyalty = Loyalty::Stays;
    let mut run =
        Run::start(fault, Plan { settings, loyalty, latecomers: false, ..Plan::default() }).await;
    let cut_off = run.subscribers.split_off(2 * Wish::EACH.len());
    let mut away = Watching::start(run.hubs.urls(), 0, Wish::All, Loyalty::GoesOn);
    away.is_connected().await;
    let pace = Pace { batch: 10, text: 1_000, ..Pace::STEADY };
    run.publishers.post(0, 200, pace).await;
    for subscriber in cut_off.iter().chain([&away]) {
        subscriber.has_seen(1).await;
    }
    away.has_seen(200).await;
    away.leave().await;
    let links = run.hubs.links_of(2);
    set_all(&links, Link::Cut);
    run.hubs.is_ready(2, false).await;
    run.publishers.post(1, 3_000, pace).await;
    set_all(&links, Link::Open);
    away.come_back();
    for subscriber in cut_off.iter().chain([&away]) {
        subscriber.has_heard_of_a_gap().await;
    }
    assert_eq!(run.hubs.measured(1, "hub_transport_holes_total").await, 0);
    assert_eq!(run.hubs.measured(2, "hub_transport_holes_total").await, 1);
    let others: Vec<_> = cut_off.iter().chain([&away]).collect();
    let (ledger, records) = run.end(&others).await;
    let verdict = Verdict::of(&ledger, &records);
    print_row(fault, &ledger, &records, &verdict);
    verdict.is_clean();
    for (subscriber, witness) in others.into_iter().zip(records.iter().cycle()) {
        let before = (1..=200).filter(|number| witness.wish.matches(*number)).count();
        is_told_and_whole_from_there(subscriber, before, witness);
    }
}

/// One gap after so many events, because what came then is there no longer; and from its end on all that a witness has seen who
/// wished for the same.
pub(crate) fn is_told_and_whole_from_there(subscriber: &Watching, before: usize, witness: &Record) {
    let Record { name, seen, gaps, is_complete, .. } = subscriber.record();
    assert!(is_complete, "{name} never saw the last event");
    let [(place, gap)] = gaps.as_slice() else { panic!("{name}: {gaps:?}") };
    assert_eq!((*place, &gap["reason"]), (before, &"expired".into()), "{name}: {gap}");
    let (after, there) = (&seen[before..], witness.seen.len() - before);
    assert!(after.len() > there / 100 && after.len() < there, "{name}: {}, {there}", after.len());
    assert_eq!(after, &witness.seen[witness.seen.len() - after.len()..], "{name}");
}
