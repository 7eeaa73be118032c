//! A hub that reads one service alone.

use std::collections::BTreeMap;

use crate::events::Wish;
use crate::hubs::HUBS;
use crate::proxy::{Link, set_all};
use crate::publisher::Pace;
use crate::run::{Plan, Run};
use crate::subscriber::{Loyalty, Watching};
use crate::verdict::{Verdict, print_row};
use crate::volume::is_told_and_whole_from_there;

const HUB: usize = HUBS - 1;

const SMALL: Pace = Pace { batch: 10, ..Pace::STEADY };
const LARGE: Pace = Pace { batch: 10, text: 1_000, ..Pace::STEADY };

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_hub_that_reads_one_service_shows_all_of_it() {
    let fault =
        "a hub that reads one service alone: kill -9, then cut off while the stream overflows";
    let settings = BTreeMap::from([
        ("NATS_MAX_BYTES", "512KiB".to_owned()),
        ("REPLAY_BYTES", "128KiB".to_owned()),
    ]);
    let loyalty = Loyalty::Stays;
    let plan = Plan { settings, loyalty, latecomers: false, one_service: true, ..Plan::default() };
    let mut run = Run::start(fault, plan).await;
    let theirs = run.subscribers.split_off(HUB * Wish::EACH.len());
    // What it accepts goes to all, also what it does not show.
    run.publishers.post(HUB, 500, SMALL).await;
    let mut away = Watching::start(run.hubs.urls(), HUB, Wish::Served, loyalty);
    for subscriber in theirs.iter().chain([&away]) {
        subscriber.has_seen(5).await;
    }
    away.leave().await;

    run.hubs.kill(HUB).await;
    run.publishers.post(0, 500, SMALL).await;
    run.hubs.restart(HUB).await;
    for subscriber in &theirs {
        subscriber.has_seen(10).await;
        assert_eq!(subscriber.record().gaps, []);
    }

    let links = run.hubs.links_of(HUB);
    set_all(&links, Link::Cut);
    run.hubs.is_ready(HUB, false).await;
    run.publishers.post(1, 3_000, LARGE).await;
    set_all(&links, Link::Open);
    run.hubs.is_ready(HUB, true).await;
    away.come_back();
    for subscriber in theirs.iter().chain([&away]) {
        subscriber.has_heard_of_a_gap().await;
    }
    assert_eq!(run.hubs.measured(HUB, "hub_transport_holes_total").await, 1);
    assert_eq!(run.hubs.measured(0, "hub_transport_holes_total").await, 0);
    let others: Vec<_> = theirs.iter().chain([&away]).collect();
    let (ledger, records) = run.end(&others).await;
    let verdict = Verdict::of(&ledger, &records);
    print_row(fault, &ledger, &records, &verdict);
    verdict.is_clean();
    let witness = records.iter().find(|record| record.wish == Wish::Service).unwrap();
    for (subscriber, before) in theirs.iter().map(|one| (one, 10)).chain([(&away, 5)]) {
        assert_eq!(witness.seen[..before], subscriber.record().seen[..before]);
        is_told_and_whole_from_there(subscriber, before, witness);
    }
}
