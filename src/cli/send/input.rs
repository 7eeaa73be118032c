//! Where lines come from: a thread reads a file or a pipe and hands over one recognised line at a time.
//!
//! A thread of its own and not tokio's standard input, which also is one underneath and needs a hop for every read. It
//! ends when its receiver is gone; one that still waits for a silent pipe by then ends with the process.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use tokio::sync::mpsc;

use super::recognise::{BadLine, Recogniser};

/// The longest line that is sent: a hub takes no event of this size, and what has no line ends must not fill memory.
pub(super) const MAX_LINE_BYTES: usize = 2 * 1024 * 1024;

/// How many lines are read ahead; at the longest they come to 32 MiB.
const LINES_AHEAD: usize = 16;

const READ_BUFFER_BYTES: usize = 64 * 1024;

/// A line with something in it.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from 1, empty lines included.
    pub(super) number: u64,
    /// How many bytes of input have been read with it.
    pub(super) input_end: u64,
    /// The event to send, as JSON without a line end.
    pub(super) event: Result<Vec<u8>, BadLine>,
}

/// An open file or pipe.
pub(super) struct Input {
    reader: Box<dyn Read + Send>,
    kind: InputKind,
}

/// What is known of an input before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputKind {
    /// A regular file, with so many bytes left to read.
    File(u64),
    /// A pipe or a socket: may pause, may never end.
    Pipe,
    /// A terminal or another device: somebody may be typing.
    Device,
}

impl Input {
    /// Opens `path`; `-` is standard input.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = if path == Path::new("-") { standard_input()? } else { File::open(path)? };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let kind = if metadata.is_file() {
            InputKind::File(metadata.len().saturating_sub(file.stream_position()?))
        } else if is_pipe(&metadata) {
            InputKind::Pipe
        } else {
            InputKind::Device
        };
        Ok(Self::new(file, kind))
    }

    pub(super) fn new(reader: impl Read + Send + 'static, kind: InputKind) -> Self {
        Self { reader: Box::new(reader), kind }
    }

    pub(super) fn kind(&self) -> InputKind {
        self.kind
    }

    /// Whether it has an end that is known to come.
    pub(super) fn ends(&self) -> bool {
        matches!(self.kind, InputKind::File(_))
    }

    /// Starts the thread that reads. An error of the input is the last thing that comes.
    pub(super) fn read_lines(
        self,
        recogniser: Recogniser,
    ) -> io::Result<mpsc::Receiver<io::Result<Line>>> {
        let (sender, receiver) = mpsc::channel(LINES_AHEAD);
        let input = BufReader::with_capacity(READ_BUFFER_BYTES, self.reader);
        let mut lines = Lines::new(input, recogniser, MAX_LINE_BYTES);
        std::thread::Builder::new().name("send-input".to_owned()).spawn(move || {
            while let Some(line) = lines.next().transpose() {
                let failed = line.is_err();
                if sender.blocking_send(line).is_err() || failed {
                    break;
                }
            }
        })?;
        Ok(receiver)
    }
}

#[cfg(unix)]
fn standard_input() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

#[cfg(windows)]
fn standard_input() -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    Ok(io::stdin().as_handle().try_clone_to_owned()?.into())
}

#[cfg(unix)]
fn is_pipe(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_fifo() || metadata.file_type().is_socket()
}

#[cfg(not(unix))]
fn is_pipe(_metadata: &std::fs::Metadata) -> bool {
    true
}

/// The lines of `input`, each of bounded length.
struct Lines<R> {
    input: R,
    recogniser: Recogniser,
    max_bytes: usize,
    number: u64,
    input_end: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R, recogniser: Recogniser, max_bytes: usize) -> Self {
        Self { input, recogniser, max_bytes, number: 0, input_end: 0, line: Vec::new() }
    }

    /// The next line that is not blank.
    fn next(&mut self) -> io::Result<Option<Line>> {
        while let Some(content) = self.read_line()? {
            let event = match content {
                Content::Whole if is_blank(&self.line) => continue,
                Content::Whole => self.recogniser.recognise(&self.line),
                Content::TooLong => Err(BadLine::TooLong { limit: self.max_bytes }),
            };
            return Ok(Some(Line { number: self.number, input_end: self.input_end, event }));
        }
        Ok(None)
    }

    /// Reads a line into `self.line`, without its end and without a byte order mark.
    fn read_line(&mut self) -> io::Result<Option<Content>> {
        self.line.clear();
        let limit = self.max_bytes as u64 + 1;
        let mut read = (&mut self.input).take(limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let whole = self.line.pop_if(|byte| *byte == b'\n').is_some();
        let too_long = self.line.len() > self.max_bytes;
        if too_long && !whole {
            read += self.input.skip_until(b'\n')?;
        }
        self.input_end += read as u64;
        self.line.pop_if(|byte| *byte == b'\r');
        if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some(if too_long { Content::TooLong } else { Content::Whole }))
    }
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

enum Content {
    Whole,
    TooLong,
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::recognise::Format;
    use super::*;

    const LIMIT: usize = 8;

    /// The number of each line, where it ends, and its text or what is wrong with it.
    #[track_caller]
    fn check(input: &[u8], expected: &[(u64, u64, &str)]) {
        let recogniser = Recogniser::new(Format::Text, None);
        // The least buffer, so that every line crosses its end.
        let mut lines = Lines::new(BufReader::with_capacity(1, input), recogniser, LIMIT);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let said = match line.event {
                Ok(event) => String::from_utf8(event).unwrap(),
                Err(error) => error.to_string(),
            };
            let said = said.trim_start_matches(r#"{"message":""#).trim_end_matches(r#""}"#);
            found.push((line.number, line.input_end, said.to_owned()));
        }
        let found: Vec<_> = found.iter().map(|(n, end, said)| (*n, *end, &**said)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_end_in_any_way() {
        check(b"", &[]);
        check(b"a", &[(1, 1, "a")]);
        check(b"a\n", &[(1, 2, "a")]);
        check(b"a\r\nb\r", &[(1, 3, "a"), (2, 5, "b")]);
        check("\u{feff}a\n\u{feff}b".as_bytes(), &[(1, 5, "a"), (2, 9, "\u{feff}b")]);
    }

    #[test]
    fn blank_lines_are_counted_and_skipped() {
        check(b"\n\n  \t\r\na\n\n", &[(4, 9, "a")]);
    }

    #[test]
    fn long_line_is_reported_and_the_next_one_is_whole() {
        let too_long = "longer than 8 bytes";
        check(b"12345678\nb", &[(1, 9, "12345678"), (2, 10, "b")]);
        check(b"123456789\nb", &[(1, 10, too_long), (2, 11, "b")]);
        check(b"123456789012345678901\nb\n", &[(1, 22, too_long), (2, 24, "b")]);
        check(b"123456789", &[(1, 9, too_long)]);
    }
}
