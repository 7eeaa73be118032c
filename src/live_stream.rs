//! A live stream that was granted: the head of its response, and the frames that follow for as long as somebody reads.
//!
//! Most connections carry it as an ordinary response. One that can do without its HTTP machinery offers an [`Exit`] with the
//! request, and gets the stream itself.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use telemetry_hub_actors::{Cutter, MetricsSubscription, Subscription};
use tokio::sync::oneshot;
use warp::Reply;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
};

use crate::reply::{FOR_BROWSERS, HttpResponse};

/// What the server needs to know of a subscription: its frames, and how to end it if they are not read.
pub(crate) trait Frames: Stream<Item = Bytes> + Send + Sync + Unpin + 'static {
    /// To be told if the client does not read.
    fn cutter(&self) -> Cutter;
}

impl Frames for Subscription {
    fn cutter(&self) -> Cutter {
        self.cutter()
    }
}

impl Frames for MetricsSubscription {
    fn cutter(&self) -> Cutter {
        self.cutter()
    }
}

/// What every stream says in its head. No proxy may keep it or wait for more of it.
fn headers() -> HeaderMap {
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    headers.into_iter().chain(FOR_BROWSERS).collect()
}

/// Answers with a stream: by the exit if there is one, in which case nothing is answered here. The cookie is for a browser. Whoever
/// writes an answer finds its [`Cutter`] in the extensions.
pub(crate) async fn answer(
    frames: impl Frames,
    cookie: Option<HeaderValue>,
    exit: Option<Exit>,
) -> HttpResponse {
    let mut headers = headers();
    headers.extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    if let Some(exit) = exit {
        exit.leave(headers, Box::new(frames));
        return std::future::pending().await;
    }
    let cutter = frames.cutter();
    let mut response = warp::reply::stream(frames.map(Ok::<_, Infallible>)).into_response();
    response.extensions_mut().insert(cutter);
    response.headers_mut().extend(headers);
    response
}

/// A stream that has left: the head of its response is still to be written.
pub(crate) struct Left {
    pub(crate) headers: HeaderMap,
    pub(crate) frames: Box<dyn Frames>,
}

/// The way past HTTP, in the extensions of a request whose connection offers it.
#[derive(Clone)]
pub(crate) struct Exit {
    connection: Arc<Mutex<Option<oneshot::Sender<Left>>>>,
    /// What the response is to say besides.
    pub(crate) headers: HeaderMap,
}

impl Exit {
    /// An exit, and what comes out of it.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Left>) {
        let (sender, receiver) = oneshot::channel();
        let connection = Arc::new(Mutex::new(Some(sender)));
        (Self { connection, headers: HeaderMap::new() }, receiver)
    }

    fn leave(self, mut headers: HeaderMap, frames: Box<dyn Frames>) {
        headers.extend(self.headers);
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(connection) = connection {
            // A connection that is gone drops the stream, and with it the subscription.
            drop(connection.send(Left { headers, frames }));
        }
    }
}

impl fmt::Debug for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exit")
    }
}
