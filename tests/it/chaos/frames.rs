//! Server-Sent Events as bytes come, in however small parts, and what those of a run say.

use serde_json::Value;
use telemetry_hub_actors::EventId;

use super::events::{Events, Numbered};
use super::subscriber::Said;

/// What has come of a frame that is not whole.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

/// A whole frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) event: String,
    pub(super) id: Option<EventId>,
    pub(super) data: String,
}

impl Frames {
    /// The frames that are whole with these bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.0.extend_from_slice(bytes);
        let Some(end) = self.0.windows(2).rposition(|end| end == b"\n\n") else {
            return Vec::new();
        };
        let rest = self.0.split_off(end + 2);
        let whole = std::mem::replace(&mut self.0, rest);
        let whole = String::from_utf8(whole).expect("frames are UTF-8");
        whole.split_terminator("\n\n").map(Frame::read).collect()
    }
}

impl Frame {
    fn read(text: &str) -> Self {
        let mut frame = Self::default();
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("event", event)) => event.clone_into(&mut frame.event),
                Some(("id", id)) => frame.id = Some(id.parse().expect("an id")),
                Some(("data", data)) => data.clone_into(&mut frame.data),
                Some(("retry", _)) => {}
                _ => panic!("no line of a frame: {line:?}"),
            }
        }
        frame
    }

    /// What a stream of events says by it, one for each event.
    pub(super) fn said(&self) -> Vec<Said> {
        let data = || serde_json::from_str::<Value>(&self.data).expect("data is JSON");
        match self.event.as_str() {
            // `retry` alone makes no event.
            "" | "ping" => Vec::new(),
            "trace" => self.events(&data()),
            "gap" => vec![gap(&data())],
            "caught-up" => vec![Said::CaughtUp(data()["replayed"].as_u64().unwrap())],
            "bye" => vec![Said::Bye(data()["reason"].as_str().unwrap().to_owned())],
            other => panic!("no frame of a stream of events: {other}"),
        }
    }

    fn events(&self, data: &Value) -> Vec<Said> {
        let event = |event: &Value| (id(&event["id"]), recognise(event));
        let events: Vec<_> = data.as_array().unwrap().iter().map(event).collect();
        assert_eq!(self.id, events.last().map(|(id, _)| *id), "the id is that of the last event");
        events.into_iter().map(|(id, event)| Said::Event(id, event)).collect()
    }
}

fn gap(gap: &Value) -> Said {
    match gap["reason"].as_str() {
        Some("slow") => {
            Said::Slow(gap["missed"].as_u64().unwrap(), id(&gap["from"]), id(&gap["to"]))
        }
        Some("expired") => Said::Expired(id(&gap["to"])),
        _ => panic!("no gap: {gap}"),
    }
}

fn id(id: &Value) -> EventId {
    id.as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no id: {id}"))
}

fn recognise(event: &Value) -> Numbered {
    Events::recognise(&event["data"]).unwrap_or_else(|| panic!("nobody posted {event}"))
}

#[test]
fn frames_come_whole_however_they_are_cut() {
    let text = "retry: 1000\n\nevent: ping\ndata: {\"interval\":1}\n\nevent: caught-up\ndata: {\"replayed\":3}\n\nevent: by";
    for size in 1..text.len() {
        let mut frames = Frames::default();
        let whole: Vec<_> =
            text.as_bytes().chunks(size).flat_map(|part| frames.push(part)).collect();
        let said: Vec<_> = whole.iter().flat_map(Frame::said).collect();
        assert_eq!((whole.len(), said), (3, vec![Said::CaughtUp(3)]), "{size} at a time");
    }
}
