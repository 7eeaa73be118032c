//! What is true of every input is true of the seeds, and of what was once found.

use std::fs;
use std::path::Path;

use telemetry_hub_fuzz::{filter, ingest, key, otlp, prometheus, settings, sse};

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let seeds = fs::read_dir(folder).expect("each target has seeds");
    let mut count = 0;
    for seed in seeds {
        check(&fs::read(seed.expect("it is there").path()).expect("it can be read"));
        count += 1;
    }
    assert!(count > 0, "each target has seeds");
}

macro_rules! replayed {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target), $target::check);
        })*
    };
}

replayed!(filter ingest key otlp prometheus settings sse);
