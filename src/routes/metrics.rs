//! `POST /api/telemetry/metrics`, metrics in, and `GET /metrics`, all of them out for Prometheus.

use serde_json::value::RawValue;
use telemetry_hub_actors::{HubHandle, Measurement, MeasurementError};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;

use super::events::Batch;
use super::{incoming, readable, respond, with_hub, with_intake, writable};
use crate::intake::{Incoming, Intake};
use crate::prometheus;
use crate::reply::{self, HttpResponse, Problem};

pub(crate) fn post(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "metrics").boxed();
    let route = incoming()
        .and(with_intake(intake))
        .then(async |incoming: Incoming, intake: Intake| respond(accept(incoming, &intake).await));
    writable(path, route.boxed())
}

pub(crate) fn scrape(hub: &HubHandle) -> BoxedFilter<(HttpResponse,)> {
    let route = with_hub(hub).map(|hub: HubHandle| {
        let text = prometheus::encode(&hub.metrics());
        reply::with_type(StatusCode::OK, prometheus::CONTENT_TYPE, text.into_bytes())
    });
    readable(warp::path!("metrics").boxed(), route.boxed())
}

/// Why a metric was rejected.
#[derive(Debug, thiserror::Error)]
enum MetricError {
    #[error("not valid JSON")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Measurement(#[from] MeasurementError),
    #[error("{size} bytes, over the limit of {limit} for one metric")]
    TooLarge { size: usize, limit: usize },
}

async fn accept(incoming: Incoming, intake: &Intake) -> Result<HttpResponse, Problem> {
    let body = incoming.read(intake).await?;
    let _turn = intake.turn_to_parse().await?;
    intake.check_ready()?;
    let limit = intake.hub.config().max_event_bytes;
    let record = |item: &[u8]| -> Result<(), MetricError> {
        if item.len() > limit {
            return Err(MetricError::TooLarge { size: item.len(), limit });
        }
        let value = serde_json::from_slice(item)?;
        Ok(intake.hub.record(Measurement::from_json(value)?)?)
    };
    // What is recorded takes no room here.
    let batch = Batch::read(body.items(split)?, 0, record, |()| 0).await?;
    let accepted = batch.good.len();
    batch.answer(accepted)
}

/// One metric, or an array of them.
fn split(body: &[u8]) -> Result<Vec<&RawValue>, serde_json::Error> {
    if body.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice(body).map(|metric| vec![metric])
    }
}
