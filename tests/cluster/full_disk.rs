//! Servers whose disks are full.

use std::time::Duration;

use crate::events::Wish;
use crate::hubs::HUBS;
use crate::nats::SERVERS;
use crate::patience::eventually;
use crate::proxy::{Link, set_all};
use crate::publisher::Pace;
use crate::run::{Plan, Run, STREAM};
use crate::verdict::{Verdict, print_row};

/// How long a hub may be without anything new: it looks for another server after some seconds, and may find the same one.
const SILENCE: Duration = Duration::from_secs(30);

const PACE: Pace = Pace { batch: 10, text: 4_000, pause: Duration::from_millis(5) };

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn disks_that_are_full_lose_nothing() {
    let plan = Plan { small_disks: SERVERS, ..Plan::default() };
    let mut run = Run::start("full disks of all NATS servers, then room and a restart", plan).await;
    run.publishers.start(PACE);
    run.publishers.refused().await;
    for server in 0..SERVERS {
        run.nats.disk(server).make_room().await;
    }
    // A server that has once had no room does nothing more until it is started again.
    run.nats.restart_all().await;
    run.publishers.accepted(200).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn one_disk_that_is_full_loses_nothing() {
    let fault = "a full disk of one NATS server that a hub reads from, then room and a restart";
    let mut run = Run::start(fault, Plan { small_disks: 1, ..Plan::default() }).await;
    eventually("a hub reads from the server that has little room", async || {
        if run.nats.is_read_at(0, STREAM).await {
            return Some(());
        }
        // Where a hub's consumer is kept NATS decides by chance: all three anew, and soon one is there.
        let links: Vec<_> = (0..HUBS).flat_map(|hub| run.hubs.links_of(hub)).collect();
        set_all(&links, Link::Cut);
        for hub in 0..HUBS {
            run.hubs.is_ready(hub, false).await;
        }
        set_all(&links, Link::Open);
        run.hubs.are_ready().await;
        None
    })
    .await;
    run.publishers.start(PACE);
    run.nats.has_no_room(0).await;
    run.publishers.accepted(1_000).await;
    run.nats.disk(0).make_room().await;
    run.nats.kill(0).await;
    run.nats.restart(0).await;
    run.publishers.accepted(200).await;
    let (ledger, records) = run.end(&[]).await;
    let verdict = Verdict::of(&ledger, &records);
    print_row(fault, &ledger, &records, &verdict);
    verdict.is_clean();
    for record in records.iter().filter(|record| record.wish == Wish::All) {
        assert!(record.longest_silence < SILENCE, "{}: {:?}", record.name, record.longest_silence);
    }
}
