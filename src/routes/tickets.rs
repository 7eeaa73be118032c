//! `GET /api/telemetry/live/tracing-token` and `GET /api/telemetry/live/metrics-token`: tickets, with which a browser opens a stream
//! (`?token=TICKET`).
//!
//! With `session=none` the ticket begins no session: a page that asks for a ticket each time leaves nothing behind in its browser, in
//! which others could watch once its person has signed out.

use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;

use super::{Admitted, admitted, query, readable, respond};
use crate::access::Scope;
use crate::intake::Intake;
use crate::reply::{self, HttpResponse, Problem};

pub(crate) fn tickets(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let of = |name: &'static str, signal| {
        let path = warp::path!("api" / "telemetry" / "live" / ..).and(warp::path(name));
        let answer = move |admitted: Result<Admitted, Problem>, query: String| {
            respond(admitted.map(|Admitted { intake, grant, .. }| {
                let ticket = if query == "session=none" {
                    intake.ticket_alone(&grant, signal)
                } else {
                    intake.ticket(&grant, signal)
                };
                reply::json(&json!({ "data": ticket }))
            }))
        };
        let route = admitted(intake, signal).and(query()).map(answer);
        readable(path.and(warp::path::end()).boxed(), route.boxed())
    };
    of("tracing-token", Scope::Traces).or(of("metrics-token", Scope::Metrics)).unify().boxed()
}
