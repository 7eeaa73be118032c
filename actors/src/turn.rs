//! Turns: a handler that goes through thousands sees to a few at a time, and lets others run in between.

use ractor::{ActorRef, Message};

/// How many are seen to in one turn. Tokio looks for input after 61 tasks: with about as many let loose between two looks, what
/// comes in is served within a millisecond, whatever is under way. Turns of 10,000 kept the slowest hundredth of requests waiting
/// for 40 ms, those of 256 for 30 to 50, these for 8 to 15.
pub(crate) const TURN: usize = 64;

/// How far a handler has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to see to.
    Underway,
    Done,
}

/// Sends the actor the message that begins its next turn, once others have had theirs. It waits for nothing else.
pub(crate) async fn next_turn<M: Message>(myself: &ActorRef<M>, message: M) {
    tokio::task::yield_now().await;
    // An actor that cannot send to itself is being stopped.
    myself.cast(message).ok();
}
