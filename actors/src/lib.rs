//! The actors of telemetry-hub: a live telemetry hub to embed in a
//! program of your own. Events go in; every subscriber gets those that its filter matches, live, and is told exactly
//! what it missed. Memory is bounded throughout. Nothing here knows of HTTP.
//!
//! With the feature `tracing`, `HubLayer` brings in what the program itself logs.
//!
//! ```
//! use telemetry_hub_actors::{Delivered, HubConfig, HubHandle, NewEvent, TraceQuery};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = HubHandle::start(HubConfig::default()).await?;
//! let mut subscription = hub.subscribe(TraceQuery::parse("remote-ip=10.0.0.0/8", None)?).await?;
//!
//! hub.ingest(vec![NewEvent::new("auth.failed").with("remoteIp", "10.1.2.3")]).await?;
//!
//! let Some(Delivered::Events(events)) = subscription.next().await else { panic!() };
//! assert_eq!(events[0].content().kind.as_deref(), Some("auth.failed"));
//! # Ok(())
//! # }
//! ```

mod client;
mod clock;
mod collector;
mod config;
#[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "only a broker reads what is wanted"))]
mod demand;
mod error;
pub mod event;
mod event_ids;
mod event_log;
#[cfg(feature = "fault-injection")]
mod fault;
mod filter;
mod filter_group;
mod follow_set;
mod handle;
mod hub;
mod hub_core;
mod key;
#[cfg(feature = "tracing")]
mod layer;
mod level;
mod match_index;
mod matches;
mod measurement;
mod metric_store;
mod metrics_slot;
mod metrics_subscriber;
mod outbox;
mod process;
mod query;
mod rate_limit;
#[cfg(feature = "metrics")]
mod recorder;
mod register;
mod replay;
mod sampler;
mod selection;
mod services;
mod silence;
pub mod sse;
mod stats;
mod subscriber;
mod subscription;
mod sweeper;
mod sync;
mod tick;
mod timer;
mod transport;
mod turn;
mod value;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use client::Client;
pub use clock::Clock;
pub use config::HubConfig;
pub use error::{
    HubEnd, IngestError, NoSuchSubscriber, QueryError, QueryFault, ShutdownError, StartError,
    SubscribeError, Unhealthy,
};
pub use event::{CreatedAt, Data, Event, EventId, NewEvent, SharedMembers, Signal};
#[cfg(feature = "fault-injection")]
pub use fault::Fault;
pub use filter::{Filter, Follow};
pub use handle::HubHandle;
pub use key::Key;
#[cfg(feature = "tracing")]
pub use layer::HubLayer;
pub use level::Level;
pub use match_index::{EventTerms, FilterIndex};
pub use measurement::{
    Bucket, Distribution, Measurement, MeasurementError, MetricKind, Shape, Source,
};
pub use metric_store::{Sample, SampleValue, Summary};
pub use query::{MaxRate, MetricsQuery, Replay, Since, SubscribersQuery, TraceQuery};
#[cfg(feature = "metrics")]
pub use recorder::HubRecorder;
pub use register::{StreamState, StreamStatus, SubscriberInfo, SubscriberPage, Watched};
pub use selection::Selection;
pub use sse::{Bye, ByeReason, Gap, GapReason};
pub use stats::{HubStats, SubscriptionStats};
pub use subscriber::SubscriberId;
pub use subscription::{Cutter, Delivered, MetricsSubscription, Subscription};
pub use transport::TransportState;
#[cfg(feature = "nats")]
pub use transport::nats::{Identity, NatsConfig, Storage};
pub use value::{Number, Object, SmolStr, ToSmolStr, Value};

/// Locks, whoever panicked while holding it: nothing that these locks guard is ever left half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
