//! `GET /api/telemetry/traces/live` and `GET /api/telemetry/metrics/live`: the streams.
//!
//! A stream is a subscription: it ends its actor when the client hangs up, because hyper drops the response's body.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use telemetry_hub_actors::{HubHandle, MetricsQuery, QueryError, QueryFault, TraceQuery};
use warp::filters::BoxedFilter;
use warp::http::HeaderMap;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use warp::{Filter, Reply};

use super::{query, readable, respond, with_hub};
use crate::reply::{HttpResponse, Problem};

const LAST_EVENT_ID: &str = "Last-Event-ID";

pub(crate) fn traces(hub: &HubHandle) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "traces" / "live").boxed();
    let route = query().and(warp::header::headers_cloned()).and(with_hub(hub)).then(
        async |query: String, headers: HeaderMap, hub: HubHandle| {
            respond(watch_traces(&query, &headers, &hub).await)
        },
    );
    readable(path, route.boxed())
}

pub(crate) fn metrics(hub: &HubHandle) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "metrics" / "live").boxed();
    let route = query()
        .and(with_hub(hub))
        .then(async |query: String, hub: HubHandle| respond(watch_metrics(&query, &hub).await));
    readable(path, route.boxed())
}

async fn watch_traces(
    query: &str,
    headers: &HeaderMap,
    hub: &HubHandle,
) -> Result<HttpResponse, Problem> {
    let query = TraceQuery::parse(query, last_event_id(headers)?)?;
    Ok(event_stream(hub.subscribe(query).await?))
}

async fn watch_metrics(query: &str, hub: &HubHandle) -> Result<HttpResponse, Problem> {
    let query = MetricsQuery::parse(query)?;
    Ok(event_stream(hub.subscribe_metrics(query).await?))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let not_text = |_| {
        let parameter = LAST_EVENT_ID.to_owned();
        Problem::from(QueryError { parameter, fault: QueryFault::NotAnId })
    };
    headers.get(LAST_EVENT_ID).map(|id| id.to_str().map_err(not_text)).transpose()
}

/// A response that goes on for as long as the frames do. No proxy may keep it or wait for more of it.
fn event_stream(frames: impl Stream<Item = Bytes> + Send + Sync + 'static) -> HttpResponse {
    let mut response = warp::reply::stream(frames.map(Ok::<_, Infallible>)).into_response();
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
