//! A hub that is to be joined to others and never finds NATS.

use std::time::Duration;

use telemetry_hub_actors::{HubConfig, HubHandle, NatsConfig, NewEvent, SampleValue};

#[tokio::test]
async fn what_was_offered_and_never_published_is_counted_at_the_end() {
    // Nobody listens on the port that is kept for that (RFC 6335, section 6).
    let servers = vec!["nats://127.0.0.1:1".to_owned()];
    let nats = NatsConfig { servers, ..NatsConfig::default() };
    let hub = HubHandle::start_joined(HubConfig::default(), nats).await.unwrap();
    hub.try_ingest((0..3).map(|_| NewEvent::new("a")).collect()).unwrap();
    hub.shutdown(Duration::from_secs(10)).await.unwrap();
    let samples = hub.metrics();
    let failed = samples.iter().find(|sample| sample.id() == "hub.transport.failed").unwrap();
    assert!(matches!(failed.value(), SampleValue::Counter { value: 3.0, .. }), "{failed:?}");
}
