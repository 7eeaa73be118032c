//! Reads request bodies: decompressed, of a known type, and never more than the limit.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, stream};
use serde_json::value::RawValue;
use telemetry_hub_actors::event::json::MAX_ITEMS;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::io::StreamReader;
use warp::http::HeaderMap;
use warp::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName,
};

use super::{Intake, Trust};
use crate::reply::Problem;

/// What the hub takes, for `Accept-Post` (W3C Linked Data Platform 1.0, section 7.1).
const ACCEPTED: &str = "application/json, application/x-ndjson";

type BodyStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// How long nothing of a body may come.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// What is decompressed of a body at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// The largest window of zstd that is taken, as a power of two: 8 MiB, what a decoder must support (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW: u32 = 23;

/// A request's head and body, unread.
pub(crate) struct Incoming {
    headers: HeaderMap,
    stream: BodyStream,
    /// For what of it is in memory already.
    room: Room,
}

/// A whole body of items.
pub(crate) struct Body {
    format: Format,
    bytes: Bytes,
    _room: Room,
}

/// Bytes, and the room that they take.
pub(crate) struct PaidBytes {
    bytes: Vec<u8>,
    room: Room,
}

/// Held for as long as the bytes are.
pub(crate) type Room = Option<OwnedSemaphorePermit>;

impl PaidBytes {
    pub(crate) fn into_parts(self) -> (Bytes, Room) {
        (self.bytes.into(), self.room)
    }
}

/// How a body holds its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    /// One item a line.
    Lines,
}

impl Incoming {
    pub(crate) fn new<B: Buf, E: Into<Box<dyn Error + Send + Sync>>>(
        headers: HeaderMap,
        stream: impl Stream<Item = Result<B, E>> + Send + 'static,
    ) -> Self {
        let chunks = stream.map(|chunk| match chunk {
            Ok(mut chunk) => Ok(chunk.copy_to_bytes(chunk.remaining())),
            Err(error) => Err(io::Error::other(error)),
        });
        Self { headers, stream: Box::pin(in_progress(Box::pin(chunks))), room: None }
    }

    /// The items of the body.
    pub(crate) async fn read(self, intake: &Intake) -> Result<Body, Problem> {
        let format = format(&self.headers)?;
        let (bytes, _room) = self.read_bytes(intake).await?.into_parts();
        Ok(Body { format, bytes, _room })
    }

    /// The media type without its parameters, if there is any.
    pub(crate) fn media_type(&self) -> Option<String> {
        essence(&self.headers)
    }

    /// The whole body, as it was before it was compressed.
    pub(crate) async fn read_bytes(self, intake: &Intake) -> Result<PaidBytes, Problem> {
        in_time(self.decompress(intake), intake.limits.body_timeout).await
    }

    /// The whole body, as it was sent; at most `limit` bytes.
    pub(crate) async fn read_as_sent(
        self,
        intake: &Intake,
        limit: usize,
    ) -> Result<PaidBytes, Problem> {
        check_announced_length(&self.headers, limit)?;
        let trust =
            if intake.awaits_signature(&self.headers) { Trust::Unverified } else { Trust::Vouched };
        let reader = StreamReader::new(self.stream);
        let body = read_limited(reader, intake, trust, Bound::bytes(limit));
        in_time(body, intake.limits.body_timeout).await
    }

    /// The same, once its signature has been found good, if one is asked for. Nothing is decompressed before.
    pub(crate) async fn verified(self, intake: &Intake) -> Result<Self, Problem> {
        if intake.webhook_keys.is_empty() {
            return Ok(self);
        }
        let headers = self.headers.clone();
        let (bytes, room) =
            self.read_as_sent(intake, intake.limits.max_body_bytes).await?.into_parts();
        intake.verify_signature(&headers, &bytes)?;
        let again = stream::once(async { Ok::<_, Infallible>(bytes) });
        Ok(Self { room, ..Self::new(headers, again) })
    }

    async fn decompress(self, intake: &Intake) -> Result<PaidBytes, Problem> {
        let encoding = self.headers.get(CONTENT_ENCODING).map_or("", |value| {
            // What is no text is no encoding that we know.
            value.to_str().unwrap_or("?").trim()
        });
        let _room = self.room;
        let limit = intake.limits.max_body_bytes;
        check_announced_length(&self.headers, limit)?;
        let sent = Arc::new(AtomicUsize::new(0));
        let raw = StreamReader::new(limited(self.stream, limit, Arc::clone(&sent)));
        let ratio = intake.limits.max_decompression_ratio;
        let swelling = Some(Swelling { ratio, sent: Arc::clone(&sent) });
        let (plain, compressed) = (Bound::bytes(limit), Bound { bytes: limit, swelling });
        let body = match encoding.to_ascii_lowercase().as_str() {
            "" | "identity" => read_limited(raw, intake, Trust::Vouched, plain).await,
            "gzip" | "x-gzip" => {
                let mut decoder = GzipDecoder::new(raw);
                decoder.multiple_members(true);
                let decoder = BufReader::with_capacity(CHUNK_BYTES, decoder);
                read_limited(decoder, intake, Trust::Vouched, compressed).await
            }
            "zstd" => {
                let window = DParameter::window_log_max(ZSTD_WINDOW);
                let mut decoder = ZstdDecoder::with_params(raw, &[window]);
                decoder.multiple_members(true);
                let decoder = BufReader::with_capacity(CHUNK_BYTES, decoder);
                read_limited(decoder, intake, Trust::Vouched, compressed).await
            }
            other => Err(unknown_encoding(other)),
        };
        let sent = sent.load(Ordering::Relaxed);
        let size = body.as_ref().map_or(0, |body| body.bytes.len());
        // Also what could not be read has been brought.
        intake.spend_bytes(sent.max(size))?;
        // What decompresses to nothing can be sent for ever.
        body.map_err(|error| if sent > limit { too_large(limit) } else { error })
    }
}

/// A body, which fails where nothing of it comes for too long.
fn in_progress(stream: BodyStream) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(stream, |mut stream| async {
        let chunk = tokio::time::timeout(IDLE_TIMEOUT, stream.next()).await;
        let chunk = chunk.unwrap_or_else(|_| Some(Err(io::ErrorKind::TimedOut.into())));
        chunk.map(|chunk| (chunk, stream))
    })
}

/// The same, counted, and no more than so many bytes.
fn limited(
    stream: BodyStream,
    limit: usize,
    sent: Arc<AtomicUsize>,
) -> impl Stream<Item = io::Result<Bytes>> + Unpin {
    stream.map(move |chunk| {
        let chunk = chunk?;
        let sent = sent.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
        if sent > limit { Err(io::Error::other("more than may be sent")) } else { Ok(chunk) }
    })
}

/// Fails if the body does not come in time.
async fn in_time(
    body: impl Future<Output = Result<PaidBytes, Problem>>,
    patience: Duration,
) -> Result<PaidBytes, Problem> {
    tokio::time::timeout(patience, body).await.map_err(|_| {
        let detail = format!("the body did not come within {patience:?}");
        Problem::too_slow(detail)
    })?
}

impl Intake {
    /// Refuses what another has inflated, if it has become too large; else what it has become more is spent.
    pub(crate) fn check_inflated(&self, sent: usize, bytes: usize) -> Result<(), Problem> {
        check_swelling(bytes, sent, self.limits.max_decompression_ratio)?;
        self.spend_bytes(bytes.saturating_sub(sent))
    }
}

impl Body {
    /// In bytes, decompressed.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The JSON of each item: one a line, or what `split` finds in the whole.
    pub(crate) fn items(
        &self,
        split: impl FnOnce(&[u8]) -> Result<Vec<&RawValue>, serde_json::Error>,
    ) -> Result<Vec<&[u8]>, Problem> {
        // Some editors begin a file with a mark that says UTF-8.
        let bytes = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes);
        match self.format {
            Format::Lines => few_enough(lines(bytes).take(MAX_ITEMS + 1).collect()),
            Format::Json => {
                let not_json = |e| Problem::bad_request(format!("the body is not JSON: {e}"));
                let items = few_enough(split(bytes).map_err(not_json)?)?;
                Ok(items.into_iter().map(RawValue::get).map(str::as_bytes).collect())
            }
        }
    }
}

/// The lines that are not blank.
fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut begin = 0;
    let ends = memchr::memchr_iter(b'\n', body).chain([body.len()]);
    let lines = ends.map(move |end| &body[std::mem::replace(&mut begin, end + 1)..end]);
    lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

/// Refuses what has more items than any publisher gathers.
fn few_enough<T>(items: Vec<T>) -> Result<Vec<T>, Problem> {
    if items.len() > MAX_ITEMS {
        let detail = format!("the body has more than {MAX_ITEMS} items; send smaller batches");
        return Err(Problem::too_large(detail));
    }
    Ok(items)
}

/// JSON is also what a client means that does not say.
fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    match essence(headers).as_deref() {
        None | Some("application/json") => Ok(Format::Json),
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => {
            Ok(Format::Lines)
        }
        Some(other) => {
            Err(unknown_type(&format!("{other} (with curl, --json says JSON)"), ACCEPTED))
        }
    }
}

/// The media type without its parameters, if there is any.
fn essence(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(CONTENT_TYPE)?;
    let essence = content_type.to_str().unwrap_or("?").split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase())
}

pub(crate) fn unknown_type(found: &str, accepted: &'static str) -> Problem {
    let detail = format!("cannot read {found}; accepted are {accepted}");
    Problem::unreadable(detail, HeaderName::from_static("accept-post"), accepted)
}

fn unknown_encoding(found: &str) -> Problem {
    let detail = format!("cannot read Content-Encoding {found:?}; accepted are gzip and zstd");
    Problem::unreadable(detail, ACCEPT_ENCODING, "gzip, zstd")
}

/// Refuses at once what has been announced as too large.
fn check_announced_length(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > limit) {
        return Err(too_large(limit));
    }
    Ok(())
}

/// How large a body may become.
struct Bound {
    bytes: usize,
    swelling: Option<Swelling>,
}

/// What is asked of a body that was compressed, if it is large at all.
struct Swelling {
    /// How many times as large it may be.
    ratio: usize,
    /// As what has been sent.
    sent: Arc<AtomicUsize>,
}

/// What is not held to a ratio: small bodies of many equal lines compress very well.
const SMALL_BODY_BYTES: usize = 1 << 20;

impl Bound {
    /// Of a body that is not compressed.
    fn bytes(bytes: usize) -> Self {
        Self { bytes, swelling: None }
    }

    fn check(&self, bytes: usize) -> Result<(), Problem> {
        if bytes > self.bytes {
            return Err(too_large(self.bytes));
        }
        match &self.swelling {
            Some(Swelling { ratio, sent }) => {
                check_swelling(bytes, sent.load(Ordering::Relaxed), *ratio)
            }
            None => Ok(()),
        }
    }
}

/// Refuses what has become so much larger than it was sent.
fn check_swelling(bytes: usize, sent: usize, ratio: usize) -> Result<(), Problem> {
    if bytes > SMALL_BODY_BYTES && bytes > ratio.saturating_mul(sent) {
        let detail = format!("the body is over {ratio} times what was sent of it");
        return Err(Problem::too_large(detail));
    }
    Ok(())
}

/// Pays for what has come, and for nothing that has not: who sends nothing holds nothing.
async fn read_limited(
    reader: impl AsyncBufRead,
    intake: &Intake,
    trust: Trust,
    bound: Bound,
) -> Result<PaidBytes, Problem> {
    let mut reader = std::pin::pin!(reader);
    let mut body = PaidBytes { bytes: Vec::new(), room: None };
    loop {
        let chunk = reader.fill_buf().await.map_err(cannot_read)?;
        if chunk.is_empty() {
            return Ok(body);
        }
        let length = chunk.len();
        bound.check(body.bytes.len() + length)?;
        let permit = intake.pay_for_bytes(trust, length).await?;
        match &mut body.room {
            Some(room) => room.merge(permit),
            None => body.room = Some(permit),
        }
        body.bytes.extend_from_slice(chunk);
        reader.as_mut().consume(length);
    }
}

fn cannot_read(error: io::Error) -> Problem {
    if error.kind() == io::ErrorKind::TimedOut {
        let detail = format!("nothing of the body came within {IDLE_TIMEOUT:?}");
        return Problem::too_slow(detail);
    }
    Problem::bad_request(format!("the body cannot be read: {error}"))
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body has more than {limit} bytes; send smaller batches");
    Problem::too_large(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_of_which_nothing_comes_fails_in_time_and_a_slow_one_does_not() {
        let begun = tokio::time::Instant::now();
        let mut nothing = Box::pin(in_progress(Box::pin(stream::pending())));
        let error = nothing.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, IDLE_TIMEOUT));
        assert_eq!(cannot_read(error).status(), 408);

        let ticks = tokio::time::interval(IDLE_TIMEOUT - Duration::from_secs(1));
        let slow = stream::unfold(ticks, |mut ticks| async {
            ticks.tick().await;
            Some((Ok(Bytes::from_static(b"x")), ticks))
        });
        let chunks = in_progress(Box::pin(slow)).take(4).collect::<Vec<_>>().await;
        assert!(chunks.iter().all(Result::is_ok), "{chunks:?}");
    }
}
