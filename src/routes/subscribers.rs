//! `GET /api/telemetry/subscribers`, who is connected, and `GET` and `DELETE` of one of them, which ends its stream.
//!
//! Whoever may see this sees all there are, with their filters: what a token is limited to binds the streams that it watches itself.

use telemetry_hub_actors::{SubscriberId, SubscribersQuery};
use warp::Filter;
use warp::filters::BoxedFilter;

use super::{Admitted, admitted, query, readable, respond};
use crate::access::Scope;
use crate::intake::Intake;
use crate::reply::{self, HttpResponse, Problem};

pub(crate) fn all(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    list(intake).or(one(intake)).unify().boxed()
}

fn list(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "subscribers").boxed();
    let route = query().and(admitted(intake, Scope::Admin)).then(
        async |query: String, admitted: Result<Admitted, Problem>| {
            respond(show_page(&query, admitted).await)
        },
    );
    readable(path, route.boxed())
}

fn one(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let path = warp::path!("api" / "telemetry" / "subscribers" / String).boxed();
    let method = warp::get().or(warp::head()).unify();
    let read = path.clone().and(method).and(admitted(intake, Scope::Admin)).then(
        async |id: String, admitted: Result<Admitted, Problem>| {
            respond(show_one(&id, admitted).await)
        },
    );
    let delete = path.clone().and(warp::delete()).and(admitted(intake, Scope::Admin)).then(
        async |id: String, admitted: Result<Admitted, Problem>| respond(end(&id, admitted).await),
    );
    let wrong = path.map(|_| reply::method_not_allowed("GET, HEAD, DELETE"));
    read.or(delete).unify().or(wrong).unify().boxed()
}

async fn show_page(
    query: &str,
    admitted: Result<Admitted, Problem>,
) -> Result<HttpResponse, Problem> {
    let hub = admitted?.intake.hub;
    let query = SubscribersQuery::parse(query)?;
    Ok(reply::json(&hub.subscribers(query).await))
}

async fn show_one(id: &str, admitted: Result<Admitted, Problem>) -> Result<HttpResponse, Problem> {
    let hub = admitted?.intake.hub;
    Ok(reply::json(&hub.subscriber(parse_id(id)?).await?))
}

async fn end(id: &str, admitted: Result<Admitted, Problem>) -> Result<HttpResponse, Problem> {
    let hub = admitted?.intake.hub;
    hub.end_subscriber(parse_id(id)?).await?;
    Ok(reply::done())
}

fn parse_id(id: &str) -> Result<SubscriberId, Problem> {
    let no_id = |_| Problem::nothing_there("no subscriber: they have numbers for ids");
    id.parse().map_err(no_id)
}
