//! What OpenTelemetry sources send (OTLP 1.11), made into events and measurements. HTTP and gRPC both end here.
//!
//! A request is taken apart record by record, and each record is read on its own: a bad one is rejected and counted, and
//! spoils no other; one record at a time takes memory, however the request is made.

use bytes::Bytes;
use telemetry_hub_actors::{IngestError, NewEvent};

use crate::error_chain::error_chain;
use crate::reply::Problem;
use crate::routes::Intake;

use context::Context;
use outline::{Level, Parts};

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
mod signal;
mod spans;

/// How many records are read before others get their turn on this thread.
const RECORDS_AT_A_TIME: usize = 256;

/// How many reasons for rejection are told; the count is always exact.
const MAX_TOLD_REASONS: usize = 3;

/// How many characters of a reason are told: prost names every level of a nested value.
const MAX_REASON_LENGTH: usize = 300;

/// The series that counts what was rejected.
const REJECTED: &str = "server.otlp.rejected";

/// Why a request, or a record of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("not valid protobuf")]
    Protobuf(#[from] prost::DecodeError),
    #[error("not valid protobuf: a field is cut off, or of no type that there is")]
    Wire,
    #[error("not valid JSON")]
    Json(#[from] serde_json::Error),
    #[error("{member}: expected {expected}")]
    BadMember { member: &'static str, expected: &'static str },
    #[error("{size} bytes, over the limit of {limit} for one record")]
    TooLarge { size: usize, limit: usize },
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
        let reason: String = error_chain(error).chars().take(MAX_REASON_LENGTH).collect();
        if self.reasons.len() < MAX_TOLD_REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Why records were rejected, for people.
    pub(crate) fn reasons(&self) -> String {
        self.reasons.join("; ")
    }
}

/// Reads the body of an export request, and hands on what is good of it. Fails if nothing is.
pub(crate) async fn accept(
    signal: Signal,
    encoding: Encoding,
    body: &Bytes,
    intake: &Intake,
) -> Result<Outcome, Problem> {
    let turn = intake.turn_to_parse().await?;
    if signal == Signal::Metrics {
        intake.check_ready()?;
        // Points are recorded as they are read: nothing may turn up later that spoils the whole request.
        outline::check(encoding, signal, body)?;
    }
    let mut export = Export { signal, encoding, intake, outcome: Outcome::default() };
    let mut events = Events::default();
    export.read(body, &mut events).await?;
    let outcome = export.outcome;
    if !events.good.is_empty() {
        intake.hub.ingest(events.good).await?;
    }
    drop(turn);
    intake.count(REJECTED, outcome.rejected);
    if outcome.accepted == 0 && outcome.rejected > 0 {
        let detail = format!("all {} rejected: {}", outcome.rejected, outcome.reasons());
        return Err(Problem::bad_request(detail));
    }
    Ok(outcome)
}

/// One request while it is read.
struct Export<'a> {
    signal: Signal,
    encoding: Encoding,
    intake: &'a Intake,
    outcome: Outcome,
}

/// Events that are to be accepted together.
#[derive(Default)]
struct Events {
    good: Vec<NewEvent>,
    bytes: usize,
}

impl Export<'_> {
    async fn read(&mut self, body: &Bytes, events: &mut Events) -> Result<(), Problem> {
        let (encoding, signal, limit) = (self.encoding, self.signal, self.limit());
        for bytes in outline::resources(encoding, signal, body)? {
            let bytes = bytes?;
            let Level { head, inner: scopes } = outline::resource(encoding, signal, &bytes)?;
            let resource = context::resource(encoding, head, limit)?;
            for bytes in scopes {
                let bytes = bytes?;
                let Level { head, inner: records } = outline::scope(encoding, signal, &bytes)?;
                let context = Context::new(encoding, &resource, head, limit)?;
                self.read_records(records, &context, events).await?;
            }
        }
        Ok(())
    }

    async fn read_records(
        &mut self,
        records: Parts<'_>,
        context: &Context<'_>,
        events: &mut Events,
    ) -> Result<(), Problem> {
        for (index, record) in records.enumerate() {
            if index % RECORDS_AT_A_TIME == RECORDS_AT_A_TIME - 1 {
                tokio::task::yield_now().await;
            }
            let record = record?;
            match self.signal {
                Signal::Logs => {
                    self.take_event(logs::read(self.encoding, &record, context), events)?;
                }
                Signal::Traces => {
                    self.take_event(spans::read(self.encoding, &record, context), events)?;
                }
                Signal::Metrics => {
                    metrics::record(
                        self.encoding,
                        &record,
                        context,
                        self.intake,
                        &mut self.outcome,
                    );
                }
            }
        }
        Ok(())
    }

    fn take_event(
        &mut self,
        event: Result<NewEvent, Unreadable>,
        events: &mut Events,
    ) -> Result<(), Problem> {
        let event = match event.and_then(|event| self.within_limit(event)) {
            Ok(event) => event,
            Err(error) => {
                self.outcome.reject(1, &error);
                return Ok(());
            }
        };
        self.outcome.accepted += 1;
        events.bytes += event.size();
        events.good.push(event);
        let (bytes, limit) = (events.bytes, self.intake.hub.config().ingest_queue_bytes);
        if bytes > limit {
            return Err(IngestError::BatchTooLarge { bytes, limit }.into());
        }
        Ok(())
    }

    /// What a record shares with others of its resource is part of each event.
    fn within_limit(&self, event: NewEvent) -> Result<NewEvent, Unreadable> {
        let (size, limit) = (event.size(), self.limit());
        if size > limit { Err(Unreadable::TooLarge { size, limit }) } else { Ok(event) }
    }

    fn limit(&self) -> usize {
        self.intake.hub.config().max_event_bytes
    }
}
