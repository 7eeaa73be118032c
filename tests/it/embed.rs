//! The hub inside servers of others: warp, axum, plain hyper; at the root and behind a prefix.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use async_compression::tokio::write::GzipEncoder;
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use telemetry_hub::actors::{HubConfig, HubHandle, NewEvent, ShutdownError};
use telemetry_hub::{HubService, RouteOptions, routes, routes_with};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_service::Service as _;
use warp::filters::BoxedFilter;
use warp::reject::{Reject, Rejection};
use warp::{Filter, Reply};

use crate::harness::{LiveStream, PATIENCE, eventually, problem, types, within_patience};

/// Bodies in these hosts may have so many bytes.
const MAX_BODY_BYTES: usize = 1000;

fn options() -> RouteOptions {
    RouteOptions::default().max_body_bytes(MAX_BODY_BYTES)
}

/// A server with a hub inside it, which says `hello` at `/hello`, and at `/telemetry/about` unless all of it is the hub's.
struct Host {
    name: &'static str,
    root: String,
    /// Where the hub is.
    prefix: &'static str,
    hub: HubHandle,
    client: reqwest::Client,
    stop: oneshot::Sender<Stop>,
    running: JoinHandle<()>,
}

/// How a host ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    HubFirst,
    ServerFirst,
}

type Answer = warp::reply::Response;
type Asked = BoxFuture<'static, ()>;
type Serve = fn(HubHandle, TcpListener, Asked) -> BoxFuture<'static, ()>;

/// Every way to have the hub inside a server: its name, and where the hub is.
const HOSTS: [(&str, &str, Serve); 8] = [
    ("warp, beside", "", |hub, listener, stop| {
        serve_warp(warp_host().or(routes_with(&hub, &options())), listener, stop)
    }),
    ("warp, behind a prefix", "/telemetry", |hub, listener, stop| {
        let hub = warp::path("telemetry").and(routes_with(&hub, &options()));
        serve_warp(hub.or(warp_host()), listener, stop)
    }),
    ("warp, behind two", "/ops/telemetry", |hub, listener, stop| {
        let hub = warp::path("ops").and(warp::path("telemetry")).and(routes_with(&hub, &options()));
        serve_warp(warp_host().or(hub), listener, stop)
    }),
    ("axum, nested", "/telemetry", |hub, listener, stop| {
        serve_axum(axum_host().nest_service("/telemetry", service(&hub)), listener, stop)
    }),
    ("axum, as the fallback", "", |hub, listener, stop| {
        serve_axum(axum_host().fallback_service(service(&hub)), listener, stop)
    }),
    ("axum, at a route", "/ops/telemetry", |hub, listener, stop| {
        let service = service(&hub).under("/ops/telemetry");
        serve_axum(axum_host().route_service("/ops/{*rest}", service), listener, stop)
    }),
    ("hyper, at the root", "", |hub, listener, stop| serve_hyper(service(&hub), listener, stop)),
    ("hyper, behind a prefix", "/ops/telemetry", |hub, listener, stop| {
        serve_hyper(service(&hub).under("/ops/telemetry"), listener, stop)
    }),
];

fn service(hub: &HubHandle) -> HubService {
    HubService::with(hub, &options())
}

fn warp_host() -> BoxedFilter<(&'static str,)> {
    let hello = warp::path!("hello").or(warp::path!("telemetry" / "about")).unify();
    hello.map(|| "hello").boxed()
}

fn serve_warp(
    routes: impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone + Send + Sync + 'static,
    listener: TcpListener,
    stop: Asked,
) -> BoxFuture<'static, ()> {
    Box::pin(warp::serve(routes).incoming(listener).graceful(stop).run())
}

fn axum_host() -> Router {
    let hello = get(async || "hello");
    Router::new().route("/hello", hello.clone()).route("/telemetry/about", hello)
}

fn serve_axum(app: Router, listener: TcpListener, stop: Asked) -> BoxFuture<'static, ()> {
    Box::pin(async {
        axum::serve(listener, app).with_graceful_shutdown(stop).await.unwrap();
    })
}

fn serve_hyper(hub: HubService, listener: TcpListener, mut stop: Asked) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let (builder, connections) =
            (auto::Builder::new(TokioExecutor::new()), GracefulShutdown::new());
        loop {
            let (socket, _) = tokio::select! {
                accepted = listener.accept() => accepted.unwrap(),
                () = &mut stop => break,
            };
            let hub = TowerToHyperService::new(hub.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let hub = hub.clone();
                async move {
                    if ["/hello", "/telemetry/about"].contains(&request.uri().path()) {
                        let hello = Full::from("hello").map_err(|never| match never {});
                        return Ok(Response::new(hello.boxed_unsync()));
                    }
                    let answer = hub.call(request).await;
                    answer.map(|answer| answer.map(|body| body.boxed_unsync()))
                }
            });
            let connection = builder.serve_connection(TokioIo::new(socket), service).into_owned();
            tokio::spawn(connections.watch(connection));
        }
        drop(listener);
        connections.shutdown().await;
    })
}

impl Host {
    async fn start((name, prefix, serve): (&'static str, &'static str, Serve)) -> Self {
        let hub = HubHandle::start(HubConfig::default()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let (stop, asked) = oneshot::channel();
        let stopping = hub.clone();
        let asked = Box::pin(async move {
            // A test that drops its host without a word stops it, too.
            if asked.await.unwrap_or(Stop::HubFirst) == Stop::HubFirst {
                stopping.shutdown(PATIENCE).await.unwrap();
            }
        });
        let running = tokio::spawn(serve(hub.clone(), listener, asked));
        Self { name, root, prefix, hub, client: reqwest::Client::new(), stop, running }
    }

    /// The address of a path of the hub.
    fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.root, self.prefix)
    }

    async fn get(&self, url: &str) -> reqwest::Response {
        self.client.get(url).send().await.unwrap()
    }

    async fn watch(&self, path: &str) -> LiveStream {
        LiveStream::open(self.get(&self.url(path)).await)
    }

    /// Sends JSON to where events go.
    async fn post(&self, body: impl Into<reqwest::Body>) -> reqwest::Response {
        self.post_as("identity", body).await
    }

    async fn post_as(&self, encoding: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        let request = self.client.post(self.url(EVENTS)).header("content-encoding", encoding);
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    }
}

const EVENTS: &str = "/api/telemetry/events";
const TRACES: &str = "/api/telemetry/traces/live";
const METRICS: &str = "/api/telemetry/metrics/live?interval=1h";

async fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(body).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

#[tokio::test]
async fn what_is_sent_to_a_host_is_seen_at_the_host() {
    for way in HOSTS {
        let host = Host::start(way).await;
        let mut stream = host.watch(&format!("{TRACES}?type=seen")).await;
        let plain = host.post("[{\"type\":\"other\"},{\"type\":\"seen.plain\"}]").await;
        assert_eq!(plain.json::<serde_json::Value>().await.unwrap(), json!({"accepted": 2}));
        let gzipped = host.post_as("gzip", gzip(b"{\"type\":\"seen.gzip\"}").await).await;
        assert_eq!(gzipped.status(), 200, "{}", host.name);
        // In chunks, so that its length is not announced.
        let chunks = ["{\"type\":", "\"seen.chunks\"}"].map(Ok::<_, std::io::Error>);
        let chunks = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        assert_eq!(host.post(chunks).await.status(), 200, "{}", host.name);
        let seen = stream.events(3).await;
        assert_eq!(types(&seen), ["seen.plain", "seen.gzip", "seen.chunks"], "{}", host.name);
        let (metrics, _) = host.watch(METRICS).await.expect("metrics").await;
        assert!(metrics.as_array().unwrap().iter().any(|sample| sample["id"] == "seen.gzip"));
        let page = host.get(&host.url("/metrics")).await.text().await.unwrap();
        assert!(page.contains("seen_gzip_total 1"), "{page}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_the_hubs_own_problem() {
    for way in HOSTS {
        let host = Host::start(way).await;
        let parameter = host.get(&host.url(&format!("{TRACES}?level=loud"))).await;
        assert_eq!(problem(parameter, 400).await["parameter"], "level", "{}", host.name);
        problem(host.post("no json").await, 400).await;
        let wrong = host.client.delete(host.url(EVENTS)).send().await.unwrap();
        assert_eq!(wrong.headers()["allow"], "POST", "{}", host.name);
        problem(wrong, 405).await;
        let text = host.client.post(host.url(EVENTS)).header("content-type", "text/plain");
        problem(text.body("hello").send().await.unwrap(), 415).await;
        problem(host.post_as("br", "hello").await, 415).await;
    }
}

#[tokio::test]
async fn the_limit_of_a_body_holds_in_a_host_and_smaller_ones_are_taken() {
    for way in HOSTS {
        let host = Host::start(way).await;
        let event = |size: usize| format!("{{\"type\":\"{}\"}}", "a".repeat(size - 11));
        assert_eq!(host.post(event(MAX_BODY_BYTES)).await.status(), 200, "{}", host.name);
        problem(host.post(event(MAX_BODY_BYTES + 1)).await, 413).await;
        let bomb = gzip(event(100 * MAX_BODY_BYTES).as_bytes()).await;
        assert!(bomb.len() < MAX_BODY_BYTES);
        problem(host.post_as("gzip", bomb).await, 413).await;
        assert_eq!(host.hub.stats().received, 1, "{}", host.name);
    }
}

#[tokio::test]
async fn head_is_get_without_a_body_and_leaves_no_subscriber() {
    for way in HOSTS {
        let host = Host::start(way).await;
        for path in ["/healthz", "/readyz", TRACES] {
            let response = host.client.head(host.url(path)).send().await.unwrap();
            assert_eq!(response.status(), 200, "{} {path}", host.name);
            assert!(response.bytes().await.unwrap().is_empty());
        }
        eventually(|| host.hub.stats().subscribers == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_its_subscriber_in_a_host() {
    for way in HOSTS {
        let host = Host::start(way).await;
        let streams = (host.watch(TRACES).await, host.watch(METRICS).await);
        assert_eq!(host.hub.stats().subscribers, 2, "{}", host.name);
        drop(streams);
        eventually(|| host.hub.stats().subscribers == 0).await;
    }
}

#[tokio::test]
async fn the_hosts_own_routes_are_reached_whatever_the_hub_has() {
    for way in HOSTS {
        let host = Host::start(way).await;
        for path in ["/hello", "/telemetry/about"] {
            let answer = host.get(&format!("{}{path}", host.root)).await;
            assert_eq!(answer.text().await.unwrap(), "hello", "{} {path}", host.name);
        }
        for url in [host.url("/nope"), format!("{}/nope", host.root)] {
            assert_eq!(host.get(&url).await.status(), 404, "{} {url}", host.name);
        }
        if !host.prefix.is_empty() {
            // What is the hub's at the root is nobody's here.
            let outside = host.get(&format!("{}/healthz", host.root)).await;
            assert_eq!(outside.status(), 404, "{}", host.name);
        }
    }
}

#[tokio::test]
async fn a_host_that_stops_its_hub_first_ends_with_every_stream_told() {
    for way in HOSTS {
        let host = Host::start(way).await;
        let streams = [host.watch(TRACES).await, host.watch(METRICS).await];
        assert_eq!(host.post("{\"type\":\"last\"}").await.status(), 200);
        host.stop.send(Stop::HubFirst).unwrap();
        for (stream, kind) in streams.into_iter().zip(["trace", "metrics"]) {
            let frames = within_patience(stream.rest()).await;
            let kinds: Vec<_> = frames.iter().map(|frame| frame.event.as_str()).collect();
            assert_eq!(kinds.last(), Some(&"bye"), "{}", host.name);
            assert!(kinds.contains(&kind), "{}: {kinds:?}", host.name);
        }
        within_patience(host.running).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_that_stops_without_its_hub_waits_for_whoever_watches() {
    for way in HOSTS {
        let host = Host::start(way).await;
        let mut stream = host.watch(TRACES).await;
        host.stop.send(Stop::ServerFirst).unwrap();
        let address = host.root.strip_prefix("http://").unwrap();
        within_patience(async { while TcpStream::connect(address).await.is_ok() {} }).await;
        // It listens no more, and its stream goes on.
        host.hub.try_ingest(vec![NewEvent::new("late")]).unwrap();
        assert_eq!(types(&stream.events(1).await), ["late"]);
        assert!(!host.running.is_finished(), "{}", host.name);
        host.hub.shutdown(PATIENCE).await.unwrap();
        assert_eq!(within_patience(stream.rest()).await.last().unwrap().event, "bye");
        within_patience(host.running).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_neither_the_hub_nor_its_end() {
    for way in HOSTS {
        let host = Host::start(way).await;
        let mut stalled =
            TcpStream::connect(host.root.strip_prefix("http://").unwrap()).await.unwrap();
        let request = format!("GET {}{TRACES} HTTP/1.1\r\nhost: localhost\r\n\r\n", host.prefix);
        stalled.write_all(request.as_bytes()).await.unwrap();
        eventually(|| host.hub.stats().subscribers == 1).await;
        let text = "x".repeat(1 << 20);
        for _ in 0..12 {
            let event = NewEvent::new("t").text(&text);
            host.hub.ingest(vec![event]).await.unwrap();
        }
        let ended = within_patience(host.hub.shutdown(Duration::from_millis(100))).await;
        assert_eq!(ended, Err(ShutdownError { left: 1 }), "{}", host.name);
        // Only its connection is left, and with that its host has to do as it likes.
        drop(stalled);
        host.stop.send(Stop::ServerFirst).unwrap();
        within_patience(host.running).await.unwrap();
    }
}

/// What a host rejects for reasons of its own.
#[derive(Debug)]
struct Teapot;

impl Reject for Teapot {}

/// Routes of a host on warp, beside the hub's and below the same prefix.
fn own_routes() -> BoxedFilter<(Answer,)> {
    let teapot = async || Err::<&str, _>(warp::reject::custom(Teapot));
    let teapot = warp::path!("telemetry" / "teapot").and_then(teapot).map(Reply::into_response);
    let number = warp::path!("telemetry" / "number" / u8);
    let number = number.map(|number: u8| number.to_string().into_response());
    teapot.or(number).unify().boxed()
}

/// Answers what is rejected here or nowhere known.
async fn recover(rejection: Rejection) -> Result<Answer, Rejection> {
    let status = match rejection.find::<Teapot>() {
        Some(Teapot) => 418,
        None if rejection.is_not_found() => 404,
        None => return Err(rejection),
    };
    let status = warp::http::StatusCode::from_u16(status).unwrap();
    Ok(warp::reply::with_status("the host's", status).into_response())
}

/// What a service answers: the status, and the text.
async fn ask<S, B, A>(service: &mut S, request: Request<B>) -> (u16, String)
where
    S: tower_service::Service<Request<B>, Response = Response<A>, Error = Infallible>,
    A: Body<Error: std::fmt::Debug>,
{
    let answer = service.call(request).await.unwrap_or_else(|never| match never {});
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn get_request(path: &str) -> Request<String> {
    Request::get(path).body(String::new()).unwrap()
}

#[tokio::test]
async fn a_warp_hosts_own_rejections_reach_its_own_recover_before_and_behind_the_hub() {
    let hub = HubHandle::start(HubConfig::default()).await.unwrap();
    let hubs = warp::path("telemetry").and(routes(&hub)).boxed();
    let (before, behind) = (own_routes().or(hubs.clone()), hubs.or(own_routes()));
    for host in [before.unify().boxed(), behind.unify().boxed()] {
        let mut host = warp::service(host.recover(recover).unify());
        for (path, status, text) in [
            ("/telemetry/number/7", 200, "7"),
            ("/telemetry/teapot", 418, "the host's"),
            ("/telemetry/number/many", 404, "the host's"),
            ("/telemetry/api/telemetry/traces/live/more", 404, "the host's"),
            ("/telemetryreadyz", 404, "the host's"),
            ("/readyz", 404, "the host's"),
            ("/telemetry/readyz", 200, "{\"status\":\"ready\"}"),
        ] {
            let answer = ask(&mut host, get_request(path)).await;
            assert_eq!(answer, (status, text.to_owned()), "{path}");
        }
        let (status, text) = ask(&mut host, get_request(&format!("/telemetry{EVENTS}"))).await;
        assert_eq!(status, 405);
        assert!(text.contains("allowed here: POST"), "{text}");
    }
}

#[tokio::test]
async fn a_body_that_the_host_has_taken_is_its_own_failure_and_no_wrong_method() {
    let hub = HubHandle::start(HubConfig::default()).await.unwrap();
    let greedy = warp::body::stream().and(warp::header::exact("x-mine", "yes"));
    let greedy = greedy.map(|_| "the host's".into_response());
    let mut host = warp::service(greedy.or(routes(&hub)).unify().recover(recover).unify());
    let request = Request::post(EVENTS).body("{\"type\":\"a\"}".to_owned()).unwrap();
    assert_eq!(ask(&mut host, request).await.0, 500);
    assert_eq!(hub.stats().received, 0);
}

#[tokio::test]
async fn bodies_of_every_kind_are_taken() {
    let hub = HubHandle::start(HubConfig::default()).await.unwrap();
    let mut service = HubService::new(&hub).under("/a/b/");
    let event = "{\"type\":\"a\"}";
    let accepted = (200, "{\"accepted\":1}".to_owned());
    let post = || Request::post(format!("/a/b{EVENTS}"));
    assert_eq!(ask(&mut service, post().body(event.to_owned()).unwrap()).await, accepted);
    let deque: VecDeque<u8> = event.bytes().collect();
    assert_eq!(ask(&mut service, post().body(Full::new(deque)).unwrap()).await, accepted);
    // Sent between threads, but never shared.
    let unshared = Full::new(Bytes::from(event)).boxed_unsync();
    assert_eq!(ask(&mut service, post().body(unshared).unwrap()).await, accepted);
    let chunks =
        [Ok(Frame::data(Bytes::from("{\"type\""))), Err(std::io::Error::other("cable cut"))];
    let broken = StreamBody::new(futures_util::stream::iter(chunks));
    let (status, text) = ask(&mut service, post().body(broken).unwrap()).await;
    assert_eq!(status, 400);
    assert!(text.contains("cable cut"), "{text}");
    assert_eq!(hub.stats().received, 3);
}

#[tokio::test]
async fn a_hub_lives_as_long_as_its_routes() {
    let hub = HubHandle::start(HubConfig::default()).await.unwrap();
    let mut service = HubService::new(&hub);
    drop(hub);
    let live = service.call(get_request(TRACES)).await.unwrap();
    let clone = service.clone();
    drop(service);
    assert_eq!(ask(&mut clone.clone(), get_request("/healthz")).await.0, 200);
    drop(clone);
    // The last to know the hub is gone, and with it the hub: the stream ends.
    within_patience(live.into_body().collect()).await.unwrap();
}
