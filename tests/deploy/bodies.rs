//! Requests that are large or slow, and OTLP, through a proxy.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::{self, StreamExt};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Endpoint, Uri};

use crate::harness::{Transport, problem, within_patience};
use crate::hubs::{Hub, token};
use crate::proxy::{KINDS, Kind, Proxy, TRANSPORTS};

const EVENTS: &str = "/api/telemetry/events";

/// An array of events that comes to so many bytes.
fn body(bytes: usize) -> String {
    let event = json!({"type": "deploy.large", "text": "x".repeat(100_000)}).to_string();
    let mut events = vec![event.as_str(); bytes / (event.len() + 1)];
    let rest = bytes - events.len() * (event.len() + 1);
    let last = format!("{{\"text\":\"{}\"}}", "x".repeat(rest));
    events.push(&last);
    format!("[{}]", events.join(","))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn what_the_hub_takes_passes_and_what_it_does_not_take_is_refused() {
    let hub = Hub::start(&[]).await;
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        for transport in TRANSPORTS {
            let client = proxy.client(transport);
            let post = async |bytes| {
                let request = client.post(proxy.url(EVENTS)).body(body(bytes));
                let request = request.header("content-type", "application/json");
                within_patience(request.send()).await
            };
            let taken = post(15 << 20).await.unwrap();
            assert_eq!(taken.status(), 200, "{proxy} {transport:?}");
            let refused = post((16 << 20) + 100_000).await;
            // HAProxy ends the connection under a client that still sends, which may not see why.
            if (kind, transport) != (Kind::HaProxy, Transport::Http1Tls) || refused.is_ok() {
                problem(refused.unwrap(), 413).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn who_has_no_token_is_told_so_before_the_body_has_come() {
    let (_, file) = token().await;
    let hub = Hub::start(&[("CONFIG", file.to_str().unwrap())]).await;
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        for transport in TRANSPORTS {
            let first = stream::iter([Ok::<_, Infallible>("[")]);
            let endless = reqwest::Body::wrap_stream(first.chain(stream::pending()));
            let request = proxy.client(transport).post(proxy.url(EVENTS)).body(endless);
            problem(within_patience(request.send()).await.unwrap(), 401).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn long_queries_pass() {
    let hub = Hub::start(&[]).await;
    let filters = vec![format!("filter={}", "x".repeat(1000)); 30].join("&");
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        for transport in TRANSPORTS {
            let path = format!("/api/telemetry/traces/live?{filters}");
            let answer = proxy.get(&proxy.client(transport), &path).await;
            assert_eq!(answer.status(), 200, "{proxy} {transport:?}");
        }
    }
}

/// A log record with this name.
fn logs(name: &str) -> ExportLogsServiceRequest {
    let record = LogRecord { event_name: name.to_owned(), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
    let resource = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource] }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn otlp_passes_over_http_and_over_grpc() {
    let (token, file) = token().await;
    let hub = Hub::start(&[("CONFIG", file.to_str().unwrap())]).await;
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        let client = proxy.client(Transport::Http1Tls);
        let watch = client.get(proxy.url("/api/telemetry/traces/live")).bearer_auth(&token);
        let mut stream = crate::harness::LiveStream::open(watch.send().await.unwrap());

        let request = client.post(proxy.url("/v1/logs")).bearer_auth(&token);
        let request = request.header("content-type", "application/x-protobuf");
        let answer = request.body(logs("over http").encode_to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{proxy}");
        assert_eq!(stream.events(1).await[0]["type"], "over http");

        let mut grpc = grpc(&proxy).await;
        let denied = grpc.export(logs("nobody's")).await.unwrap_err();
        assert_eq!(denied.code(), tonic::Code::Unauthenticated, "{proxy}: {denied:?}");
        for _ in 0..3 {
            let mut request = tonic::Request::new(logs("over grpc"));
            let bearer = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", bearer);
            within_patience(grpc.export(request)).await.unwrap();
            assert_eq!(stream.events(1).await[0]["type"], "over grpc");
        }
    }
}

/// A client over TLS, by the proxy's certificate.
async fn grpc(proxy: &Proxy) -> LogsServiceClient<tonic::transport::Channel> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(&proxy.certificates().certificate).unwrap();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connect = Connect(TlsConnector::from(Arc::new(config)));
    // The scheme is for the channel alone: what it is given speaks TLS already.
    let endpoint = Endpoint::try_from(proxy.base.replace("https:", "http:")).unwrap();
    let channel = endpoint.connect_with_connector(connect);
    LogsServiceClient::new(within_patience(channel).await.unwrap())
}

#[derive(Clone)]
struct Connect(TlsConnector);

impl tower_service::Service<Uri> for Connect {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.0.clone();
        Box::pin(async move {
            let tcp = TcpStream::connect(("127.0.0.1", uri.port_u16().unwrap())).await?;
            let name = ServerName::try_from("localhost").unwrap();
            Ok(TokioIo::new(connector.connect(name, tcp).await?))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn where_no_hub_is_the_answer_is_a_problem() {
    for kind in KINDS {
        let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], crate::proxy::free_port()));
        let proxy = Proxy::start(kind, &[nobody]).await;
        let answer = proxy.get(&proxy.client(Transport::Http2Tls), "/readyz").await;
        assert_eq!(answer.headers()["retry-after"], "2", "{proxy}");
        let status = answer.status().as_u16();
        assert!(status == 502 || status == 503, "{proxy}: {status}");
        let said: Value = problem(answer, status).await;
        assert!(said["detail"].as_str().unwrap().starts_with("no hub"), "{said}");
    }
}
