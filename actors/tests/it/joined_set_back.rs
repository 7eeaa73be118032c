//! A stream whose server loses what it had not written down, and then gives the same numbers again.

use std::ops::Range;
use std::time::Duration;

use telemetry_hub_actors::{HubConfig, HubHandle, Storage};

use crate::harness::{Said, ids, ingest, numbers, patiently, read_replay, read_until, subscribe};
use crate::nats_server::{Server, free_port, join};

/// A hub that finds the server at the port where that is now.
async fn hub(server: &Server, name: &str, config: HubConfig) -> HubHandle {
    let mut nats = server.nats(name);
    nats.storage = Storage::File;
    let hub = HubHandle::start_joined(config, nats).await.unwrap();
    join(&hub).await;
    hub
}

/// Two hubs are away while the stream loses ten messages of twenty and takes these.
async fn set_back(again: Range<u64>) {
    let mut server = Server::started();
    // The first has all in its log, the other little of it.
    let one = hub(&server, "one", HubConfig::default()).await;
    let forgetful = HubConfig { replay_bytes: 1_000, batch_bytes: 500, ..HubConfig::default() };
    let other = hub(&server, "other", forgetful).await;
    let mut watching = subscribe(&one, "").await;
    ingest(&one, 0..10).await;
    read_until(&mut watching, 9).await;
    server.stop();
    let saved = server.save();
    server.start();
    join(&one).await;
    for number in 10..20 {
        ingest(&one, [number]).await;
    }
    let seen = ids(&read_until(&mut watching, 19).await);
    read_until(&mut subscribe(&other, "since=1h").await, 19).await;

    server.stop();
    server.restore(&saved);
    // Where these two do not find it, so that they see nothing of what it takes first.
    let port = server.move_to(free_port());
    server.start();
    let elsewhere = hub(&server, "elsewhere", HubConfig::default()).await;
    for number in again.clone() {
        ingest(&elsewhere, [number]).await;
    }
    patiently(elsewhere.shutdown(Duration::ZERO)).await.ok();
    server.stop();
    server.move_to(port);
    server.start();

    let expected: Vec<u64> = again.clone().collect();
    let said = read_until(&mut watching, again.end - 1).await;
    assert!(said.iter().any(|said| matches!(said, Said::Gap(_))), "{said:?}");
    assert_eq!(numbers(&said), expected);
    let new = hub(&server, "new", HubConfig::default()).await;
    for (hub, has_them) in [(&one, true), (&other, false), (&new, false)] {
        join(hub).await;
        // By the first that was lost, one of them, and the last, whose numbers others have now, or not yet.
        for (index, id) in seen.iter().enumerate() {
            let mut back = subscribe(hub, &format!("since={id}")).await;
            let said = read_replay(&mut back).await;
            let lost = if has_them { 11 + index as u64..20 } else { 0..0 };
            let all: Vec<_> = lost.chain(expected.clone()).collect();
            assert_eq!(numbers(&said), all, "{id}");
            let gaps = said.iter().filter(|said| matches!(said, Said::Gap(_))).count();
            assert_eq!(gaps, 1, "{said:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn who_was_away_while_a_stream_was_set_back_gets_what_it_has_taken_since() {
    // Fewer than before, as many, and more.
    for again in [3, 10, 30] {
        set_back(100..100 + again).await;
    }
}
