//! A message that an actor sends itself later: after a while, or with what comes from outside.
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

    /// Sends the message once it is there.
    pub(crate) fn when<M: Message>(
        actor: &ActorRef<M>,
        message: impl Future<Output = M> + Send + 'static,
    ) -> Self {
        let actor = actor.clone();
        // If the actor has ended, nobody wants to know.
        Self(tokio::spawn(async move { actor.cast(message.await).ok() }).abort_handle())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use ractor::{Actor, ActorProcessingErr};
    use tokio::sync::oneshot;

    use super::*;

    /// Passes on what it is sent.
    struct Relay;

    impl Actor for Relay {
        type Msg = &'static str;
        type State = Option<oneshot::Sender<&'static str>>;
        type Arguments = oneshot::Sender<&'static str>;

        async fn pre_start(
            &self,
            _myself: ActorRef<Self::Msg>,
            sender: Self::Arguments,
        ) -> Result<Self::State, ActorProcessingErr> {
            Ok(Some(sender))
        }

        async fn handle(
            &self,
            _myself: ActorRef<Self::Msg>,
            message: Self::Msg,
            sender: &mut Self::State,
        ) -> Result<(), ActorProcessingErr> {
            sender.take().unwrap().send(message).unwrap();
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_is_waited_for_comes_or_is_given_up() {
        let (sender, received) = oneshot::channel();
        let (actor, _) = Actor::spawn(None, Relay, sender).await.unwrap();
        let (held, given_up) = oneshot::channel::<()>();
        let never = Timer::when(&actor, async move {
            let _held = held;
            pending().await
        });
        drop(never);
        given_up.await.unwrap_err();
        let _timer = Timer::when(&actor, async { "here" });
        assert_eq!(received.await, Ok("here"));
    }
}
