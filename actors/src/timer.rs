//! A message that an actor sends itself later.
//!
//! It goes with the state that holds it: an actor that has ended leaves no task behind that waits for its hour.

use std::time::Duration;

use ractor::{ActorRef, Message};
use tokio::task::AbortHandle;

/// A message to come. Dropped, it does not come any more.
#[derive(Debug)]
pub(crate) struct Timer(AbortHandle);

impl Timer {
    /// Sends the message after the delay.
    pub(crate) fn start<M: Message>(
        delay: Duration,
        actor: &ActorRef<M>,
        message: impl FnOnce() -> M + Send + 'static,
    ) -> Self {
        Self(actor.send_after(delay, message).abort_handle())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
