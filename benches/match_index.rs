//! What does it cost to find, among many distinct filters, those that an event may concern? It must not grow with them. The
//! floor: one substring search in the event's JSON for each of 100 texts.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group};
use memchr::memmem;
use telemetry_hub_actors::{EventTerms, Filter, FilterIndex, TraceQuery};

use crate::sample;

criterion_group!(benches, match_index);

/// The query of the filter of a number.
type Query = fn(usize) -> String;

const SIZES: [usize; 3] = [100, 10_000, 100_000];

/// What many ask for, each for his own, and the events show about one of them, or none.
const KINDS: [(&str, Query); 4] = [
    // As far apart in memory as can be.
    ("ids", |n| format!("filter={:016}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
    ("needles", |n| format!("to=user{}@example.com", 1_000_000 + n)),
    ("networks", |n| format!("remote-ip=10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256)),
    // Most share all but one condition, and one in ten has nothing but a number or a key of its own.
    ("mixed", |n| match n % 10 {
        0 => format!("remote-port={n}"),
        1 => format!("key-{n}="),
        _ => format!("type=smtp.rcpt-to&level=info&to=user{n}@example.org"),
    }),
];

fn filters(kind: Query, count: usize) -> Vec<Filter> {
    let filter = |n| TraceQuery::parse(&kind(n), None).expect("a good query").filter;
    (0..count).map(filter).collect()
}

fn match_index(criterion: &mut Criterion) {
    let events = sample::events(100);
    let lines = sample::lines(100);
    let mut group = criterion.benchmark_group("match-index");
    group.throughput(Throughput::Elements(events.len() as u64));
    for (name, kind) in KINDS {
        for size in SIZES {
            let filters = filters(kind, size);
            let index = FilterIndex::build(filters.iter());
            let mut terms = EventTerms::default();
            let mut candidates = || {
                let mut count = 0;
                for event in &events {
                    index.candidates(black_box(event), &mut terms, |_| count += 1);
                }
                count
            };
            let matching = |filter: &Filter| events.iter().filter(|e| filter.matches(e)).count();
            let expected: usize = filters.iter().map(matching).sum();
            assert!(candidates() >= expected, "what matches is found");
            group.bench_function(format!("{name}/{size}"), |bencher| bencher.iter(&mut candidates));
        }
    }
    group.bench_function("floor-memmem/100", |bencher| {
        let texts: Vec<String> = (0..100).map(|n| format!("user{}@", 1_000_000 + n)).collect();
        let finders: Vec<_> = texts.iter().map(memmem::Finder::new).collect();
        bencher.iter(|| {
            let found = |line: &String| {
                finders
                    .iter()
                    .filter(|finder| finder.find(black_box(line.as_bytes())).is_some())
                    .count()
            };
            lines.iter().map(found).sum::<usize>()
        });
    });
    group.finish();
}
