//! `GET /api/telemetry/sources`: who has brought something lately, and how much.

use warp::Filter;
use warp::filters::BoxedFilter;

use super::{Admitted, admitted, readable, respond};
use crate::access::Scope;
use crate::intake::Intake;
use crate::reply::{self, HttpResponse, Problem};

pub(crate) fn list(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "sources").boxed();
    let route = admitted(intake, Scope::Admin).map(|admitted: Result<Admitted, Problem>| {
        let shown = admitted.map(|admitted| reply::json(&admitted.intake.sources()));
        respond(shown)
    });
    readable(path, route.boxed())
}
