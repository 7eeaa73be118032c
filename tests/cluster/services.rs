//! Hubs that do not read all: one service alone, or what those who watch may want.

use std::collections::BTreeMap;

use crate::events::Wish;
use crate::hubs::HUBS;
use crate::proxy::{Link, set_all};
use crate::publisher::Pace;
use crate::run::{LastHub, Plan, Run};
use crate::subscriber::{Loyalty, Watching};
use crate::verdict::{Verdict, print_row};
use crate::volume::is_told_and_whole_from_there;

const HUB: usize = HUBS - 1;

/// How many services a hub reads alone; 0 if it reads all.
const SERVICES: &str = "hub_transport_services";

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
    let plan = Plan {
        settings,
        loyalty,
        latecomers: false,
        last_hub: LastHub::OneService,
        ..Plan::default()
    };
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_hub_that_narrows_shows_all_that_anybody_asks_for() {
    let fault = "a hub that reads what is asked for alone: newcomers, kill -9, then cut off";
    let plan = Plan { loyalty: Loyalty::Stays, last_hub: LastHub::Wanted, ..Plan::default() };
    let mut run = Run::start(fault, plan).await;
    run.publishers.start(Pace::STEADY);
    run.hubs.comes_to(HUB, SERVICES, 1).await;
    let received = async |hub| run.hubs.measured(hub, "hub_transport_received_total").await;
    let before = (received(HUB).await, received(0).await);
    run.publishers.accepted(1_000).await;
    let (narrow, all) = (received(HUB).await - before.0, received(0).await - before.1);
    assert!(narrow * 10 < all, "{narrow} of {all} messages");

    // Each comes for all that there ever was, goes, and comes again when nobody else has wanted it for a while.
    let mut newcomers = Vec::new();
    for wish in [Wish::Part, Wish::All, Wish::Errors] {
        let mut newcomer = Watching::start(run.hubs.urls(), HUB, wish, Loyalty::Stays);
        newcomer.has_seen(10).await;
        run.hubs.comes_to(HUB, SERVICES, 0).await;
        newcomer.leave().await;
        newcomers.push(newcomer);
        run.hubs.comes_to(HUB, SERVICES, 1).await;
    }
    run.hubs.kill(HUB).await;
    run.publishers.accepted(200).await;
    run.hubs.restart(HUB).await;
    run.hubs.comes_to(HUB, SERVICES, 1).await;
    newcomers[0].come_back();
    run.hubs.comes_to(HUB, SERVICES, 0).await;
    newcomers[0].leave().await;
    run.hubs.comes_to(HUB, SERVICES, 1).await;

    let links = run.hubs.links_of(HUB);
    set_all(&links, Link::Cut);
    run.hubs.is_ready(HUB, false).await;
    newcomers.iter_mut().for_each(Watching::come_back);
    run.publishers.accepted(200).await;
    set_all(&links, Link::Open);
    run.subscribers.extend(newcomers);
    run.finish().await;
}
