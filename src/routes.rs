//! All routes, one module each. A route asks the [`HubHandle`] and answers; it keeps nothing itself.

use telemetry_hub_actors::HubHandle;
use warp::filters::BoxedFilter;
use warp::{Filter, Reply};

use intake::Intake;

use crate::reply::{self, HttpResponse};

mod body;
mod events;
mod health;
mod intake;
mod live;
mod metrics;

/// Every route there is. What none of them knows is 404.
pub(crate) fn all(hub: &HubHandle, max_body_bytes: usize) -> BoxedFilter<(HttpResponse,)> {
    let intake = Intake::new(hub, max_body_bytes);
    let live = live::traces(hub).or(live::metrics(hub)).unify();
    let posts = events::post(&intake).or(metrics::post(&intake)).unify();
    let health = health::healthz(hub).or(health::readyz(hub)).unify();
    live.or(posts)
        .unify()
        .or(health)
        .unify()
        .or(metrics::scrape(hub))
        .unify()
        .or(warp::any().map(reply::not_found))
        .unify()
        .boxed()
}

/// A path that can be read. Any other method is 405.
fn readable(
    path: BoxedFilter<()>,
    route: BoxedFilter<(HttpResponse,)>,
) -> BoxedFilter<(HttpResponse,)> {
    let method = warp::get().or(warp::head()).unify();
    let wrong = path.clone().map(|| reply::method_not_allowed("GET, HEAD"));
    path.and(method).and(route).or(wrong).unify().boxed()
}

/// A path that things are sent to. Any other method is 405.
fn writable(
    path: BoxedFilter<()>,
    route: BoxedFilter<(HttpResponse,)>,
) -> BoxedFilter<(HttpResponse,)> {
    let wrong = path.clone().map(|| reply::method_not_allowed("POST"));
    path.and(warp::post()).and(route).or(wrong).unify().boxed()
}

/// The query string, empty if there is none.
fn query() -> BoxedFilter<(String,)> {
    warp::query::raw().or(warp::any().map(String::new)).unify().boxed()
}

/// The handle, for a route of its own.
fn with_hub(hub: &HubHandle) -> BoxedFilter<(HubHandle,)> {
    let hub = hub.clone();
    warp::any().map(move || hub.clone()).boxed()
}

/// The intake, for a route of its own.
fn with_intake(intake: &Intake) -> BoxedFilter<(Intake,)> {
    let intake = intake.clone();
    warp::any().map(move || intake.clone()).boxed()
}

/// A reply, or the problem in its place.
fn respond(result: Result<HttpResponse, reply::Problem>) -> HttpResponse {
    result.unwrap_or_else(Reply::into_response)
}
