//! The server: binds the hub's listener, serves each [`connection`], and drains both under one deadline.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use telemetry_hub_actors::{HubEnd, HubHandle, ShutdownError, StartError, TransportState};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::config::Settings;
use crate::service::HubService;
use crate::watched_file::FileError;
use connection::Connections;
use listeners::Listeners;
use reload::Reloads;
use tls::Tls;

pub(crate) use connection::ConnectionLimits;
pub(crate) use tls::TlsFiles;

mod activity;
mod connection;
mod half_close;
mod holding;
mod http2_stream;
mod listeners;
mod places;
mod reload;
mod stream_writer;
mod tls;
mod write_deadline;

/// How long to wait after a connection could not be accepted, which is nearly always for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A hub and its listener.
pub struct Server {
    settings: Settings,
    listeners: Listeners,
    hub: HubHandle,
    service: HubService,
    tls: Option<Tls>,
    /// Looked at now and then.
    reloads: Reloads,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// Why a server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Others could reach the hub, and it would ask nobody who they are.
    #[error(
        "{address} can be reached from other machines, and anybody there could read and write: \
         make tokens first (`telemetry-hub token --help`), or listen on a loopback address"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// A file that the settings name is not there, or is not what it should be.
    #[error("cannot use a file")]
    File(#[from] FileError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// A socket that was given cannot be listened on.
    #[error("cannot listen on a socket that was given")]
    Sockets(#[source] io::Error),
    /// The hub did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The hub ended by itself.
    #[error("{0}")]
    HubEnded(HubEnd),
    /// The time for draining was not enough.
    #[error("the drain was not clean")]
    Drain(#[from] ShutdownError),
    /// The time for draining was not enough to finish all requests.
    #[error("the drain was not clean: {left} connections were cut")]
    Connections {
        /// How many connections were left.
        left: usize,
    },
}

impl Server {
    /// Starts a hub, and listens: without tokens on loopback addresses only. Nothing is accepted before [`run`](Self::run).
    pub async fn bind(settings: Settings) -> Result<Self, ServerError> {
        Self::bind_to(settings, Vec::new()).await
    }

    /// The same on sockets that listen already, if there are any: the first for everything, the second and the third for OTLP
    /// alone. Then the settings say nothing about addresses.
    pub async fn bind_to(
        settings: Settings,
        sockets: Vec<std::net::TcpListener>,
    ) -> Result<Self, ServerError> {
        if sockets.is_empty() {
            settings.check_exposed(settings.exposed())?;
        }
        let access = settings.access()?;
        let tls = settings.tls().map(Tls::open).transpose()?;
        let files = access.files().into_iter().chain(tls.iter().map(Tls::files)).collect();
        let listeners = match Listeners::adopt(sockets).map_err(ServerError::Sockets)? {
            Some(listeners) => listeners,
            None => Listeners::bind(&settings)?,
        };
        settings.check_exposed(listeners.exposed())?;
        let hub = match settings.nats(listeners.address) {
            None => HubHandle::start(settings.hub()).await?,
            Some(nats) => HubHandle::start_joined(settings.hub(), nats).await?,
        };
        let service = HubService::with(&hub, &settings.routes(access));
        for series in [connection::REFUSED, connection::FAILED, connection::IDLE] {
            service.intake().count(series, 0);
        }
        Ok(Self { settings, listeners, hub, service, tls, reloads: Reloads::of(files) })
    }

    /// The address that it listens on, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.listeners.address
    }

    /// The addresses on which it takes OTLP besides, that for HTTP and that for gRPC; each takes both.
    pub fn otlp_addresses(&self) -> [Option<SocketAddr>; 2] {
        self.listeners.otlp_addresses()
    }

    /// Whether it is to be joined to other hubs.
    pub(crate) fn is_joined(&self) -> bool {
        self.hub.transport() != TransportState::Alone
    }

    /// Whether everybody has to show a token.
    pub(crate) fn asks_for_tokens(&self) -> bool {
        self.settings.asks_for_tokens()
    }

    /// The beginning of its URLs, before the address.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The hub behind it.
    pub fn hub(&self) -> &HubHandle {
        &self.hub
    }

    /// Serves until `stop` comes, then drains: refuses what is new, hands over what was accepted, says `bye` to every
    /// stream, finishes the requests that are under way. Fails if that takes longer than the settings allow.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let everything = &self.service;
        let only_otlp = everything.only_otlp();
        let connections = Connections::new(self.settings.connections(), self.tls.clone());
        let [http, grpc] = &self.listeners.otlp;
        let accepting = async {
            tokio::join!(
                accept_all(Some(&self.listeners.hub), &connections, everything),
                accept_all(http.as_ref(), &connections, &only_otlp),
                accept_all(grpc.as_ref(), &connections, &only_otlp),
            )
        };
        let draining = drain(&self.hub, self.settings.drain_timeout(), stop);
        // New connections are accepted while the hub drains, so that they are told that it does.
        let outcome = tokio::select! {
            outcome = draining => outcome,
            (never, _, _) = accepting => match never {},
            never = self.reloads.watch(self.service.intake()) => match never {},
        };
        drop(self.listeners);
        connections.closing.cancel();
        // A hub that failed, or took all the time there was, leaves none for the rest.
        let deadline = outcome.as_ref().map_or_else(|_| Instant::now(), |deadline| *deadline);
        let closed = connections.finish(deadline).await;
        outcome.and(closed)
    }
}

/// Waits for `stop`, then drains the hub. Returns the deadline for the rest.
async fn drain(
    hub: &HubHandle,
    drain_timeout: Duration,
    stop: impl Future<Output = ()>,
) -> Result<Instant, ServerError> {
    tokio::select! {
        () = stop => {}
        end = hub.ended() => return Err(ServerError::HubEnded(end)),
    }
    let deadline = Instant::now() + drain_timeout;
    tracing::info!("draining");
    hub.shutdown(drain_timeout).await?;
    Ok(deadline)
}

/// Whether these settings would do. Of addresses it is not known whether they are free.
pub(crate) fn check(settings: &Settings) -> Result<(), ServerError> {
    settings.check_exposed(settings.exposed())?;
    settings.access()?;
    settings.tls().map(Tls::open).transpose()?;
    Ok(())
}

async fn accept_all(
    listener: Option<&TcpListener>,
    connections: &Connections,
    service: &HubService,
) -> Infallible {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => connections.spawn(socket, peer, service),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                timeout(ACCEPT_PAUSE, connections.closing.cancelled()).await.ok();
            }
        }
    }
}
