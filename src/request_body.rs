//! A request's body, held by two: by the route that reads it, and by the service, which reads what a refusal has left.
//!
//! A server that answers and closes while a client is still sending resets the connection: many clients then see a broken pipe
//! instead of the answer, and some die of it. So a refused body is read a little further (as RFC 9112, section 9.6, advises for
//! connections that are closed).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::time::timeout;

/// How much is read of a body that nobody wants: what a client has under way, not what it may have in mind.
const MAX_DISCARDED_BYTES: usize = 256 * 1024;

/// How long the answer waits for that.
const PATIENCE: Duration = Duration::from_secs(1);

/// A body that others may hold as well. Each frame is read by one of them.
pub(crate) struct RequestBody<B>(Arc<Mutex<State<B>>>);

struct State<B> {
    body: Pin<Box<B>>,
    is_read: bool,
}

impl<B> Clone for RequestBody<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Body> RequestBody<B> {
    pub(crate) fn new(body: B) -> Self {
        Self(Arc::new(Mutex::new(State { is_read: body.is_end_stream(), body: Box::pin(body) })))
    }

    /// Reads what is left, within bounds.
    pub(crate) async fn discard(mut self) {
        let discarded = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = self.frame().await {
                bytes += frame.data_ref().map_or(0, Buf::remaining);
                if bytes > MAX_DISCARDED_BYTES {
                    return;
                }
            }
        };
        // A client that takes longer has to live with a broken pipe.
        timeout(PATIENCE, discarded).await.ok();
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_read {
            return Poll::Ready(None);
        }
        let frame = state.body.as_mut().poll_frame(context);
        state.is_read = matches!(frame, Poll::Ready(None | Some(Err(_))));
        frame
    }
}
