//! The actor that publishes what nobody waits for: what the host logs, offers and measures.
//!
//! Supervision: a child of [`NatsTransport`](super::actor::NatsTransport), which ends if this does, and begins with a new one. What it has in hand stands in the
//! [`Link`] until the stream has it. It waits for that as long as it takes: nobody waits for it, least of all who reads the stream.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::Link;

#[derive(Debug)]
pub(super) enum ForwarderMessage {
    /// Goes on: publishes a message of what was offered, once there is any.
    GoOn,
}

pub(super) struct Forwarder;

impl Actor for Forwarder {
    type Msg = ForwarderMessage;
    type State = Arc<Link>;
    type Arguments = Arc<Link>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        link: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(ForwarderMessage::GoOn)?;
        Ok(link)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        ForwarderMessage::GoOn: Self::Msg,
        link: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        link.forward().await;
        myself.cast(ForwarderMessage::GoOn)?;
        Ok(())
    }
}
