//! What does it cost to take in 100 lines of NDJSON, from bytes until the collector has routed them, nobody listening?
//! The floor: `serde_json::from_slice::<Value>` of the same lines.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group};
use telemetry_hub_actors::event::json;
use telemetry_hub_actors::{HubConfig, HubHandle, NewEvent};

use crate::sample;

const LINES: usize = 100;

criterion_group!(benches, ingest);

fn read(lines: &[String]) -> Vec<NewEvent> {
    let read = |line: &String| json::read(line.as_bytes(), usize::MAX).expect("it is an event");
    lines.iter().map(read).collect()
}

fn ingest(criterion: &mut Criterion) {
    let lines = sample::lines(LINES);
    let runtime = sample::runtime();
    // Each round is a batch of its own, and none waits for the next.
    let config = HubConfig { linger: Duration::ZERO, ..HubConfig::default() };
    let hub = runtime.block_on(HubHandle::start(config)).expect("a hub starts");
    let mut group = criterion.benchmark_group("ingest");
    group.throughput(Throughput::Elements(LINES as u64));
    group.bench_function("bytes-to-collector", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            hub.ingest(read(black_box(&lines))).await.expect("the collector keeps up");
            while hub.stats().queued > 0 {
                tokio::task::yield_now().await;
            }
        });
    });
    group.bench_function("bytes-to-events", |bencher| {
        bencher.iter(|| read(black_box(&lines)));
    });
    group.bench_function("floor-from_slice", |bencher| {
        bencher.iter(|| -> Vec<serde_json::Value> {
            let value = |line: &String| serde_json::from_slice(line.as_bytes()).expect("JSON");
            black_box(&lines).iter().map(value).collect()
        });
    });
    group.finish();
    assert_eq!(hub.stats().refused, 0, "everything was taken");
}
