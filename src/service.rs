//! The hub's routes as a `tower` service, for hosts that are not built on warp: axum, or plain hyper. The stand-alone server
//! serves this very service.
//!
//! It answers every request: what is not the hub's is 404.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame};
use sync_wrapper::SyncWrapper;
use telemetry_hub_actors::HubHandle;
use tower_service::Service;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::Request;

use crate::reply::{self, HttpResponse};
use crate::routes::{RouteOptions, routes_with};

/// Every route of a hub as a [`Service`] of `tower`, whatever the request's body.
///
/// In axum it is nested, which takes the prefix off before the service sees the path; or it is the fallback:
///
/// ```
/// use axum::{Router, routing::get};
/// use telemetry_hub::HubService;
/// use telemetry_hub::actors::{HubConfig, HubHandle};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = HubHandle::start(HubConfig::default()).await?;
/// let app: Router = Router::new()
///     .route("/hello", get(async || "hello"))
///     .nest_service("/telemetry", HubService::new(&hub));
/// # drop(app);
/// # Ok(())
/// # }
/// ```
///
/// With hyper alone, [`under`](Self::under) says where the hub is:
///
/// ```
/// use hyper_util::{rt::{TokioExecutor, TokioIo}, server::conn::auto, service::TowerToHyperService};
/// # use telemetry_hub::HubService;
/// # use telemetry_hub::actors::HubHandle;
///
/// # async fn example(hub: &HubHandle, connection: tokio::net::TcpStream) {
/// let service = TowerToHyperService::new(HubService::new(hub).under("/telemetry"));
/// let server = auto::Builder::new(TokioExecutor::new());
/// server.serve_connection(TokioIo::new(connection), service).await.ok();
/// # }
/// ```
///
/// A service holds the hub: it runs until it is shut down, or until the service, its clones and all handles are gone. Bodies
/// share one allowance in a service and its clones, so build it once. How to stop is told [at the crate](crate#how-to-stop).
#[derive(Debug, Clone)]
pub struct HubService {
    routes: BoxedFilter<(HttpResponse,)>,
}

impl HubService {
    /// The routes at the root.
    pub fn new(hub: &HubHandle) -> Self {
        Self::with(hub, &RouteOptions::default())
    }

    /// As [`new`](Self::new), with options other than the defaults.
    pub fn with(hub: &HubHandle, options: &RouteOptions) -> Self {
        Self { routes: routes_with(hub, options) }
    }

    /// The routes behind a prefix of one or more segments (`/telemetry`, `/ops/telemetry`), spelt as it stands in requests; for
    /// hosts that do not take the prefix off themselves.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        let segments = prefix.split('/').filter(|segment| !segment.is_empty());
        let prefix = segments.fold(warp::any().boxed(), |path, segment| {
            path.and(warp::path(segment.to_owned())).boxed()
        });
        Self { routes: prefix.and(self.routes).boxed() }
    }
}

impl<B> Service<Request<B>> for HubService
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = warp::reply::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let foreign = warp::any().map(reply::not_found);
        let mut service = warp::service(self.routes.clone().or(foreign).unify());
        Box::pin(service.call(request.map(OneReader::new)))
    }
}

/// A body that warp takes: it asks for `Sync`, which the bodies of axum are not.
struct OneReader<B>(SyncWrapper<Pin<Box<B>>>);

impl<B> OneReader<B> {
    fn new(body: B) -> Self {
        Self(SyncWrapper::new(Box::pin(body)))
    }
}

impl<B: Body> Body for OneReader<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.0.get_mut().as_mut().poll_frame(context)
    }
}
