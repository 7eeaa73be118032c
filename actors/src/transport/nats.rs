//! Hubs joined by NATS: what one accepts goes into a JetStream stream, which all of them read.
//!
//! [`Link`] is what outlives the actor that owns the connection ([`NatsTransport`]): how far this hub has read, what it has still to
//! publish, whether it is joined. Whoever brings events publishes them from where they stand and waits for the stream's
//! acknowledgement; the actor reads the stream into the log.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use actor::NatsTransport;
use archive::{Begin, StreamArchive};
use connection::Reason;
use hub_series::Others;
use place::{Place, StreamIds};
use publish::Pending;
use session::Session;
use subject::Subjects;

use super::{Archive, Broker, TransportState};
use crate::demand::Demand;
use crate::error::IngestError;
use crate::event::{Content, EventId, NewEvent};
use crate::hub::HubMessage;
use crate::hub_core::HubCore;
use crate::lock;
use crate::measurement::{Measurement, MeasurementError};
use crate::metric_store::Sample;
use crate::query::Since;
use crate::stats::Count;
use crate::tick::Tick;

mod actor;
mod archive;
mod connection;
mod consumer;
mod feed;
mod forwarder;
mod hub_series;
mod measurements;
pub(crate) mod place;
mod publish;
mod session;
mod subject;
mod wire;

/// How many replays read the stream at once; the others wait for their turn.
const READERS: usize = 16;

/// How many messages another hub may be ahead of this one, so that its ids still are numbers here. One in 4,096 ids of the future that
/// are made up is taken for such a number: that costs a look into the stream's past, which knows better.
const AHEAD: u64 = (1 << 32) - 1;

/// For how long a complaint explains what fails: longer than a question may go unanswered.
const COMPLAINT_LASTS: Duration = Duration::from_secs(10);

/// How a hub is joined to others.
#[derive(Clone)]
pub struct NatsConfig {
    /// Servers of one NATS cluster: `nats://host:4222`, or `tls://…`. Others of the cluster are found by themselves.
    pub servers: Vec<String>,
    /// What this hub is called: in the server's lists, and in the attribute `hub` of its own series. No two hubs have one name.
    pub hub_name: String,
    /// What the subjects of all messages begin with.
    pub prefix: String,
    /// The name of the JetStream stream. It is created if it is not there.
    pub stream: String,
    /// The services (`service.name`) whose telemetry this hub reads; all, if none is named. What it accepts goes to the stream in any case.
    pub services: Vec<String>,
    /// Whether this hub reads no more services' events than those who watch can want. Counts only where no `services` are named.
    pub narrow: bool,
    /// By what the hub is known to the servers, if not by what stands in their addresses.
    pub identity: Identity,
    /// Certificates (PEM) of the authorities that vouch for the servers, if not those of the system.
    pub ca: Option<PathBuf>,
    /// A certificate and its key (PEM) by which the hub shows itself to the servers.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Of a stream that is created: where it is kept.
    pub storage: Storage,
    /// Of a stream that is created: on how many servers.
    pub replicas: usize,
    /// Of a stream that is created: how old a message may become.
    pub max_age: Duration,
    /// Of a stream that is created: how large it may become. The oldest messages go.
    pub max_bytes: u64,
    /// How long [`ingest`](crate::HubHandle::ingest) waits for the stream before it fails: long enough for another server to take over,
    /// shorter than a publisher's own timeout.
    pub patience: Duration,
}

/// Of the servers only how many there are: a password may stand in an address.
impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConfig")
            .field("servers", &self.servers.len())
            .field("hub_name", &self.hub_name)
            .field("prefix", &self.prefix)
            .field("stream", &self.stream)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

/// By what a hub is known to NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// By what stands in the servers' addresses, if by anything.
    Address,
    /// By a credentials file: a user's JWT and the seed of its nkey.
    Credentials(PathBuf),
    /// By the seed of an nkey, in a file.
    Nkey(PathBuf),
}

/// Where a stream is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "JetStream's own names")]
pub enum Storage {
    File,
    Memory,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            hub_name: "telemetry-hub".to_owned(),
            prefix: "telemetry".to_owned(),
            stream: "TELEMETRY".to_owned(),
            services: Vec::new(),
            narrow: false,
            identity: Identity::Address,
            ca: None,
            certificate: None,
            storage: Storage::File,
            replicas: 1,
            max_age: Duration::from_secs(24 * 3600),
            max_bytes: 1 << 30,
            patience: Duration::from_secs(5),
        }
    }
}

/// What a hub has in common with NATS, whichever actor looks after it.
#[derive(Debug)]
pub(crate) struct Link {
    config: NatsConfig,
    /// What those who watch want, if no more is read.
    demand: Option<Arc<Demand>>,
    status: watch::Sender<Status>,
    progress: watch::Sender<Progress>,
    /// The greatest sequence number that this hub was given for what it published.
    acknowledged: Mutex<(Option<StreamIds>, u64)>,
    /// One permit for each byte that may still be on its way to the stream.
    room: Semaphore,
    room_bytes: usize,
    /// What nobody waits for, the oldest first, each with its size.
    offered: Mutex<VecDeque<(Content, usize)>>,
    offered_measurements: Mutex<VecDeque<(Measurement, usize)>>,
    /// What of that has been made messages, which have their ids.
    pending: Mutex<VecDeque<Pending>>,
    /// What other hubs tell of themselves.
    others: Mutex<Others>,
    /// The next connection is to be to any server, also to one that could not be reached before.
    leaves_server: AtomicBool,
    /// There is something new of that.
    offers: Notify,
    /// Whoever reads the stream has something else to look at.
    wake: Notify,
    readers: Arc<Semaphore>,
    /// What NATS has complained of last, such as a permission that is missing: a question then only goes unanswered.
    complaint: Mutex<Option<(Instant, String)>>,
    /// The hub, which is told of what is lost; from its start on.
    core: OnceLock<Weak<HubCore>>,
    counters: LinkCounters,
}

#[derive(Debug, Default)]
struct LinkCounters {
    published: Count,
    repeated: Count,
    failed: Count,
    received: Count,
    redelivered: Count,
    disconnects: Count,
    holes: Count,
    unreadable: Count,
}

#[derive(Debug, Clone)]
struct Status {
    state: TransportState,
    has_joined: bool,
    /// There is one while the stream can be reached.
    session: Option<Session>,
}

/// How far this hub has read the stream.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Of which stream; none before the first message.
    ids: Option<StreamIds>,
    /// The last message that is in the log.
    sequence: u64,
    /// The time in the ids of that message: those of each later one have a later one.
    tick: Tick,
    /// How many messages the stream had then that this hub had not read.
    lag: u64,
}

impl Link {
    /// A link that takes no more than so many bytes on their way to the stream.
    pub(crate) fn new(config: NatsConfig, room_bytes: usize) -> Self {
        let state = TransportState::Joining { reason: "connecting to NATS".to_owned() };
        let room_bytes = room_bytes.min(u32::MAX as usize);
        // Who says which services are read has said it.
        let narrows = config.narrow && config.services.is_empty();
        Self {
            demand: narrows.then(Arc::default),
            config,
            status: watch::Sender::new(Status { state, has_joined: false, session: None }),
            progress: watch::Sender::default(),
            acknowledged: Mutex::default(),
            room: Semaphore::new(room_bytes),
            room_bytes,
            offered: Mutex::default(),
            offered_measurements: Mutex::default(),
            pending: Mutex::default(),
            others: Mutex::default(),
            leaves_server: AtomicBool::new(false),
            offers: Notify::new(),
            wake: Notify::new(),
            readers: Arc::new(Semaphore::new(READERS)),
            complaint: Mutex::default(),
            core: OnceLock::new(),
            counters: LinkCounters::default(),
        }
    }

    /// The greatest sequence number that this stream has acknowledged to this hub.
    fn acknowledged(&self, stream: &StreamIds) -> u64 {
        match &*lock(&self.acknowledged) {
            (Some(ids), sequence) if ids == stream => *sequence,
            _ => 0,
        }
    }

    fn note_acknowledged(&self, stream: StreamIds, sequence: u64) {
        let mut last = lock(&self.acknowledged);
        let before = if last.0 == Some(stream) { last.1 } else { 0 };
        *last = (Some(stream), sequence.max(before));
    }

    /// The stream has lost what came after that, acknowledged or not: nobody need wait for it.
    fn set_back_acknowledged(&self, stream: StreamIds, sequence: u64) {
        *lock(&self.acknowledged) = (Some(stream), sequence);
    }

    /// What it reads of the stream.
    fn subjects(&self) -> Subjects {
        let NatsConfig { prefix, services, .. } = &self.config;
        match &self.demand {
            Some(demand) => Subjects::of_events(prefix, &demand.covered()),
            None if services.is_empty() => Subjects::all(prefix),
            None => Subjects::of_services(prefix, services),
        }
    }

    fn narrowed_to(&self) -> Option<usize> {
        self.demand.as_ref()?.covered().count()
    }

    /// An id that no event has, after which comes all that is not in the log yet.
    fn mark(&self) -> Option<EventId> {
        let Progress { ids, sequence, tick, .. } = self.progress();
        Some(ids?.id(tick, Place::before(sequence + 1)))
    }

    /// How large a message may be, while that is known.
    fn max_payload(&self) -> Option<usize> {
        self.status.borrow().session.as_ref().map(|session| session.max_payload)
    }

    fn hub_core(&self) -> Option<Arc<HubCore>> {
        self.core.get().and_then(Weak::upgrade)
    }

    fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// The stream cannot be reached.
    fn part(&self, mut reason: String) {
        if let Some((at, complaint)) = &*lock(&self.complaint)
            && at.elapsed() < COMPLAINT_LASTS
        {
            reason = format!("{reason}; NATS says: {complaint}");
        }
        self.status.send_modify(|status| {
            if status.session.take().is_some() {
                tracing::warn!(reason, "cut off from the other hubs");
            }
            status.state = if status.has_joined {
                TransportState::Apart { reason }
            } else {
                TransportState::Joining { reason }
            };
        });
    }

    /// Fails if the connection has broken: however it comes back, what was read by it may not.
    fn check_connected(&self) -> Result<(), Reason> {
        let is_connected = self.status.borrow().session.is_some();
        is_connected.then_some(()).ok_or_else(|| "the connection to NATS is broken".to_owned())
    }

    /// The stream can be reached.
    fn meet(&self, session: Session) {
        self.status.send_modify(|status| {
            status.session = Some(session);
            let reason = "reading what came before".to_owned();
            status.state = if status.has_joined {
                TransportState::Apart { reason }
            } else {
                TransportState::Joining { reason }
            };
        });
    }

    /// All that was in the stream has been read.
    fn join(&self) {
        self.status.send_if_modified(|status| {
            let is_news = status.session.is_some() && status.state != TransportState::Joined;
            if is_news {
                tracing::info!("joined to the other hubs");
                (status.state, status.has_joined) = (TransportState::Joined, true);
            }
            is_news
        });
    }

    /// Waits for the stream to be within reach.
    async fn session(&self, deadline: Instant) -> Result<Session, IngestError> {
        let mut status = self.status.subscribe();
        let session = status.wait_for(|status| status.session.is_some());
        match tokio::time::timeout_at(deadline, session).await {
            Ok(Ok(status)) => status.session.clone().ok_or(IngestError::Unavailable),
            Ok(Err(_)) | Err(_) => Err(IngestError::Unavailable),
        }
    }
}

/// The link as a hub's broker.
#[derive(Debug, Clone)]
pub(crate) struct NatsBroker(pub(crate) Arc<Link>);

impl Broker for NatsBroker {
    fn start<'a>(
        &self,
        hub: &'a ActorRef<HubMessage>,
        core: &'a Arc<HubCore>,
    ) -> BoxFuture<'a, Result<ActorCell, SpawnErr>> {
        self.0.core.get_or_init(|| Arc::downgrade(core));
        let arguments = (Arc::clone(&self.0), Arc::clone(core));
        async move {
            let spawned =
                NatsTransport::spawn_linked(None, NatsTransport, arguments, hub.get_cell());
            Ok(spawned.await?.0.get_cell())
        }
        .boxed()
    }

    fn state(&self) -> TransportState {
        self.0.status.borrow().state.clone()
    }

    fn services(&self) -> &[String] {
        &self.0.config.services
    }

    fn narrowed_to(&self) -> Option<usize> {
        self.0.narrowed_to()
    }

    fn demand(&self) -> Option<&Arc<Demand>> {
        self.0.demand.as_ref()
    }

    fn max_event_bytes(&self) -> Option<usize> {
        self.0.max_payload()
    }

    fn check_event(&self, event: &NewEvent) -> Result<(), IngestError> {
        self.0.check_event(event.size(), || event)
    }

    fn check_measurement(&self, measurement: &Measurement) -> Result<(), MeasurementError> {
        self.0.check_measurement(measurement)
    }

    fn has_joined(&self) -> bool {
        self.0.status.borrow().has_joined
    }

    fn publish(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<(), IngestError>> {
        self.0.publish(events).boxed()
    }

    fn offer(&self, events: Vec<(Content, usize)>) -> Result<(), IngestError> {
        self.0.offer(events)
    }

    fn publish_measurements(
        &self,
        measurements: Vec<Measurement>,
    ) -> BoxFuture<'_, Result<(), IngestError>> {
        self.0.publish_measurements(measurements).boxed()
    }

    fn offer_measurement(&self, measurement: Measurement) -> Result<(), IngestError> {
        self.0.offer_measurement(measurement)
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        self.0.settled().boxed()
    }

    fn archive(&self, since: Since, look_back: usize) -> Box<dyn Archive> {
        Box::new(StreamArchive::new(Arc::clone(&self.0), Begin::Since(since), look_back))
    }

    fn archive_of_last(&self, bytes: usize, look_back: usize) -> Box<dyn Archive> {
        Box::new(StreamArchive::new(Arc::clone(&self.0), Begin::Last(bytes), look_back))
    }

    fn mark(&self) -> Option<EventId> {
        self.0.mark()
    }

    fn has_read(&self, id: EventId) -> bool {
        let Progress { ids, sequence, .. } = self.0.progress();
        ids.is_some_and(|ids| ids.place(id, sequence).is_some())
    }

    fn number(&self, id: EventId) -> Option<u64> {
        let Progress { ids, sequence, tick, .. } = self.0.progress();
        let place = ids?.place(id, sequence + AHEAD)?;
        // What is still to come here comes later than what has come.
        let can_be = place.sequence() <= sequence || Tick::of_id(id) > tick;
        can_be.then_some(place.number())
    }

    fn hub_name(&self) -> &str {
        &self.0.config.hub_name
    }

    fn samples_of_others(&self) -> Vec<Sample> {
        lock(&self.0.others).samples(Instant::now())
    }

    fn samples(&self) -> Vec<Sample> {
        let status = self.0.status.borrow();
        let is_joined = status.state == TransportState::Joined;
        let counters = &self.0.counters;
        vec![
            Sample::own_gauge("hub.transport.joined", None, f64::from(u8::from(is_joined))),
            Sample::own_gauge(
                "hub.transport.services",
                Some("{service}"),
                self.0.narrowed_to().unwrap_or(self.0.config.services.len()) as f64,
            ),
            Sample::own_gauge("hub.transport.lag", Some("{message}"), self.0.progress().lag as f64),
            Sample::own_counter("hub.transport.published", counters.published.get()),
            Sample::own_counter("hub.transport.repeated", counters.repeated.get()),
            Sample::own_counter("hub.transport.failed", counters.failed.get()),
            Sample::own_counter("hub.transport.received", counters.received.get()),
            Sample::own_counter("hub.transport.redelivered", counters.redelivered.get()),
            Sample::own_counter("hub.transport.disconnects", counters.disconnects.get()),
            Sample::own_counter("hub.transport.holes", counters.holes.get()),
            Sample::own_counter("hub.transport.unreadable", counters.unreadable.get()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_hub_reads_all_unless_it_is_told_otherwise() {
        let reads = |config| Link::new(config, 0).subjects();
        assert!(reads(NatsConfig::default()).are_all());
        let narrow = NatsConfig { narrow: true, ..NatsConfig::default() };
        let services = vec!["shop".to_owned()];
        assert!(reads(narrow.clone()).are_all());
        assert!(
            !reads(NatsConfig { services: services.clone(), ..NatsConfig::default() }).are_all()
        );
        let demand = |config| Link::new(config, 0).demand.is_some();
        assert!(demand(narrow.clone()) && !demand(NatsConfig::default()));
        // Who says which services are read has said it.
        assert!(!demand(NatsConfig { services, ..narrow }));
    }

    #[test]
    fn what_another_hub_has_read_has_a_number_here_and_has_not_been_read() {
        let broker = NatsBroker(Arc::new(Link::new(NatsConfig::default(), 0)));
        let ids = StreamIds::of("S", 7, None);
        let [early, now, late] = [6, 7, 8].map(|s| Tick::of(Timestamp::from_second(s).unwrap()));
        let found = |sequence, tick| {
            let (id, place) = ids.of_message(tick, sequence, 1).next().unwrap();
            (broker.number(id) == Some(place.number()), broker.has_read(id))
        };
        assert_eq!(found(5, now), (false, false));
        let progress = Progress { ids: Some(ids), sequence: 5, tick: now, lag: 0 };
        broker.0.progress.send_replace(progress);
        assert_eq!((found(5, now), found(6, late)), ((true, true), (true, false)));
        let furthest = 5 + AHEAD;
        assert_eq!(
            (found(furthest, late), found(furthest + 1, late)),
            ((true, false), (false, false))
        );
        // Nothing comes after what has been read that came before it.
        assert_eq!((found(4, early), found(6, early)), ((true, true), (false, false)));
    }
}
