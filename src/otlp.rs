//! What OpenTelemetry sources send (OTLP 1.11), made into events and measurements. HTTP and gRPC both end here.
//!
//! A request is taken apart record by record, and each record is read on its own: a bad one is rejected and counted, and
//! spoils no other; one record at a time takes memory, however the request is made.

use bytes::Bytes;
use telemetry_hub_actors::{IngestError, NewEvent};

use crate::error_chain::error_chain;
use crate::intake::{Brought, Intake, ParsingTurn, REJECTED};
use crate::reply::Problem;

use context::{Context, ResourceContext};
use outline::{Outline, Parts};
use pace::Pace;
use wire::WireError;

pub(crate) use answer::respond;
pub(crate) use encoding::Encoding;
pub(crate) use signal::Signal;

mod answer;
mod attributes;
mod buckets;
mod context;
mod encoding;
pub(crate) mod grpc;
mod logs;
mod metrics;
mod outline;
mod pace;
mod signal;
mod spans;
mod wire;
mod wire_value;

/// How many reasons for rejection are told; the count is always exact.
const MAX_TOLD_REASONS: usize = 3;

/// How many characters of a reason are told: prost names every level of a nested value.
const MAX_REASON_LENGTH: usize = 300;

/// Fewer bytes than most records have: an export begins with room for so many events as there may be records, and few are moved
/// as they come.
const SMALL_RECORD_BYTES: usize = 512;

/// Room for so many at most, a megabyte: no permit has been taken for it.
const MOST_RESERVED: usize = 4096;

/// Why a request, or a record of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("not valid protobuf")]
    Protobuf(#[from] prost::DecodeError),
    #[error("not valid protobuf")]
    Wire(#[from] WireError),
    #[error("not valid JSON")]
    Json(#[from] serde_json::Error),
    #[error("{member}: expected {expected}")]
    BadMember { member: &'static str, expected: &'static str },
    #[error("{size} bytes, over the limit of {limit} for one record")]
    TooLarge { size: usize, limit: usize },
    #[error(transparent)]
    Event(#[from] IngestError),
    #[error(transparent)]
    Measurement(#[from] telemetry_hub_actors::MeasurementError),
}

impl Unreadable {
    fn bad(member: &'static str, expected: &'static str) -> Self {
        Self::BadMember { member, expected }
    }
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Self {
        Self::bad_request(error_chain(&error))
    }
}

/// What became of the records of a request.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) accepted: usize,
    pub(crate) rejected: usize,
    reasons: Vec<String>,
}

impl Outcome {
    fn reject(&mut self, records: usize, error: &Unreadable) {
        self.rejected += records;
        if self.reasons.len() == MAX_TOLD_REASONS {
            return;
        }
        let reason: String = error_chain(error).chars().take(MAX_REASON_LENGTH).collect();
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Why records were rejected, for people.
    pub(crate) fn reasons(&self) -> String {
        self.reasons.join("; ")
    }
}

/// Reads the body of an export request, and hands on what is good of it. Fails if nothing is. The signal is told by the content
/// if it is not said.
pub(crate) async fn accept(
    signal: Option<Signal>,
    encoding: Encoding,
    body: &Bytes,
    intake: &Intake,
) -> Result<(Signal, Outcome), Problem> {
    let turn = intake.turn_to_parse().await?;
    let signal = signal.unwrap_or_else(|| Signal::of(encoding, body));
    let mut export = Export::new(signal, encoding, intake, turn);
    let read = export.read(body).await;
    let Export { mut outcome, events, recording, .. } = export;
    if let Err(Fault::Unreadable(error)) = &read {
        outcome.reject(1, error);
    }
    intake.count(REJECTED, outcome.rejected);
    read?;
    // Others may parse while this waits for room, or for the stream of several hubs.
    drop(recording);
    if !events.good.is_empty() {
        intake.spend_items(events.good.len())?;
        intake.hub.ingest(events.good).await?;
    }
    let Outcome { accepted, rejected, .. } = outcome;
    intake.note(Brought { bytes: body.len(), accepted, rejected });
    if outcome.accepted == 0 && outcome.rejected > 0 {
        let detail = format!("all {} rejected: {}", outcome.rejected, outcome.reasons());
        return Err(Problem::bad_request(detail));
    }
    Ok((signal, outcome))
}

/// Why a whole request cannot be taken.
enum Fault {
    Unreadable(Unreadable),
    Refused(Problem),
}

impl From<Unreadable> for Fault {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error)
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::Unreadable(error.into())
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unreadable(error) => error.into(),
            Fault::Refused(problem) => problem,
        }
    }
}

/// One request while it is read.
struct Export<'a> {
    signal: Signal,
    encoding: Encoding,
    intake: &'a Intake,
    outcome: Outcome,
    events: Events,
    recording: metrics::Recording<'a>,
    pace: Pace,
}

/// Events that are to be accepted together.
#[derive(Default)]
struct Events {
    good: Vec<NewEvent>,
    bytes: usize,
}

impl<'a> Export<'a> {
    fn new(signal: Signal, encoding: Encoding, intake: &'a Intake, turn: ParsingTurn) -> Self {
        let (outcome, events, pace) = Default::default();
        let recording = metrics::Recording::new(&intake.hub, turn);
        Self { signal, encoding, intake, outcome, events, recording, pace }
    }

    async fn read(&mut self, body: &[u8]) -> Result<(), Fault> {
        let (encoding, signal) = (self.encoding, self.signal);
        if signal == Signal::Metrics {
            self.intake.check_ready()?;
            // Points are recorded as they are read, some at a time: nothing may turn up later that spoils the whole request.
            let metrics = outline::check(encoding, signal, body, &mut self.pace).await?;
            self.intake.spend_items(metrics)?;
        } else {
            self.events.good.reserve((body.len() / SMALL_RECORD_BYTES).min(MOST_RESERVED));
        }
        for bytes in outline::resources(encoding, signal, body)? {
            self.read_resource(bytes?).await?;
            self.pace.step().await;
        }
        self.recording.finish().await.map_err(Problem::from)?;
        Ok(())
    }

    /// What a resource or a scope says of itself is part of all records below: if it cannot be read, they are rejected.
    async fn read_resource(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let (encoding, signal, limit) = (self.encoding, self.signal, self.limit());
        let Outline { head, inner: scopes } = outline::resource(encoding, signal, bytes)?;
        let resource = ResourceContext::new(encoding, head.as_deref(), limit);
        for bytes in scopes {
            let bytes = bytes?;
            let Outline { head, inner: records } = outline::scope(encoding, signal, bytes)?;
            let context = match &resource {
                Ok(resource) => Context::new(encoding, resource, head.as_deref(), limit),
                Err(error) => {
                    self.reject_all(records, error).await?;
                    continue;
                }
            };
            match context {
                Ok(context) => self.read_records(records, &context).await?,
                Err(error) => self.reject_all(records, &error).await?,
            }
            self.pace.step().await;
        }
        Ok(())
    }

    async fn reject_all(&mut self, records: Parts<'_>, error: &Unreadable) -> Result<(), Fault> {
        for record in records {
            record?;
            self.outcome.reject(1, error);
            self.pace.step().await;
        }
        Ok(())
    }

    async fn read_records(
        &mut self,
        records: Parts<'_>,
        context: &Context<'_>,
    ) -> Result<(), Fault> {
        let (encoding, limit) = (self.encoding, self.limit());
        for record in records {
            let record = record?;
            match self.signal {
                Signal::Logs => self.take_event(logs::read(encoding, record, context, limit))?,
                Signal::Traces => self.take_event(spans::read(encoding, record, context, limit))?,
                Signal::Metrics => {
                    let (recording, outcome) = (&mut self.recording, &mut self.outcome);
                    let pace = &mut self.pace;
                    metrics::record(encoding, record, context, recording, outcome, pace).await?;
                }
            }
            self.pace.step().await;
        }
        Ok(())
    }

    /// What a record shares with others of its resource counts as part of each event.
    fn take_event(&mut self, event: Result<NewEvent, Unreadable>) -> Result<(), Fault> {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                self.outcome.reject(1, &error);
                return Ok(());
            }
        };
        let (size, limit) = (event.size(), self.limit());
        if size > limit {
            self.outcome.reject(1, &Unreadable::TooLarge { size, limit });
            return Ok(());
        }
        if let Err(error) = self.intake.hub.check_event(&event) {
            self.outcome.reject(1, &error.into());
            return Ok(());
        }
        self.outcome.accepted += 1;
        self.events.bytes += size;
        self.events.good.push(event);
        let (bytes, limit) = (self.events.bytes, self.intake.hub.config().ingest_queue_bytes);
        if bytes > limit {
            return Err(Problem::from(IngestError::BatchTooLarge { bytes, limit }).into());
        }
        Ok(())
    }

    fn limit(&self) -> usize {
        self.intake.hub.max_event_bytes()
    }
}

#[cfg(test)]
mod tests {
    use warp::http::StatusCode;

    use super::*;
    use crate::intake::tests::intake_of_a_hub_apart;

    #[tokio::test]
    async fn metrics_that_wait_for_other_hubs_keep_nobody_from_being_parsed() {
        let intake = intake_of_a_hub_apart().await;
        let send = async |body: &'static [u8]| {
            let signal = Some(Signal::Metrics);
            accept(signal, Encoding::Json, &Bytes::from_static(body), &intake).await
        };
        let good = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a","gauge":{"dataPoints":[{"asDouble":1}]}}]}]}]}"#;
        tokio::select! {
            biased;
            _ = send(good) => panic!("nobody has taken it"),
            _ = send(good) => panic!("nobody has taken it"),
            refused = send(b"no JSON") => {
                assert_eq!(refused.unwrap_err().status(), StatusCode::BAD_REQUEST);
            }
        }
    }
}
