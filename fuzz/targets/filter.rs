//! The checks, and what the input is: `telemetry_hub_fuzz::filter`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| telemetry_hub_fuzz::filter::check(data));
