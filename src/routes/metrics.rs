//! `POST /api/telemetry/metrics`, metrics in, and `GET /metrics`, all of them out for Prometheus.

use serde_json::value::RawValue;
use telemetry_hub_actors::event::json;
use telemetry_hub_actors::{Measurement, MeasurementError, Selection};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;

use super::events::Batch;
use super::{Admitted, admitted, incoming, readable, respond, sender, writable};
use crate::access::Scope;
use crate::intake::{Incoming, Intake, Via};
use crate::prometheus;
use crate::reply::{self, HttpResponse, Problem};

/// How many metrics are recorded together. Where they have to be published, that takes some milliseconds each time.
const METRICS_AT_A_TIME: usize = 4096;

pub(crate) fn post(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "metrics").boxed();
    let route = incoming().and(sender(intake, Via::Metrics)).then(
        async |incoming: Incoming, intake: Result<Intake, Problem>| {
            respond(accept(incoming, intake).await)
        },
    );
    writable(path, route.boxed())
}

pub(crate) fn scrape(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let route = admitted(intake, Scope::Metrics)
        .then(async |admitted: Result<Admitted, Problem>| respond(page(admitted).await));
    readable(warp::path!("metrics").boxed(), route.boxed())
}

/// All series that may be seen, but those that other hubs tell of themselves: whoever scrapes one hub scrapes each of them. With many of them that takes long: no other request waits for it.
async fn page(admitted: Result<Admitted, Problem>) -> Result<HttpResponse, Problem> {
    let Admitted { intake, grant, .. } = admitted?;
    let turn = intake.turn_to_page().await?;
    let selection = grant.limit_selection(Selection::everything());
    let hub = intake.hub.clone();
    let written = tokio::task::spawn_blocking(move || {
        // Held to its end, though nobody may wait for it any more.
        let _turn = turn;
        prometheus::encode(&hub.metrics_here(&selection))
    });
    let text = written.await.expect("it neither panics nor is aborted");
    Ok(reply::with_type(StatusCode::OK, prometheus::CONTENT_TYPE, text.into_bytes()))
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
    intake: Result<Intake, Problem>,
) -> Result<HttpResponse, Problem> {
    let intake = &intake?;
    let body = incoming.read(intake).await?;
    let mut turn = intake.turn_to_parse().await?;
    intake.check_ready()?;
    let limit = intake.hub.max_event_bytes();
    let read = |item: &[u8]| -> Result<Measurement, MetricError> {
        if item.len() > limit {
            return Err(MetricError::TooLarge { size: item.len(), limit });
        }
        let value = serde_json::from_slice(item)?;
        let measurement = Measurement::from_json(value)?;
        intake.hub.check(&measurement)?;
        Ok(measurement)
    };
    let items = body.items(split)?;
    intake.spend_items(items.len())?;
    let (mut batch, mut accepted) = (Batch::default(), 0);
    for items in items.chunks(METRICS_AT_A_TIME) {
        turn.go_on().await;
        // No more than that is kept, whatever it takes.
        batch.read_on(items, usize::MAX, read, Measurement::size).await?;
        let measurements = std::mem::take(&mut batch.good);
        accepted += measurements.len();
        turn.wait_for(intake.hub.record_all(measurements)).await?;
    }
    intake.note(batch.brought(body.size(), accepted));
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

#[cfg(test)]
mod tests {
    use telemetry_hub_actors::{HubConfig, HubHandle};
    use warp::http::Request;

    use super::*;
    use crate::intake::RouteOptions;
    use crate::intake::tests::intake_of_a_hub_apart;

    #[tokio::test(start_paused = true)]
    async fn two_pages_are_written_at_once_and_one_more_is_refused_for_now() {
        let hub = HubHandle::start(HubConfig::default()).await.unwrap();
        let intake = Intake::new(&hub, &RouteOptions::default());
        let mut service = warp::service(scrape(&intake));
        let mut get = async || {
            let request = Request::get("/metrics")
                .body(http_body_util::Empty::<bytes::Bytes>::new())
                .unwrap();
            tower_service::Service::call(&mut service, request).await.unwrap()
        };
        let first = intake.turn_to_page().await.unwrap();
        let second = intake.turn_to_page().await.unwrap();
        let refused = get().await;
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        drop(first);
        assert_eq!(get().await.status(), 200);
        drop(second);
    }

    #[tokio::test]
    async fn metrics_that_wait_for_other_hubs_keep_nobody_from_being_parsed() {
        let intake = intake_of_a_hub_apart().await;
        let send = async |body: &'static str| {
            let request = Request::post("/api/telemetry/metrics")
                .body(http_body_util::Full::new(bytes::Bytes::from_static(body.as_bytes())))
                .unwrap();
            let mut service = warp::service(post(&intake));
            tower_service::Service::call(&mut service, request).await.unwrap().status()
        };
        let good = r#"{"id":"a","type":"gauge","value":1}"#;
        tokio::select! {
            biased;
            status = send(good) => panic!("nobody has taken it: {status}"),
            status = send(good) => panic!("nobody has taken it: {status}"),
            status = send("no JSON") => assert_eq!(status, 400),
        }
    }
}
