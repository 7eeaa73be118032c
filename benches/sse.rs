//! What does it cost to encode a frame? The floor: `serde_json` writing the same events from its own values.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use telemetry_hub_actors::sse;

use crate::sample;

criterion_group!(benches, encode);

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sse");
    for count in [1, 100] {
        let events = sample::events(count);
        let values: Vec<serde_json::Value> = events
            .iter()
            .map(|event| serde_json::to_value(&**event).expect("an event is JSON"))
            .collect();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("frame", count), |bencher| {
            bencher.iter(|| sse::trace(black_box(&events)));
        });
        group.bench_function(BenchmarkId::new("floor-to_vec", count), |bencher| {
            bencher.iter(|| serde_json::to_vec(black_box(&values)).expect("values are JSON"));
        });
    }
    group.finish();
}
