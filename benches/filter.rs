//! What does it cost to ask one filter about one event? The floor: one substring search in the event's JSON.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group};
use memchr::memmem;
use telemetry_hub_actors::TraceQuery;

use crate::sample;

criterion_group!(benches, filter);

const FILTERS: [(&str, &str); 7] = [
    ("key-text", "type=rcpt"),
    ("key-number", "local-port=2525"),
    ("where-number", "where=data.localPort%20==%202525"),
    ("key-network", "remote-ip=10.0.0.0/8"),
    ("key-absent", "account-name=alice"),
    ("broad", "filter=no-such-text"),
    ("three-keys", "level=info&listener-id=smtp&remote-ip=10.0.0.7"),
];

fn filter(criterion: &mut Criterion) {
    let events = sample::events(100);
    let lines = sample::lines(100);
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(events.len() as u64));
    for (name, query) in FILTERS {
        let filter = TraceQuery::parse(query, None).expect("a good query").filter;
        group.bench_function(name, |bencher| {
            bencher.iter(|| events.iter().filter(|event| filter.matches(black_box(event))).count());
        });
    }
    group.bench_function("floor-memmem", |bencher| {
        let finder = memmem::Finder::new("no-such-text");
        bencher.iter(|| {
            let found = |line: &&String| finder.find(black_box(line.as_bytes())).is_some();
            lines.iter().filter(found).count()
        });
    });
    group.finish();
}
