//! Hubs that are asked to end, by SIGTERM: they hand out what they have and say farewell.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::hubs::HUBS;
use crate::proxy::{Link, set_all};
use crate::run::Run;

/// How long a hub may take to end. What is posted to it may wait for five seconds of these.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn each_hub_is_told_to_end_in_turn() {
    let mut run = Run::steady("SIGTERM each hub in turn").await;
    for hub in 0..HUBS {
        let before = byes(&run);
        let accepted = run.publishers.accepted_so_far();
        run.hubs.terminate(hub).await;
        run.hubs.has_ended(hub).await;
        run.publishers.accepted(200).await;
        have_said_bye(&run, &before, &accepted);
        run.hubs.restart(hub).await;
        run.publishers.accepted(200).await;
    }
    run.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_hub_is_told_to_end_while_nats_is_away() {
    let mut run = Run::steady("SIGTERM a hub that is cut off").await;
    let links = run.hubs.links_of(1);
    for link in [Link::Cut, Link::BlackHole] {
        let before = byes(&run);
        set_all(&links, link);
        run.hubs.is_ready(1, false).await;
        let start = Instant::now();
        run.hubs.terminate(1).await;
        run.hubs.has_ended(1).await;
        assert!(start.elapsed() < DRAIN, "{link:?}: it took {:?}", start.elapsed());
        run.publishers.accepted(200).await;
        if link == Link::Cut {
            have_said_bye(&run, &before, &BTreeSet::new());
        }
        set_all(&links, Link::Open);
        run.hubs.restart(1).await;
        run.publishers.accepted(200).await;
    }
    run.finish().await;
}

/// How many farewells each has heard.
fn byes(run: &Run) -> Vec<usize> {
    run.subscribers.iter().map(|subscriber| subscriber.record().byes.len()).collect()
}

/// Each of those whose hub has ended has heard one more, after all that had been accepted.
#[track_caller]
fn have_said_bye(run: &Run, before: &[usize], accepted: &BTreeSet<u64>) {
    let mut said = 0;
    for (subscriber, before) in run.subscribers.iter().zip(before) {
        let record = subscriber.record();
        let &[place] = &record.byes[*before..] else {
            assert_eq!(record.byes.len(), *before, "{}", record.name);
            continue;
        };
        said += 1;
        let seen: BTreeSet<u64> = record.seen[..place].iter().map(|(_, number)| *number).collect();
        let missing = accepted.iter().filter(|number| record.wish.matches(**number));
        let missing: Vec<_> = missing.filter(|number| !seen.contains(number)).collect();
        assert!(missing.is_empty(), "{} had not seen {missing:?}", record.name);
    }
    assert!(said > 0, "nobody was at that hub");
}
