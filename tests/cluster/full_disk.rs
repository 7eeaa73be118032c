//! Servers whose disks are full.

use std::time::Duration;

use crate::nats::SERVERS;
use crate::publisher::Pace;
use crate::run::{Plan, Run};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn disks_that_are_full_lose_nothing() {
    let plan = Plan { small_disk: true, ..Plan::default() };
    let mut run = Run::start("full disks of all NATS servers, then room and a restart", plan).await;
    let pace = Pace { batch: 10, text: 4_000, pause: Duration::from_millis(5) };
    run.publishers.start(pace);
    run.publishers.refused().await;
    for server in 0..SERVERS {
        run.nats.disk(server).make_room().await;
    }
    // A server that has once had no room does nothing more until it is started again.
    run.nats.restart_all().await;
    run.publishers.accepted(200).await;
    run.finish().await;
}
