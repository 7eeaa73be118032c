//! Reads request bodies: decompressed, of a known type, and never more than the limit.

use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
};
use warp::http::{HeaderMap, StatusCode};

use super::BodyLimit;
use crate::reply::Problem;

/// What the hub takes, for `Accept-Post` (W3C Linked Data Platform 1.0, section 7.1).
const ACCEPTED: &str = "application/json, application/x-ndjson";

type BodyStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// A request's head and body, unread.
pub(crate) struct Incoming {
    headers: HeaderMap,
    stream: BodyStream,
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
    pub(crate) async fn read(self, limit: BodyLimit) -> Result<(Format, Vec<u8>), Problem> {
        let format = format(&self.headers)?;
        let encoding = self.headers.get(CONTENT_ENCODING).map_or("", |value| {
            // What is no text is no encoding that we know.
            value.to_str().unwrap_or("?").trim()
        });
        let raw = StreamReader::new(self.stream);
        let body = match encoding.to_ascii_lowercase().as_str() {
            "" | "identity" => {
                check_announced_length(&self.headers, limit)?;
                read_limited(raw, limit).await?
            }
            "gzip" | "x-gzip" => {
                let mut decoder = GzipDecoder::new(raw);
                decoder.multiple_members(true);
                read_limited(decoder, limit).await?
            }
            "zstd" => read_limited(ZstdDecoder::new(raw), limit).await?,
            other => return Err(unknown_encoding(other)),
        };
        Ok((format, body))
    }
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
fn check_announced_length(headers: &HeaderMap, limit: BodyLimit) -> Result<(), Problem> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > limit.0) {
        return Err(too_large(limit));
    }
    Ok(())
}

async fn read_limited(reader: impl AsyncRead, limit: BodyLimit) -> Result<Vec<u8>, Problem> {
    let reader = std::pin::pin!(reader);
    let mut body = Vec::new();
    let cannot_read = |error| Problem::bad_request(format!("the body cannot be read: {error}"));
    reader.take(limit.0 as u64 + 1).read_to_end(&mut body).await.map_err(cannot_read)?;
    if body.len() > limit.0 {
        return Err(too_large(limit));
    }
    Ok(body)
}

fn too_large(limit: BodyLimit) -> Problem {
    let detail = format!("the body has more than {} bytes; send smaller batches", limit.0);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}
