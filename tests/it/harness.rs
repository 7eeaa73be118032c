//! A server of one's own for each test, and clients that read its streams.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_compression::tokio::bufread::ZstdDecoder;
use eventsource_stream::{Event as Frame, Eventsource};
use futures_util::{Stream, StreamExt};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use telemetry_hub::{Server, ServerError, Settings};
use telemetry_hub_actors::{Clock, HubHandle};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything may take that must happen. Only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. [`stop`](Self::stop) drains it and says how that went.
#[derive(Debug)]
pub(crate) struct TestServer {
    pub(crate) base: String,
    pub(crate) otlp: [Option<SocketAddr>; 2],
    pub(crate) hub: HubHandle,
    pub(crate) client: reqwest::Client,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServerError>>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// With settings other than the defaults.
    pub(crate) async fn with(settings: Value) -> Self {
        Self::with_clock(settings, Clock::system()).await
    }

    /// With a time of day of its own as well.
    pub(crate) async fn with_clock(mut settings: Value, clock: Clock) -> Self {
        if settings["listen"].is_null() {
            settings["listen"] = json!("127.0.0.1:0");
        }
        // Tests run side by side, and the usual ports are there once.
        for name in ["otlp_http", "otlp_grpc"] {
            if settings[name].is_null() {
                settings[name] = json!("off");
            }
        }
        let settings = Settings::load(None, &settings).unwrap().with_clock(clock);
        let server = Server::bind(settings).await.unwrap();
        let (base, hub) = (format!("http://{}", server.address()), server.hub().clone());
        let otlp = server.otlp_addresses();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            // A test that drops the server without a word stops it too.
            stopped.await.ok();
        }));
        Self { base, otlp, hub, client: reqwest::Client::new(), stop, running }
    }

    /// Drains and waits for the end.
    pub(crate) async fn stop(self) -> Result<(), ServerError> {
        self.stop.send(()).unwrap();
        within_patience(self.running).await.unwrap()
    }

    /// Waits for the end of a server that has failed.
    pub(crate) async fn stop_failed(self) -> ServerError {
        within_patience(self.running).await.unwrap().unwrap_err()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    /// Sends JSON to where events go.
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Response {
        self.post_to("/api/telemetry/events", "application/json", body).await
    }

    pub(crate) async fn post_to(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Response {
        let request = self.client.post(format!("{}{path}", self.base));
        request.header("content-type", content_type).body(body).send().await.unwrap()
    }

    /// Posts events that must all be accepted.
    pub(crate) async fn accept(&self, events: &Value) {
        let answer = self.post(events.to_string()).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// Watches live events.
    pub(crate) async fn watch(&self, query: &str) -> LiveStream {
        LiveStream::open(self.get(&format!("/api/telemetry/traces/live?{query}")).await)
    }

    /// Watches live metrics.
    pub(crate) async fn watch_metrics(&self, query: &str) -> LiveStream {
        LiveStream::open(self.get(&format!("/api/telemetry/metrics/live?{query}")).await)
    }
}

/// A stream, as an SSE client sees it.
pub(crate) struct LiveStream {
    frames: std::pin::Pin<Box<dyn Stream<Item = Frame> + Send>>,
}

impl LiveStream {
    pub(crate) fn open(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let frames = response.bytes_stream().eventsource().map(|frame| frame.unwrap());
        Self { frames: Box::pin(frames) }
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        within_patience(self.frames.next()).await
    }

    /// The next frame that is no ping, which must be of this kind: its data, and its id.
    pub(crate) async fn expect(&mut self, kind: &str) -> (Value, String) {
        // Pings come for ever: each alone would be in time.
        let frame = within_patience(async {
            loop {
                let frame = self.frames.next().await.expect("the stream goes on");
                if frame.event != "ping" {
                    return frame;
                }
            }
        });
        let frame = frame.await;
        assert_eq!(frame.event, kind, "{frame:?}");
        (serde_json::from_str(&frame.data).unwrap(), frame.id)
    }

    /// The next `count` events, over however many frames.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            let (data, _) = self.expect("trace").await;
            events.extend(data.as_array().unwrap().iter().cloned());
        }
        assert_eq!(events.len(), count);
        events
    }

    /// All frames to the end of the stream.
    pub(crate) async fn rest(mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }
}

/// The types of events.
pub(crate) fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// Fails if it takes too long.
pub(crate) async fn within_patience<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("within a generous time")
}

/// Waits until something is so, looking again whenever other tasks have had their turn.
pub(crate) async fn eventually(mut is_so: impl FnMut() -> bool) {
    within_patience(async {
        let mut tick = tokio::time::interval(Duration::from_millis(2));
        while !is_so() {
            tick.tick().await;
        }
    })
    .await;
}

/// A problem as RFC 9457 has it, with this status.
pub(crate) async fn problem(response: Response, status: u16) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status);
    for member in ["type", "title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
    problem
}

/// A file of `tests/data`, decompressed.
pub(crate) async fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let compressed = tokio::fs::read(path).await.unwrap();
    let mut text = String::new();
    ZstdDecoder::new(compressed.as_slice()).read_to_string(&mut text).await.unwrap();
    text
}

/// The headers and the bodies of the mail server's webhooks, in order.
pub(crate) async fn webhook_requests() -> Vec<(Value, String)> {
    let lines = data("stalwart-webhooks.ndjson.zst").await;
    let request = |line: &str| {
        let mut request: Value = serde_json::from_str(line).unwrap();
        let headers = request["headers"].take();
        (headers, request["body"].as_str().unwrap().to_owned())
    };
    lines.lines().map(request).collect()
}

/// The bodies alone.
pub(crate) async fn webhook_bodies() -> Vec<String> {
    webhook_requests().await.into_iter().map(|(_, body)| body).collect()
}

/// How a client comes to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Http1,
    Http2,
    Http1Tls,
    Http2Tls,
}

impl Transport {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2Tls)
    }

    /// A server that speaks so, and its client with it.
    pub(crate) async fn serve(self, mut settings: Value) -> TestServer {
        let certificates = Certificates::for_localhost();
        if self.is_tls() {
            certificates.add_to(&mut settings);
        }
        let mut server = TestServer::with(settings).await;
        if self.is_tls() {
            server.base = server.base.replace("http://127.0.0.1", "https://localhost");
        }
        server.client = self.client(&certificates).build().unwrap();
        server
    }

    /// A client that speaks so, and trusts whoever has one of these certificates.
    pub(crate) fn client(self, certificates: &Certificates) -> reqwest::ClientBuilder {
        let client = reqwest::Client::builder();
        match self {
            Self::Http1 => client.http1_only(),
            Self::Http2 => client.http2_prior_knowledge(),
            Self::Http1Tls => client.http1_only().tls_certs_only([certificates.root()]),
            // By ALPN.
            Self::Http2Tls => client.tls_certs_only([certificates.root()]),
        }
    }

    pub(crate) fn version(self) -> reqwest::Version {
        match self {
            Self::Http1 | Self::Http1Tls => reqwest::Version::HTTP_11,
            Self::Http2 | Self::Http2Tls => reqwest::Version::HTTP_2,
        }
    }
}

/// A certificate with its key, in files of its own.
#[derive(Debug)]
pub(crate) struct Certificates {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// A new one, which nobody else has signed.
    pub(crate) fn for_localhost() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certificates").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let made = Self { certificate: folder.join("certificate"), key: folder.join("key") };
        made.renew();
        made
    }

    /// Puts another in its place.
    pub(crate) fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&self.certificate, made.cert.pem()).unwrap();
        std::fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
    }

    pub(crate) fn add_to(&self, settings: &mut Value) {
        settings["tls_certificate"] = json!(self.certificate);
        settings["tls_key"] = json!(self.key);
    }

    pub(crate) fn root(&self) -> reqwest::Certificate {
        reqwest::Certificate::from_pem(&std::fs::read(&self.certificate).unwrap()).unwrap()
    }

    /// For a client that shows it.
    pub(crate) fn identity(&self) -> reqwest::Identity {
        let both = [&self.certificate, &self.key].map(|file| std::fs::read(file).unwrap());
        reqwest::Identity::from_pem(&both.concat()).unwrap()
    }
}
