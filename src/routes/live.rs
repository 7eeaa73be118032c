//! `GET /api/telemetry/traces/live` and `GET /api/telemetry/metrics/live`: the streams.
//!
//! A stream is a subscription: it ends its actor when the client hangs up, because whoever writes the stream then drops it.

use jiff::Timestamp;
use telemetry_hub_actors::{MetricsQuery, QueryError, QueryFault, TraceQuery};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, HeaderValue};

use super::{Admitted, admitted_to_stream, query, readable, respond};
use crate::access::{Grant, Scope, Session};
use crate::intake::Intake;
use crate::live_stream::{self, Exit};
use crate::reply::{HttpResponse, Problem};

const LAST_EVENT_ID: &str = "Last-Event-ID";

pub(crate) fn traces(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "traces" / "live").boxed();
    let request = query().and(warp::header::headers_cloned()).and(warp::ext::optional());
    let route = request.and(admitted_to_stream(intake, Scope::Traces)).then(
        async |query: String, headers: HeaderMap, exit: Option<Exit>, admitted| {
            respond(watch_traces(&query, &headers, exit, admitted).await)
        },
    );
    readable(path, route.boxed())
}

pub(crate) fn metrics(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "metrics" / "live").boxed();
    let request = query().and(warp::ext::optional());
    let route = request.and(admitted_to_stream(intake, Scope::Metrics)).then(
        async |query: String, exit: Option<Exit>, admitted| {
            respond(watch_metrics(&query, exit, admitted).await)
        },
    );
    readable(path, route.boxed())
}

async fn watch_traces(
    query: &str,
    headers: &HeaderMap,
    exit: Option<Exit>,
    admitted: Result<Admitted, Problem>,
) -> Result<HttpResponse, Problem> {
    let admitted = admitted?;
    let mut query = TraceQuery::parse(query, last_event_id(headers)?)?;
    query.client = admitted.client();
    let query = admitted.grant.limit_traces(query);
    let stream = admitted.intake.hub.subscribe(query).await?;
    Ok(live_stream::answer(stream, begin(admitted.session, &admitted.grant), exit).await)
}

async fn watch_metrics(
    query: &str,
    exit: Option<Exit>,
    admitted: Result<Admitted, Problem>,
) -> Result<HttpResponse, Problem> {
    let admitted = admitted?;
    let mut query = MetricsQuery::parse(query)?;
    query.client = admitted.client();
    let query = admitted.grant.limit_metrics(query);
    let stream = admitted.intake.hub.subscribe_metrics(query).await?;
    Ok(live_stream::answer(stream, begin(admitted.session, &admitted.grant), exit).await)
}

/// Now that the stream is granted.
fn begin(session: Option<Session>, grant: &Grant) -> Option<HeaderValue> {
    session.and_then(|session| session.begin(grant, Timestamp::now()))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let not_text = |_| {
        let parameter = LAST_EVENT_ID.to_owned();
        Problem::from(QueryError { parameter, fault: QueryFault::NotAnId })
    };
    headers.get(LAST_EVENT_ID).map(|id| id.to_str().map_err(not_text)).transpose()
}
