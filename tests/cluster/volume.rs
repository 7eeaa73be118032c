//! Much that happens while one is away.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::events::Wish;
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
async fn a_client_is_told_what_the_stream_has_no_longer() {
    let fault = "the stream overflows its limits while a client is away";
    let settings = BTreeMap::from([
        ("NATS_MAX_BYTES", "512KiB".to_owned()),
        ("REPLAY_BYTES", "128KiB".to_owned()),
    ]);
    let run = Run::start(fault, Plan { settings, latecomers: false, ..Plan::default() }).await;
    let mut away = Watching::start(run.hubs.urls(), 0, Wish::All, Loyalty::GoesOn);
    away.is_connected().await;
    let pace = Pace { batch: 10, text: 1_000, ..Pace::STEADY };
    run.publishers.post(0, 100, pace).await;
    away.has_seen(100).await;
    away.leave().await;
    run.publishers.post(1, 3_000, pace).await;
    away.come_back();
    away.has_seen(101).await;
    let (ledger, records) = run.end().await;
    let verdict = Verdict::of(&ledger, &records);
    print_row(fault, &ledger, &records, &verdict);
    verdict.is_clean();
    is_told_and_whole_from_there(&away, &records[0]).await;
}

/// One gap where it had left, because what came then is there no longer; and from its end on all that the witness has seen.
async fn is_told_and_whole_from_there(away: &Watching, witness: &Record) {
    away.is_complete(tokio::time::Instant::now() + Duration::from_secs(10)).await;
    let record = away.record();
    assert!(record.is_complete, "it never saw the last event");
    let [(place, gap)] = record.gaps.as_slice() else { panic!("{:?}", record.gaps) };
    assert_eq!((*place, &gap["reason"]), (100, &"expired".into()), "{gap}");
    let after = &record.seen[*place..];
    assert!(after.len() > 100, "{} came after the gap", after.len());
    assert!(after.len() < 2_900, "{} came after the gap", after.len());
    assert_eq!(after, &witness.seen[witness.seen.len() - after.len()..]);
}
