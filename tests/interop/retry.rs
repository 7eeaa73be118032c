//! A hub that is restarted while an SDK sends to it: what the SDK was told has arrived, has.
//!
//! A steady sender says at its end `{"outcomes": {NAME: whether its exporter said that it was delivered}, "resent": [NAME]}`, where
//! a name is the attribute `name` of a log record or span, and what was resent is what the sender itself had to send again because
//! its SDK gave up. What each SDK does while nobody listens, by its source:
//!
//! | SDK | HTTP | gRPC |
//! |---|---|---|
//! | Python | connection errors at once and then, as 429 502 503 504, after `Retry-After` or 1, 2, 4… s; 6 attempts within the timeout (10 s unless set) | UNAVAILABLE and the other codes that the specification names, RESOURCE_EXHAUSTED always, after 1, 2, 4… s; the same bounds; it looks for `RetryInfo` in a header of its own only |
//! | JavaScript | refused and reset connections, 429 502 503 504, after `Retry-After` or 1, 1.5, 2.25… s; 5 more attempts within the timeout | **nothing: the first error is final**, so the sender tries again by itself |
//! | Rust | errors without an answer, 429 502 503 504, after `Retry-After` or 0.1, 0.2, 0.4… s; 3 more attempts unless the policy says otherwise | UNAVAILABLE and the other codes that the specification names, after `RetryInfo` or as over HTTP |

use std::collections::HashSet;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{LiveStream, within_patience};
use crate::sender::{Export, Protocol, Sdk};

/// How many events are seen before the hub goes down, and after it is back.
const ENOUGH: usize = 400;

/// The last event of all.
const SENTINEL: &str = "interop.sentinel";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn python_over_http_loses_nothing_in_a_restart() {
    check(Sdk::Python, Protocol::HttpProtobuf).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn python_over_grpc_loses_nothing_in_a_restart() {
    check(Sdk::Python, Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn javascript_over_http_loses_nothing_in_a_restart() {
    check(Sdk::JavaScript, Protocol::HttpJson).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn javascript_over_grpc_gives_up_and_is_helped() {
    check(Sdk::JavaScript, Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn rust_over_http_loses_nothing_in_a_restart() {
    check(Sdk::Rust, Protocol::HttpProtobuf).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python and Node packages: tests/interop/install"]
async fn rust_over_grpc_loses_nothing_in_a_restart() {
    check(Sdk::Rust, Protocol::Grpc).await;
}

async fn check(sdk: Sdk, protocol: Protocol) {
    let port = free_port().await;
    let hub = Hub::start(port).await;
    let mut stream = hub.watch("").await;
    let endpoint = format!("http://127.0.0.1:{port}");
    let export = Export { endpoint, one_url: false, protocol, gzip: true, delta: false };
    let mut sender = sdk.send_steadily(export);
    let mut before = within_patience(enough(&mut stream)).await;
    let ((), rest) = tokio::join!(hub.stop(), rest(stream));
    before.extend(rest);
    sender.finds_nobody().await;

    let hub = Hub::start(port).await;
    let mut stream = hub.watch("replay=100000").await;
    let mut after = within_patience(enough(&mut stream)).await;
    let report = sender.finish().await;
    hub.send_sentinel().await;
    after.extend(within_patience(to_sentinel(stream)).await);
    hub.stop().await;

    let names = report["outcomes"].as_object().unwrap();
    let seen: HashSet<&str> = before.iter().chain(&after).map(String::as_str).collect();
    let missing: Vec<&String> = names.keys().filter(|name| !seen.contains(name.as_str())).collect();
    let given_up: Vec<_> = names.iter().filter(|(_, delivered)| **delivered != true).collect();
    let resent = report["resent"].as_array().unwrap();
    let twice = before.len() + after.len() - seen.len();
    let line = format!(
        "| {sdk:?} | {} | sent {} | before {} | after {} | twice {twice} | resent {} |\n",
        protocol.name(),
        names.len(),
        before.len(),
        after.len(),
        resent.len(),
    );
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    assert!(missing.is_empty() && given_up.is_empty(), "{missing:?} {given_up:?}");
    assert_eq!(seen.len(), names.len(), "what was seen was sent");
    let gives_up_at_once = (sdk, protocol) == (Sdk::JavaScript, Protocol::Grpc);
    assert_eq!(!resent.is_empty(), gives_up_at_once, "{resent:?}");
}

/// The names of the next events; enough of them.
async fn enough(stream: &mut LiveStream) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < ENOUGH {
        let frame = stream.frame().await.expect("the stream goes on");
        names.extend(names_in(&frame.event, &frame.data));
    }
    names
}

/// The names of all events to the end of the stream, which the hub must have told.
async fn rest(stream: LiveStream) -> Vec<String> {
    let frames = stream.rest().await;
    assert_eq!(frames.last().unwrap().event, "bye");
    frames.iter().flat_map(|frame| names_in(&frame.event, &frame.data)).collect()
}

async fn to_sentinel(mut stream: LiveStream) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    while names.last().is_none_or(|name| name != SENTINEL) {
        let frame = stream.frame().await.expect("the stream goes on");
        names.extend(names_in(&frame.event, &frame.data));
    }
    names.pop();
    names
}

fn names_in(kind: &str, data: &str) -> Vec<String> {
    assert_ne!(kind, "gap", "{data}");
    if kind != "trace" {
        return Vec::new();
    }
    let events: Vec<Value> = serde_json::from_str(data).unwrap();
    events.iter().map(|event| event["data"]["name"].as_str().unwrap().to_owned()).collect()
}

/// A port that nobody has, below those that the system gives to connections of its own accord: it must still be free when
/// the second hub wants it.
async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 1000) as u16 * 10;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if tokio::net::TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
}

/// The hub as a program of its own.
struct Hub {
    child: Child,
    base: String,
    client: reqwest::Client,
}

impl Hub {
    async fn start(port: u16) -> Self {
        let address = format!("127.0.0.1:{port}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"))
            .args(["--listen", &address])
            .envs([("TELEMETRY_HUB_OTLP_HTTP", "off"), ("TELEMETRY_HUB_OTLP_GRPC", "off")])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = within_patience(lines.next_line()).await.unwrap().unwrap();
        assert!(first.ends_with(&address), "{first}");
        Self { child, base: format!("http://{address}"), client: reqwest::Client::new() }
    }

    async fn watch(&self, query: &str) -> LiveStream {
        let url = format!("{}/api/telemetry/traces/live?{query}", self.base);
        LiveStream::open(self.client.get(url).send().await.unwrap())
    }

    async fn send_sentinel(&self) {
        let event = json!({"type": SENTINEL, "data": {"name": SENTINEL}});
        let url = format!("{}/api/telemetry/events", self.base);
        let answer = self.client.post(url).json(&event).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Ends it as an operator does, and cleanly.
    async fn stop(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        assert_eq!(within_patience(self.child.wait()).await.unwrap().code(), Some(0));
    }
}
