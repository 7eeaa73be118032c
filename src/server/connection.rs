//! One connection, by TLS or without: HTTP/1.1, or HTTP/2 if the client begins with it, until it asks for a live stream, which over HTTP/1.1 leaves
//! HTTP's machinery behind ([`StreamWriter`]).
//!
//! Every connection is a task of the server's own tracker: when the server ends, none is left.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ServerError;
use super::activity::Activity;
use super::half_close::{Exchange, HalfClose};
use super::holding::Holding;
use super::http2_stream::{Pieces, Streams};
use super::places::{Place, Places, Taken};
use super::stream_writer::StreamWriter;
use super::tls::{HTTP2, Tls};
use super::write_deadline::WriteDeadline;
use crate::intake::Intake;
use crate::live_stream::Exit;
use crate::service::HubService;

/// What each connection may cost, and how many there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// How long a client may take to send a request's head, from the moment it connects.
    pub(crate) head_timeout: Duration,
    /// How long it may keep a connection over HTTP/2 on which nothing is asked or answered.
    pub(crate) idle_timeout: Duration,
    /// How long it may leave a write unread.
    pub(crate) write_timeout: Duration,
    pub(crate) max_head_bytes: usize,
    /// Over HTTP/2, at the same time.
    pub(crate) max_streams: u32,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
}

/// How many streams a client of HTTP/2 may have reset that nobody has looked at yet, and how many the server for the client's
/// faults: more is an attack (CVE-2023-44487, CVE-2025-8671), and the end of its connection.
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 1024;

/// The least that hyper can read a head with.
const MIN_HEAD_BYTES: usize = 8192;

/// The connections of a server.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    limits: ConnectionLimits,
    places: Arc<Taken>,
    tls: Option<Tls>,
    /// No further requests.
    pub(super) closing: CancellationToken,
    /// The end, whatever is under way.
    cut: CancellationToken,
    tracker: TaskTracker,
}

/// What a client speaks, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tls,
    Http1,
    /// HTTP/2, or too little to tell.
    Unclear,
}

/// What a client is answered that begins without TLS where TLS is spoken.
const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    This server speaks TLS: use https.\n";

/// What a client is answered for whom there is no place.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 10\r\n\
    connection: close\r\n\r\nThere are too many connections.\n";

/// The series that counts them.
pub(super) const REFUSED: &str = "server.connections.refused";

/// The series that counts the connections that ended by what their client did: no head in time, or too large a one, bad HTTP, a flood,
/// no TLS.
pub(super) const FAILED: &str = "server.connections.failed";

/// Answers without waiting for anything. The answer fits into the buffer of a socket that is new.
fn turn_away(socket: TcpStream) {
    if let Ok(mut socket) = socket.into_std() {
        // What is left unread when a socket is closed resets the connection, and the answer with it.
        drop(socket.read(&mut [0; 4096]));
        drop(socket.write(FULL));
    }
}

/// The series that counts the connections that were kept for later, and ended because nothing came.
pub(super) const IDLE: &str = "server.connections.idle";

/// What HTTP is spoken on.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for S {}

impl Connections {
    pub(super) fn new(limits: ConnectionLimits, tls: Option<Tls>) -> Self {
        let (closing, cut) = (CancellationToken::new(), CancellationToken::new());
        let places = Taken::new(Places {
            in_all: limits.max_connections,
            per_address: limits.max_connections_per_address,
        });
        Self { limits, places, tls, closing, cut, tracker: TaskTracker::new() }
    }

    pub(super) fn spawn(&self, socket: TcpStream, peer: SocketAddr, service: &HubService) {
        let Some(place) = self.places.take(peer.ip()) else {
            service.intake().count(REFUSED, 1);
            if self.tls.is_none() {
                turn_away(socket);
            }
            return;
        };
        let connection = self.clone().serve(socket, place, service.of_peer(peer.into()));
        self.tracker.spawn(self.cut.clone().run_until_cancelled_owned(connection));
    }

    /// Waits for the requests under way, until the deadline.
    pub(super) async fn finish(&self, deadline: Instant) -> Result<(), ServerError> {
        self.tracker.close();
        if timeout_at(deadline, self.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let left = self.tracker.len();
        self.cut.cancel();
        self.tracker.wait().await;
        Err(ServerError::Connections { left })
    }

    async fn serve(self, socket: TcpStream, place: Place, service: HubService) {
        // Frames are small and must leave at once. A socket that cannot do that is broken, and will say so.
        socket.set_nodelay(true).ok();
        let protocol = tokio::select! {
            protocol = timeout(self.limits.head_timeout, Protocol::of(&socket)) => protocol,
            () = self.closing.cancelled() => return,
        };
        let mut socket = WriteDeadline::new(socket, self.limits.write_timeout);
        let protocol = match protocol {
            Ok(Some(protocol)) => protocol,
            Ok(None) => return,
            Err(_) => return service.intake().count(FAILED, 1),
        };
        match (protocol, self.tls.clone()) {
            (Protocol::Tls, Some(tls)) => self.serve_tls(socket, place, service, &tls).await,
            (Protocol::Http1 | Protocol::Unclear, Some(_)) => {
                // What is left unread when a socket is closed resets the connection, and the answer with it.
                drop(socket.read(&mut [0; 4096]).await);
                socket.write_all(SPEAK_TLS).await.ok();
                service.intake().count(FAILED, 1);
            }
            (Protocol::Unclear, None) => self.serve_any(socket, service).await,
            // TLS where none is spoken is answered as what it is, bad HTTP.
            (Protocol::Http1 | Protocol::Tls, None) => {
                self.serve_http1(socket, place, service).await
            }
        }
    }

    /// What is spoken inside is said by ALPN; without it, it is HTTP/1.1.
    async fn serve_tls(self, socket: WriteDeadline, place: Place, service: HubService, tls: &Tls) {
        let accepted = tokio::select! {
            accepted = timeout(self.limits.head_timeout, tls.acceptor().accept(socket)) => accepted,
            () = self.closing.cancelled() => return,
        };
        let socket = match accepted {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client does not come to terms about TLS");
                return service.intake().count(FAILED, 1);
            }
            Err(_) => return service.intake().count(FAILED, 1),
        };
        if socket.get_ref().1.alpn_protocol() == Some(HTTP2) {
            self.serve_any(socket, service).await;
        } else {
            self.serve_http1(socket, place, service).await;
        }
    }

    /// HTTP/1.1. If the first request is granted a stream, that gets the socket.
    async fn serve_http1(self, socket: impl Socket, place: Place, service: HubService) {
        let ((exit, mut left), intake) = (Exit::new(), service.intake().clone());
        let (exit, service) = (Cell::new(Some(exit)), TowerToHyperService::new(service));
        let (begun, exchange) = (CancellationToken::new(), Exchange::default());
        let socket = HalfClose::new(socket, exchange.clone());
        let first_request = begun.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            first_request.cancel();
            // Only the first: before a later one, something may still be on its way out.
            if let Some(exit) = exit.take()
                && request.method() == Method::GET
                && request.body().is_end_stream()
            {
                request.extensions_mut().insert(exit);
            }
            let (parts, body) = request.into_parts();
            let (body, answering) = exchange.begin(body);
            let answer = service.call(Request::from_parts(parts, body));
            async move { Ok::<_, Infallible>(answering.hold(answer.await?)) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(self.limits.head_timeout);
        builder.max_buf_size(self.limits.max_head_bytes.max(MIN_HEAD_BYTES));
        let mut connection = builder.serve_connection(TokioIo::new(socket), service);
        let outcome = tokio::select! {
            outcome = &mut connection => outcome,
            Ok(stream) = &mut left => {
                let socket = connection.into_parts().io.into_inner().into_inner();
                // A task of its own: this one is as large as all that it has been.
                let writer = StreamWriter::new(socket, stream, self.cut);
                self.tracker.spawn(async move {
                    writer.run().await;
                    drop(place);
                });
                return;
            }
            () = self.closing.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                connection.await
            }
        };
        // hyper's time for the next head is also that of a connection that is kept for later.
        let was_kept =
            begun.is_cancelled() && outcome.as_ref().is_err_and(hyper::Error::is_timeout);
        if was_kept {
            intake.count(IDLE, 1);
        } else {
            note(&intake, outcome.map_err(Into::into));
        }
    }

    /// Whatever the client speaks.
    async fn serve_any(self, socket: impl Socket, service: HubService) {
        let (intake, activity) = (service.intake().clone(), Arc::new(Activity::default()));
        let (requests, service) = (Arc::clone(&activity), TowerToHyperService::new(service));
        let service = service_fn(move |request: Request<Incoming>| {
            let (under_way, answer) = (requests.begin(), service.call(request));
            async move {
                let answer = answer.await?;
                let answer = answer.map(|body| Holding::new(body, under_way));
                Ok::<_, Infallible>(Pieces::of(answer))
            }
        });
        let streams = Streams { write_timeout: self.limits.write_timeout };
        let mut builder = auto::Builder::new(streams);
        let head_bytes = self.limits.max_head_bytes.max(MIN_HEAD_BYTES);
        let mut http1 = builder.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(self.limits.head_timeout);
        http1.max_buf_size(head_bytes);
        // A client that has vanished leaves its windows as they are, and no write that would fail: it is asked now and then.
        let patience = self.limits.write_timeout / 2;
        let mut http2 = builder.http2();
        http2.timer(TokioTimer::new()).keep_alive_interval(patience).keep_alive_timeout(patience);
        http2.max_concurrent_streams(self.limits.max_streams);
        http2.max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX));
        http2.max_pending_accept_reset_streams(MAX_PENDING_RESETS);
        http2.max_local_error_reset_streams(MAX_LOCAL_RESETS);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = activity.first(self.limits.head_timeout) => return intake.count(FAILED, 1),
            () = activity.idleness(self.limits.idle_timeout) => {
                intake.count(IDLE, 1);
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    outcome = connection.as_mut() => outcome,
                    // Of an answer that nobody takes, the end may lie with the connection alone.
                    () = activity.idleness(self.limits.write_timeout) => return,
                }
            }
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        note(&intake, outcome);
    }
}

/// The type of the record that TLS begins with (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

impl Protocol {
    /// Waits for the first bytes, and leaves them where they are. None if the client has hung up.
    async fn of(socket: &TcpStream) -> Option<Self> {
        let mut first = [0; 3];
        match socket.peek(&mut first).await {
            Ok(0) | Err(_) => None,
            Ok(length) if b"PRI".starts_with(&first[..length]) => Some(Self::Unclear),
            Ok(_) if first[0] == TLS_HANDSHAKE => Some(Self::Tls),
            Ok(_) => Some(Self::Http1),
        }
    }
}

fn note(intake: &Intake, outcome: Result<(), Box<dyn Error + Send + Sync>>) {
    if let Err(error) = outcome {
        let is_fault = error.downcast_ref::<hyper::Error>().is_some_and(is_fault);
        intake.count(FAILED, usize::from(is_fault));
        tracing::debug!(%error, "a connection ended");
    }
}

/// Whether a client did something that ends connections, rather than hanging up, which clients do all the time.
fn is_fault(error: &hyper::Error) -> bool {
    let has_hung_up = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    let is_cut_off = error.is_body_write_aborted() || error.is_shutdown();
    let is_the_sockets = error.source().is_some_and(|source| source.is::<std::io::Error>());
    !has_hung_up && !is_cut_off && !is_the_sockets
}
