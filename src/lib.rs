//! The telemetry hub as a server: HTTP routes, configuration and command line around the actors of
//! [`telemetry_hub_actors`].
//!
//! A program that wants the hub inside itself starts a [`Server`] or takes the actors alone.

pub mod cli;
mod config;
mod error_chain;
mod prometheus;
mod reply;
mod routes;
mod server;

pub use config::{Settings, SettingsError};
pub use server::{Server, ServerError};

/// The code in README.md compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
