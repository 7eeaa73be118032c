//! The actor that owns the connection to NATS: it finds the stream, and reads it into the log.
//!
//! Supervision: a *permanent* child of [`Hub`](crate::hub::Hub), and the supervisor of [`Forwarder`] and [`HubSeries`], with which it ends and begins anew. How far the stream has been read stands in the [`Link`], which outlives it: a new
//! one opens a new connection and goes on there. Unlike the others it waits for something outside, for seconds at most: nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use rand::random_range;
use tokio::time::Instant;

use super::Link;
use super::connection::{self, Reason};
use super::feed::Feed;
use super::forwarder::Forwarder;
use super::hub_series::{HubSeries, HubSeriesArguments};
use crate::hub_core::HubCore;
use crate::timer::Timer;

/// How long to wait before the stream is looked for again, in milliseconds: not all hubs at once.
const PAUSE: std::ops::Range<u64> = 200..600;

/// After how long without the stream another server is tried. The servers may take that long to agree on a new leader.
const ELSEWHERE_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum NatsMessage {
    /// Goes on: looks for the stream, or reads some of it.
    GoOn,
}

pub(super) struct NatsTransport;

pub(super) struct NatsState {
    link: Arc<Link>,
    core: Arc<HubCore>,
    client: Option<Client>,
    /// While the stream is being read.
    feed: Option<Feed>,
    /// Since when a server has answered that does not find the stream.
    without_stream: Option<Instant>,
    timer: Option<Timer>,
}

impl Actor for NatsTransport {
    type Msg = NatsMessage;
    type State = NatsState;
    type Arguments = (Arc<Link>, Arc<HubCore>);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (link, core): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Forwarder::spawn_linked(None, Forwarder, Arc::clone(&link), myself.get_cell()).await?;
        myself.cast(NatsMessage::GoOn)?;
        Ok(NatsState { link, core, client: None, feed: None, without_stream: None, timer: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        NatsMessage::GoOn: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let outcome = match &mut state.feed {
            Some(feed) => match feed.keep_to_demand(&state.core).await {
                Ok(()) => feed.turn(&state.core).await,
                Err(reason) => Err(reason),
            },
            None => state.open(&myself).await,
        };
        if let Err(reason) = outcome {
            tracing::debug!(reason, "the stream is looked for again");
            if state.core.ingest_room.is_closed() {
                // The hub ends: nothing is read any more.
                state.feed = None;
                return Ok(());
            }
            // What was being read may be found again at once: only if not, it is told.
            if !state.feed.take().is_some_and(|feed| feed.has_lasted()) {
                state.link.part(reason);
                state.look_elsewhere().await;
                let pause = Duration::from_millis(random_range(PAUSE));
                state.timer = Some(Timer::start(pause, &myself, || NatsMessage::GoOn));
                return Ok(());
            }
        }
        myself.cast(NatsMessage::GoOn)?;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        _state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(..) | SupervisionEvent::ActorFailed(..) => {
                Err("what publishes, or tells the other hubs of this one, has ended".into())
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

impl NatsState {
    async fn open(&mut self, myself: &ActorRef<NatsMessage>) -> Result<(), Reason> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.connect(myself).await?,
        };
        let (session, info) = connection::find_stream(&self.link, &client).await?;
        let mut feed = Feed::open(&self.link, &self.core, &session, &info).await?;
        self.link.meet(session);
        feed.begin(&self.core, &info.state)?;
        (self.feed, self.without_stream) = (Some(feed), None);
        Ok(())
    }

    /// The server may be cut off from the others of its cluster, and another one not.
    async fn look_elsewhere(&mut self) {
        let connected = self.client.as_ref();
        let connected = connected.filter(|client| client.connection_state() == State::Connected);
        let Some(client) = connected else {
            self.without_stream = None;
            return;
        };
        let since = *self.without_stream.get_or_insert_with(Instant::now);
        if since.elapsed() >= ELSEWHERE_AFTER {
            self.without_stream = None;
            tracing::warn!("this server of NATS does not find the stream: trying another one");
            self.link.leaves_server.store(true, Ordering::Relaxed);
            // Fails only if the connection has ended for good, and then there is none to leave.
            client.force_reconnect().await.ok();
        }
    }

    /// Opens the connection, and has the other hubs told on it of this one.
    async fn connect(&mut self, myself: &ActorRef<NatsMessage>) -> Result<Client, Reason> {
        let client = connection::connect(&self.link).await?;
        let (link, core) = (Arc::clone(&self.link), Arc::clone(&self.core));
        let arguments = HubSeriesArguments { link, core, client: client.clone() };
        let started = HubSeries::spawn_linked(None, HubSeries, arguments, myself.get_cell()).await;
        started.map_err(|error| connection::told("the other hubs cannot be heard", &error))?;
        Ok(self.client.insert(client).clone())
    }
}
