//! The end of a server: what was accepted arrives, every stream is told, and nothing is left.

use serde_json::{Value, json};
use telemetry_hub::ServerError;
use telemetry_hub_actors::Fault;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{TestServer, eventually, within_patience};
use crate::hostile::raw_request;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_200_arrives_before_bye() {
    let server = TestServer::start().await;
    let stream = server.watch("").await;
    let metrics = server.watch_metrics("interval=1h").await;
    for number in 0..200 {
        server.accept(&json!({"type": "t", "data": {"n": number}})).await;
    }
    server.stop().await.unwrap();
    let frames = stream.rest().await;
    let (bye, events) = frames.split_last().unwrap();
    assert_eq!(bye.event, "bye");
    let bye: Value = serde_json::from_str(&bye.data).unwrap();
    assert_eq!(bye["reason"], "shutdown");
    assert!((2400..3600).contains(&bye["retry"].as_u64().unwrap()), "{bye}");
    let events = events.iter().filter(|frame| frame.event == "trace");
    let events: Vec<Value> =
        events.flat_map(|frame| serde_json::from_str::<Vec<Value>>(&frame.data).unwrap()).collect();
    let numbers: Vec<_> = events.iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    assert_eq!(metrics.rest().await.last().unwrap().event, "bye");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_at_the_deadline() {
    let server = TestServer::with(json!({"drain_timeout": "300ms"})).await;
    let hub = server.hub.clone();
    let request = "GET /api/telemetry/traces/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let stalled = raw_request(&server, request).await;
    eventually(|| hub.stats().subscribers == 1).await;
    let text = "x".repeat(1 << 20);
    for _ in 0..12 {
        server.accept(&json!({"type": "t", "text": text})).await;
    }
    let error = server.stop().await.unwrap_err();
    assert!(matches!(error, ServerError::Drain(_)), "{error:?}");
    drop(stalled);
}

#[tokio::test]
async fn a_request_under_way_is_answered() {
    let server = TestServer::start().await;
    let head = "POST /api/telemetry/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 12\r\nexpect: 100-continue\r\n\r\n";
    let mut socket = raw_request(&server, head).await;
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    within_patience(socket.read_exact(&mut go_on)).await.unwrap();
    let hub = server.hub.clone();
    let late = async {
        eventually(|| !hub.is_ready()).await;
        socket.write_all(b"{\"type\":\"a\"}").await.unwrap();
        let mut answer = String::new();
        within_patience(socket.read_to_string(&mut answer)).await.unwrap();
        answer
    };
    let (answer, stopped) = tokio::join!(late, server.stop());
    assert!(answer.starts_with("HTTP/1.1 503 "), "it is told to come back: {answer}");
    stopped.unwrap();
}

#[tokio::test]
async fn a_hub_that_fails_ends_the_server() {
    let server = TestServer::start().await;
    let stream = server.watch("").await;
    server.hub.inject(Fault::PanicHub).await;
    let frames = stream.rest().await;
    assert!(frames.iter().all(|frame| frame.event == "ping"), "{frames:?}");
    let error = server.stop_failed().await;
    assert!(matches!(error, ServerError::HubEnded(_)), "{error:?}");
}
