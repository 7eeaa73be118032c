//! What does it cost to count one thing with a handle of the `metrics` crate, where a hub is its recorder? The floor: a bare
//! atomic that stands in a map under its name, and is held. For information: through the macro, which looks for the name
//! each time. From one thread, and from two at once, where each counts half.
//!
//! Each run checks its sum: everything was counted.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group};
use dashmap::DashMap;
use telemetry_hub_actors::{HubConfig, HubHandle, SampleValue};
use tokio::time::Instant;

use crate::sample;

const HELD: &str = "bench.held";
const BY_NAME: &str = "bench.by-name";

criterion_group!(benches, recorder);

fn recorder(criterion: &mut Criterion) {
    let runtime = sample::runtime();
    let hub = runtime.block_on(HubHandle::start(HubConfig::default())).expect("a hub starts");
    let recorder = hub.recorder();
    let held = metrics::with_local_recorder(&recorder, || metrics::counter!(HELD));
    let map: DashMap<&str, Arc<AtomicU64>> = DashMap::new();
    let bare = Arc::clone(map.entry(HELD).or_default().value());

    let mut group = criterion.benchmark_group("recorder");
    let mut counted = 0;
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new("held-counter", threads), |bencher| {
            bencher.iter_custom(|times| {
                counted += times / threads * threads;
                on_threads(threads, times, || black_box(&held).increment(1))
            });
        });
        group.bench_function(BenchmarkId::new("floor-held-atomic", threads), |bencher| {
            bencher.iter_custom(|times| {
                on_threads(threads, times, || {
                    black_box(&bare).fetch_add(1, Ordering::Relaxed);
                })
            });
        });
    }
    group.bench_function("counter-by-name", |bencher| {
        metrics::with_local_recorder(&recorder, || {
            bencher.iter(|| metrics::counter!(BY_NAME).increment(1));
        });
    });
    group.finish();
    assert_eq!(total(&hub, HELD), counted as f64, "everything was counted");
}

/// How long it takes to do something so many times, shared among threads.
fn on_threads(threads: u64, times: u64, work: impl Fn() + Sync) -> Duration {
    let begun = Instant::now();
    let share = || (0..times / threads).for_each(|_| work());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(share);
        }
        share();
    });
    begun.elapsed()
}

fn total(hub: &HubHandle, id: &str) -> f64 {
    let samples = hub.metrics();
    let sample = samples.iter().find(|sample| sample.id() == id).expect("it was registered");
    match sample.value() {
        SampleValue::Counter { value, .. } => value,
        other @ (SampleValue::Gauge(_) | SampleValue::Histogram(_)) => panic!("{other:?}"),
    }
}
