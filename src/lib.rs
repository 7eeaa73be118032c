//! The telemetry hub as a server: HTTP routes, configuration and command line around the actors of
//! [`telemetry_hub_actors`].
//!
//! A program that wants the hub inside itself has three ways:
//!
//! - [`routes()`] for a server built on warp, [`HubService`] for axum and hyper: the hub on the host's own port;
//! - [`Server`]: the hub on a port of its own, as the program `telemetry-hub` runs it;
//! - [`actors`] alone: no HTTP at all.
//!
//! # How to stop
//!
//! A live stream never ends by itself, so a server that waits for its requests to finish waits for as long as anybody
//! watches. Stop the hub first: [`HubHandle::shutdown`](actors::HubHandle::shutdown) hands over what was accepted, says `bye`
//! to every stream and ends it. Then let the server finish. It may go on accepting meanwhile: `/readyz` is 503, streams and
//! events are refused.
//!
//! ```
//! use std::time::Duration;
//! use telemetry_hub::actors::{HubConfig, HubHandle};
//!
//! # async fn asked_to_stop() {}
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = HubHandle::start(HubConfig::default()).await?;
//! let app = axum::Router::new().nest_service("/telemetry", telemetry_hub::HubService::new(&hub));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let stop = async move {
//!     asked_to_stop().await;
//!     // Clients that do not read are cut when the time is up; what they were owed is lost.
//!     hub.shutdown(Duration::from_secs(10)).await.ok();
//! };
//! axum::serve(listener, app).with_graceful_shutdown(stop).await?;
//! # Ok(())
//! # }
//! ```
//!
//! With warp it is `warp::serve(routes).incoming(listener).graceful(stop).run()`. A client that has stopped reading keeps its
//! connection even when its stream has ended: a host that must not wait for it gives its server so much time from
//! [`HubHandle::ended`](actors::HubHandle::ended) on, as the example `axum_host` does. A host that lets its server finish first
//! may do so as well, but then it waits until somebody shuts the hub down.

mod access;
pub mod cli;
mod config;
mod error_chain;
mod intake;
mod live_stream;
mod otlp;
mod peer;
mod prometheus;
mod reply;
mod request_body;
mod routes;
mod server;
mod service;
mod signature;
mod watched_file;

pub use config::{Settings, SettingsError};
pub use intake::RouteOptions;
pub use peer::PeerAddress;
pub use routes::{routes, routes_with};
pub use server::{Server, ServerError};
pub use service::{HubBody, HubService};
pub use telemetry_hub_actors as actors;
pub use watched_file::FileError;

/// The code in README.md compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
