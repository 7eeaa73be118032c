//! What is asked of the stream, on a connection on which it was found.

use std::sync::Arc;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{
    ConsumerError, Info, LastRawMessageErrorKind, RawMessageErrorKind, State,
};
use futures_util::future::try_join_all;

use super::connection::{Reason, time_of, told};
use super::place::StreamIds;
use super::subject::Subjects;
use crate::tick::Tick;

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) context: Context,
    /// The stream's name.
    pub(super) stream: Arc<str>,
    pub(super) ids: StreamIds,
    /// How large a message's payload may be.
    pub(super) max_payload: usize,
}

impl Session {
    /// How the stream stands, by one who can know.
    pub(super) async fn state(&self) -> Result<State, Reason> {
        let stream = self.context.get_stream(&*self.stream).await;
        let stream = stream.map_err(|error| told("the stream cannot be reached", &error))?;
        check_led(stream.cached_info())?;
        Ok(stream.cached_info().state.clone())
    }

    /// The last message of these subjects, asked of the stream's leader. 0 if there is none.
    pub(super) async fn last_sequence(&self, subjects: &Subjects) -> Result<u64, Reason> {
        let stream = self.context.get_stream_no_info(&*self.stream).await;
        let stream = stream.map_err(|error| told("the stream cannot be reached", &error))?;
        let stream = &stream;
        let last_of = subjects.patterns().iter().map(async |subject| {
            match stream.get_last_raw_message_by_subject(subject).await {
                Ok(message) => Ok(message.sequence),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(0),
                Err(error) => Err(told("the stream cannot be read", &error)),
            }
        });
        let last_of = try_join_all(last_of).await?;
        Ok(last_of.into_iter().max().unwrap_or(0))
    }

    pub(super) async fn delete_consumer(&self, name: &str) -> Result<(), ConsumerError> {
        self.context.delete_consumer_from_stream(name, &*self.stream).await.map(|_| ())
    }

    /// Whether the message of this number came after this tick, and so is another than the one that had it then.
    pub(super) async fn is_given_anew(&self, sequence: u64, tick: Tick) -> Result<bool, Reason> {
        if sequence == 0 {
            return Ok(false);
        }
        let stream = self.context.get_stream_no_info(&*self.stream).await;
        let stream = stream.map_err(|error| told("the stream cannot be reached", &error))?;
        match stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Tick::of(time_of(message.time)?) > tick),
            // It is gone, and nobody can tell.
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
            Err(error) => Err(told("the stream cannot be read", &error)),
        }
    }
}

/// A server that is cut off from the others, or stands still, answers too: by what it knew.
pub(super) fn check_led(info: &Info) -> Result<(), Reason> {
    let is_led = info.cluster.as_ref().is_none_or(|cluster| cluster.leader.is_some());
    is_led.then_some(()).ok_or_else(|| "the stream has no leader".to_owned())
}
