//! The actor that joins a hub to the others is broken on purpose, in hubs that run in this process.

use std::collections::BTreeSet;
use std::time::Duration;

use telemetry_hub_actors::{
    Delivered, EventId, Fault, HubConfig, HubHandle, NatsConfig, NewEvent, Subscription,
    TraceQuery, TransportState, Value,
};
use tokio::task::JoinSet;

use crate::nats::Nats;
use crate::patience::{eventually, pause, within_patience};
use crate::run::take_turn;

const EVENTS: u64 = 2_400;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn a_transport_that_fails_loses_and_doubles_nothing() {
    let (_turn, folder) = take_turn("the transport of two hubs fails").await;
    let nats = Nats::start(&folder, 0).await;
    let linger = Duration::ZERO;
    let publishing = start(&nats, "publishing", HubConfig { linger, ..HubConfig::default() }).await;
    // A message does not fit into its queue as a whole: it may fail amid one.
    let narrow = HubConfig { linger, ingest_queue_bytes: 600, ..HubConfig::default() };
    let reading = start(&nats, "reading", narrow).await;
    let mut watching = JoinSet::new();
    for hub in [&publishing, &reading] {
        let query = TraceQuery::parse("type=test", None).unwrap();
        watching.spawn(read(hub.subscribe(query).await.unwrap()));
    }
    let faults = async {
        for index in 0..8 {
            pause(Duration::from_millis(700)).await;
            for hub in [&publishing, &reading] {
                let is_even = index % 2 == 0;
                hub.inject(if is_even {
                    Fault::KillTransport
                } else {
                    Fault::PanicTransportAfter(index % 4)
                })
                .await;
            }
        }
    };
    tokio::join!(publish(&publishing), faults);
    let mut seen = Vec::new();
    while let Some(one) = within_patience("all is read", watching.join_next()).await {
        seen.push(one.unwrap());
    }
    for events in &seen {
        let numbers: BTreeSet<u64> = events.iter().map(|(_, number)| *number).collect();
        let lost: Vec<u64> = (0..EVENTS).filter(|number| !numbers.contains(number)).collect();
        assert_eq!((lost, events.len() - numbers.len()), (Vec::new(), 0), "lost, doubled");
        assert!(events.is_sorted());
    }
    assert_eq!(seen[0], seen[1]);
    for hub in [publishing, reading] {
        assert_eq!(hub.stats().transport_restarts, 8);
        hub.shutdown(Duration::from_secs(5)).await.unwrap();
    }
}

async fn start(nats: &Nats, name: &str, config: HubConfig) -> HubHandle {
    let servers = vec![format!("nats://127.0.0.1:{}", nats.client_port(0))];
    let hub_name = name.to_owned();
    let joined = NatsConfig { servers, hub_name, replicas: 3, ..NatsConfig::default() };
    let hub = HubHandle::start_joined(config, joined).await.unwrap();
    let is_joined = async || (hub.transport() == TransportState::Joined).then_some(());
    eventually("the hub is joined", is_joined).await;
    hub
}

/// Publishes by both ways: waiting for the stream, and not.
async fn publish(hub: &HubHandle) {
    for first in (0..EVENTS).step_by(20) {
        let events = |numbers: std::ops::Range<u64>| {
            numbers.map(|number| NewEvent::new("test").with("n", number)).collect::<Vec<_>>()
        };
        hub.try_ingest(events(first..first + 10)).unwrap();
        hub.ingest(events(first + 10..first + 20)).await.unwrap();
        pause(Duration::from_millis(60)).await;
    }
}

/// Reads until as many have come as there are, and a moment longer.
async fn read(mut subscription: Subscription) -> Vec<(EventId, u64)> {
    let mut seen = Vec::new();
    while let Some(delivered) = subscription.next().await {
        let Delivered::Events(events) = delivered else { panic!("{delivered:?}") };
        for event in events.iter() {
            let Some(Value::Number(number)) = event.content().data.get("n") else {
                panic!("{event:?}")
            };
            seen.push((event.id(), number.as_u64().unwrap()));
        }
        if seen.iter().any(|(_, number)| *number == EVENTS - 1) && seen.len() as u64 >= EVENTS {
            break;
        }
    }
    seen
}
