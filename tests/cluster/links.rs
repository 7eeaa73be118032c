//! Links between hubs and servers, and between servers, that break, go silent or slow, and heal.

use std::time::Duration;

use crate::hubs::HUBS;
use crate::nats::SERVERS;
use crate::proxy::{Link, set_all};
use crate::run::{Run, STREAM};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_hub_is_cut_off() {
    let run = Run::steady("cut off each hub from all NATS servers in turn").await;
    for hub in 0..HUBS {
        let links = run.hubs.links_of(hub);
        assert_eq!(transport(&run, hub).await, (1, 0));
        set_all(&links, Link::Cut);
        run.hubs.is_ready(hub, false).await;
        assert_eq!(transport(&run, hub).await, (0, 1));
        run.publishers.accepted(200).await;
        set_all(&links, Link::Open);
        run.hubs.is_ready(hub, true).await;
        assert_eq!(transport(&run, hub).await, (1, 1));
        run.publishers.accepted(200).await;
    }
    let ledger = run.finish().await;
    assert!(ledger.refused_posts > 0, "nothing was refused: the hubs were not cut off");
}

/// Whether a hub says that it is joined, and how often its connection has broken.
async fn transport(run: &Run, hub: usize) -> (u64, u64) {
    let joined = run.hubs.measured(hub, "hub_transport_joined").await;
    (joined, run.hubs.measured(hub, "hub_transport_disconnects_total").await)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_hubs_links_go_silent() {
    let run = Run::steady("black-hole all links of one hub").await;
    let links = run.hubs.links_of(1);
    set_all(&links, Link::BlackHole);
    run.hubs.is_ready(1, false).await;
    run.publishers.accepted(200).await;
    set_all(&links, Link::Open);
    run.hubs.is_ready(1, true).await;
    run.publishers.accepted(200).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn the_leader_is_cut_off_from_the_other_servers() {
    let run = Run::steady("cut the routes of the stream's leader, where all hubs are").await;
    let leader = run.nats.leader(STREAM).await;
    // All hubs go there, and have to find out that it is the wrong place.
    for server in (0..SERVERS).filter(|server| *server != leader) {
        set_all(&run.hubs.links_to(server), Link::Cut);
    }
    run.publishers.accepted(100).await;
    run.hubs.are_ready().await;
    for server in (0..SERVERS).filter(|server| *server != leader) {
        set_all(&run.hubs.links_to(server), Link::Open);
    }
    let routes = run.nats.routes_of(leader);
    set_all(&routes, Link::Cut);
    run.publishers.accepted(300).await;
    set_all(&routes, Link::Open);
    run.publishers.accepted(300).await;
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn one_server_is_slow() {
    let run = Run::steady("slow down the stream's leader (30 ms, 200 kB/s)").await;
    let leader = run.nats.leader(STREAM).await;
    let mut links = run.nats.routes_of(leader);
    links.extend(run.hubs.links_to(leader));
    set_all(&links, Link::Slow(Duration::from_millis(30), 200_000));
    run.publishers.accepted(300).await;
    set_all(&links, Link::Open);
    run.publishers.accepted(300).await;
    run.finish().await;
}
