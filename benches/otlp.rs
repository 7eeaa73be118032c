//! What does it cost to take in the log records that a mail server sent by OTLP/HTTP, from the bytes of one request until it is
//! answered, which is when the collector has the events, or until they are routed, nobody listening? The floor: prost decoding
//! the same bytes.

use std::hint::black_box;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use telemetry_hub::HubService;
use telemetry_hub_actors::{HubConfig, HubHandle};
use tower_service::Service;
use warp::http::Request;

use crate::sample;

/// How many of the recorded requests are one here: exporters that are busy gather so much.
const REQUESTS: usize = 20;

criterion_group!(benches, otlp);

/// Requests one after the other are one request: that is how protobuf merges lists.
fn body() -> Bytes {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stalwart-otlp.ndjson.zst");
    let compressed = std::fs::read(path).expect("the recording is part of the repository");
    let text = sample::runtime().block_on(sample::decompress(&compressed));
    let line = |line: &str| {
        let sent: serde_json::Value = serde_json::from_str(line).expect("lines of JSON");
        BASE64_STANDARD.decode(sent["body"].as_str().expect("base64")).expect("base64")
    };
    text.lines().take(REQUESTS).flat_map(line).collect::<Vec<u8>>().into()
}

async fn post(mut service: HubService, body: Bytes) {
    let request = Request::post("/v1/logs").header("content-type", "application/x-protobuf");
    let request = request.body(Full::new(body)).expect("a request");
    let answer = service.call(request).await.unwrap_or_else(|never| match never {});
    assert_eq!(answer.status(), 200);
    let answer = answer.into_body().collect().await.expect("a body").to_bytes();
    assert!(answer.is_empty(), "nothing was rejected");
}

fn otlp(criterion: &mut Criterion) {
    let body = body();
    let decoded = ExportLogsServiceRequest::decode(body.clone()).expect("it is a request");
    let scopes = decoded.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    let records: usize = scopes.map(|scope| scope.log_records.len()).sum();
    let runtime = sample::runtime();
    // Each round is a batch of its own, and none waits for the next.
    let config = HubConfig { linger: Duration::ZERO, ..HubConfig::default() };
    let hub = runtime.block_on(HubHandle::start(config)).expect("a hub starts");
    let service = HubService::new(&hub);
    let mut group = criterion.benchmark_group("otlp");
    group.throughput(Throughput::Elements(records as u64));
    // Answered once the collector has the events; it routes them while the next request is read.
    group.bench_function("request-to-answer", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(async || post(service.clone(), black_box(&body).clone()).await);
    });
    group.bench_function("request-to-routed", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            post(service.clone(), black_box(&body).clone()).await;
            while hub.stats().queued > 0 {
                tokio::task::yield_now().await;
            }
        });
    });
    group.bench_function("floor-prost", |bencher| {
        bencher.iter(|| ExportLogsServiceRequest::decode(black_box(&body).clone()));
    });
    group.finish();
    let stats = hub.stats();
    assert_eq!(stats.refused, 0, "everything was taken");
    assert_eq!(stats.received % records as u64, 0, "all of every request");
}
