//! What a real mail server sent by OTLP and by webhook, and what an independent reading makes of it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use reqwest::Response;
use serde::Deserialize;
use serde_json::json;
use telemetry_hub_actors::{Number, Object, Value};
use tonic::Request;
use tonic::transport::Channel;

use crate::harness::{TestServer, data, webhook_requests};

const KEY: &str = "s3cret";

#[derive(Deserialize)]
struct Sent {
    signal: String,
    body: String,
}

async fn sent() -> Vec<(String, Vec<u8>)> {
    let lines = data("stalwart-otlp.ndjson.zst").await;
    let read = |line: &str| {
        let sent: Sent = serde_json::from_str(line).unwrap();
        (sent.signal, BASE64_STANDARD.decode(sent.body).unwrap())
    };
    lines.lines().map(read).collect()
}

/// The events and the series that there must be.
async fn expected() -> (Vec<Object>, Vec<Object>) {
    let lines = data("stalwart-otlp-expected.ndjson.zst").await;
    let objects = lines.lines().map(|line| match serde_json::from_str(line).unwrap() {
        Value::Object(object) => object,
        other => panic!("{other:?}"),
    });
    let (series, events): (Vec<Object>, Vec<Object>) =
        objects.partition(|object| object.get("series").is_some());
    (events, series.into_iter().map(|series| member(&series, "series")).collect())
}

fn member(object: &Object, name: &str) -> Object {
    match object.get(name) {
        Some(Value::Object(object)) => object.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    match object.get(name) {
        Some(Value::String(text)) => Some(text),
        None => None,
        other => panic!("{name}: {other:?}"),
    }
}

async fn post(server: &TestServer, path: &str, body: Vec<u8>) -> Response {
    server.post_to(path, "application/x-protobuf", body).await
}

/// All events that the hub has, as JSON with their members in order, without their ids.
async fn events(server: &TestServer, count: usize) -> Vec<Object> {
    let mut stream = server.watch("since=1h").await;
    let mut events = Vec::new();
    while events.len() < count {
        let frame = stream.frame().await.unwrap();
        if frame.event == "trace" {
            let batch: Vec<Value> = serde_json::from_str(&frame.data).unwrap();
            for event in batch {
                let Value::Object(event) = event else { panic!("{event:?}") };
                events.push(event.into_iter().filter(|(name, _)| &**name != "id").collect());
            }
        }
    }
    events
}

/// The same, whatever way the bodies came.
async fn check(server: &TestServer) {
    let (expected, series) = expected().await;
    let events = events(server, expected.len()).await;
    for (index, (event, expected)) in events.iter().zip(&expected).enumerate() {
        assert_eq!(event, expected, "event {index}");
    }
    assert_eq!((events.len(), series.len()), (6797, 40));
    let samples: Vec<Object> =
        server.hub.metrics().iter().map(|sample| as_object(&json!(sample).to_string())).collect();
    for expected in &series {
        let is_it = |sample: &&Object| {
            text(sample, "id") == text(expected, "id")
                && sample.get("attributes") == expected.get("attributes")
                && text(sample, "type") == text(expected, "type")
        };
        let [sample] = samples.iter().filter(is_it).collect::<Vec<_>>()[..] else {
            panic!("{expected:?}");
        };
        for (name, expected) in expected.iter() {
            let (found, expected) = (sample.get(name).map(plain), plain(expected));
            assert_eq!(found, Some(expected), "{name} of {sample:?}");
        }
    }
}

fn as_object(json: &str) -> Object {
    match serde_json::from_str(json).unwrap() {
        Value::Object(object) => object,
        other => panic!("{other:?}"),
    }
}

/// Whole numbers are the same with a fraction of nothing.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(Number::from_f64(number.as_f64().unwrap()).unwrap()),
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_become_the_events_and_series_that_an_independent_reading_finds() {
    let server = TestServer::start().await;
    for (signal, body) in sent().await {
        let answer = post(&server, &format!("/v1/{signal}"), body).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/x-protobuf");
        assert!(answer.bytes().await.unwrap().is_empty(), "nothing was rejected");
    }
    check(&server).await;
}

/// Sends a recorded body by the client that OpenTelemetry's own definitions make; whatever was rejected fails.
async fn call(server: &TestServer, signal: &str, body: &[u8]) {
    let channel = Channel::from_shared(server.base.clone()).unwrap().connect().await.unwrap();
    match signal {
        "logs" => {
            let answer =
                LogsServiceClient::new(channel).export(Request::new(read(body))).await.unwrap();
            assert_eq!(answer.into_inner().partial_success, None);
        }
        "traces" => {
            let answer =
                TraceServiceClient::new(channel).export(Request::new(read(body))).await.unwrap();
            assert_eq!(answer.into_inner().partial_success, None);
        }
        "metrics" => {
            let answer =
                MetricsServiceClient::new(channel).export(Request::new(read(body))).await.unwrap();
            assert_eq!(answer.into_inner().partial_success, None);
        }
        other => panic!("{other}"),
    }
}

fn read<T: Message + Default>(body: &[u8]) -> T {
    T::decode(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_become_the_same_over_grpc() {
    let server = TestServer::start().await;
    for (signal, body) in sent().await {
        call(&server, &signal, &body).await;
    }
    check(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_path_takes_all_three_signals() {
    let server = TestServer::start().await;
    for (_, body) in sent().await {
        let answer = post(&server, "/v1/otel", body).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.bytes().await.unwrap().is_empty(), "nothing was rejected");
    }
    check(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_with_their_real_signatures_agree_with_otlp() {
    let server = TestServer::with(json!({"webhook_keys": ["another", KEY]})).await;
    for (headers, body) in webhook_requests().await {
        let signature = headers["x-signature"].as_str().unwrap().to_owned();
        let request = server.client.post(format!("{}/api/telemetry/events", server.base));
        let request = request.header("content-type", "application/json");
        let answer = request.header("X-Signature", signature).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let webhooks = events(&server, 6621).await;
    let (otlp, _) = expected().await;
    let (mut shared, mut nested) = (0, 0);
    for (webhook, otlp) in webhooks.iter().zip(&otlp) {
        for name in ["createdAt", "signal", "type", "spanId", "traceId", "parentSpanId"] {
            assert_eq!(webhook.get(name), otlp.get(name), "{name}");
        }
        assert_eq!(webhook.get("level"), None, "the webhook did not give one");
        assert!(otlp.get("level").is_some(), "OTLP did");
        let (webhook, otlp) = (member(webhook, "data"), member(otlp, "data"));
        for (name, value) in webhook.iter() {
            match (value, otlp.get(name)) {
                // An event within an event: the server itself writes it in two ways.
                (Value::Object(_), Some(Value::Object(_))) => nested += 1,
                (_, Some(found)) => {
                    assert_eq!(found, value, "{name}");
                    shared += 1;
                }
                // A span's own members are with the span in OTLP.
                (_, None) => {}
            }
        }
    }
    assert_eq!((shared, nested), (13_978, 24));
}
