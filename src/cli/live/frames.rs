//! Server-Sent Events as a client reads them (WHATWG HTML, section 9.2): bytes in, in pieces of any size, frames out.
//!
//! The crates for this that there are lose a `retry` that stands alone, as a hub sends it, and bound nothing: here no frame
//! is larger than [`MAX_FRAME_BYTES`]. Bytes that are no UTF-8 are replaced, as browsers do it.

use std::collections::VecDeque;
use std::time::Duration;

/// A hub's frames have one batch of events, of 256 KiB, or a single larger one, which came in one body: far less than this.
const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the server sent at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct Frame {
    pub(in crate::cli) kind: String,
    pub(in crate::cli) data: String,
    /// The id of this frame, or of the last one before it that had one; empty if none had.
    pub(in crate::cli) id: String,
}

/// Somebody sends without an end.
#[derive(Debug, thiserror::Error)]
#[error("a frame of over {} MiB", MAX_FRAME_BYTES >> 20)]
pub(super) struct FrameTooLarge;

/// One stream's reader.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    ready: VecDeque<Frame>,
    retry: Option<Duration>,
    /// The frame that has not ended yet; its data has a line feed too many.
    frame: Frame,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// A line feed that comes now belongs to the carriage return before it.
    after_return: bool,
    has_begun: bool,
}

impl FrameReader {
    /// Reads on.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), FrameTooLarge> {
        if std::mem::take(&mut self.after_return)
            && let Some(rest) = bytes.strip_prefix(b"\n")
        {
            bytes = rest;
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            self.extend_line(&bytes[..end])?;
            self.end_line();
            let is_return = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            match bytes.split_first() {
                Some((b'\n', rest)) if is_return => bytes = rest,
                None => self.after_return = is_return,
                Some(_) => {}
            }
        }
        self.extend_line(bytes)
    }

    /// The next frame that has come whole.
    pub(super) fn next(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    /// How long the server wants its clients to wait before they come back.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), FrameTooLarge> {
        if self.frame.data.len() + self.line.len() + bytes.len() > MAX_FRAME_BYTES {
            return Err(FrameTooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let mut bytes = line.as_slice();
        if !std::mem::replace(&mut self.has_begun, true) {
            bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        }
        if bytes.is_empty() {
            return self.end_frame();
        }
        let text = String::from_utf8_lossy(bytes);
        // A comment has an empty name.
        let (name, value) = text.split_once(':').unwrap_or((&text, ""));
        self.field(name, value.strip_prefix(' ').unwrap_or(value));
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => value.clone_into(&mut self.frame.kind),
            "data" => {
                self.frame.data.push_str(value);
                self.frame.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.frame.id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().map(Duration::from_millis).ok().or(self.retry);
            }
            _ => {}
        }
    }

    fn end_frame(&mut self) {
        let mut frame = std::mem::take(&mut self.frame);
        self.frame.id.clone_from(&frame.id);
        // The line feed after the last line of data. Without data there is no frame.
        if frame.data.pop().is_none() {
            return;
        }
        if frame.kind.is_empty() {
            "message".clone_into(&mut frame.kind);
        }
        self.ready.push_back(frame);
    }
}

#[cfg(test)]
mod tests {
    use eventsource_stream::Eventsource;
    use futures_util::StreamExt;
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Frame> {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for piece in pieces {
            reader.push(piece).unwrap();
            frames.extend(std::iter::from_fn(|| reader.next()));
        }
        frames
    }

    #[track_caller]
    fn check(stream: &str, expected: &[(&str, &str, &str)]) {
        let frame = |(kind, data, id): &(&str, &str, &str)| Frame {
            kind: (*kind).to_owned(),
            data: (*data).to_owned(),
            id: (*id).to_owned(),
        };
        let expected: Vec<_> = expected.iter().map(frame).collect();
        assert_eq!(read([stream.as_bytes()]), expected);
        assert_eq!(read(stream.as_bytes().chunks(1)), expected, "byte by byte");
    }

    #[test]
    fn frames_of_a_hub() {
        check(
            "retry: 3000\n\nevent: ping\ndata: {\"interval\":15000}\n\nevent: trace\nid: 1\ndata: [{}]\n\n\
             event: ping\ndata: {}\n\nevent: trace\nid: 2\ndata: cut",
            &[("ping", "{\"interval\":15000}", ""), ("trace", "[{}]", "1"), ("ping", "{}", "1")],
        );
    }

    #[test]
    fn whatever_the_standard_allows() {
        check("\u{feff}data: a\r\ndata:b\r\n\r\n", &[("message", "a\nb", "")]);
        check(
            "data\rid:7\r\r:comment\rdata:  x\r\r",
            &[("message", "", "7"), ("message", " x", "7")],
        );
        check("event: x\n\ndata: y\nid: a\0b\nother: z\n\n", &[("message", "y", "")]);
        check(
            "id: 1\n\ndata: a\n\nid\ndata: b\n\n",
            &[("message", "a", "1"), ("message", "b", "")],
        );
        assert_eq!(read([&b"data: \xff\n\n"[..]])[0].data, "\u{fffd}");
    }

    #[test]
    fn retry_that_stands_alone_is_read() {
        let mut reader = FrameReader::default();
        reader.push(b"retry: 2500\n\nretry: soon\nretry:+7\n\n").unwrap();
        assert_eq!(reader.retry(), Some(Duration::from_millis(2500)));
    }

    #[test]
    fn who_sends_without_an_end_is_refused() {
        let mut reader = FrameReader::default();
        let piece = vec![b'x'; MAX_FRAME_BYTES / 4];
        for _ in 0..4 {
            reader.push(&piece).unwrap();
        }
        reader.push(b"x").unwrap_err();
        let mut reader = FrameReader::default();
        let line = [b"data: ", piece.as_slice(), b"\n"].concat();
        assert!((0..4).any(|_| reader.push(&line).is_err()));
    }

    /// What another reader makes of it.
    fn peer(stream: &str) -> Vec<Frame> {
        let bytes = futures_util::stream::iter([Ok::<_, std::io::Error>(stream.as_bytes())]);
        let frames = bytes.eventsource().map(|frame| frame.unwrap());
        let frames: Vec<_> = futures_util::FutureExt::now_or_never(frames.collect()).unwrap();
        let frame = |frame: eventsource_stream::Event| Frame {
            kind: frame.event,
            data: frame.data,
            id: frame.id,
        };
        frames.into_iter().map(frame).collect()
    }

    proptest! {
        #[test]
        fn another_reader_finds_the_same_whatever_the_pieces(
            lines in prop::collection::vec("(|data|event|id|:|x)(:|: |)[a-z: é]{0,5}(\n|\r\n|\r)", 0..20),
            size in 1_usize..40,
        ) {
            let stream = lines.concat() + "x";
            let frames = read(stream.as_bytes().chunks(size));
            prop_assert_eq!(&frames, &read([stream.as_bytes()]));
            prop_assert_eq!(frames, peer(&stream));
        }
    }
}
