//! A socket whose client may say that it has no more to send and still get its answer (`nc -N`): the end of its input is kept back
//! while a request is being answered that has come whole.
//!
//! hyper takes an end of input for a client that has gone, and gives up what it was about to answer. It has a setting against that
//! (`half_close`), for all answers or none: then nobody would notice a watcher who leaves. So an answer without an end keeps
//! nothing back. Whether all of a body has come is known when it has been read, which may be after its end has been seen: it is
//! waited for a little, and a client that broke off is noticed so much later.
//!
//! A client that still sends when it has been answered (413, 401) is read on for a moment before its connection ends: what comes to a closed socket is
//! answered by a reset, which takes the answer with it (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::holding::Holding;

/// How long a body that has come may wait to be read: many times as long as a busy server takes to look at it.
const READING: Duration = Duration::from_secs(1);

/// How long a client is read on that has been answered before it has sent all.
const LINGERING: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct HalfClose<S> {
    socket: S,
    exchange: Exchange,
    /// Since the end of the input has been seen, while nobody knows whether it came too early.
    reading: Option<Pin<Box<Sleep>>>,
    /// Since nothing more is said to a client that still sends.
    lingering: Option<Pin<Box<Sleep>>>,
}

/// What goes on on one connection over HTTP/1.1, where that is one request at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Exchange(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// A request is being answered.
    is_under_way: bool,
    /// Not all of it has come.
    is_short: bool,
    /// Whoever waits for input that has ended.
    reader: Option<Waker>,
}

/// How far a request is.
enum Progress {
    Nothing,
    /// Perhaps more of it must come.
    Reading,
    Answering,
}

/// The answer to a request is under way for as long as this is held.
#[derive(Debug)]
pub(super) struct Answering(Exchange);

/// The body of a request, which tells when all of it has come.
#[derive(Debug)]
pub(super) struct Told<B> {
    body: B,
    exchange: Exchange,
}

impl<S> HalfClose<S> {
    pub(super) fn new(socket: S, exchange: Exchange) -> Self {
        Self { socket, exchange, reading: None, lingering: None }
    }

    pub(super) fn into_inner(self) -> S {
        self.socket
    }

    /// Whether the end of the input is not to be seen yet; who reads is woken when it is.
    fn keeps_back(&mut self, context: &mut Context<'_>) -> bool {
        match self.exchange.progress(context.waker()) {
            Progress::Nothing => false,
            Progress::Answering => true,
            Progress::Reading => {
                let reading = self
                    .reading
                    .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + READING)));
                reading.as_mut().poll(context).is_pending()
            }
        }
    }
}

impl Exchange {
    /// A request has come, perhaps without all of its body.
    pub(super) fn begin<B: Body>(&self, body: B) -> (Told<B>, Answering) {
        let is_short = !body.is_end_stream();
        self.with(|state| *state = State { is_under_way: true, is_short, reader: None });
        (Told { body, exchange: self.clone() }, Answering(self.clone()))
    }

    /// How far it is; who reads is woken when nothing is under way any more.
    fn progress(&self, reader: &Waker) -> Progress {
        self.with(|state| {
            state.reader = Some(reader.clone());
            match (state.is_under_way, state.is_short) {
                (false, _) => Progress::Nothing,
                (true, true) => Progress::Reading,
                (true, false) => Progress::Answering,
            }
        })
    }

    fn with<T>(&self, access: impl FnOnce(&mut State) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Answering {
    /// Held until the answer has gone, if it has an end.
    pub(super) fn hold<B: Body>(self, answer: Response<B>) -> Response<Holding<B, Option<Self>>> {
        let has_end = answer.body().size_hint().exact().is_some();
        answer.map(|body| Holding::new(body, has_end.then_some(self)))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let reader = self.0.with(|state| {
            state.is_under_way = false;
            state.reader.take()
        });
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl<B: Body + Unpin> Body for Told<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.exchange.with(|state| state.is_short = false);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S: AsyncRead + Unpin> HalfClose<S> {
    /// Reads on, and keeps nothing, until the client ends or the moment is over.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.exchange.with(|state| state.is_short) {
            return Poll::Ready(());
        }
        let over = || Box::pin(sleep_until(Instant::now() + LINGERING));
        if self.lingering.get_or_insert_with(over).as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut bytes = [0; 16 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.socket).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HalfClose<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        let outcome = Pin::new(&mut self.socket).poll_read(context, buffer);
        let has_ended = matches!(outcome, Poll::Ready(Ok(()))) && buffer.remaining() == before;
        if has_ended && before > 0 && self.keeps_back(context) {
            return Poll::Pending;
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HalfClose<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
        }
        self.poll_linger(context).map(Ok)
    }
}
