//! What the fuzz targets of telemetry-hub check, one module each. Each says what its input is, and what must be true of whatever
//! comes of it.
//!
//! A target panics if it is not. All of them reach the hub as a program would in which it is embedded; none knows of its insides.

mod hub;
mod oracle;

pub mod filter;
pub mod ingest;
pub mod key;
pub mod otlp;
pub mod prometheus;
pub mod settings;
pub mod sse;
