//! What one client may cost: each limit, what the client gets at it, and which counter moves.

use std::time::Duration;

use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::access::{EVENTS, METRICS, known, request};
use crate::harness::{LiveStream, TestServer, Transport, eventually, problem, within_patience};
use crate::hostile::raw_request;

/// The value of one of the hub's own counters.
async fn counter(server: &TestServer, series: &str) -> f64 {
    let request = server.client.get(format!("{}{METRICS}?metrics={series}", server.base));
    let answer = request.bearer_auth("all").send().await.unwrap();
    let (samples, _) = LiveStream::open(answer).expect("metrics").await;
    samples[0]["value"].as_f64().unwrap()
}

async fn read_to_end(mut socket: tokio::net::TcpStream) -> String {
    let mut text = Vec::new();
    within_patience(socket.read_to_end(&mut text)).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_the_next_is_served() {
    let server = TestServer::with(json!({"max_connections": 3})).await;
    let hub = server.hub.clone();
    // A stream that has left HTTP's machinery holds its place as well.
    let stream = "GET /api/telemetry/traces/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut held = vec![raw_request(&server, stream).await];
    held.extend([raw_request(&server, "").await, raw_request(&server, "").await]);
    eventually(|| hub.stats().subscribers == 1).await;
    let answer = read_to_end(raw_request(&server, "").await).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 10"), "{answer}");
    drop(held);
    eventually(|| hub.stats().subscribers == 0).await;
    let served = async || reqwest::get(format!("{}/readyz", server.base)).await;
    within_patience(async { while !served().await.is_ok_and(|answer| answer.status() == 200) {} })
        .await;
    assert!(counter(&server, "server.connections.refused").await >= 1.0);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = TestServer::with(json!({"max_head_bytes": "16KiB"})).await;
    for (length, expected) in [(10_000, "HTTP/1.1 200 "), (20_000, "HTTP/1.1 431 ")] {
        let pad = "x".repeat(length);
        let head = format!(
            "GET /readyz HTTP/1.1\r\nhost: localhost\r\nx-pad: {pad}\r\nconnection: close\r\n\r\n"
        );
        let answer = read_to_end(raw_request(&server, &head).await).await;
        assert!(answer.starts_with(expected), "{length}: {answer}");
    }
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let head =
        format!("GET /readyz HTTP/1.1\r\nhost: localhost\r\n{many}connection: close\r\n\r\n");
    let answer = read_to_end(raw_request(&server, &head).await).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(counter(&server, "server.connections.failed").await, 2.0);
    // Over HTTP/2, it is the stream alone that fails.
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for (length, expected) in [(10_000, 200), (20_000, 431)] {
        let pad = "x".repeat(length / 10);
        let request = client.get(format!("{}/readyz", server.base));
        let request = (0..10).fold(request, |request, _| request.header("x-pad", &pad));
        assert_eq!(request.send().await.unwrap().status(), expected, "{length}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_refused() {
    let server = TestServer::with(json!({"body_timeout": "300ms"})).await;
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n"
    );
    let mut socket = raw_request(&server, &head).await;
    socket.write_all(b"{\"type\":").await.unwrap();
    let answer = read_to_end(socket).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("300ms"), "{answer}");
    assert_eq!(counter(&server, "server.responses.408").await, 1.0);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn bodies_that_nobody_stands_for_take_no_room_of_others() {
    let all = ["ingest", "traces", "metrics"];
    let server = TestServer::with(json!({
        "max_body_bytes": "64 KiB",
        "tokens": [known("all", &all, &json!({}))],
        "webhook_keys": ["key"],
    }))
    .await;
    let pad = " ".repeat(60_000);
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\nx-signature: eA==\r\ncontent-length: 65000\r\n\r\n{pad}"
    );
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(raw_request(&server, &head).await);
    }
    // The third and all after it find no room.
    let refused = async || counter(&server, "server.bodies.refused").await >= 18.0;
    within_patience(async { while !refused().await {} }).await;
    let answer =
        request(&server, Method::POST, "/api/telemetry/metrics", "all").body(format!("[{pad}]"));
    assert_eq!(answer.send().await.unwrap().status(), 200);
    server.stop().await.unwrap_err();
}

#[tokio::test]
async fn what_becomes_nothing_cannot_be_sent_for_ever() {
    let server = TestServer::with(json!({"max_body_bytes": "64 KiB"})).await;
    let nothing = compressed("gzip", b"").await;
    let event = compressed("gzip", b"{\"type\":\"t\"}").await;
    for (members, expected) in [(100, 200), (10_000, 413)] {
        let body = [nothing.repeat(members), event.clone()].concat();
        let announced = server.client.post(format!("{}{EVENTS}", server.base));
        let announced = announced.header("content-encoding", "gzip").body(body.clone());
        let chunks = [Ok::<_, std::io::Error>(body)];
        let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let chunked = server.client.post(format!("{}{EVENTS}", server.base)).body(chunked);
        let chunked = chunked.header("content-encoding", "gzip");
        for request in [announced, chunked] {
            assert_eq!(request.send().await.unwrap().status(), expected, "{members}");
        }
    }
    server.stop().await.unwrap();
}

async fn compressed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    match encoding {
        "gzip" => GzipEncoder::new(bytes).read_to_end(&mut compressed).await.unwrap(),
        _ => ZstdEncoder::new(bytes).read_to_end(&mut compressed).await.unwrap(),
    };
    compressed
}

#[tokio::test]
async fn a_body_that_becomes_much_larger_than_it_was_is_refused() {
    let server = TestServer::with(json!({"max_decompression_ratio": 100})).await;
    let event = |length| json!({"type": "t", "data": {"pad": "x".repeat(length)}}).to_string();
    let plain = format!("{}\n", event(10_000)).repeat(300);
    let answer = server.post_to(EVENTS, "application/x-ndjson", plain).await;
    assert_eq!(answer.status(), 200, "what is not compressed does not swell");
    let varied: String = (0..200_000_u64).map(|number| (number * number).to_string()).collect();
    let varied = json!([{"type": "t", "data": {"pad": &varied[..200_000]}}]).to_string();
    for encoding in ["gzip", "zstd"] {
        for (body, expected) in [
            // Small enough that its ratio is nobody's business.
            (event(250_000), 200),
            (varied.clone(), 200),
            // Each line is small, all of them are not.
            (format!("{}\n", event(10_000)).repeat(300), 413),
        ] {
            let is_lines = body.ends_with('\n');
            let kind = if is_lines { "application/x-ndjson" } else { "application/json" };
            let request = server.client.post(format!("{}{EVENTS}", server.base));
            let request = request.header("content-type", kind).header("content-encoding", encoding);
            let body = compressed(encoding, body.as_bytes()).await;
            let answer = request.body(body).send().await.unwrap();
            let status = answer.status();
            let told = answer.text().await.unwrap();
            assert_eq!(status, expected, "{encoding}: {told}");
            assert!(status == 200 || told.contains("100 times"), "{told}");
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_has_not_any_number_of_items() {
    let server = TestServer::start().await;
    for (kind, path) in [
        ("application/x-ndjson", EVENTS),
        ("application/json", EVENTS),
        ("application/json", "/api/telemetry/metrics"),
    ] {
        let body = match kind {
            "application/json" => format!("[{}0]", "0,".repeat(250_000)),
            _ => "0\n".repeat(250_001),
        };
        let told = problem(server.post_to(path, kind, body).await, 413).await;
        assert!(told["detail"].as_str().unwrap().contains("250000 items"), "{told}");
    }
    let envelope = format!("{{\"events\":[{}0]}}", "0,".repeat(250_000));
    problem(server.post(envelope).await, 413).await;
    // One fewer is read, and found to be no events.
    let told = problem(server.post(format!("[{}0]", "0,".repeat(249_999))).await, 400).await;
    assert_eq!(told["rejected"], 250_000);
    server.stop().await.unwrap();
}

/// A hub of two senders, each held to so much.
async fn paced(limits: Value) -> TestServer {
    let mut settings = limits;
    let all = ["ingest", "traces", "metrics"];
    settings["tokens"] =
        json!([known("all", &all, &json!({})), known("other", &["ingest"], &json!({}))]);
    TestServer::with(settings).await
}

async fn send(server: &TestServer, token: &str, path: &str, body: &Value) -> Response {
    request(server, Method::POST, path, token).json(body).send().await.unwrap()
}

#[tokio::test]
async fn a_token_brings_no_more_items_than_it_may() {
    let server = paced(json!({"max_items_per_second_per_token": 10})).await;
    let events = |count| json!(vec![json!({"type": "t"}); count]);
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": vec![json!({"body": {"stringValue": "x"}}); 6]}]}]});
    let point = json!({"asDouble": 1, "timeUnixNano": "1"});
    let gauge = json!({"name": "m", "gauge": {"dataPoints": [point]}});
    let metrics = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": vec![gauge; 6]}]}]});
    assert_eq!(send(&server, "all", EVENTS, &events(6)).await.status(), 200);
    assert_eq!(send(&server, "all", "/v1/metrics", &metrics).await.status(), 429);
    for (path, body) in [
        (EVENTS, &events(6)),
        ("/v1/logs", &logs),
        ("/api/telemetry/metrics", &json!(vec![json!({"name": "m", "value": 1}); 6])),
    ] {
        let answer = send(&server, "all", path, body).await;
        assert_eq!(answer.status(), 429, "{path}");
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
        let told = answer.text().await.unwrap();
        assert!(told.contains("10 items a second for a token"), "{told}");
    }
    assert_eq!(send(&server, "other", EVENTS, &events(10)).await.status(), 200);
    let too_many = send(&server, "other", EVENTS, &events(11)).await;
    assert!(problem(too_many, 413).await["detail"].as_str().unwrap().contains("smaller batches"));
    // What was refused is nowhere.
    assert_eq!(server.hub.stats().received, 16);
    assert_eq!(counter(&server, "server.bodies.limited").await, 5.0);
    // In a while there is room again.
    let again = async || send(&server, "all", EVENTS, &events(6)).await.status() == 200;
    within_patience(async { while !again().await {} }).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_brings_no_more_bytes_than_it_may() {
    let server = paced(json!({"max_bytes_per_second_per_token": "10kB"})).await;
    let event = |length| json!({"type": "t", "text": "x".repeat(length)});
    assert_eq!(send(&server, "all", EVENTS, &event(6000)).await.status(), 200);
    assert_eq!(send(&server, "all", EVENTS, &event(6000)).await.status(), 429);
    assert_eq!(send(&server, "other", EVENTS, &event(6000)).await.status(), 200);
    assert_eq!(send(&server, "other", EVENTS, &event(11_000)).await.status(), 413);
    let body = compressed("gzip", event(11_000).to_string().as_bytes()).await;
    let request =
        request(&server, Method::POST, EVENTS, "other").header("content-encoding", "gzip");
    assert_eq!(request.body(body).send().await.unwrap().status(), 413, "as large as it becomes");
    assert_eq!(server.hub.stats().received, 2);
    // What cannot be read has been brought as well.
    let server = paced(json!({"max_bytes_per_second_per_token": "10kB"})).await;
    for expected in [400, 429] {
        let request = crate::access::request(&server, Method::POST, EVENTS, "all");
        let request = request.header("content-encoding", "gzip").body(vec![b'x'; 6000]);
        assert_eq!(request.send().await.unwrap().status(), expected);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn over_grpc_the_time_to_wait_is_told_as_well() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use tonic_types::StatusExt;
    let server = paced(json!({"max_items_per_second_per_token": 10})).await;
    let mut client = LogsServiceClient::connect(server.base.clone()).await.unwrap();
    let mut export = async || {
        let scope = ScopeLogs { log_records: vec![LogRecord::default(); 6], ..Default::default() };
        let resource = ResourceLogs { scope_logs: vec![scope], ..Default::default() };
        let request = ExportLogsServiceRequest { resource_logs: vec![resource] };
        let mut request = tonic::Request::new(request);
        request.metadata_mut().insert("authorization", "Bearer all".parse().unwrap());
        client.export(request).await
    };
    export().await.unwrap();
    let refusal = export().await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::ResourceExhausted);
    let delay = refusal.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(delay, Duration::from_secs(1));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn over_grpc_a_message_counts_as_large_as_it_becomes() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    for (settings, length, told) in [
        (json!({"max_bytes_per_second_per_token": "10kB"}), 20_000, "10000 bytes a second"),
        (json!({"max_decompression_ratio": 100}), 1_100_000, "over 100 times"),
        (json!({"max_decompression_ratio": 100_000}), 1_100_000, ""),
    ] {
        let server = paced(settings).await;
        let client = LogsServiceClient::connect(server.base.clone()).await.unwrap();
        let mut client = client.send_compressed(tonic::codec::CompressionEncoding::Gzip);
        let text = any_value::Value::StringValue("x".repeat(length));
        let record = LogRecord { body: Some(AnyValue { value: Some(text) }), ..Default::default() };
        let scope = ScopeLogs { log_records: vec![record], ..Default::default() };
        let resource = ResourceLogs { scope_logs: vec![scope], ..Default::default() };
        let request = ExportLogsServiceRequest { resource_logs: vec![resource] };
        let mut request = tonic::Request::new(request);
        request.metadata_mut().insert("authorization", "Bearer all".parse().unwrap());
        match client.export(request).await {
            Ok(_) => assert_eq!(told, ""),
            Err(refusal) => {
                assert_eq!(refusal.code(), tonic::Code::ResourceExhausted);
                assert!(!told.is_empty() && refusal.message().contains(told), "{refusal:?}");
            }
        }
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_of_http2_has_so_many_streams_at_once() {
    let server = Transport::Http2.serve(json!({"max_streams_per_connection": 2})).await;
    let hub = server.hub.clone();
    let first = server.watch("").await;
    let _second = server.watch("").await;
    // The client waits for one to end; it is all its own connection.
    let (client, base) = (server.client.clone(), server.base.clone());
    let third = tokio::spawn(async move { client.get(format!("{base}/readyz")).send().await });
    let others = reqwest::get(format!("{}/readyz", server.base)).await.unwrap();
    assert_eq!((others.status().as_u16(), third.is_finished()), (200, false));
    drop(first);
    assert_eq!(within_patience(third).await.unwrap().unwrap().status(), 200);
    eventually(|| hub.stats().subscribers == 1).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_of_http2_that_asks_for_nothing_is_ended_and_one_that_watches_is_not() {
    let settings = json!({"idle_timeout": "400ms", "ping_interval": "10s", "max_connections": 2});
    let server = Transport::Http2.serve(settings).await;
    let mut watching = server.watch("").await;
    // Another connection, which has asked for something once: then it takes the last place, and no more is served.
    let idle = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let ready = format!("{}/readyz", server.base);
    assert_eq!(idle.get(&ready).send().await.unwrap().status(), 200);
    let third = async || reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200);
    assert!(!third().await);
    within_patience(async { while !third().await {} }).await;
    assert!(counter(&server, "server.connections.idle").await >= 1.0);
    server.accept(&json!({"type": "t"})).await;
    assert_eq!(watching.events(1).await[0]["type"], "t");
    // The client comes again by itself.
    assert_eq!(idle.get(&ready).send().await.unwrap().status(), 200);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_answer_of_http2_that_nobody_takes_ends_with_its_connection() {
    let settings = json!({"idle_timeout": "400ms", "write_timeout": "2s", "max_connections": 1});
    let server = TestServer::with(settings).await;
    let ready = format!("{}/readyz", server.base);
    // One byte of it goes out; the rest stays with HTTP/2's machinery, whose task for it has ended.
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.http2_initial_stream_window_size(1).build().unwrap();
    let unread = client.get(&ready).send().await.unwrap();
    assert_eq!(unread.status(), 200);
    let next = async || reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200);
    assert!(!next().await);
    within_patience(async { while !next().await {} }).await;
    drop(unread);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_refused_while_it_still_sends_gets_its_answer() {
    let server = TestServer::start().await;
    let head = "POST /api/telemetry/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20000000\r\n\r\n";
    let piece = vec![b' '; 64 * 1024];
    for _ in 0..20 {
        let mut socket = raw_request(&server, head).await;
        // As a proxy does, which takes it for a failure if it cannot.
        for _ in 0..128 {
            within_patience(socket.write_all(&piece)).await.unwrap();
        }
        let mut answer = vec![0; 12];
        within_patience(socket.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 413");
    }
    server.stop().await.unwrap();
}
