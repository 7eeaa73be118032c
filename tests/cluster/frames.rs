//! Server-Sent Events as bytes come, each byte looked at once: frames with thousands of events come in many parts.

use memchr::memmem;

/// What has come of a frame that is not whole.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// So many bytes have been searched for the end.
    searched: usize,
}

/// A whole frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) event: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

impl Frames {
    /// The frames that are whole with these bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.bytes.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(end) = memmem::find(&self.bytes[self.searched..], b"\n\n") {
            let rest = self.bytes.split_off(self.searched + end + 2);
            let whole = std::mem::replace(&mut self.bytes, rest);
            frames.push(Frame::read(std::str::from_utf8(&whole).unwrap()));
            self.searched = 0;
        }
        // The end may be half there.
        self.searched = self.bytes.len().saturating_sub(1);
        frames
    }
}

impl Frame {
    fn read(text: &str) -> Self {
        let mut frame = Self::default();
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("event", event)) => event.clone_into(&mut frame.event),
                Some(("id", id)) => frame.id = Some(id.to_owned()),
                Some(("data", data)) => data.clone_into(&mut frame.data),
                Some(("retry", _)) | None => {}
                Some(_) => panic!("no line of a frame: {line:?}"),
            }
        }
        frame
    }
}

#[test]
fn frames_come_whole_however_they_are_cut() {
    let text = "retry: 1000\n\nevent: ping\ndata: {\"interval\":1}\n\nid: 7\nevent: trace\ndata: []\n\nevent: by";
    for size in 1..=text.len() {
        let mut frames = Frames::default();
        let whole: Vec<_> =
            text.as_bytes().chunks(size).flat_map(|part| frames.push(part)).collect();
        let last =
            Frame { event: "trace".to_owned(), id: Some("7".to_owned()), data: "[]".to_owned() };
        assert_eq!((whole.len(), whole.last()), (3, Some(&last)), "{size} at a time");
    }
}
