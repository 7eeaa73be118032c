//! `GET /api/telemetry/live/tracing-token` and `GET /api/telemetry/live/metrics-token`: tickets, with which a browser opens a stream
//! (`?token=TICKET`).

use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;

use super::{Admitted, admitted, readable, respond};
use crate::access::Scope;
use crate::intake::Intake;
use crate::reply::{self, HttpResponse, Problem};

pub(crate) fn tickets(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let of = |name: &'static str, signal| {
        let path = warp::path!("api" / "telemetry" / "live" / ..).and(warp::path(name));
        let route = admitted(intake, signal).map(move |admitted: Result<Admitted, Problem>| {
            respond(admitted.map(|Admitted { intake, grant, .. }| {
                reply::json(&json!({ "data": intake.ticket(&grant, signal) }))
            }))
        });
        readable(path.and(warp::path::end()).boxed(), route.boxed())
    };
    of("tracing-token", Scope::Traces).or(of("metrics-token", Scope::Metrics)).unify().boxed()
}
