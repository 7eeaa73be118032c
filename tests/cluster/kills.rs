//! Hubs and servers that are killed, and come back.

use crate::hubs::HUBS;
use crate::nats::SERVERS;
use crate::run::{Run, STREAM};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn each_hub_is_killed_in_turn() {
    let mut run = Run::steady("kill -9 each hub in turn").await;
    for hub in 0..HUBS {
        run.hubs.kill(hub).await;
        run.publishers.accepted(300).await;
        run.hubs.restart(hub).await;
        run.publishers.accepted(300).await;
    }
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn each_server_is_killed_in_turn() {
    let mut run = Run::steady("kill -9 each NATS server in turn").await;
    for server in 0..SERVERS {
        run.nats.kill(server).await;
        run.publishers.accepted(300).await;
        run.nats.restart(server).await;
        run.publishers.accepted(300).await;
    }
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn the_leader_of_the_stream_is_killed() {
    let mut run = Run::steady("kill -9 the stream's leader").await;
    let leader = run.nats.leader(STREAM).await;
    run.nats.kill(leader).await;
    run.publishers.accepted(300).await;
    assert_ne!(run.nats.leader(STREAM).await, leader);
    run.nats.restart(leader).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn all_servers_are_killed_at_once() {
    let mut run = Run::steady("kill -9 all NATS servers at once").await;
    run.nats.restart_all().await;
    run.publishers.accepted(300).await;
    run.finish().await;
}
