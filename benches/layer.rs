//! What does one `tracing::info!` cost the thread that calls it? Through the `HubLayer`, and beside it a layer that does
//! nothing, and `tracing_subscriber::fmt` into a `tracing_appender` that writes nowhere.
//!
//! The calls are timed in chunks; what they caused is waited for in between, untimed. So nothing is refused, and each case
//! checks that nothing was.

use std::hint::black_box;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Bencher, Criterion, criterion_group};
use telemetry_hub_actors::{HubConfig, HubHandle, HubLayer, TraceQuery};
use tokio::time::Instant;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;

use crate::sample;

/// So few calls that no queue fills up; so many that it does not matter how each chunk begins.
const CHUNK: u64 = 4000;

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = layer
}

fn layer(criterion: &mut Criterion) {
    let unheard = HubConfig { replay_bytes: 0, ..HubConfig::default() };
    hub(criterion, "unheard", unheard, None);
    hub(criterion, "replay-buffer", HubConfig::default(), None);
    hub(criterion, "subscriber-no-match", HubConfig::default(), Some("type=no-such-type"));
    hub(criterion, "subscriber-match", HubConfig::default(), Some("level=info"));
    floor_fmt(criterion);
    criterion.bench_function("layer/floor-nothing", |bencher| {
        calls(bencher, tracing_subscriber::registry().with(Nothing), |_| true);
    });
}

fn hub(criterion: &mut Criterion, name: &str, config: HubConfig, query: Option<&str>) {
    let runtime = sample::runtime();
    let hub = runtime.block_on(HubHandle::start(config)).expect("a hub starts");
    if let Some(query) = query {
        let query = TraceQuery::parse(query, None).expect("a good query");
        let mut subscription = runtime.block_on(hub.subscribe(query)).expect("there is room");
        runtime.spawn(async move { while subscription.next().await.is_some() {} });
    }
    let mut is_run = false;
    criterion.bench_function(&format!("layer/{name}"), |bencher| {
        is_run = true;
        let subscriber = tracing_subscriber::registry().with(HubLayer::new(&hub));
        // Until every event is with its reader.
        calls(bencher, subscriber, |_| hub.stats().queued == 0);
    });
    let stats = hub.stats();
    assert_eq!((stats.refused, stats.missed), (0, 0), "{stats:?}");
    assert_eq!(stats.received > 0, is_run && name != "unheard", "{stats:?}");
}

fn floor_fmt(criterion: &mut Criterion) {
    let sink = Sink::default();
    let (writer, _worker) = tracing_appender::non_blocking(sink.clone());
    let lost = writer.error_counter();
    criterion.bench_function("layer/floor-fmt", |bencher| {
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer.clone());
        let before = sink.lines();
        calls(bencher, tracing_subscriber::registry().with(layer), |called| {
            sink.lines() == before + called
        });
    });
    assert_eq!(lost.dropped_lines(), 0);
}

/// Times the calls alone. Whether all that they caused is done, `is_settled` says, told how many there have been.
fn calls(
    bencher: &mut Bencher<'_>,
    subscriber: impl Subscriber + Send + Sync,
    is_settled: impl Fn(u64) -> bool,
) {
    let _default = tracing::subscriber::set_default(subscriber);
    let mut called = 0;
    bencher.iter_custom(|iterations| {
        let (mut elapsed, mut left) = (Duration::ZERO, iterations);
        while left > 0 {
            let chunk = left.min(CHUNK);
            let begin = Instant::now();
            for number in 0..chunk {
                call(black_box(number));
            }
            elapsed += begin.elapsed();
            left -= chunk;
            called += chunk;
            while !is_settled(called) {
                std::thread::yield_now();
            }
        }
        elapsed
    });
}

fn call(number: u64) {
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, (number % 256) as u8));
    tracing::info!(
        to = black_box("user@example.org"),
        size = 2000 + number,
        strict = black_box(false),
        elapsed = black_box(0.25),
        remote_ip = %address,
        "recipient accepted"
    );
}

/// A layer that does nothing.
struct Nothing;

impl<S: Subscriber> Layer<S> for Nothing {}

/// Takes lines and counts them.
#[derive(Clone, Default)]
struct Sink(Arc<AtomicU64>);

impl Sink {
    fn lines(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl io::Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
