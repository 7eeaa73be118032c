//! A server that is joined to others by a real NATS server: what has no room in a message of theirs.
//!
//! `tests/cluster/install` gets the server of NATS; `NATS_SERVER` names another.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use reqwest::StatusCode;
use serde_json::{Value, json};
use telemetry_hub_actors::TransportState;

use crate::harness::{TestServer, eventually};

/// A server of NATS with JetStream, which ends with its test.
struct Nats {
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl Nats {
    fn start() -> Self {
        let installed =
            Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("nats/bin/nats-server");
        let program = std::env::var_os("NATS_SERVER").map_or(installed, PathBuf::from);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nats-it-{port}"));
        let mut command = Command::new(program);
        command.args(["--addr", "127.0.0.1", "--jetstream", "--port", &port.to_string()]);
        command.arg("--store_dir").arg(&folder).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { port, folder, child }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// What a server that is joined answers to a body.
async fn answer(server: &TestServer, path: &str, body: Value) -> Value {
    let answer = server.post_to(path, "application/json", body.to_string()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.json().await.unwrap()
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn what_is_too_large_for_the_stream_is_rejected_and_spoils_no_other() {
    let nats = Nats::start();
    let servers = [format!("nats://127.0.0.1:{}", nats.port)];
    let server = TestServer::with(json!({"nats": servers, "nats_storage": "memory"})).await;
    eventually(|| server.hub.transport() == TransportState::Joined).await;

    // 180 kB in memory and in protobuf, six times that in JSON.
    let record = |text: String| {
        let value = Some(AnyValueKind::StringValue(text));
        LogRecord { body: Some(AnyValue { value }), ..LogRecord::default() }
    };
    let large = record("\u{1b}".repeat(180_000));
    let log_records = vec![record("a".to_owned()), large, record("b".to_owned())];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let logs = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let told = server.post_to("/v1/logs", "application/x-protobuf", logs).await;
    assert_eq!(told.status(), StatusCode::OK);
    let told = ExportLogsServiceResponse::decode(told.bytes().await.unwrap()).unwrap();
    assert_eq!(told.partial_success.unwrap().rejected_log_records, 1);

    // Written shorter than they are told.
    let numbers = format!(r#"[{{"type":"a"}},{{"n":[{}1]}}]"#, "1E9,".repeat(200_000));
    let told = server.post(numbers).await.json::<Value>().await.unwrap();
    assert_eq!((&told["accepted"], &told["rejected"]), (&json!(1), &json!(1)), "{told}");

    let histogram = |values: usize| json!({"id": "h", "type": "histogram", "values": vec![0.123_456_789; values]});
    let told =
        answer(&server, "/api/telemetry/metrics", json!([histogram(1), histogram(100_000)])).await;
    assert_eq!((&told["accepted"], &told["rejected"]), (&json!(1), &json!(1)), "{told}");

    let point = |buckets: usize| {
        let (counts, bounds) = (vec!["1"; buckets + 1], (0..buckets).collect::<Vec<_>>());
        json!({"count": (buckets + 1).to_string(), "bucketCounts": counts, "explicitBounds": bounds})
    };
    let data = json!({"aggregationTemporality": 1, "dataPoints": [point(1), point(60_000)]});
    let metrics = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "o", "histogram": data}]}]}]});
    let told = answer(&server, "/v1/metrics", metrics).await;
    assert_eq!(told["partialSuccess"]["rejectedDataPoints"], "1", "{told}");

    eventually(|| server.hub.stats().received == 3).await;
    server.stop().await.unwrap();
}
