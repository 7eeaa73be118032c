//! All routes, one module each. A route asks the [`HubHandle`] and answers; it keeps nothing itself.
//!
//! A path that is not the hub's is a rejection, so that a host's own routes get their turn; whatever goes wrong on a path
//! that is the hub's is a reply.

use std::sync::Arc;

use telemetry_hub_actors::{Client, HubHandle};
use warp::filters::BoxedFilter;
use warp::http::uri::Authority;
use warp::http::{HeaderMap, Method};
use warp::{Filter, Reply};

use crate::access::{Admission, Asking, Grant, Host, Scope, Session};
use crate::intake::{Incoming, Intake, RouteOptions, Via};
use crate::peer::PeerAddress;
use crate::reply::{self, HttpResponse, Problem};

mod dashboard;
mod events;
mod health;
mod live;
mod metrics;
mod otlp;
mod sources;
mod subscribers;
mod tickets;

/// Every route of a hub, for a host that is built on warp 0.4.
///
/// A path that is not the hub's is rejected, so that [`or`](Filter::or) leads on to the host's own routes, before or behind;
/// what fails on the hub's own paths is answered here, as a problem (RFC 9457), and never reaches the host's `recover`. At their root is
/// the dashboard: a host with a page of its own there puts that before them.
///
/// ```
/// use telemetry_hub::actors::{HubConfig, HubHandle};
/// use warp::Filter;
///
/// # async fn asked_to_stop() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = HubHandle::start(HubConfig::default()).await?;
/// let hello = warp::path!("hello").map(|| "hello");
/// let routes = hello.or(warp::path("telemetry").and(telemetry_hub::routes(&hub)));
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// warp::serve(routes).incoming(listener).graceful(asked_to_stop()).run().await;
/// # Ok(())
/// # }
/// ```
///
/// Whose a request is, the host can say by a [`PeerAddress`] in its extensions.
///
/// The filter holds the hub: it runs until it is shut down, or until this, its clones and all handles are gone. Bodies share
/// one allowance in this filter and its clones, so build it once. How to stop is told [at the crate](crate#how-to-stop).
pub fn routes(hub: &HubHandle) -> BoxedFilter<(warp::reply::Response,)> {
    routes_with(hub, &RouteOptions::default())
}

/// As [`routes`], with options other than the defaults.
pub fn routes_with(
    hub: &HubHandle,
    options: &RouteOptions,
) -> BoxedFilter<(warp::reply::Response,)> {
    all(&Intake::new(hub, options))
}

/// Every route there is.
pub(crate) fn all(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    let hub = &intake.hub;
    let live = live::traces(intake).or(live::metrics(intake)).unify();
    let posts = events::post(intake).or(metrics::post(intake)).unify();
    let posts = posts.or(otlp::post(intake)).unify();
    let health = health::healthz(hub).or(health::readyz(hub)).unify();
    let views = metrics::scrape(intake).or(subscribers::all(intake)).unify();
    let views = views.or(sources::list(intake)).unify();
    let views = views.or(tickets::tickets(intake)).unify();
    let all = live.or(posts).unify().or(health).unify().or(views).unify();
    all.or(dashboard::files()).unify().boxed()
}

/// OTLP alone, for the ports that are known for it.
pub(crate) fn only_otlp(intake: &Intake) -> BoxedFilter<(HttpResponse,)> {
    otlp::post(intake)
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
    let wrong = path.clone().and(not_post()).map(|| reply::method_not_allowed("POST"));
    path.and(warp::post()).and(route).or(wrong).unify().boxed()
}

/// Any method but POST. A POST that comes here has had its body taken by a filter of the host's: that is a failure of its own,
/// and not a wrong method.
fn not_post() -> BoxedFilter<()> {
    let check = async |method| if method == Method::POST { Err(warp::reject()) } else { Ok(()) };
    warp::method().and_then(check).untuple_one().boxed()
}

/// The query string, empty if there is none.
fn query() -> BoxedFilter<(String,)> {
    warp::query::raw().or(warp::any().map(String::new)).unify().boxed()
}

/// Takes the body from the request without reading it.
fn incoming() -> BoxedFilter<(Incoming,)> {
    warp::header::headers_cloned().and(warp::body::stream()).map(Incoming::new).boxed()
}

/// Somebody who may have what a route gives.
struct Admitted {
    intake: Intake,
    grant: Arc<Grant>,
    /// Of their browser.
    session: Option<Session>,
    peer: Option<PeerAddress>,
}

impl Admitted {
    /// Who it is.
    fn client(&self) -> Client {
        Client { address: self.peer.map(|PeerAddress(address)| address), name: self.grant.name() }
    }
}

/// Whoever asks, if they may; else what to answer.
fn admitted(intake: &Intake, scope: Scope) -> BoxedFilter<(Result<Admitted, Problem>,)> {
    let intake = intake.clone();
    let check = move |host: Host, headers: HeaderMap, peer: Option<PeerAddress>| {
        admit(&intake, Asking { host: &host, headers: &headers, stream: None }, peer, scope)
    };
    host().and(warp::header::headers_cloned()).and(warp::ext::optional()).map(check).boxed()
}

/// Whoever asks for a stream, which a browser may do without a token.
fn admitted_to_stream(intake: &Intake, scope: Scope) -> BoxedFilter<(Result<Admitted, Problem>,)> {
    let intake = intake.clone();
    let check = move |host: Host, headers: HeaderMap, peer: Option<PeerAddress>, query: String| {
        let asking = Asking { host: &host, headers: &headers, stream: Some(&query) };
        admit(&intake, asking, peer, scope)
    };
    let request = host().and(warp::header::headers_cloned()).and(warp::ext::optional());
    request.and(query()).map(check).boxed()
}

fn admit(
    intake: &Intake,
    asking: Asking<'_>,
    peer: Option<PeerAddress>,
    scope: Scope,
) -> Result<Admitted, Problem> {
    let Admission { grant, session } = intake.authorize(asking, scope)?;
    Ok(Admitted { intake: intake.on_behalf_of(&grant), grant, session, peer })
}

/// Whoever brings something. Events can be signed: if they are, and no token is shown, it is the signature that will tell.
fn sender(intake: &Intake, via: Via) -> BoxedFilter<(Result<Intake, Problem>,)> {
    let intake = intake.clone();
    let check = move |host: Host, headers: HeaderMap, peer: Option<PeerAddress>| {
        let admitted = if via == Via::Events && intake.awaits_signature(&headers) {
            intake.on_behalf_of_signers()
        } else {
            let asking = Asking { host: &host, headers: &headers, stream: None };
            intake.on_behalf_of(&intake.authorize(asking, Scope::Ingest)?.grant)
        };
        Ok(admitted.brought_by(peer, &headers, via))
    };
    host().and(warp::header::headers_cloned()).and(warp::ext::optional()).map(check).boxed()
}

/// Whom a request takes this server for.
fn host() -> BoxedFilter<(Host,)> {
    let named = |host: Option<Authority>, headers: HeaderMap| match host {
        _ if Host::is_named_twice(&headers) => Host::Malformed,
        host => host.map_or(Host::Unnamed, Host::Named),
    };
    let malformed = warp::any().map(|| Host::Malformed);
    let request = warp::host::optional().and(warp::header::headers_cloned());
    request.map(named).or(malformed).unify().boxed()
}

/// The handle, for a route that anybody may have.
fn with_hub(hub: &HubHandle) -> BoxedFilter<(HubHandle,)> {
    let hub = hub.clone();
    warp::any().map(move || hub.clone()).boxed()
}

/// A reply, or the problem in its place.
fn respond(result: Result<HttpResponse, Problem>) -> HttpResponse {
    result.unwrap_or_else(Reply::into_response)
}
