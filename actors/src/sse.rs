//! Server-Sent Events (WHATWG HTML, section 9.2): the frames that the hub sends, encoded whole.
//!
//! All data is JSON on one line, which escapes every control character: nothing that a client or an event brings can
//! begin a field of its own.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::event::{Event, EventId};
use crate::metric_store::Sample;

/// Events that a subscriber did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// How many; `None` if nobody can know.
    pub missed: Option<u64>,
    /// The first of them, where known; for `Expired`, the event after which they came.
    pub from: Option<EventId>,
    /// The last of them, where known.
    pub to: Option<EventId>,
}

/// Why events were not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The client reads more slowly than events come.
    Slow,
    /// The replay buffer no longer has them.
    Expired,
    /// There were more of them than the client has asked for in a second.
    Sampled,
}

/// The hub ends a stream on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
    /// How long to wait before coming back.
    #[serde(serialize_with = "milliseconds")]
    pub retry: Duration,
}

/// Why the hub ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByeReason {
    /// The hub is going down.
    Shutdown,
    /// The client has not read anything for too long.
    Stalled,
    /// The right to watch has ended.
    ExpiredToken,
    /// Somebody who may has ended this stream.
    ClosedByAdmin,
}

/// Up to a fifth more or less, so that after a restart not all clients come back at once.
pub(crate) fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(rand::random_range(0.8..1.2))
}

/// Tells the client how long to wait before it reconnects.
pub(crate) fn retry(delay: Duration) -> Bytes {
    format!("retry: {}\n\n", delay.as_millis()).into()
}

/// Shows that the stream is alive. Of one that begins, it has a mark, an id by which a client can come back before it has had an event.
pub(crate) fn ping(interval: Duration, mark: Option<EventId>) -> Bytes {
    frame("ping", mark, 32, &Ping { interval })
}

/// Events, in the order given. The id is that of the last one.
pub fn trace(events: &[Arc<Event>]) -> Bytes {
    // Most events in JSON are smaller than that, so that the frame is rarely moved as it grows.
    const TYPICAL_EVENT_BYTES: usize = 400;
    let id = events.last().map(|event| event.id);
    frame("trace", id, TYPICAL_EVENT_BYTES * events.len(), &Events(events))
}

/// Events that the client did not get. Those of a sample came among others that it did: no id, by which it would go back.
pub(crate) fn gap(gap: &Gap) -> Bytes {
    let id = match gap.reason {
        GapReason::Slow | GapReason::Expired => gap.to,
        GapReason::Sampled => None,
    };
    frame("gap", id, 256, gap)
}

/// The end of a replay, with the mark of where it came to.
pub(crate) fn caught_up(replayed: u64, mark: Option<EventId>) -> Bytes {
    frame("caught-up", mark, 32, &CaughtUp { replayed })
}

/// The end of the stream.
pub(crate) fn bye(bye: &Bye) -> Bytes {
    frame("bye", None, 128, bye)
}

/// Metrics.
pub fn metrics(samples: &[Sample]) -> Bytes {
    frame("metrics", None, 128 * samples.len(), samples)
}

#[derive(Serialize)]
struct Ping {
    #[serde(serialize_with = "milliseconds")]
    interval: Duration,
}

#[derive(Serialize)]
struct CaughtUp {
    replayed: u64,
}

/// Shared events as a JSON array.
struct Events<'a>(&'a [Arc<Event>]);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|event| &**event))
    }
}

fn frame<T: Serialize + ?Sized>(
    event: &str,
    id: Option<EventId>,
    capacity: usize,
    data: &T,
) -> Bytes {
    let mut head = format!("event: {event}\n");
    if let Some(id) = id {
        writeln!(head, "id: {id}").expect("a String takes everything");
    }
    let mut frame = Vec::with_capacity(head.len() + capacity + 16);
    frame.extend_from_slice(head.as_bytes());
    frame.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut frame, data).expect("events and metrics are always valid JSON");
    frame.write_all(b"\n\n").expect("a Vec takes everything");
    frame.into()
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frame: &Bytes, expected: &str) {
        assert_eq!(std::str::from_utf8(frame).unwrap(), expected);
    }

    #[test]
    fn frames_to_the_letter() {
        let id: EventId = "0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000".parse().unwrap();
        check(&retry(Duration::from_secs(3)), "retry: 3000\n\n");
        check(&ping(Duration::from_secs(15), None), "event: ping\ndata: {\"interval\":15000}\n\n");
        check(
            &ping(Duration::from_secs(15), Some(id)),
            "event: ping\nid: 0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000\ndata: {\"interval\":15000}\n\n",
        );
        check(&caught_up(7, None), "event: caught-up\ndata: {\"replayed\":7}\n\n");
        check(
            &caught_up(0, Some(id)),
            "event: caught-up\nid: 0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000\ndata: {\"replayed\":0}\n\n",
        );
        check(
            &bye(&Bye { reason: ByeReason::Shutdown, retry: Duration::from_millis(2500) }),
            "event: bye\ndata: {\"reason\":\"shutdown\",\"retry\":2500}\n\n",
        );
        check(
            &gap(&Gap { reason: GapReason::Slow, missed: Some(3), from: None, to: Some(id) }),
            "event: gap\nid: 0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000\n\
             data: {\"reason\":\"slow\",\"missed\":3,\"from\":null,\"to\":\"0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000\"}\n\n",
        );
        check(
            &gap(&Gap { reason: GapReason::Sampled, missed: Some(3), from: None, to: Some(id) }),
            "event: gap\n\
             data: {\"reason\":\"sampled\",\"missed\":3,\"from\":null,\"to\":\"0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000\"}\n\n",
        );
    }
}
