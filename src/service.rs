//! The hub's routes as a `tower` service, for hosts that are not built on warp: axum, or plain hyper. The stand-alone server
//! serves this very service.
//!
//! It answers every request: what is not the hub's is 404.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::{Body, Frame, SizeHint};
use telemetry_hub_actors::HubHandle;
use tower_service::Service;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::EXPECT;
use warp::http::{Request, Response};

use crate::intake::{Incoming, Intake, RouteOptions};
use crate::live_stream::Exit;
use crate::otlp::grpc;
use crate::peer::PeerAddress;
use crate::reply::{self, HttpResponse};
use crate::request_body::RequestBody;
use crate::routes;

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
/// Frames are small and should leave at once: a host that can, sets `TCP_NODELAY` on its connections, in axum by
/// `ListenerExt::tap_io`.
///
/// Whose a request is, the host can say by a [`PeerAddress`] in its extensions.
///
/// A service holds the hub: it runs until it is shut down, or until the service, its clones and all handles are gone. Bodies
/// share one allowance in a service and its clones, so build it once. How to stop is told [at the crate](crate#how-to-stop).
#[derive(Debug, Clone)]
pub struct HubService {
    routes: BoxedFilter<(HttpResponse,)>,
    /// For gRPC, which has paths of its own.
    intake: Intake,
    /// Whom all its requests come from, where that is known.
    peer: Option<PeerAddress>,
}

impl HubService {
    /// The routes at the root.
    pub fn new(hub: &HubHandle) -> Self {
        Self::with(hub, &RouteOptions::default())
    }

    /// As [`new`](Self::new), with options other than the defaults.
    pub fn with(hub: &HubHandle, options: &RouteOptions) -> Self {
        let intake = Intake::new(hub, options);
        Self { routes: routes::all(&intake), intake, peer: None }
    }

    /// What it takes and counts.
    pub(crate) fn intake(&self) -> &Intake {
        &self.intake
    }

    /// What only takes OTLP.
    pub(crate) fn only_otlp(&self) -> Self {
        Self { routes: routes::only_otlp(&self.intake), ..self.clone() }
    }

    /// For the requests of one connection.
    pub(crate) fn of_peer(&self, peer: PeerAddress) -> Self {
        Self { peer: Some(peer), ..self.clone() }
    }

    /// The routes behind a prefix of one or more segments (`/telemetry`, `/ops/telemetry`), spelt as it stands in requests; for
    /// hosts that do not take the prefix off themselves. Not so the methods of OTLP/gRPC, whose paths are the protocol's own.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        let segments = prefix.split('/').filter(|segment| !segment.is_empty());
        let prefix = segments.fold(warp::any().boxed(), |path, segment| {
            path.and(warp::path(segment.to_owned())).boxed()
        });
        Self { routes: prefix.and(self.routes.clone()).boxed(), ..self }
    }
}

impl<B> Service<Request<B>> for HubService
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<HubBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        if grpc::is_grpc(request.headers()) {
            let (parts, body) = request.into_parts();
            let body = Incoming::new(parts.headers.clone(), BodyDataStream::new(Box::pin(body)));
            let answer = grpc::call(Request::from_parts(parts, ()), body, self.intake.clone());
            return Box::pin(async { Ok(answer.await.map(HubBody::new)) });
        }
        let cors = self.intake.cors();
        if let Some(headers) = cors.preflight(request.method(), request.headers()) {
            let answer = reply::preflight(headers).map(HubBody::new);
            return Box::pin(async { Ok(answer) });
        }
        let cors = cors.headers(request.headers());
        if let Some(exit) = request.extensions_mut().get_mut::<Exit>() {
            exit.headers.clone_from(&cors);
        }
        let foreign = warp::any().map(reply::not_found);
        // warp takes a target that is no path (`GET nonsense`) for the root.
        let routes = match request.uri().path_and_query() {
            Some(_) => self.routes.clone(),
            None => foreign.boxed(),
        };
        let mut service = warp::service(routes.or(foreign).unify());
        // Who asks first whether to send at all is spared it.
        let is_sending = !request.headers().contains_key(EXPECT);
        let request = request.map(RequestBody::new);
        let body = request.body().clone();
        let (answer, intake) = (service.call(request), self.intake.clone());
        Box::pin(async move {
            let mut answer = answer.await?;
            answer.headers_mut().extend(cors);
            intake.count_answer(answer.status());
            if is_sending && !answer.status().is_success() {
                body.discard().await;
            }
            Ok(answer.map(HubBody::new))
        })
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of an answer: whole, a stream without an end, or what gRPC makes of it.
#[derive(Debug)]
pub struct HubBody(UnsyncBoxBody<Bytes, BoxError>);

impl HubBody {
    fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(body.map_err(Into::into).boxed_unsync())
    }
}

impl Body for HubBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
