//! What a hub can refuse or fail to do. A host maps these to its own words; there are no status codes here.

use std::time::Duration;

/// A hub could not start.
#[derive(Debug, thiserror::Error)]
#[error("the hub could not start")]
pub struct StartError(#[source] pub(crate) ractor::SpawnErr);

/// Events were not accepted: none of their batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// No room came free in the ingest queue.
    #[error("the ingest queue is full")]
    QueueFull,
    /// The batch by itself is larger than the ingest queue.
    #[error("{bytes} bytes in one batch, more than the ingest queue of {limit} can ever hold")]
    BatchTooLarge {
        /// Its size in memory.
        bytes: usize,
        /// The size of the queue.
        limit: usize,
    },
    /// The hub is going down, or gone.
    #[error("the hub is shutting down")]
    ShuttingDown,
}

/// A subscription was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// There are as many subscribers as there may be.
    #[error("the hub has {limit} subscribers, and takes no more")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// The hub is going down, or gone.
    #[error("the hub is shutting down")]
    ShuttingDown,
    /// The subscriber failed before it began.
    #[error("the subscriber could not start")]
    Failed,
}

/// The collector did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the collector did not answer within {0:?}")]
pub struct Unhealthy(pub Duration);

/// A shutdown was not clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{left} subscribers had not taken all they were owed when the time was up")]
pub struct ShutdownError {
    /// How many streams were cut.
    pub left: usize,
}

/// Why a hub ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubEnd {
    /// It was shut down, or its last handle was dropped.
    #[error("the hub was shut down")]
    Stopped,
    /// It failed, and nothing is left to restart it.
    #[error("the hub failed: {0}")]
    Failed(String),
}
