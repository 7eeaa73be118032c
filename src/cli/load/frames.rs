//! Reads a stream of Server-Sent Events as it comes, in pieces of any size: the stamps in it, and the hub's own frames.
//!
//! Stamps are found wherever they stand, so that any server's framing will do. Of the frames only those are looked at that
//! tell how the stream fares (`gap`, `bye`, `ping`, `caught-up`); their `event:` comes before their `data:`, as the hub has
//! it. A piece is read where it lies; only what it leaves unfinished is kept, and for most pieces that is nothing.

use std::borrow::Cow;

use serde::Deserialize;

use super::stamp::{STAMP_BYTES, Stamp, StampFinder};

/// Lines that matter are shorter. Of a longer one only the end is kept, in which a stamp may have begun.
const MAX_LINE_BYTES: usize = 512;

/// So much of a stamp can have come without its being whole.
const PART_BYTES: usize = STAMP_BYTES - 1;

/// What stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen<'a> {
    Event(Stamp),
    /// So many events were missed; `None` if the server does not know.
    Gap(Option<u64>),
    /// The server ends the stream, for this reason.
    Bye(&'a str),
    Ping,
    CaughtUp,
}

/// One stream's reader.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    kind: FrameKind,
    /// The line that has not ended yet.
    unfinished: Option<Box<Line>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum FrameKind {
    #[default]
    Other,
    Gap,
    Bye,
}

#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    /// Whether its beginning is no longer there.
    is_long: bool,
}

impl FrameReader {
    /// Reads on.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        finder: &StampFinder,
        mut seen: impl FnMut(Seen<'_>),
    ) {
        if let Some(line) = &self.unfinished {
            find_across(&line.bytes, bytes, finder, &mut seen);
        }
        finder.find_all(bytes, |stamp| seen(Seen::Event(stamp)));

        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.end_line(&bytes[begin..end], &mut seen);
            begin = end + 1;
        }
        if begin < bytes.len() {
            self.unfinished.get_or_insert_default().append(&bytes[begin..]);
        }
    }

    fn end_line(&mut self, end: &[u8], seen: &mut impl FnMut(Seen<'_>)) {
        match self.unfinished.take() {
            None => self.read_line(end, seen),
            Some(mut line) => {
                line.append(end);
                if !line.is_long {
                    self.read_line(&line.bytes, seen);
                }
            }
        }
    }

    fn read_line(&mut self, line: &[u8], seen: &mut impl FnMut(Seen<'_>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            self.kind = FrameKind::Other;
        } else if let Some(name) = value(line, b"event:") {
            self.kind = match name {
                b"gap" => FrameKind::Gap,
                b"bye" => FrameKind::Bye,
                _ => FrameKind::Other,
            };
            match name {
                b"ping" => seen(Seen::Ping),
                b"caught-up" => seen(Seen::CaughtUp),
                _ => {}
            }
        } else if self.kind != FrameKind::Other
            && let Some(data) = value(line, b"data:")
        {
            let notice: Notice<'_> = serde_json::from_slice(data).unwrap_or_default();
            seen(match self.kind {
                FrameKind::Gap => Seen::Gap(notice.missed),
                FrameKind::Bye | FrameKind::Other => {
                    Seen::Bye(notice.reason.as_deref().unwrap_or("unknown"))
                }
            });
        }
    }
}

impl Line {
    fn append(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() <= MAX_LINE_BYTES {
            self.bytes.extend_from_slice(bytes);
            return;
        }
        self.is_long = true;
        self.bytes.extend_from_slice(last(bytes, PART_BYTES));
        let surplus = self.bytes.len().saturating_sub(PART_BYTES);
        self.bytes.drain(..surplus);
    }
}

/// What a `gap` or a `bye` says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Notice<'a> {
    missed: Option<u64>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

/// The value of a field, without the one space that may stand before it.
fn value<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(field)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

fn last(bytes: &[u8], count: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(count)..]
}

/// Finds the stamp that began in what came before and ends in what comes now. Neither part has room for a whole one.
fn find_across(before: &[u8], now: &[u8], finder: &StampFinder, seen: &mut impl FnMut(Seen<'_>)) {
    let (before, now) = (last(before, PART_BYTES), &now[..now.len().min(PART_BYTES)]);
    let mut joined = [0; 2 * PART_BYTES];
    let length = before.len() + now.len();
    joined[..before.len()].copy_from_slice(before);
    joined[before.len()..length].copy_from_slice(now);
    finder.find_all(&joined[..length], |stamp| seen(Seen::Event(stamp)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::stamp::RunId;
    use super::*;

    const RUN: RunId = RunId(9);

    fn token(sequence: u32) -> String {
        Stamp { publisher: 1, sequence, intended: 5 }.token(RUN)
    }

    /// What is seen in pieces, in words: stamps apart from frames, for only within each kind is there an order.
    fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u32>, Vec<String>) {
        let (mut reader, finder) = (FrameReader::default(), StampFinder::new(RUN));
        let (mut stamps, mut frames) = (Vec::new(), Vec::new());
        for piece in pieces {
            reader.take(piece, &finder, |seen| match seen {
                Seen::Event(stamp) => stamps.push(stamp.sequence),
                Seen::Gap(missed) => frames.push(format!("gap {missed:?}")),
                Seen::Bye(reason) => frames.push(format!("bye {reason}")),
                Seen::Ping => frames.push("ping".to_owned()),
                Seen::CaughtUp => frames.push("caught-up".to_owned()),
            });
        }
        (stamps, frames)
    }

    fn stream() -> String {
        let (a, b, long) = (token(1), token(2), "x".repeat(700));
        format!(
            "retry: 1000\n\nevent: ping\ndata: {{\"interval\":15000}}\n\n: comment {a}\n\
             event: trace\nid: 1\ndata: [{{\"text\":\"{a}\"}},{{\"text\":\"{b} {long} {a}{b}\"}}]\n\n\
             event: gap\nid: 2\ndata: {{\"reason\":\"slow\",\"missed\":17,\"from\":null,\"to\":\"x\"}}\n\n\
             data: event: gap\ndata: {{\"missed\":4}}\n\n\
             event:gap\r\ndata:{{\"missed\":null}}\r\n\r\nevent: caught-up\ndata: {{\"replayed\":3}}\n\n\
             event: bye\ndata: {{\"reason\":\"stalled\",\"retry\":2000}}\n\n"
        )
    }

    fn expected() -> (Vec<u32>, Vec<String>) {
        let frames = ["ping", "gap Some(17)", "gap None", "caught-up", "bye stalled"];
        (vec![1, 1, 2, 1, 2], frames.map(str::to_owned).to_vec())
    }

    #[test]
    fn stamps_and_frames_are_seen() {
        assert_eq!(read(std::iter::once(stream().as_bytes())), expected());
    }

    #[test]
    fn single_bytes_will_do() {
        assert_eq!(read(stream().as_bytes().chunks(1)), expected());
    }

    proptest! {
        #[test]
        fn any_split_reads_the_same(sizes in prop::collection::vec(1_usize..90, 1..60)) {
            let stream = stream();
            let (mut pieces, mut rest) = (Vec::new(), stream.as_bytes());
            for size in sizes {
                let (piece, behind) = rest.split_at(size.min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            pieces.push(rest);
            prop_assert_eq!(read(pieces.into_iter()), expected());
        }

        #[test]
        fn nothing_much_is_kept(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..900), 0..20)) {
            let (mut reader, finder) = (FrameReader::default(), StampFinder::new(RUN));
            for piece in pieces {
                reader.take(&piece, &finder, |_| {});
                let kept = reader.unfinished.as_ref().map_or(0, |line| line.bytes.len());
                prop_assert!(kept <= MAX_LINE_BYTES);
            }
        }
    }
}
