//! Hubs behind a load balancer: real ones, behind a real nginx and a real HAProxy, with the very files of `packaging/`.
//!
//! `tests/deploy/install` gets the proxies, `tests/cluster/install` nats-server. Then `cargo test --test deploy -- --ignored --test-threads=1`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bodies;
mod browsers;
mod drain;
mod fakes;
#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "shared with the tests of the server, which use all of it")]
mod harness;
mod hubs;
mod joined;
mod nats;
mod page;
mod posts;
mod proxy;
mod streams;
