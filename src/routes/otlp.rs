//! `POST /v1/logs`, `/v1/traces`, `/v1/metrics`, and `/v1/otel` for exporters that know one address only: OTLP over HTTP.

use warp::Filter;
use warp::filters::BoxedFilter;

use super::{incoming, sender, writable};
use crate::intake::{Incoming, Intake, Via, unknown_type};
use crate::otlp::{self, Encoding, Signal};
use crate::reply::{HttpResponse, Problem};

pub(crate) fn post(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let logs = export(warp::path!("v1" / "logs").boxed(), Some(Signal::Logs), intake);
    let traces = export(warp::path!("v1" / "traces").boxed(), Some(Signal::Traces), intake);
    let metrics = export(warp::path!("v1" / "metrics").boxed(), Some(Signal::Metrics), intake);
    let any = export(warp::path!("v1" / "otel").boxed(), None, intake);
    logs.or(traces).unify().or(metrics).unify().or(any).unify().boxed()
}

/// A path that takes a signal; any, if it is not said which.
fn export(
    path: BoxedFilter<()>,
    signal: Option<Signal>,
    intake: &Intake,
) -> BoxedFilter<(HttpResponse,)> {
    let route = incoming()
        .and(sender(intake, Via::Otlp))
        .then(move |incoming: Incoming, sender| answer(signal, incoming, sender));
    writable(path, route.boxed())
}

async fn answer(
    signal: Option<Signal>,
    incoming: Incoming,
    sender: Result<Intake, Problem>,
) -> HttpResponse {
    // Who sends something else is answered in JSON, which people can read.
    let encoding = encoding(&incoming);
    let answered = encoding.as_ref().copied().unwrap_or(Encoding::Json);
    match read(signal, encoding, incoming, sender).await {
        Ok((signal, outcome)) => otlp::respond(signal, answered, Ok(outcome)),
        Err(problem) => otlp::respond(signal.unwrap_or(Signal::Logs), answered, Err(problem)),
    }
}

async fn read(
    signal: Option<Signal>,
    encoding: Result<Encoding, Problem>,
    incoming: Incoming,
    sender: Result<Intake, Problem>,
) -> Result<(Signal, otlp::Outcome), Problem> {
    let intake = &sender?;
    let encoding = encoding?;
    let body = incoming.read_bytes(intake).await?;
    let (bytes, _room) = body.into_parts();
    otlp::accept(signal, encoding, &bytes, intake).await
}

/// What can be read here, for `Accept-Post`.
const ACCEPTED: &str = "application/x-protobuf, application/json";

fn encoding(incoming: &Incoming) -> Result<Encoding, Problem> {
    match incoming.media_type().as_deref() {
        Some("application/x-protobuf" | "application/protobuf") => Ok(Encoding::Protobuf),
        Some("application/json") => Ok(Encoding::Json),
        other => Err(unknown_type(other.unwrap_or("a body of no type"), ACCEPTED)),
    }
}
