//! One stream of HTTP/2, which ends when its client leaves unread what it is sent, though the connection goes on.
//!
//! A client that grants no window is seen by no socket, and hyper looks at no body while it waits for a window. So the task of each
//! stream is watched from outside: as over HTTP/1.1, a client that takes nothing for the write timeout is cut, has as long again to read
//! of it, and then the stream is reset. The others of its connection go on.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use hyper_util::rt::TokioExecutor;
use telemetry_hub_actors::Cutter;
use tokio::time::{Instant, sleep_until};
use warp::http::Response;

/// How much is handed to hyper at once, as much as a frame of HTTP/2 holds unless its client wants more: who takes as much in time is
/// not cut, however long an event is.
const PIECE_BYTES: usize = 16 * 1024;

tokio::task_local! {
    /// That of the stream whose task this is.
    static PROGRESS: Arc<Progress>;
}

/// How far a stream is with its body.
#[derive(Debug, Default)]
struct Progress {
    /// How many pieces hyper has been handed.
    pieces: AtomicUsize,
    /// hyper has asked for more since, and there was none: it waits for nothing else.
    is_idle: AtomicBool,
    cutter: OnceLock<Cutter>,
}

impl Progress {
    /// How many pieces had been handed over when the wait for the client began, if that is what the stream waits for.
    fn waits_after(&self) -> Option<usize> {
        let pieces = self.pieces.load(Ordering::Relaxed);
        (pieces > 0 && !self.is_idle.load(Ordering::Relaxed)).then_some(pieces)
    }

    fn cut(&self) {
        if let Some(cutter) = self.cutter.get() {
            cutter.cut();
        }
    }
}

/// Runs the tasks of streams. Each ends with its connection at the latest, of which it holds a part.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    pub(super) write_timeout: Duration,
}

impl<S> Executor<S> for Streams
where
    S: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: S) {
        let progress = Arc::new(Progress::default());
        let watched = watch(stream, Arc::clone(&progress), self.write_timeout);
        TokioExecutor::new().execute(PROGRESS.scope(progress, watched));
    }
}

/// Runs a stream to its end, or until its client has taken nothing for too long: dropping it resets it.
async fn watch(stream: impl Future<Output = ()>, progress: Arc<Progress>, write_timeout: Duration) {
    let mut stream = pin!(stream);
    let (mut deadline, mut waits_after, mut is_cut) = (None, None, false);
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let waited_after = std::mem::replace(&mut waits_after, progress.waits_after());
        if waits_after.is_none() || waits_after != waited_after {
            deadline = None;
        }
        if waits_after.is_none() {
            return Poll::Pending;
        }
        loop {
            let begin = || Box::pin(sleep_until(Instant::now() + write_timeout));
            ready!(deadline.get_or_insert_with(begin).as_mut().poll(context));
            if std::mem::replace(&mut is_cut, true) {
                return Poll::Ready(());
            }
            progress.cut();
            deadline = None;
        }
    })
    .await;
}

/// A body in pieces that tells how far it is. Outside of a task of [`Streams`], for nobody.
pub(super) struct Pieces<B> {
    body: B,
    rest: Bytes,
    progress: Arc<Progress>,
}

impl<B> Pieces<B> {
    pub(super) fn of(answer: Response<B>) -> Response<Self> {
        let progress = PROGRESS.try_with(Arc::clone).unwrap_or_default();
        if let Some(cutter) = answer.extensions().get::<Cutter>() {
            progress.cutter.get_or_init(|| cutter.clone());
        }
        answer.map(|body| Self { body, rest: Bytes::new(), progress })
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Pieces<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            let frame = Pin::new(&mut self.body).poll_frame(context);
            self.progress.is_idle.store(frame.is_pending(), Ordering::Relaxed);
            match ready!(frame).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                None => return Poll::Ready(None),
            }
        }
        self.progress.pieces.fetch_add(1, Ordering::Relaxed);
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // It is asked before anything has been taken.
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}
