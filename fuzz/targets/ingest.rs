//! The checks, and what the input is: `telemetry_hub_fuzz::ingest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| telemetry_hub_fuzz::ingest::check(data));
