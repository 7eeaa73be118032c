//! A program that serves its own logs: what serving them makes it log must not become more of them.

use telemetry_hub_actors::HubLayer;
use tracing::info;
use tracing::subscriber::set_default;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry;

use crate::harness::{LiveStream, TestServer, types};

#[tokio::test]
async fn stream_of_a_programs_own_logs_does_not_feed_itself() {
    let server = TestServer::start().await;
    // The server runs on this thread as well, so that the layer gets all that it logs, down to HTTP/2's frames.
    let _guard = set_default(registry().with(HubLayer::new(&server.hub)));
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let path = "/api/telemetry/traces/live";
    let mut http_1 = server.watch("").await;
    let mut http_2 =
        LiveStream::open(client.get(format!("{}{path}", server.base)).send().await.unwrap());
    for n in 0..10 {
        info!(target: "mine", n);
        for stream in [&mut http_1, &mut http_2] {
            let events = stream.events(1).await;
            assert_eq!((types(&events)[0], &events[0]["data"]["n"]), ("mine", &n.into()));
        }
    }
    assert_eq!(server.hub.stats().received, 10);
}
