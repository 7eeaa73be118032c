//! The hub as its host sees it: started through a handle, broken on purpose, read from subscriptions.
//!
//! Time is paused wherever nothing races; what races runs on several threads, and waits only for facts.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, helpers included, an unwrap in vain is a failure"
)]

mod apart;
mod flow;
mod harness;
mod joined_ids;
mod joined_metrics;
mod joined_narrow;
mod joined_replay;
mod joined_set_back;
mod law;
mod layer;
mod lifecycle;
mod match_index;
mod max_rate;
mod metrics;
mod nasty;
mod nats_server;
mod recorder;
mod replay;
mod subscribers;
mod supervision;
