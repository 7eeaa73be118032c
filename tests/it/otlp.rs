//! OTLP as exporters speak it: over HTTP and gRPC, on every port; what they are told when something is wrong.

use async_compression::tokio::bufread::GzipEncoder;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use reqwest::Response;
use serde_json::{Value, json};
use telemetry_hub::{Server, Settings};
use telemetry_hub_actors::Fault;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::{StatusExt, pb};

use crate::harness::{TestServer, eventually, within_patience};

const PROTOBUF: &str = "application/x-protobuf";

fn record(name: &str) -> LogRecord {
    LogRecord { event_name: name.into(), time_unix_nano: 1, ..LogRecord::default() }
}

fn request(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope = InstrumentationScope { name: "scope".into(), ..InstrumentationScope::default() };
    let scope_logs =
        ScopeLogs { scope: Some(scope), log_records: records, schema_url: String::new() };
    let resource_logs = ResourceLogs { scope_logs: vec![scope_logs], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
}

fn bad_id() -> LogRecord {
    LogRecord { trace_id: vec![1; 15], ..record("bad") }
}

async fn post(server: &TestServer, request: &ExportLogsServiceRequest) -> Response {
    server.post_to("/v1/logs", PROTOBUF, request.encode_to_vec()).await
}

async fn gzip(body: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    GzipEncoder::new(body).read_to_end(&mut compressed).await.unwrap();
    compressed
}

async fn grpc_client(base: &str) -> LogsServiceClient<Channel> {
    LogsServiceClient::connect(base.to_owned()).await.unwrap()
}

async fn export(
    server: &TestServer,
    request: ExportLogsServiceRequest,
) -> Result<ExportLogsServiceResponse, Status> {
    let mut client = grpc_client(&server.base).await;
    within_patience(client.export(request)).await.map(tonic::Response::into_inner)
}

/// The error that a response carries, in the encoding of the request.
async fn protobuf_status(response: Response, status: u16) -> pb::Status {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], PROTOBUF);
    pb::Status::decode(response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn part_of_a_request_is_taken_and_the_rest_counted() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let mixed = request(vec![record("a"), bad_id(), record("b"), bad_id()]);
    let answer = post(&server, &mixed).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], PROTOBUF);
    let answer = ExportLogsServiceResponse::decode(answer.bytes().await.unwrap()).unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 2);
    assert_eq!(partial.error_message, "traceId: expected 16 bytes");
    let answer = export(&server, mixed).await.unwrap();
    assert_eq!(answer.partial_success.unwrap().rejected_log_records, 2);
    let events = stream.events(4).await;
    assert_eq!(crate::harness::types(&events), ["a", "b", "a", "b"]);
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("\nserver_otlp_rejected_total 4\n"), "{metrics}");
}

#[tokio::test]
async fn a_request_of_which_nothing_can_be_taken_is_bad() {
    let server = TestServer::start().await;
    let all_bad = request(vec![bad_id(), bad_id()]);
    let status = protobuf_status(post(&server, &all_bad).await, 400).await;
    assert_eq!(status.code, Code::InvalidArgument as i32);
    assert_eq!(status.message, "all 2 rejected: traceId: expected 16 bytes");
    let status = export(&server, all_bad).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let garbage = server.post_to("/v1/logs", PROTOBUF, "garbage").await;
    let status = protobuf_status(garbage, 400).await;
    assert!(status.message.starts_with("not valid protobuf"), "{status:?}");
    // Nothing at all is no mistake.
    assert_eq!(post(&server, &request(Vec::new())).await.status(), 200);
    assert_eq!(server.post_to("/v1/logs", PROTOBUF, "").await.status(), 200);
}

#[tokio::test]
async fn one_record_that_cannot_be_decoded_spoils_no_other() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let mut body = request(vec![record("a"), record("spoilt"), record("b")]).encode_to_vec();
    let position = body.windows(6).position(|window| window == b"spoilt").unwrap();
    body[position] = 0xff;
    let answer = server.post_to("/v1/logs", PROTOBUF, body).await;
    let answer = ExportLogsServiceResponse::decode(answer.bytes().await.unwrap()).unwrap();
    assert_eq!(answer.partial_success.unwrap().rejected_log_records, 1);
    assert_eq!(crate::harness::types(&stream.events(2).await), ["a", "b"]);
}

#[tokio::test]
async fn a_long_text_counts_once() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let text = "x".repeat(1 << 20);
    let body = AnyValue { value: Some(AnyValueKind::StringValue(text.clone())) };
    let long = LogRecord { body: Some(body), ..record("long") };
    // Two of them are over the limit for one, of 2 MiB; each alone is not.
    let answer = post(&server, &request(vec![long.clone(), long])).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap().is_empty(), "nothing was rejected");
    assert_eq!(stream.events(2).await[1]["text"], text);
}

#[tokio::test]
async fn gzip_is_taken_and_limited_after_decompression() {
    let server = TestServer::with(json!({"max_body_bytes": "100 kB"})).await;
    let mut stream = server.watch("").await;
    let small = gzip(&request(vec![record("small")]).encode_to_vec()).await;
    let large = request(vec![LogRecord { severity_text: "x".repeat(200_000), ..record("large") }]);
    let compressed = gzip(&large.encode_to_vec()).await;
    assert!(compressed.len() < 2_000);
    for (body, status) in [(small, 200), (compressed, 413)] {
        let post = server.client.post(format!("{}/v1/logs", server.base));
        let post = post.header("content-type", PROTOBUF).header("content-encoding", "gzip");
        let answer = post.body(body).send().await.unwrap();
        if status == 200 {
            assert_eq!(answer.status(), 200);
        } else {
            let status = protobuf_status(answer, status).await;
            assert_eq!(status.code, Code::ResourceExhausted as i32);
            assert!(status.details.is_empty(), "no use in trying again");
        }
    }
    let mut client = grpc_client(&server.base).await.send_compressed(CompressionEncoding::Gzip);
    client.export(request(vec![record("grpc")])).await.unwrap();
    let error = client.export(large.clone()).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.get_details_retry_info().is_none());
    // As large, and not compressed.
    let error = grpc_client(&server.base).await.export(large).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(crate::harness::types(&stream.events(2).await), ["small", "grpc"]);
}

#[tokio::test]
async fn an_event_over_the_limit_is_rejected_alone() {
    let server = TestServer::with(json!({"max_event_bytes": "10 kB"})).await;
    let value = AnyValue { value: Some(AnyValueKind::StringValue("x".repeat(20_000))) };
    let large = KeyValue { key: "large".into(), value: Some(value), ..KeyValue::default() };
    let large = LogRecord { attributes: vec![large], ..record("large") };
    let answer = export(&server, request(vec![record("small"), large])).await.unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 1);
    assert!(partial.error_message.contains("over the limit"), "{partial:?}");
}

#[tokio::test]
async fn overload_says_when_to_come_back() {
    let settings = json!({"ingest_queue_bytes": "4 kB", "ingest_patience": "10ms"});
    let server = TestServer::with(settings).await;
    server.hub.inject(Fault::HangCollector).await;
    let one = request(vec![record("one")]);
    loop {
        let answer = post(&server, &one).await;
        if answer.status() != 200 {
            assert_eq!(answer.headers()["retry-after"], "1");
            let status = protobuf_status(answer, 503).await;
            assert_eq!(status.code, Code::Unavailable as i32);
            let [detail] = status.details.as_slice() else { panic!("{status:?}") };
            assert_eq!(detail.type_url, "type.googleapis.com/google.rpc.RetryInfo");
            let retry = pb::RetryInfo::decode(detail.value.as_slice()).unwrap();
            assert_eq!(retry.retry_delay.unwrap().seconds, 1);
            break;
        }
    }
    let json = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"one"}]}]}]}"#;
    let answer = server.post_to("/v1/logs", "application/json", json).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    let status: Value = answer.json().await.unwrap();
    assert_eq!(status["code"], 14);
    let retry = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]);
    assert_eq!(status["details"], retry);
    let error = export(&server, one).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let retry = error.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(retry.as_secs(), 1);
}

#[tokio::test]
async fn requests_that_are_no_otlp_are_told_so() {
    let server = TestServer::start().await;
    let answer = server.get("/v1/logs").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    let answer = server.post_to("/v1/logs", "text/plain", "x").await;
    assert_eq!(answer.status(), 415);
    assert_eq!(answer.headers()["accept-post"], "application/x-protobuf, application/json");
    assert_eq!(answer.headers()["content-type"], "application/json");
    let status: Value = answer.json().await.unwrap();
    assert_eq!(status["code"], Code::InvalidArgument as i32);
    assert_eq!(server.post_to("/v1/profiles", PROTOBUF, "").await.status(), 404);
    let mut client = tonic::client::Grpc::new(
        Channel::from_shared(server.base.clone()).unwrap().connect().await.unwrap(),
    );
    client.ready().await.unwrap();
    let path = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
    let codec =
        tonic_prost::ProstCodec::<ExportLogsServiceRequest, ExportLogsServiceResponse>::default();
    let unknown = client.unary(Request::new(request(vec![])), path.parse().unwrap(), codec).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_usual_ports_take_otlp_and_nothing_else() {
    let any = "127.0.0.1:0";
    let server = TestServer::with(json!({"otlp_http": any, "otlp_grpc": any})).await;
    let mut stream = server.watch("").await;
    for address in server.otlp.map(Option::unwrap) {
        let base = format!("http://{address}");
        let body = request(vec![record("http")]).encode_to_vec();
        let post = server.client.post(format!("{base}/v1/logs")).header("content-type", PROTOBUF);
        assert_eq!(post.body(body).send().await.unwrap().status(), 200);
        grpc_client(&base).await.export(request(vec![record("grpc")])).await.unwrap();
        for path in ["/metrics", "/api/telemetry/traces/live", "/"] {
            let answer = server.client.get(format!("{base}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), 404, "{path}");
        }
    }
    assert_eq!(crate::harness::types(&stream.events(4).await), ["http", "grpc", "http", "grpc"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_matters_only_if_it_was_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let wanted = json!({"listen": "127.0.0.1:0", "otlp_grpc": address, "otlp_http": "off"});
    let error = Server::bind(Settings::load(None, &wanted).unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    // On an address of its own, so that nobody else's test is in the way.
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let host = |third: u8| format!("127.{}.{high}.{}", 100 + third, low.max(1));
    let auto =
        json!({"listen": format!("{}:0", host(1)), "otlp_grpc": "auto", "otlp_http": "auto"});
    let first = Server::bind(Settings::load(None, &auto).unwrap()).await.unwrap();
    let [http, grpc] = first.otlp_addresses().map(Option::unwrap);
    assert_eq!(
        (http.to_string(), grpc.to_string()),
        (format!("{}:4318", host(1)), format!("{}:4317", host(1)))
    );
    let second = Server::bind(Settings::load(None, &auto).unwrap()).await.unwrap();
    assert_eq!(second.otlp_addresses(), [None, None]);
    let off = json!({"listen": format!("{}:0", host(2)), "otlp_grpc": "off", "otlp_http": "off"});
    let off = Server::bind(Settings::load(None, &off).unwrap()).await.unwrap();
    assert_eq!(off.otlp_addresses(), [None, None]);
    // Who gives the usual port to the hub itself has OTLP there.
    let own = json!({"listen": format!("{}:4318", host(3))});
    let own = Server::bind(Settings::load(None, &own).unwrap()).await.unwrap();
    assert_eq!(own.otlp_addresses().map(|address| address.map(|a| a.port())), [None, Some(4317)]);
}

#[tokio::test]
async fn a_drain_refuses_what_comes_and_says_when_to_come_back() {
    let server = TestServer::start().await;
    let one = request(vec![record("one")]);
    post(&server, &one).await;
    server.hub.refuse_new_work();
    assert_eq!(post(&server, &one).await.headers()["retry-after"], "1");
    let error = export(&server, one).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.get_details_retry_info().is_some());
    // Metrics would be lost with the hub.
    for path in ["/v1/metrics", "/api/telemetry/metrics"] {
        assert_eq!(server.post_to(path, "application/json", "{}").await.status(), 503, "{path}");
    }
    let hub = server.hub.clone();
    eventually(|| hub.stats().received == 1).await;
}

#[tokio::test]
async fn logs_of_a_trace_and_its_spans_meet() {
    let server = TestServer::start().await;
    let mut by_trace = server.watch("follow=trace&type=checkout").await;
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let log = |name: &str, span: &str| {
        let record =
            json!({"eventName": name, "traceId": trace, "spanId": span, "timeUnixNano": "5"});
        json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    };
    let span = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": trace, "spanId": span, "name": "GET /", "kind": 2,
        "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1250500000",
        "status": {"code": 2, "message": "out of stock"},
        "events": [{"timeUnixNano": "1100000000", "name": "exception",
                    "attributes": [{"key": "exception.type", "value": {"stringValue": "Empty"}}]}],
        "links": [{"traceId": "1".repeat(32), "spanId": "2".repeat(16)}],
    }]}]}]});
    for (path, body) in [
        ("/v1/logs", log("before", "b7ad6b7169203332")),
        ("/v1/logs", log("checkout", "b7ad6b7169203332")),
        ("/v1/logs", log("paid", "b7ad6b7169203333")),
        ("/v1/traces", span),
    ] {
        let answer = server.post_to(path, "application/json", body.to_string()).await;
        assert_eq!(answer.text().await.unwrap(), "{}");
    }
    let events = by_trace.events(3).await;
    assert_eq!(crate::harness::types(&events), ["checkout", "paid", "GET /"]);
    let span = &events[2];
    assert_eq!(span["signal"], "span");
    assert_eq!(span["level"], "ERROR");
    assert_eq!(span["createdAt"], "1970-01-01T00:00:01.250500Z");
    assert_eq!(
        span["data"],
        json!({
            "startTime": "1970-01-01T00:00:01Z", "duration": 250.5, "kind": "server",
            "status": {"code": "error", "message": "out of stock"},
            "events": [{"time": "1970-01-01T00:00:01.100Z", "name": "exception",
                        "attributes": {"exception.type": "Empty"}}],
            "links": [{"traceId": "1".repeat(32), "spanId": "2".repeat(16)}],
        })
    );
}

#[tokio::test]
async fn one_bad_span_among_good_ones_does_not_change_what_a_request_carries() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let span = |id: u8| Span {
        trace_id: vec![id; 16],
        span_id: vec![id; 8],
        name: "GET /".into(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        ..Span::default()
    };
    let bad = Span { trace_id: Vec::new(), ..span(1) };
    let spans = vec![bad, span(1), span(2)];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let answer = server.post_to("/v1/otel", PROTOBUF, body).await;
    assert_eq!(answer.status(), 200);
    let answer = ExportLogsServiceResponse::decode(answer.bytes().await.unwrap()).unwrap();
    assert_eq!(answer.partial_success.unwrap().rejected_log_records, 1);
    assert_eq!(crate::harness::types(&stream.events(2).await), ["GET /", "GET /"]);
}

#[tokio::test]
async fn what_compressed_messages_become_is_paid_for() {
    let server =
        TestServer::with(json!({"max_body_bytes": "4 MB", "max_decompression_ratio": 100_000}))
            .await;
    let large = LogRecord { severity_text: "x".repeat(3_000_000), ..record("large") };
    let exports: Vec<_> = (0..40)
        .map(|_| {
            let (base, large) = (server.base.clone(), request(vec![large.clone()]));
            tokio::spawn(async move {
                let client = grpc_client(&base).await;
                client.send_compressed(CompressionEncoding::Gzip).export(large).await
            })
        })
        .collect();
    for export in exports {
        // Each is refused, as too large for an event or for want of room; the hub does not grow with their number.
        let error = within_patience(export).await.unwrap().unwrap_err();
        assert!([Code::InvalidArgument, Code::Unavailable].contains(&error.code()), "{error}");
    }
    post(&server, &request(vec![record("still here")])).await;
}
