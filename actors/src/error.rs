//! What a hub can refuse or fail to do. A host maps these to its own words; there are no status codes here.

use std::time::Duration;

use crate::subscriber::SubscriberId;

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
    /// An event is larger than the stream takes that joins this hub to others.
    #[error("an event of {bytes} bytes, more than the {limit} that the stream of the hubs takes")]
    EventTooLarge {
        /// Its size as a message.
        bytes: usize,
        /// How large a message may be.
        limit: usize,
    },
    /// The stream that joins this hub to others has not acknowledged in time what was sent. It may have got some or all of them.
    #[error("the stream of the hubs has not acknowledged what was sent")]
    Unavailable,
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
    /// Its address, for IPv6 the first 64 bits of it, has as many as one may have.
    #[error("this address has {limit} subscribers, and may have no more")]
    TooManyFromAddress {
        /// How many one may have.
        limit: usize,
    },
    /// Its token, or whatever the host knows it by, has as many as one may have.
    #[error("this token has {limit} subscribers, and may have no more")]
    TooManyOfToken {
        /// How many one may have.
        limit: usize,
    },
    /// There are as many unusual intervals of metrics as may be sampled at once.
    #[error(
        "metrics are sampled at {limit} unusual intervals already; ask for a usual one, such as 1, 5, 10 or 30 s"
    )]
    TooManyIntervals {
        /// How many there may be.
        limit: usize,
    },
    /// The hub has not joined the others yet: what comes into its log is old.
    #[error("the hub has not joined the other hubs yet")]
    NotJoined,
    /// The hub reads no more than is asked for, and could not be made to read this in time.
    #[error("the hub does not read yet what this asks for")]
    NotCovered,
    /// The hub is going down, or gone.
    #[error("the hub is shutting down")]
    ShuttingDown,
    /// The subscriber failed before it began.
    #[error("the subscriber could not start")]
    Failed,
}

impl SubscribeError {
    /// Whether there would be a place for somebody else.
    pub(crate) fn is_of_client(&self) -> bool {
        match self {
            Self::TooManyFromAddress { .. } | Self::TooManyOfToken { .. } => true,
            Self::TooMany { .. }
            | Self::TooManyIntervals { .. }
            | Self::NotJoined
            | Self::NotCovered
            | Self::ShuttingDown
            | Self::Failed => false,
        }
    }
}

/// There is no subscriber of that id, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no subscriber {0}")]
pub struct NoSuchSubscriber(pub SubscriberId);

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
    /// It was shut down.
    #[error("the hub was shut down")]
    Stopped,
    /// It failed, and nothing is left to restart it.
    #[error("the hub failed: {0}")]
    Failed(String),
}

/// A parameter that cannot be, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct QueryError {
    /// The parameter's name as the client wrote it.
    pub parameter: String,
    /// What is wrong with it.
    pub fault: QueryFault,
}

/// What can be wrong with a parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is in its message")]
pub enum QueryFault {
    #[error("unknown level; known are trace, debug, info, warn, error and fatal")]
    UnknownLevel,
    #[error("unknown value; known are span, trace and none")]
    UnknownFollow,
    #[error("not a key: it has a control character, or no letter or digit")]
    MalformedKey,
    #[error("over 1 KiB")]
    TooLong,
    #[error("more than 32 filters in one query")]
    TooManyFilters,
    #[error("more than 256 names in one query")]
    TooManyNames,
    #[error("names nothing; leave it out for everything")]
    NoNames,
    #[error("may be given only once")]
    Repeated,
    #[error("not a whole number from 0 up")]
    NotACount,
    #[error("not a whole number of events a second, from 1 to 1,000,000")]
    NotARate,
    #[error("neither a duration (5m), nor a time (RFC 3339), nor the id of an event")]
    NotAStart,
    #[error("not the id of an event")]
    NotAnId,
    #[error("not a duration from 0.1 s to 1 h; write seconds, or a unit with them (500ms, 2s, 1m)")]
    NotAnInterval,
    #[error("unknown parameter; known are metrics, interval and token")]
    UnknownParameter,
    #[error("unknown parameter; known are limit, after and token")]
    UnknownOfList,
    #[error("not a whole number from 1 to 1000")]
    NotALimit,
    #[error("not the id of a subscriber")]
    NotASubscriber,
    #[error("says nothing about which events; what does are filter, level, where, follow and keys")]
    NotAFilter,
    #[error("not an expression that can be: {0}")]
    BadExpression(Box<str>),
    #[error("not UTF-8")]
    NotUtf8,
}

impl QueryFault {
    pub(crate) fn of(self, parameter: &str) -> QueryError {
        QueryError { parameter: parameter.to_owned(), fault: self }
    }
}
