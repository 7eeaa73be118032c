//! A hub that never hears that the stream has what it published: it publishes again, and the stream knows it.

use std::time::Duration;

use crate::patience::pause;
use crate::proxy::{Link, set_all};
use crate::publisher::Pace;
use crate::run::{Plan, Run};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn lost_acknowledgements_double_nothing() {
    let run = Run::start("lose acknowledgements, then the connection", Plan::default()).await;
    let links = run.hubs.links_of(0);
    for _ in 0..5 {
        run.publishers.post(0, 10, Pace::STEADY).await;
        set_all(&links, Link::NoReplies);
        let breaks = async {
            // Long enough for what is published to be in the stream, and too short for the hub to give up.
            pause(Duration::from_millis(700)).await;
            set_all(&links, Link::Cut);
            pause(Duration::from_millis(100)).await;
            set_all(&links, Link::Open);
        };
        tokio::join!(run.publishers.post(0, 2, Pace::STEADY), breaks);
        run.hubs.is_ready(0, true).await;
    }
    // Each time at least one that was in the stream already.
    assert!(run.hubs.measured(0, "hub_transport_repeated_total").await >= 5);
    assert_eq!(run.hubs.measured(0, "hub_transport_disconnects_total").await, 5);
    assert_eq!(run.hubs.measured(0, "hub_transport_failed_total").await, 0);
    let ledger = run.finish().await;
    assert_eq!((ledger.accepted.len(), ledger.open.len()), (60, 0));
}
