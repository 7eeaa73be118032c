//! The real server on a real socket, asked by real clients.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod harness;

mod access;
mod attacks;
mod browsers;
mod chaos;
mod check;
mod dashboard;
mod drain;
mod embed;
mod examples;
mod health;
mod hostile;
mod intake;
mod joined;
mod jwt;
mod limits;
mod load;
mod manual;
mod metrics;
mod metrics_apart;
mod otlp;
mod otlp_json;
mod otlp_metrics;
mod own_logs;
mod program;
mod recorded;
mod recorded_otlp;
mod sources;
mod streams;
mod subscribers;
mod systemd;
mod tail;
mod terminal;
mod tls;
mod top;
mod traces;
mod transports;
