//! Opens connections and streams, a bounded number at a time, and hands each stream to a task that reads it.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::frames::FrameReader;
use super::super::http1::{AnswerError, Body, Head};
use super::super::ledger::ReaderClass;
use super::super::plan::authorization_line;
use super::{OPEN_TIMEOUT, Reader, Worker, stream};
use crate::error_chain::error_chain;

const AGENT: &str = concat!("telemetry-hub-load/", env!("CARGO_PKG_VERSION"));

/// What a stream may send ahead of its reader, as browsers have it.
const STREAM_WINDOW: u32 = 64 * 1024;

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the connection broke before an answer came")]
    Broken(#[source] io::Error),
    #[error("the connection was closed before an answer came")]
    Closed,
    #[error("no answer within {} s", OPEN_TIMEOUT.as_secs())]
    Timeout,
    #[error("answered {0}")]
    Status(u16),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("HTTP/2 failed")]
    Http2(#[source] hyper::Error),
    #[error("the time for connecting was up")]
    TooLate,
}

/// Waits for an opening, for as long as that may take.
async fn in_time<T>(
    worker: &Worker,
    opening: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    if worker.is_too_late() {
        return Err(OpenError::TooLate);
    }
    timeout(OPEN_TIMEOUT, opening).await.unwrap_or(Err(OpenError::Timeout))
}

/// Opens connections for as long as there are any to open.
pub(super) async fn open_all(worker: Rc<Worker>) {
    let is_http2 = worker.plan().subscribing.http2;
    while let Some(own) = worker.next_connection().await {
        if is_http2 {
            open_http2(&worker, own).await;
        } else {
            open_http1(&worker, own).await;
        }
    }
}

async fn open_http1(worker: &Rc<Worker>, own: u32) {
    match in_time(worker, request_http1(worker, own)).await {
        Ok((socket, mut reader, begun)) => {
            worker.opened(own);
            let is_well_formed = worker.take(&mut reader, &begun).is_ok();
            if is_well_formed && !reader.body.is_ended() {
                stream::read_http1(worker, socket, reader);
            } else {
                worker.ended(own);
            }
        }
        Err(error) => worker.failed(error_chain(&error), 1),
    }
}

/// Connects, asks, and reads the answer's head. What has come behind it is returned as well.
async fn request_http1(
    worker: &Worker,
    own: u32,
) -> Result<(TcpStream, Reader, Vec<u8>), OpenError> {
    let plan = worker.plan();
    let subscriber = worker.thread + own * plan.threads;
    let class = worker.ledger.borrow().class(own);
    let mut socket = worker.connect(subscriber, class).await.map_err(OpenError::Connect)?;
    let site = plan.subscribing.site(subscriber);
    let (path, host) = (site.path(subscriber % plan.schedule.filters), &site.target.authority);
    let authorization = plan.subscribing.authorization.as_ref().map(authorization_line);
    let authorization = authorization.unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nUser-Agent: {AGENT}\r\n{authorization}\r\n"
    );
    socket.write_all(request.as_bytes()).await.map_err(OpenError::Broken)?;
    let mut answer = Vec::new();
    loop {
        if socket.read_buf(&mut answer).await.map_err(OpenError::Broken)? == 0 {
            return Err(OpenError::Closed);
        }
        let Some((head, begin)) = Head::read(&answer)? else { continue };
        if head.status != 200 {
            return Err(OpenError::Status(head.status));
        }
        let reader = Reader { account: own, body: head.body, frames: FrameReader::default() };
        return Ok((socket, reader, answer.split_off(begin)));
    }
}

/// Opens a connection and all its streams. If the connection fails, those that are left fail with it.
async fn open_http2(worker: &Rc<Worker>, own: u32) {
    let subscribing = &worker.plan().subscribing;
    let connection = worker.thread + own * worker.plan().threads;
    let streams = subscribing.streams_per_connection;
    let first = connection * streams;
    let count = streams.min(subscribing.subscribers - first);
    let mut sender = match in_time(worker, handshake(worker, connection)).await {
        Ok(sender) => sender,
        Err(error) => return worker.failed(error_chain(&error), count),
    };
    let site = subscribing.site(connection);
    for number in 0..count {
        let account = own * streams + number;
        let path = site.path((first + number) % worker.plan().schedule.filters);
        let request = request_http2(worker, &mut sender, &site.target.authority, path);
        match in_time(worker, request).await {
            Ok(body) => {
                worker.opened(account);
                let reader =
                    Reader { account, body: Body::UntilClose, frames: FrameReader::default() };
                stream::read_http2(worker, body, reader);
            }
            Err(error) => worker.failed(error_chain(&error), 1),
        }
    }
    worker.keep(sender);
}

pub(super) type Sender = http2::SendRequest<Empty<Bytes>>;

async fn handshake(worker: &Rc<Worker>, connection: u32) -> Result<Sender, OpenError> {
    let socket =
        worker.connect(connection, ReaderClass::Healthy).await.map_err(OpenError::Connect)?;
    // Streams that are not read fill their own windows, and must leave room for the others.
    let streams = worker.plan().subscribing.streams_per_connection;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder.initial_stream_window_size(STREAM_WINDOW);
    builder.initial_connection_window_size(
        STREAM_WINDOW.saturating_mul(streams + 1).min(i32::MAX as u32),
    );
    let (sender, connection) =
        builder.handshake(TokioIo::new(socket)).await.map_err(OpenError::Http2)?;
    // Its streams end with it, and say so.
    tokio::task::spawn_local(async { connection.await.ok() });
    Ok(sender)
}

async fn request_http2(
    worker: &Worker,
    sender: &mut Sender,
    authority: &str,
    path: String,
) -> Result<hyper::body::Incoming, OpenError> {
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority.parse::<Authority>().expect("it was in a URL"))
        .path_and_query(path)
        .build()
        .expect("the path was in a URL");
    let request = Request::get(uri).header(ACCEPT, "text/event-stream").header(USER_AGENT, AGENT);
    let request = match &worker.plan().subscribing.authorization {
        Some(value) => request.header(AUTHORIZATION, value),
        None => request,
    };
    let request = request.body(Empty::new()).expect("all parts are valid");
    sender.ready().await.map_err(OpenError::Http2)?;
    let answer = sender.send_request(request).await.map_err(OpenError::Http2)?;
    match answer.status().as_u16() {
        200 => Ok(answer.into_body()),
        status => Err(OpenError::Status(status)),
    }
}

/// Runs hyper's tasks on this thread: they end with its [`LocalSet`](tokio::task::LocalSet).
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async { drop(future.await) });
    }
}
