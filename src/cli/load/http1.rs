//! Reads an answer of HTTP/1.1 as it comes, in pieces of any size: its head, then its body in whatever way that is delimited.
//!
//! hyper's client would do, but a connection of it keeps a buffer of at least 8 KiB and a second task, which the thread that
//! reads has to wake for each read. Here a subscriber keeps a few bytes, and bytes go from a buffer that all share straight
//! to who wants them. No input, however odd, makes this keep more than [`MAX_HEAD_BYTES`].

/// More than any server sends, and less than would hurt with some hundred answers under way.
pub(super) const MAX_HEAD_BYTES: usize = 32 * 1024;

/// What is not HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("an answer that is not HTTP/1.1")]
    Head,
    #[error("the head of an answer is over {MAX_HEAD_BYTES} bytes long")]
    LongHead,
    #[error("chunks that are not well formed")]
    Chunk,
}

/// What the head of an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Whether the server ends the connection after this answer.
    pub(super) closes: bool,
    pub(super) is_json: bool,
    pub(super) body: Body,
}

impl Head {
    /// Reads a head, if it has come whole, and says where the body begins. Interim answers (1xx) are passed over.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, AnswerError> {
        let mut begin = 0;
        loop {
            let Some(length) = memchr::memmem::find(&bytes[begin..], b"\r\n\r\n") else {
                let is_long = bytes.len() > MAX_HEAD_BYTES;
                return if is_long { Err(AnswerError::LongHead) } else { Ok(None) };
            };
            let head = Self::parse(&bytes[begin..begin + length])?;
            begin += length + 4;
            if head.status >= 200 {
                return Ok(Some((head, begin)));
            }
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let text = str::from_utf8(bytes).map_err(|_| AnswerError::Head)?;
        let mut lines = text.split("\r\n");
        let (version, status) = status_line(lines.next().unwrap_or_default())?;
        let (mut length, mut is_chunked, mut closes, mut is_json) =
            (None, false, version == "HTTP/1.0", false);
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(AnswerError::Head)?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse().map_err(|_| AnswerError::Head)?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = has_word(value, "chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                closes = has_word(value, "close") || (closes && !has_word(value, "keep-alive"));
            } else if name.eq_ignore_ascii_case("content-type") {
                is_json = value.to_ascii_lowercase().contains("json");
            }
        }
        let body = match length {
            _ if status == 204 || status == 304 => Body::Sized(0),
            _ if is_chunked => Body::Chunked(Chunks::Size { value: 0, digits: 0, is_over: false }),
            Some(length) => Body::Sized(length),
            None => Body::UntilClose,
        };
        closes |= body == Body::UntilClose;
        Ok(Self { status, closes, is_json, body })
    }
}

fn status_line(line: &str) -> Result<(&str, u16), AnswerError> {
    let (version, rest) = line.split_once(' ').ok_or(AnswerError::Head)?;
    let status = rest.get(..3).and_then(|status| status.parse().ok());
    match status {
        Some(status) if version.starts_with("HTTP/1.") && status >= 100 => Ok((version, status)),
        Some(_) | None => Err(AnswerError::Head),
    }
}

fn has_word(value: &str, word: &str) -> bool {
    value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
}

/// How much of a body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Sized(u64),
    Chunked(Chunks),
    UntilClose,
}

/// Where in a chunked body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the line with a chunk's size; `is_over` once its extensions have begun.
    Size {
        value: u64,
        digits: u8,
        is_over: bool,
    },
    Data(u64),
    /// At the line end behind the data.
    DataEnd,
    /// In the lines behind the last chunk, of which an empty one ends the body.
    Trailer {
        line_bytes: u32,
    },
    Ended,
}

impl Body {
    /// Whether nothing of it is to come.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Self::Sized(left) => *left == 0,
            Self::Chunked(chunks) => *chunks == Chunks::Ended,
            Self::UntilClose => false,
        }
    }

    /// Whether the end of the connection is its end, and not a breakdown.
    pub(super) fn ends_with_connection(&self) -> bool {
        *self == Self::UntilClose
    }

    /// Gives out what the bytes that came hold of the body. What comes after its end is passed over.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<(), AnswerError> {
        match self {
            Self::UntilClose => data(bytes),
            Self::Sized(left) => data(up_to(bytes, left)),
            Self::Chunked(chunks) => {
                let mut bytes = bytes;
                while !bytes.is_empty() && *chunks != Chunks::Ended {
                    bytes = chunks.take(bytes, &mut data)?;
                }
            }
        }
        Ok(())
    }
}

/// As many of the bytes as are left, counted off.
fn up_to<'a>(bytes: &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *left -= length as u64;
    &bytes[..length]
}

impl Chunks {
    /// Goes on by one byte of framing, or by all there is of a chunk's data. Returns what is left.
    fn take<'a>(
        &mut self,
        bytes: &'a [u8],
        data: &mut impl FnMut(&[u8]),
    ) -> Result<&'a [u8], AnswerError> {
        if let Self::Data(left) = self {
            let chunk = up_to(bytes, left);
            if *left == 0 {
                *self = Self::DataEnd;
            }
            data(chunk);
            return Ok(&bytes[chunk.len()..]);
        }
        self.step(bytes[0])?;
        Ok(&bytes[1..])
    }

    /// One byte of framing. A line feed ends a line, with or without the carriage return before it.
    fn step(&mut self, byte: u8) -> Result<(), AnswerError> {
        *self = match (*self, byte) {
            (Self::Size { digits: 0, .. }, b'\n') => return Err(AnswerError::Chunk),
            (Self::Size { value: 0, .. }, b'\n') => Self::Trailer { line_bytes: 0 },
            (Self::Size { value, .. }, b'\n') => Self::Data(value),
            (Self::Size { value, digits, is_over: false }, byte) => {
                match char::from(byte).to_digit(16) {
                    Some(digit) if digits < 15 => Self::Size {
                        value: value << 4 | u64::from(digit),
                        digits: digits + 1,
                        is_over: false,
                    },
                    None if matches!(byte, b';' | b'\r' | b' ' | b'\t') => {
                        Self::Size { value, digits, is_over: true }
                    }
                    Some(_) | None => return Err(AnswerError::Chunk),
                }
            }
            (Self::DataEnd, b'\n') => Self::Size { value: 0, digits: 0, is_over: false },
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, _) => return Err(AnswerError::Chunk),
            (Self::Trailer { line_bytes: 0 }, b'\n') => Self::Ended,
            (Self::Trailer { .. }, b'\n') => Self::Trailer { line_bytes: 0 },
            (Self::Trailer { line_bytes }, b'\r') => Self::Trailer { line_bytes },
            (Self::Trailer { line_bytes }, _) => {
                Self::Trailer { line_bytes: line_bytes.saturating_add(1) }
            }
            (state @ (Self::Size { is_over: true, .. } | Self::Data(_) | Self::Ended), _) => state,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads an answer that comes in these pieces: its head, its body, and whether that has ended.
    fn read(pieces: &[&[u8]]) -> Result<(Head, Vec<u8>, bool), AnswerError> {
        let (mut head_bytes, mut body, mut found) = (Vec::new(), Vec::new(), None::<Head>);
        for piece in pieces {
            let Some(head) = &mut found else {
                head_bytes.extend_from_slice(piece);
                if let Some((mut head, begin)) = Head::read(&head_bytes)? {
                    head.body.take(&head_bytes[begin..], |data| body.extend_from_slice(data))?;
                    found = Some(head);
                }
                continue;
            };
            head.body.take(piece, |data| body.extend_from_slice(data))?;
        }
        let head = found.ok_or(AnswerError::Head)?;
        let is_ended = head.body.is_ended();
        Ok((head, body, is_ended))
    }

    #[track_caller]
    fn check(answer: &str, status: u16, body: &str, is_ended: bool, closes: bool) {
        let (head, found, ended) = read(&[answer.as_bytes()]).unwrap();
        let found = String::from_utf8(found).unwrap();
        assert_eq!(
            (head.status, found.as_str(), ended, head.closes),
            (status, body, is_ended, closes)
        );
    }

    #[test]
    fn bodies_end_as_their_heads_say() {
        check("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello, more", 200, "hello", true, false);
        check("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", 200, "hello", false, true);
        check("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true, false);
        check("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", true, true);
        let kept = "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 1\r\n\r\nx";
        check(kept, 200, "x", true, false);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(
            &format!("{chunked}5\r\nhello\r\nA;x=y\r\n0123456789\r\n"),
            200,
            "hello0123456789",
            false,
            false,
        );
        check(&format!("{chunked}1\r\nx\r\n0\r\nTrailer: x\r\n\r\nmore"), 200, "x", true, false);
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503\r\ncontent-length:0\r\n\r\n",
            503,
            "",
            true,
            false,
        );
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for answer in
            ["SSH-2.0-x\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 0x0\r\n\r\n", "HTTP/2 200\r\n\r\n"]
        {
            assert_eq!(read(&[answer.as_bytes()]), Err(AnswerError::Head), "{answer}");
        }
        let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &"a: b\r\n".repeat(MAX_HEAD_BYTES / 6);
        assert_eq!(read(&[endless.as_bytes()]), Err(AnswerError::LongHead));
        for chunks in ["\r\n", "x\r\n", "5\r\nhellox", "1111111111111111\r\n"] {
            let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
            assert_eq!(read(&[answer.as_bytes()]), Err(AnswerError::Chunk), "{chunks}");
        }
    }

    proptest! {
        #[test]
        fn any_split_reads_the_same(chunks in prop::collection::vec("[a-z]{1,40}", 0..8), cuts in prop::collection::vec(1_usize..9, 0..200)) {
            let mut answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
            for chunk in &chunks {
                answer += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
            }
            answer += "0\r\n\r\n";
            let (mut pieces, mut rest) = (Vec::new(), answer.as_bytes());
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            pieces.push(rest);
            let (_, body, is_ended) = read(&pieces).unwrap();
            prop_assert_eq!(String::from_utf8(body).unwrap(), chunks.concat());
            prop_assert!(is_ended);
        }
    }
}
