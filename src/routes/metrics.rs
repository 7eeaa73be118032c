//! `POST /api/telemetry/metrics`, metrics in, and `GET /metrics`, all of them out for Prometheus.

use serde_json::value::RawValue;
use telemetry_hub_actors::event::json;
use telemetry_hub_actors::{Measurement, MeasurementError, Selection};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;

use super::events::Batch;
use super::{Admitted, admitted, incoming, readable, respond, writable};
use crate::access::Scope;
use crate::intake::{Incoming, Intake};
use crate::prometheus;
use crate::reply::{self, HttpResponse, Problem};

pub(crate) fn post(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "metrics").boxed();
    let route = incoming().and(admitted(intake, Scope::Ingest)).then(
        async |incoming: Incoming, admitted: Result<Admitted, Problem>| {
            respond(accept(incoming, admitted).await)
        },
    );
    writable(path, route.boxed())
}

pub(crate) fn scrape(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let route = admitted(intake, Scope::Metrics).map(|admitted: Result<Admitted, Problem>| {
        respond(admitted.map(|Admitted { intake, grant, .. }| {
            let selection = grant.limit_selection(Selection::everything());
            let text = prometheus::encode(&intake.hub.metrics_of(&selection));
            reply::with_type(StatusCode::OK, prometheus::CONTENT_TYPE, text.into_bytes())
        }))
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

async fn accept(
    incoming: Incoming,
    admitted: Result<Admitted, Problem>,
) -> Result<HttpResponse, Problem> {
    let intake = &admitted?.intake;
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
    let items = body.items(split)?;
    intake.spend_items(items.len())?;
    let batch = Batch::read(items, 0, record, |()| 0).await?;
    let accepted = batch.good.len();
    batch.answer(accepted)
}

/// One metric, or an array of them.
fn split(body: &[u8]) -> Result<Vec<&RawValue>, serde_json::Error> {
    if body.trim_ascii_start().starts_with(b"[") {
        json::array(body)
    } else {
        serde_json::from_slice(body).map(|metric| vec![metric])
    }
}
