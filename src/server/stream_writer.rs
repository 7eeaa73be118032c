//! Writes one live stream to its socket, once the connection has left HTTP's machinery behind: two thirds of what a subscriber
//! takes of memory are hyper's buffers and states.
//!
//! All that is queued leaves in one write. The response has no length: its end is that of the connection (RFC 9112, section 6.3).
//! A client that takes nothing for the write timeout is cut, and has as long again to read of it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::io::{AsyncWriteExt, ReadBuf};
use tokio_util::sync::CancellationToken;
use warp::http::HeaderMap;

use super::connection::Socket;
use crate::live_stream::{Frames, Left};

/// How many frames leave in one write, and about how many bytes: enough that a call costs little for each, few enough that what is
/// queued for a client that stops reading stays where it is counted.
const MAX_FRAMES: usize = 64;
const MAX_BYTES: usize = 256 * 1024;

pub(super) struct StreamWriter<S> {
    socket: S,
    frames: Box<dyn Frames>,
    /// What is being written. Holds no memory while there is nothing.
    outgoing: VecDeque<Bytes>,
    /// The end of the server. A writer that waits for frames is ended by the hub; only one that waits for its client looks here,
    /// which spares a look at it at every turn.
    end: CancellationToken,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Write,
    /// The stream has come to its end.
    Finish,
    /// The client has hung up.
    Leave,
}

impl<S: Socket> StreamWriter<S> {
    pub(super) fn new(socket: S, Left { headers, frames }: Left, end: CancellationToken) -> Self {
        Self { socket, frames, outgoing: VecDeque::from([head(&headers)]), end }
    }

    /// Writes until the stream or the connection ends. Dropping it ends both.
    pub(super) async fn run(mut self) {
        let mut is_cut = false;
        loop {
            match poll_fn(|context| self.poll_turn(context)).await {
                Turn::Write => {}
                Turn::Finish => {
                    // A client that has gone needs no farewell.
                    self.end.run_until_cancelled(self.socket.shutdown()).await;
                    return;
                }
                Turn::Leave => return,
            }
            match self.write().await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut && !is_cut => {
                    self.frames.cutter().cut();
                    is_cut = true;
                }
                Err(_) => return,
            }
        }
    }

    /// Gathers what there is to write. While there is nothing, watches whether the client is still there.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        let mut bytes: usize = self.outgoing.iter().map(Bytes::len).sum();
        while self.outgoing.len() < MAX_FRAMES && bytes < MAX_BYTES {
            match Pin::new(&mut *self.frames).poll_next(context) {
                Poll::Ready(Some(frame)) => {
                    bytes += frame.len();
                    self.outgoing.push_back(frame);
                }
                Poll::Ready(None) if self.outgoing.is_empty() => return Poll::Ready(Turn::Finish),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if !self.outgoing.is_empty() {
            return Poll::Ready(Turn::Write);
        }
        self.outgoing = VecDeque::new();
        self.poll_hang_up(context).map(|()| Turn::Leave)
    }

    /// Whatever the client still sends has no meaning.
    fn poll_hang_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut bytes = [0; 256];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }

    /// Writes all that was gathered.
    async fn write(&mut self) -> io::Result<()> {
        let at_once = poll_fn(|context| Poll::Ready(self.poll_write(context))).await;
        match at_once {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                let end = self.end.clone();
                // In a box, so that a writer that need not wait is small.
                let waiting =
                    Box::pin(end.run_until_cancelled(poll_fn(|context| self.poll_write(context))));
                waiting.await.unwrap_or_else(|| Err(ErrorKind::Interrupted.into()))
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(first) = self.outgoing.front() {
            let socket = Pin::new(&mut self.socket);
            let written = if self.outgoing.len() == 1 {
                // As nearly always, and cheaper for the system than a list of one.
                ready!(socket.poll_write(context, first))?
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_FRAMES];
                for (slice, frame) in slices.iter_mut().zip(&self.outgoing) {
                    *slice = IoSlice::new(frame);
                }
                let count = self.outgoing.len().min(MAX_FRAMES);
                ready!(socket.poll_write_vectored(context, &slices[..count]))?
            };
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        // TLS keeps what it has encrypted until it is told to send it.
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(frame) = self.outgoing.front_mut() {
            if frame.len() > written {
                return frame.advance(written);
            }
            written -= frame.len();
            self.outgoing.pop_front();
        }
    }
}

/// The head of the response.
fn head(headers: &HeaderMap) -> Bytes {
    let mut head = String::from("HTTP/1.1 200 OK\r\n");
    for (name, value) in headers {
        let value = value.to_str().expect("they are written here, as text");
        write!(head, "{name}: {value}\r\n").expect("a String takes everything");
    }
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
    let date = date.expect("this century can be written");
    write!(head, "connection: close\r\ndate: {date}\r\n\r\n").expect("a String takes everything");
    head.into()
}
