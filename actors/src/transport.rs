//! What an accepted event passes through before it is in the log, and where more of the past is kept than the log has.
//!
//! Alone, a hub puts what it accepts into its log at once. Joined to others by a [`Broker`], it gives it to the broker's stream, which
//! all hubs read, each into its own log: the order, the ids and the past are the stream's.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ractor::{ActorCell, ActorRef, SpawnErr};

use crate::demand::Demand;
use crate::error::IngestError;
use crate::event::{Content, Event, EventId, NewEvent};
use crate::event_log::Expired;
use crate::hub::HubMessage;
use crate::hub_core::HubCore;
use crate::measurement::{Measurement, MeasurementError};
use crate::metric_store::Sample;
use crate::query::Since;

#[cfg(feature = "nats")]
pub(crate) mod nats;

/// How a hub's events come into its log, and measurements into its series.
#[derive(Debug)]
pub(crate) enum Transport {
    /// At once.
    Local,
    /// Through a stream that other hubs read as well.
    #[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "there is no broker"))]
    Broker(Arc<dyn Broker>),
}

/// Whether a hub is joined to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportState {
    /// It was never meant to be.
    Alone,
    /// Not yet: it waits for the broker, or reads what came before it.
    Joining {
        /// What it waits for.
        reason: String,
    },
    /// It gets what the others accept, and they what it does.
    Joined,
    /// Not now: it was, and will be again. Nothing comes meanwhile, and nothing is accepted.
    Apart {
        /// What is broken.
        reason: String,
    },
}

impl fmt::Display for TransportState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone => f.write_str("alone"),
            Self::Joining { reason } => write!(f, "not joined to the other hubs yet: {reason}"),
            Self::Joined => f.write_str("joined to the other hubs"),
            Self::Apart { reason } => write!(f, "cut off from the other hubs: {reason}"),
        }
    }
}

/// A stream outside, that several hubs share.
pub(crate) trait Broker: fmt::Debug + Send + Sync {
    /// Starts the actor that owns the connection, as a child of the hub.
    fn start<'a>(
        &self,
        hub: &'a ActorRef<HubMessage>,
        core: &'a Arc<HubCore>,
    ) -> BoxFuture<'a, Result<ActorCell, SpawnErr>>;

    fn state(&self) -> TransportState;

    /// The services of which alone this hub reads; none if it reads all.
    fn services(&self) -> &[String];

    /// Of how many services alone it reads the events just now, as nobody wants those of another.
    fn narrowed_to(&self) -> Option<usize> {
        None
    }

    /// What those who watch want, if this hub reads no more than that.
    fn demand(&self) -> Option<&Arc<Demand>> {
        None
    }

    /// How large an event may be, if that is known.
    fn max_event_bytes(&self) -> Option<usize>;

    /// Fails if an event is larger than a message may be, as far as that is known.
    fn check_event(&self, _event: &NewEvent) -> Result<(), IngestError> {
        Ok(())
    }

    /// Fails if a measurement is larger than a message may be, as far as that is known.
    fn check_measurement(&self, _measurement: &Measurement) -> Result<(), MeasurementError> {
        Ok(())
    }

    /// Whether it has ever been joined: before that, what comes into the log is no news.
    fn has_joined(&self) -> bool;

    /// Resolves once the stream has all of the events. If it fails, nothing says that it has none.
    fn publish(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<(), IngestError>>;

    /// Takes events that nobody will send again, each with its size: all or none, at once or not at all.
    fn offer(&self, events: Vec<(Content, usize)>) -> Result<(), IngestError>;

    /// Resolves once the stream has all of the measurements. If it fails, nothing says that it has none.
    fn publish_measurements(
        &self,
        measurements: Vec<Measurement>,
    ) -> BoxFuture<'_, Result<(), IngestError>>;

    /// Takes a measurement that nobody will send again, at once or not at all.
    fn offer_measurement(&self, measurement: Measurement) -> Result<(), IngestError>;

    /// Resolves once what this hub has published is in its own log.
    fn settled(&self) -> BoxFuture<'_, ()>;

    /// What the stream has from there on, and about so many bytes of what came before, to be looked at.
    fn archive(&self, since: Since, look_back: usize) -> Box<dyn Archive>;

    /// About so many bytes of what the stream has, up to its end, and so many before that to be looked at.
    fn archive_of_last(&self, bytes: usize, look_back: usize) -> Box<dyn Archive>;

    /// An id that no event has, after which comes all that is not in the log yet; `None` if nothing has been read.
    fn mark(&self) -> Option<EventId>;

    /// Whether all up to the event with this id that is for this hub has been read.
    fn has_read(&self, id: EventId) -> bool;

    /// The number of the event with this id in the stream, which is its offset on all hubs; `None` if it is not of the stream.
    fn number(&self, id: EventId) -> Option<u64>;

    /// What is measured of it.
    fn samples(&self) -> Vec<Sample>;

    /// What this hub is called among the others.
    fn hub_name(&self) -> &str;

    /// The own series of the other hubs, as they have told them of late.
    fn samples_of_others(&self) -> Vec<Sample>;
}

/// The past, page by page, the oldest first.
pub(crate) trait Archive: fmt::Debug + Send {
    fn next_page(self: Box<Self>) -> BoxFuture<'static, (Box<dyn Archive>, Fetched)>;
}

/// What became of asking for a page.
#[derive(Debug)]
#[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "only a broker has an archive"))]
pub(crate) enum Fetched {
    Page(ArchivePage),
    /// There is nothing more up to here: what follows is in the log, or will be.
    End {
        /// What was asked for, and is gone, before that.
        expired: Option<Expired>,
        /// All events up to this [number](Broker::number) have been read.
        through: u64,
    },
    /// The event by which it was asked for is none of the stream's.
    Foreign,
    /// Not now.
    Failed,
}

/// Some of the past.
#[derive(Debug)]
pub(crate) struct ArchivePage {
    /// What was asked for, and is gone, before these.
    pub(crate) expired: Option<Expired>,
    pub(crate) events: Vec<Arc<Event>>,
    /// All events up to this [number](Broker::number) have been read, those that are only looked at too.
    pub(crate) through: u64,
}
