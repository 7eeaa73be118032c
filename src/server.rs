//! The server: binds the hub's listener, serves each connection, and drains both under one deadline.
//!
//! Every connection is a task of the server's own tracker: when the server ends, none is left.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use telemetry_hub_actors::{HubEnd, HubHandle, ShutdownError, StartError};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Listen, Settings};
use crate::error_chain::error_chain;
use crate::service::HubService;

/// How long to wait after a connection could not be accepted, which is nearly always for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A hub and its listener.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    listener: TcpListener,
    address: SocketAddr,
    /// Where only OTLP is taken.
    otlp: [Option<TcpListener>; 2],
    hub: HubHandle,
}

/// Why a server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
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
    /// Starts a hub, and listens. Nothing is accepted before [`run`](Self::run).
    pub async fn bind(settings: Settings) -> Result<Self, ServerError> {
        let (listener, address) = listen(settings.listen).await?;
        let [http, grpc] = settings.otlp_listen();
        let otlp = [listen_besides(http).await?, listen_besides(grpc).await?];
        let hub = HubHandle::start(settings.hub()).await?;
        Ok(Self { settings, listener, address, otlp, hub })
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

    /// The hub behind it.
    pub fn hub(&self) -> &HubHandle {
        &self.hub
    }

    /// Serves until `stop` comes, then drains: refuses what is new, hands over what was accepted, says `bye` to every
    /// stream, finishes the requests that are under way. Fails if that takes longer than the settings allow.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let everything = HubService::with(&self.hub, &self.settings.routes());
        let only_otlp = everything.only_otlp();
        let connections = Connections {
            timeouts: Timeouts {
                head: self.settings.head_timeout(),
                write: self.settings.write_timeout(),
            },
            closing: CancellationToken::new(),
            tracker: TaskTracker::new(),
            cut: CancellationToken::new(),
        };
        let [http, grpc] = &self.otlp;
        let accepting = async {
            tokio::join!(
                connections.accept_all(Some(&self.listener), &everything),
                connections.accept_all(http.as_ref(), &only_otlp),
                connections.accept_all(grpc.as_ref(), &only_otlp),
            )
        };
        let draining = self.drain(stop);
        // New connections are accepted while the hub drains, so that they are told that it does.
        let outcome = tokio::select! {
            outcome = draining => outcome,
            (never, _, _) = accepting => match never {},
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

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let cannot_bind = |source| ServerError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(cannot_bind)?;
    let address = listener.local_addr().map_err(cannot_bind)?;
    Ok((listener, address))
}

/// Listens where OTLP is expected. A port that nobody asked for may well be another collector's: the hub's own takes OTLP, too.
async fn listen_besides(listen_at: Option<Listen>) -> Result<Option<TcpListener>, ServerError> {
    let Some(Listen { address, is_wanted }) = listen_at else {
        return Ok(None);
    };
    match listen(address).await {
        Ok((listener, _)) => Ok(Some(listener)),
        Err(error) if is_wanted => Err(error),
        Err(error) => {
            tracing::warn!("{}; OTLP is taken on the hub's own port", error_chain(&error));
            Ok(None)
        }
    }
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    /// To send a request's head.
    head: Duration,
    /// To read any of what is written to it.
    write: Duration,
}

/// The connections of a server.
struct Connections {
    timeouts: Timeouts,
    /// No further requests.
    closing: CancellationToken,
    /// The end, whatever is under way.
    cut: CancellationToken,
    tracker: TaskTracker,
}

impl Connections {
    async fn accept_all(&self, listener: Option<&TcpListener>, service: &HubService) -> Infallible {
        let Some(listener) = listener else {
            return std::future::pending().await;
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.spawn(stream, service),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    timeout(ACCEPT_PAUSE, self.closing.cancelled()).await.ok();
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, service: &HubService) {
        let connection =
            serve_connection(stream, service.clone(), self.timeouts, self.closing.clone());
        self.tracker.spawn(self.cut.clone().run_until_cancelled_owned(connection));
    }

    /// Waits for the requests under way, until the deadline.
    async fn finish(&self, deadline: Instant) -> Result<(), ServerError> {
        self.tracker.close();
        if timeout_at(deadline, self.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let left = self.tracker.len();
        self.cut.cancel();
        self.tracker.wait().await;
        Err(ServerError::Connections { left })
    }
}

/// Returns if no request has begun in the time for its head. hyper's own timeout begins only when it knows the version.
async fn silence(begun: CancellationToken, head_timeout: Duration) {
    if timeout(head_timeout, begun.cancelled()).await.is_ok() {
        std::future::pending().await
    }
}

/// HTTP/1.1, or HTTP/2 if the client begins with it. A client that does not read is cut by the write timeout.
async fn serve_connection(
    stream: TcpStream,
    service: HubService,
    timeouts: Timeouts,
    closing: CancellationToken,
) {
    // Frames are small and must leave at once. A socket that cannot do that is broken, and will say so.
    stream.set_nodelay(true).ok();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeouts.write));
    let (begun, service) = (CancellationToken::new(), TowerToHyperService::new(service));
    let first_request = begun.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        first_request.cancel();
        service.call(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(timeouts.head);
    builder.http2().timer(TokioTimer::new());
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(Box::pin(stream)), service).into_owned());
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = silence(begun, timeouts.head) => return,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // Clients hang up all the time.
        tracing::debug!(%error, "a connection ended");
    }
}
