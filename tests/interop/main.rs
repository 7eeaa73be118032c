//! Real OpenTelemetry SDKs send to a real hub, and what arrives at whoever watches is compared with what they sent.
//!
//! Python and JavaScript need packages: `tests/interop/install` gets them. Then `cargo test --test interop -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "shared with the tests of the server, which use all of it")]
mod harness;
mod host;
mod matrix;
mod retry;
mod rust_exporters;
mod rust_sender;
mod rust_steady;
mod rust_truth;
mod sender;
mod truth;
