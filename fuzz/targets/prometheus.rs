//! The checks, and what the input is: `telemetry_hub_fuzz::prometheus`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| telemetry_hub_fuzz::prometheus::check(data));
