//! The examples, started and used as a reader of them would.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{LiveStream, types, within_patience};

const TRACES: &str = "/telemetry/api/telemetry/traces/live";
const METRICS: &str = "/telemetry/api/telemetry/metrics/live";

/// An example that runs. Whatever else it prints is kept for it to write to.
struct Example {
    child: Child,
    host: String,
    client: reqwest::Client,
    _output: Lines<BufReader<ChildStdout>>,
}

/// An example as cargo has built it, beside this test.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let target: PathBuf = test.ancestors().nth(2).unwrap().into();
    let path = target.join("examples").join(name);
    assert!(path.exists(), "{} is not there: cargo build --examples", path.display());
    let mut command = Command::new(path);
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Example {
    async fn start(name: &str) -> Self {
        let mut child = example(name).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = within_patience(output.next_line()).await.unwrap().unwrap();
        let host = first.strip_prefix("listening on ").unwrap().to_owned();
        assert!(host.starts_with("http://127.0.0.1:"), "{host}");
        Self { child, host, client: reqwest::Client::new(), _output: output }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.host)).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.client.post(format!("{}{path}", self.host)).json(body).send().await.unwrap()
    }

    async fn watch(&self, path: &str) -> LiveStream {
        LiveStream::open(self.get(path).await)
    }

    /// Stops it by a signal, with somebody watching: the stream is told, and the exit code is 0.
    async fn stop(self, signal: &str) {
        let stream = self.watch(&format!("{TRACES}?type=nothing-has-this-type")).await;
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
        assert_eq!(within_patience(stream.rest()).await.last().unwrap().event, "bye");
        let output = within_patience(self.child.wait_with_output()).await.unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}

#[tokio::test]
async fn the_warp_host_greets_and_is_watched() {
    let example = Example::start("warp_host").await;
    let mut stream = example.watch(&format!("{TRACES}?name=ann")).await;
    for name in ["bob", "ann"] {
        let answer = example.get(&format!("/hello/{name}")).await.text().await.unwrap();
        assert_eq!(answer, format!("Hello, {name}!"));
    }
    let sent = json!({"type": "from.outside", "data": {"name": "ann"}});
    assert_eq!(example.post("/telemetry/api/telemetry/events", &sent).await.status(), 200);
    let events = stream.events(2).await;
    assert_eq!(types(&events), ["greeting", "from.outside"]);
    for path in ["/nope", "/api/telemetry/traces/live"] {
        assert_eq!(example.get(path).await.status(), 404, "{path}");
    }
    example.stop("-INT").await;
}

#[tokio::test]
async fn the_axum_hosts_requests_are_seen_as_they_come() {
    let example = Example::start("axum_host").await;
    let products: Value = example.get("/products").await.json().await.unwrap();
    assert_eq!(products[1]["name"], "teapot");
    // Its own customers never ask for this one.
    let mut stream =
        example.watch(&format!("{TRACES}?type=http.request&path=/products/77&follow=none")).await;
    assert_eq!(example.get("/products/77").await.status(), 404);
    let request = &stream.events(1).await[0];
    assert_eq!(request["level"], "WARN");
    assert_eq!(request["data"]["status"], 404);
    assert!(request["data"]["duration"].as_f64().unwrap() > 0.0, "{request}");
    example.stop("-TERM").await;
}

#[tokio::test]
async fn the_axum_hosts_errors_come_with_the_request_that_they_spoilt() {
    let example = Example::start("axum_host").await;
    let mut stream = example.watch(&format!("{TRACES}?level=error")).await;
    // Every seventh payment fails, whoever pays: the shop's own customers do so, too.
    for _ in 0..14 {
        let order = example.post("/orders", &json!({"product": 1, "quantity": 3})).await;
        assert!([201, 502].contains(&order.status().as_u16()), "{order:?}");
    }
    let mut events = Vec::new();
    while events.len() < 2 {
        let (frame, _) = stream.expect("trace").await;
        events.extend(frame.as_array().unwrap().iter().cloned());
    }
    assert_eq!(types(&events[..2]), ["payment.failed", "http.request"]);
    assert_eq!((&events[0]["level"], &events[1]["level"]), (&json!("ERROR"), &json!("WARN")));
    assert_eq!(events[0]["text"], "the bank does not answer");
    assert_eq!(events[1]["data"]["status"], 502);
    assert_eq!(events[0]["spanId"], events[1]["spanId"]);
    example.stop("-TERM").await;
}

#[tokio::test]
async fn the_axum_hosts_own_customers_move_its_metrics() {
    let example = Example::start("axum_host").await;
    let query = format!("{METRICS}?metrics=shop&interval=100ms");
    let mut stream = example.watch(&query).await;
    let mut orders = 0.0;
    while orders < 2.0 {
        let (frame, _) = stream.expect("metrics").await;
        let find = |id: &str| frame.as_array().unwrap().iter().find(|sample| sample["id"] == id);
        let (Some(sold), Some(paid)) = (find("shop.orders"), find("shop.payments")) else {
            continue;
        };
        assert_eq!((&paid["type"], &paid["unit"]), (&json!("histogram"), &json!("ms")));
        orders = sold["value"].as_f64().unwrap();
    }
    example.stop("-TERM").await;
}

#[tokio::test]
async fn examples_take_the_port_that_they_are_given() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for name in ["warp_host", "axum_host"] {
        let output = within_patience(example(name).arg(&port).output()).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr.contains("in use"), "{stderr}");
    }
}
