//! Every SDK over every protocol: all that it says arrives, value by value, at whoever watches.

use std::io::Write;

use serde_json::{Value, json};

use crate::harness::{LiveStream, TestServer, within_patience};
use crate::sender::{Export, Protocol, Sdk};
use crate::truth;

/// The end of what is looked at, sent after everything else.
const SENTINEL: &str = "interop.sentinel";

const ANY_PORT: &str = "127.0.0.1:0";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn python_http_protobuf() {
    check(Sdk::Python, Protocol::HttpProtobuf).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn python_http_json() {
    check(Sdk::Python, Protocol::HttpJson).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn python_grpc() {
    check(Sdk::Python, Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn javascript_http_protobuf() {
    check(Sdk::JavaScript, Protocol::HttpProtobuf).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn javascript_http_json() {
    check(Sdk::JavaScript, Protocol::HttpJson).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn javascript_grpc() {
    check(Sdk::JavaScript, Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn rust_http_protobuf() {
    check(Sdk::Rust, Protocol::HttpProtobuf).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn rust_http_json() {
    check(Sdk::Rust, Protocol::HttpJson).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn rust_grpc() {
    check(Sdk::Rust, Protocol::Grpc).await;
}

/// The ways in which each SDK sends over each protocol: where to, with gzip or not, changes or totals.
const WAYS: [(To, bool, bool); 3] =
    [(To::MainPort, true, false), (To::OtlpPort, false, true), (To::OneUrl, true, false)];

/// Which of the hub's addresses.
#[derive(Debug, Clone, Copy, PartialEq)]
enum To {
    MainPort,
    /// The port that is known for the protocol.
    OtlpPort,
    /// `/v1/otel`, which there is over HTTP only.
    OneUrl,
}

async fn check(sdk: Sdk, protocol: Protocol) {
    let (mut table, mut problems) = (String::new(), Vec::new());
    let is_possible = |to| (to, protocol) != (To::OneUrl, Protocol::Grpc);
    for (to, gzip, delta) in WAYS.into_iter().filter(|(to, ..)| is_possible(*to)) {
        let server = TestServer::with(json!({"otlp_http": ANY_PORT, "otlp_grpc": ANY_PORT})).await;
        let [http, grpc] = server.otlp.map(|address| format!("http://{}", address.unwrap()));
        let endpoint = match (to, protocol) {
            (To::MainPort | To::OneUrl, _) => server.base.clone(),
            (To::OtlpPort, Protocol::Grpc) => grpc,
            (To::OtlpPort, _) => http,
        };
        let export = Export { endpoint, one_url: to == To::OneUrl, protocol, gzip, delta };
        let (name, tallies) = run(&server, sdk, export).await;
        server.stop().await.unwrap();
        let (to, protocol) = (format!("{to:?}"), protocol.name());
        let encoding = if gzip { "gzip" } else { "identity" };
        let temporality = if delta { "delta" } else { "cumulative" };
        for Tally { signal, sent, arrived, problems: found } in tallies {
            table += &format!(
                "| {name:<17} | {protocol:<13} | {to:<8} | {encoding:<8} | {temporality:<10} | {signal:<7} | {sent:>4} | {arrived:>7} |\n"
            );
            problems.extend(found);
        }
    }
    // Past the test harness, which keeps what a test prints to itself if the test passes.
    std::io::stdout().write_all(table.as_bytes()).unwrap();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// How many of a signal were sent, and how many of them arrived as they were.
struct Tally {
    signal: &'static str,
    sent: usize,
    arrived: usize,
    problems: Vec<String>,
}

impl Tally {
    fn new(signal: &'static str, sent: Vec<Value>, arrived: Vec<Value>) -> Self {
        let count = sent.len();
        let (arrived, problems) = truth::compare(sent, arrived);
        Self { signal, sent: count, arrived, problems }
    }
}

/// Watches a hub while the SDK sends it everything.
async fn run(server: &TestServer, sdk: Sdk, export: Export) -> (String, [Tally; 3]) {
    let stream = server.watch("").await;
    let metrics = server.watch_metrics("interval=100ms").await;
    let truth = sdk.send_everything(export).await;
    server.accept(&json!({"type": SENTINEL})).await;
    let sentinel = json!([{"id": SENTINEL, "type": "gauge", "value": 1}]).to_string();
    let answer = server.post_to("/api/telemetry/metrics", "application/json", sentinel).await;
    assert_eq!(answer.status(), 200);

    let (spans, logs): (Vec<Value>, Vec<Value>) = within_patience(events_to_sentinel(stream))
        .await
        .into_iter()
        .partition(|event| event["signal"] == "span");
    let series = within_patience(series_to_sentinel(metrics)).await;
    let (sent_logs, sent_spans) = truth::events(&truth);
    let tallies = [
        Tally::new("logs", sent_logs, logs),
        Tally::new("traces", sent_spans, spans),
        Tally::new("metrics", truth::series(&truth), series),
    ];
    (truth["sdk"].as_str().unwrap().to_owned(), tallies)
}

/// All events before the sentinel, without their ids.
async fn events_to_sentinel(mut stream: LiveStream) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    while events.last().is_none_or(|event| event["type"] != SENTINEL) {
        let (frame, _) = stream.expect("trace").await;
        events.extend(frame.as_array().unwrap().iter().cloned());
    }
    events.pop();
    for event in &mut events {
        event.as_object_mut().unwrap().remove("id").unwrap();
    }
    events
}

/// The series of sources in the first frame that has the sentinel.
async fn series_to_sentinel(mut metrics: LiveStream) -> Vec<Value> {
    loop {
        let (frame, _) = metrics.expect("metrics").await;
        let samples = frame.as_array().unwrap();
        if samples.iter().any(|sample| sample["id"] == SENTINEL && sample["type"] == "gauge") {
            let of_source =
                samples.iter().filter(|sample| sample["attributes"]["service.name"].is_string());
            return of_source.map(truth::arrived_series).collect();
        }
    }
}
