//! The server: binds the hub's listener, serves each [`connection`], and drains both under one deadline.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use telemetry_hub_actors::{HubEnd, HubHandle, ShutdownError, StartError};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Instant, timeout};

use crate::config::{Listen, Settings};
use crate::error_chain::error_chain;
use crate::service::HubService;
use crate::watched_file::{FileError, Reload};
use connection::Connections;
use tls::Tls;

pub(crate) use connection::ConnectionLimits;
pub(crate) use tls::TlsFiles;

mod connection;
mod places;
mod reload;
mod stream_writer;
mod tls;
mod write_deadline;

/// How long to wait after a connection could not be accepted, which is nearly always for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much the system may hold of what a client has not read yet. It would be megabytes, in which a client that does not read
/// could hide for minutes: what waits is to wait in the hub, where it is counted. With this much under way, a client a tenth of
/// a second away still gets two megabytes a second.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;

/// How many connections may wait to be accepted: as many as come at once when a server is started anew. The system's own limit
/// may be lower.
const BACKLOG: u32 = 4096;

/// A hub and its listener.
pub struct Server {
    settings: Settings,
    listener: TcpListener,
    address: SocketAddr,
    /// Where only OTLP is taken.
    otlp: [Option<TcpListener>; 2],
    hub: HubHandle,
    service: HubService,
    tls: Option<Tls>,
    /// Looked at now and then.
    files: Vec<Arc<dyn Reload>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
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
        let [http, grpc] = settings.otlp_listen();
        let addresses = [http, grpc].into_iter().flatten().map(|listen| listen.address);
        let mut addresses = std::iter::once(settings.listen).chain(addresses);
        if !settings.asks_for_tokens()
            && let Some(address) = addresses.find(|address| !address.ip().is_loopback())
        {
            return Err(ServerError::Exposed { address });
        }
        let access = settings.access()?;
        let tls = settings.tls().map(Tls::open).transpose()?;
        let files = access.files().into_iter().chain(tls.iter().map(Tls::files)).collect();
        let (listener, address) = listen(settings.listen)?;
        let otlp = [listen_besides(http)?, listen_besides(grpc)?];
        let hub = HubHandle::start(settings.hub()).await?;
        let service = HubService::with(&hub, &settings.routes(access));
        service.intake().count(connection::REFUSED, 0);
        Ok(Self { settings, listener, address, otlp, hub, service, tls, files })
    }

    /// The address that it listens on, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses on which it takes OTLP besides, that for HTTP and that for gRPC; each takes both.
    pub fn otlp_addresses(&self) -> [Option<SocketAddr>; 2] {
        let address = |listener: &Option<TcpListener>| listener.as_ref()?.local_addr().ok();
        [address(&self.otlp[0]), address(&self.otlp[1])]
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
        let [http, grpc] = &self.otlp;
        let accepting = async {
            tokio::join!(
                accept_all(Some(&self.listener), &connections, everything),
                accept_all(http.as_ref(), &connections, &only_otlp),
                accept_all(grpc.as_ref(), &connections, &only_otlp),
            )
        };
        let draining = self.drain(stop);
        // New connections are accepted while the hub drains, so that they are told that it does.
        let outcome = tokio::select! {
            outcome = draining => outcome,
            (never, _, _) = accepting => match never {},
            never = reload::watch(&self.files, self.service.intake()) => match never {},
        };
        drop((self.listener, self.otlp));
        connections.closing.cancel();
        // A hub that failed, or took all the time there was, leaves none for the rest.
        let deadline = outcome.as_ref().map_or_else(|_| Instant::now(), |deadline| *deadline);
        let closed = connections.finish(deadline).await;
        outcome.and(closed)
    }

    /// Waits for `stop`, then drains the hub. Returns the deadline for the rest.
    async fn drain(&self, stop: impl Future<Output = ()>) -> Result<Instant, ServerError> {
        tokio::select! {
            () = stop => {}
            end = self.hub.ended() => return Err(ServerError::HubEnded(end)),
        }
        let deadline = self.deadline();
        tracing::info!("draining");
        self.hub.shutdown(self.settings.drain_timeout()).await?;
        Ok(deadline)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.drain_timeout()
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let cannot_bind = |source| ServerError::Bind { address, source };
    let listener = open(address).map_err(cannot_bind)?;
    let address = listener.local_addr().map_err(cannot_bind)?;
    Ok((listener, address))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens where OTLP is expected. A port that nobody asked for may well be another collector's: the hub's own takes OTLP, too.
fn listen_besides(listen_at: Option<Listen>) -> Result<Option<TcpListener>, ServerError> {
    let Some(Listen { address, is_wanted }) = listen_at else {
        return Ok(None);
    };
    match listen(address) {
        Ok((listener, _)) => Ok(Some(listener)),
        Err(error) if is_wanted => Err(error),
        Err(error) => {
            tracing::warn!("{}; OTLP is taken on the hub's own port", error_chain(&error));
            Ok(None)
        }
    }
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
