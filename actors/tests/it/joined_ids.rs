//! The ids of hubs that are joined by a real NATS server: the same on all of them.

use std::collections::HashMap;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, stream};
use futures_util::future::join_all;
use telemetry_hub_actors::{EventId, HubConfig, HubHandle};

use crate::harness::{ids, ingest, read_until, subscribe};
use crate::nats_server::{Server, join};

/// What the stream's metadata says.
async fn metadata(server: &Server) -> HashMap<String, String> {
    let stream = jetstream(server).await.get_stream("TELEMETRY").await.unwrap();
    stream.cached_info().config.metadata.clone()
}

async fn jetstream(server: &Server) -> jetstream::Context {
    let options = ConnectOptions::new().retry_on_initial_connect();
    jetstream::new(options.connect(server.nats("test").servers).await.unwrap())
}

/// By a client that comes now.
async fn seen(hub: &HubHandle) -> Vec<EventId> {
    ids(&read_until(&mut subscribe(hub, "since=1h").await, 299).await)
}

/// Hubs give 300 events the same ids, wherever they come from.
async fn check_same(server: &Server, hubs: &[HubHandle]) {
    for hub in hubs {
        join(hub).await;
    }
    for first in [0, 100, 200] {
        ingest(&hubs[0], first..first + 100).await;
    }
    // One that comes later, and has room for few: the others come from the stream.
    let config = HubConfig { replay_bytes: 5_000, batch_bytes: 1_000, ..HubConfig::default() };
    let late = server.hub_with("late", config).await;
    join(&late).await;
    let expected = seen(&hubs[0]).await;
    assert_eq!(expected.len(), 300);
    assert!(expected.is_sorted_by(|a, b| a < b));
    for hub in hubs.iter().chain([&late]) {
        assert_eq!(seen(hub).await, expected);
    }
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn hubs_that_create_the_stream_at_the_same_time_find_one_key() {
    let server = Server::started();
    // Else they come when each of them has waited for it.
    jetstream(&server).await.query_account().await.unwrap();
    let hubs = join_all(["a", "b", "c", "d", "e", "f"].map(|name| server.hub(name))).await;
    check_same(&server, &hubs).await;
    let key = &metadata(&server).await["telemetry-hub.key"];
    assert!(key.len() == 32 && key.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key}");
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_stream_that_others_made_does_without_a_key() {
    let server = Server::started();
    let made = stream::Config {
        name: "TELEMETRY".to_owned(),
        subjects: vec!["telemetry.>".to_owned()],
        storage: stream::StorageType::Memory,
        ..stream::Config::default()
    };
    jetstream(&server).await.create_stream(made).await.unwrap();
    let hubs = join_all(["a", "b"].map(|name| server.hub(name))).await;
    check_same(&server, &hubs).await;
    assert!(!metadata(&server).await.contains_key("telemetry-hub.key"));
}
