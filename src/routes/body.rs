//! Reads request bodies: decompressed, of a known type, and never more than the limit.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::StreamReader;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
};
use warp::http::{HeaderMap, StatusCode};

use super::intake::Intake;
use crate::reply::Problem;

/// What the hub takes, for `Accept-Post` (W3C Linked Data Platform 1.0, section 7.1).
const ACCEPTED: &str = "application/json, application/x-ndjson";

type BodyStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// How long a whole body may take: 16 MiB in a minute is two megabits a second.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// What is read of a body at a time, and paid for.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// The largest window of zstd that is taken, as a power of two: 8 MiB, what a decoder must support (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW: u32 = 23;

/// A request's head and body, unread.
pub(crate) struct Incoming {
    headers: HeaderMap,
    stream: BodyStream,
}

/// A whole body, and the room that it takes.
pub(crate) struct Body {
    pub(crate) format: Format,
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

/// How a body holds its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    /// One item a line.
    Lines,
}

/// Takes the body from the request without reading it.
pub(crate) fn incoming() -> BoxedFilter<(Incoming,)> {
    warp::header::headers_cloned()
        .and(warp::body::stream())
        .map(|headers, stream| Incoming { headers, stream: boxed(stream) })
        .boxed()
}

fn boxed<B: Buf>(
    stream: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
) -> BodyStream {
    let chunks = stream.map(|chunk| match chunk {
        Ok(mut chunk) => Ok(chunk.copy_to_bytes(chunk.remaining())),
        Err(error) => Err(io::Error::other(error)),
    });
    Box::pin(chunks)
}

impl Incoming {
    /// The whole body, as it was before it was compressed.
    pub(crate) async fn read(self, intake: &Intake) -> Result<Body, Problem> {
        let format = format(&self.headers)?;
        let read = self.read_bytes(intake);
        let (bytes, _room) = tokio::time::timeout(BODY_TIMEOUT, read).await.map_err(|_| {
            let detail = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        })??;
        Ok(Body { format, bytes, _room })
    }

    async fn read_bytes(self, intake: &Intake) -> Result<Paid, Problem> {
        let encoding = self.headers.get(CONTENT_ENCODING).map_or("", |value| {
            // What is no text is no encoding that we know.
            value.to_str().unwrap_or("?").trim()
        });
        let raw = StreamReader::new(self.stream);
        match encoding.to_ascii_lowercase().as_str() {
            "" | "identity" => {
                check_announced_length(&self.headers, intake)?;
                read_limited(raw, intake).await
            }
            "gzip" | "x-gzip" => {
                let mut decoder = GzipDecoder::new(raw);
                decoder.multiple_members(true);
                read_limited(decoder, intake).await
            }
            "zstd" => {
                let window = DParameter::window_log_max(ZSTD_WINDOW);
                let mut decoder = ZstdDecoder::with_params(raw, &[window]);
                decoder.multiple_members(true);
                read_limited(decoder, intake).await
            }
            other => Err(unknown_encoding(other)),
        }
    }
}

impl Body {
    /// The JSON of each item: one a line, or what `split` finds in the whole.
    pub(crate) fn items(
        &self,
        split: impl FnOnce(&[u8]) -> Result<Vec<&RawValue>, serde_json::Error>,
    ) -> Result<Vec<&[u8]>, Problem> {
        // Some editors begin a file with a mark that says UTF-8.
        let bytes = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes);
        match self.format {
            Format::Lines => Ok(lines(bytes)),
            Format::Json => {
                let not_json = |e| Problem::bad_request(format!("the body is not JSON: {e}"));
                let items = split(bytes).map_err(not_json)?;
                Ok(items.into_iter().map(RawValue::get).map(str::as_bytes).collect())
            }
        }
    }
}

/// The lines that are not blank.
fn lines(body: &[u8]) -> Vec<&[u8]> {
    body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).collect()
}

/// JSON is also what a client means that does not say.
fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        return Ok(Format::Json);
    };
    let essence = content_type.to_str().unwrap_or("?").split(';').next().unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Format::Lines),
        other => Err(unknown_type(other)),
    }
}

fn unknown_type(found: &str) -> Problem {
    let detail = format!("cannot read {found}; accepted are {ACCEPTED} (with curl: --json)");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
        .with_header(HeaderName::from_static("accept-post"), HeaderValue::from_static(ACCEPTED))
}

fn unknown_encoding(found: &str) -> Problem {
    let detail = format!("cannot read Content-Encoding {found:?}; accepted are gzip and zstd");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
        .with_header(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"))
}

/// Refuses at once what has been announced as too large.
fn check_announced_length(headers: &HeaderMap, intake: &Intake) -> Result<(), Problem> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > intake.max_body_bytes) {
        return Err(too_large(intake));
    }
    Ok(())
}

/// Bytes, and the permit that pays for them.
type Paid = (Vec<u8>, Option<OwnedSemaphorePermit>);

async fn read_limited(reader: impl AsyncRead, intake: &Intake) -> Result<Paid, Problem> {
    let mut reader = std::pin::pin!(reader);
    let (mut body, mut room): Paid = (Vec::new(), None);
    loop {
        let permit = intake.pay_for_bytes(CHUNK_BYTES).await?;
        match &mut room {
            Some(room) => room.merge(permit),
            None => room = Some(permit),
        }
        let chunk = reader.as_mut().take(CHUNK_BYTES as u64).read_to_end(&mut body).await;
        let cannot_read = |error| Problem::bad_request(format!("the body cannot be read: {error}"));
        let read = chunk.map_err(cannot_read)?;
        if body.len() > intake.max_body_bytes {
            return Err(too_large(intake));
        }
        if read < CHUNK_BYTES {
            return Ok((body, room));
        }
    }
}

fn too_large(intake: &Intake) -> Problem {
    let detail =
        format!("the body has more than {} bytes; send smaller batches", intake.max_body_bytes);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}
