//! What the hub costs, a module a question, each beside its floor. The results stand in README.md of this folder.

mod fanout;
mod filter;
mod ingest;
mod layer;
mod match_index;
mod otlp;
mod recorder;
mod sample;
mod sse;

/// That of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion::criterion_main!(
    filter::benches,
    match_index::benches,
    sse::benches,
    ingest::benches,
    otlp::benches,
    fanout::benches,
    layer::benches,
    recorder::benches
);
