//! The example `otel_host`, started and watched as a reader of it would.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::harness::{LiveStream, within_patience};

#[tokio::test]
async fn a_host_with_the_sdk_watches_itself_and_ends_when_told() {
    for signal in ["-TERM", "-INT"] {
        let mut example = example().spawn().unwrap();
        let mut output = BufReader::new(example.stdout.take().unwrap()).lines();
        let first = within_patience(output.next_line()).await.unwrap().unwrap();
        let host = first.strip_prefix("listening on ").unwrap();
        within_patience(spans_are_seen(host)).await;
        within_patience(logs_are_seen(host)).await;
        within_patience(metrics_are_seen(host)).await;

        let nothing = watch(host, "traces/live?type=nothing-has-this-type").await;
        let pid = example.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        assert_eq!(nothing.rest().await.last().unwrap().event, "bye");
        let output = within_patience(example.wait_with_output()).await.unwrap();
        let complaints = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), complaints.as_str()), (Some(0), ""), "{signal}");
    }
}

async fn spans_are_seen(host: &str) {
    let (spans, _) = watch(host, "traces/live?kind=server").await.expect("trace").await;
    let span = &spans[0];
    assert_eq!(span["type"], "order");
    assert_eq!(span["data"]["service.name"], "otel-host");
    assert!(span["data"]["duration"].is_f64(), "{span}");
}

/// A log and the span in which it was written, in either order: each has an exporter of its own, and neither waits for the
/// other.
async fn logs_are_seen(host: &str) {
    let mut stream = watch(host, "traces/live?type=order").await;
    let mut events: Vec<Value> = Vec::new();
    let (log, order) = loop {
        let (frame, _) = stream.expect("trace").await;
        events.extend(frame.as_array().unwrap().iter().cloned());
        let mut logs = events.iter().filter(|event| event["type"] == "order.refused");
        let span_of = |log: &Value| {
            let is_its =
                |event: &&Value| event["signal"] == "span" && event["spanId"] == log["spanId"];
            events.iter().find(is_its)
        };
        if let Some(pair) = logs.find_map(|log| Some((log, span_of(log)?))) {
            break pair;
        }
    };
    assert_eq!((&log["signal"], &log["level"]), (&json!("log"), &json!("WARN")));
    assert_eq!((&order["type"], &order["traceId"]), (&json!("order"), &log["traceId"]));
}

async fn metrics_are_seen(host: &str) {
    let mut stream = watch(host, "metrics/live?metrics=shop&interval=100ms").await;
    loop {
        let (frame, _) = stream.expect("metrics").await;
        let is_total =
            |one: &&Value| one["id"] == "shop.orders" && one["attributes"]["paid"] == true;
        if let Some(total) = frame.as_array().unwrap().iter().find(is_total) {
            assert!(total["value"].as_u64() > Some(0), "{total}");
            return;
        }
    }
}

/// The example as cargo has built it, beside this test.
fn example() -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/otel_host");
    assert!(path.exists(), "{} is not there: cargo build --examples", path.display());
    let mut command = Command::new(path);
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn watch(host: &str, what: &str) -> LiveStream {
    LiveStream::open(reqwest::get(format!("{host}/api/telemetry/{what}")).await.unwrap())
}
