//! Three hubs joined by three NATS servers, all of them real programs on this machine, and what breaks between them and in them.
//!
//! Whatever it is, every event that was answered 200 reaches every subscriber whom it concerns, once, and all of them in one order.
//! Each test prints a row: what broke; what was answered, and what clients saw; how many events were lost, and how many doubled.
//!
//! It needs nats-server: `tests/cluster/install` gets it. Then `cargo test --test cluster -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod certificates;
mod credentials;
mod deletion;
mod disk;
mod doubles;
mod events;
mod farewells;
mod frames;
mod full_disk;
mod hubs;
mod identity;
mod identity_renewed;
mod kills;
mod links;
mod lone_hub;
mod lone_server;
mod nats;
mod patience;
mod ports;
mod proxy;
mod publisher;
mod run;
mod services;
mod subscriber;
mod transports;
mod verdict;
mod volume;
