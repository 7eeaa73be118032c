//! `POST /api/telemetry/metrics`, metrics in, and `GET /metrics`, all of them out for Prometheus.

use serde_json::value::RawValue;
use telemetry_hub_actors::{HubHandle, Measurement, MeasurementError};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;

use super::body::{self, Format, Incoming};
use super::events::{Batch, lines};
use super::{BodyLimit, readable, respond, with_hub, writable};
use crate::prometheus;
use crate::reply::{self, HttpResponse, Problem};

pub(crate) fn post(hub: &HubHandle, limit: BodyLimit) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "metrics").boxed();
    let route = body::incoming().and(with_hub(hub)).then(
        move |incoming: Incoming, hub: HubHandle| async move {
            respond(accept_metrics(incoming, &hub, limit).await)
        },
    );
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
    #[error("not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Measurement(#[from] MeasurementError),
}

async fn accept_metrics(
    incoming: Incoming,
    hub: &HubHandle,
    limit: BodyLimit,
) -> Result<HttpResponse, Problem> {
    let (format, body) = incoming.read(limit).await?;
    let record = |item: &[u8]| -> Result<(), MetricError> {
        let value = serde_json::from_slice(item)?;
        Ok(hub.record(Measurement::from_json(value)?)?)
    };
    let batch = Batch::read(items(format, &body)?, record).await;
    let accepted = batch.good.len();
    batch.answer(accepted)
}

/// The items of a body: one metric, or an array of them, or one a line.
fn items(format: Format, body: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let not_json = |error| Problem::bad_request(format!("the body is not JSON: {error}"));
    match format {
        Format::Lines => Ok(lines(body)),
        Format::Json if body.trim_ascii_start().starts_with(b"[") => {
            let metrics: Vec<&RawValue> = serde_json::from_slice(body).map_err(not_json)?;
            Ok(metrics.into_iter().map(RawValue::get).map(str::as_bytes).collect())
        }
        Format::Json => {
            let metric: &RawValue = serde_json::from_slice(body).map_err(not_json)?;
            Ok(vec![metric.get().as_bytes()])
        }
    }
}
