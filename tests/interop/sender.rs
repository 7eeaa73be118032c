//! The SDKs as senders: which there are, how one is told where to send and how, and what it says that it sent.
//!
//! Python and JavaScript run as programs of their own, set up by the environment variables that every SDK knows; Rust runs in
//! the test itself. Each prints or returns one JSON document, the truth.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::within_patience;
use crate::{rust_sender, rust_steady};

/// How long an export may take, retries and all: longer than any outage here, on a machine under load too.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(25);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sdk {
    Python,
    JavaScript,
    Rust,
}

/// As `OTEL_EXPORTER_OTLP_PROTOCOL` names them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Protocol {
    HttpProtobuf,
    HttpJson,
    Grpc,
}

/// How an exporter is set up.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    /// The address of the hub: `http://127.0.0.1:8787`.
    pub(crate) endpoint: String,
    /// Whether all signals are sent to one address, `/v1/otel`, as by exporters that know no other.
    pub(crate) one_url: bool,
    pub(crate) protocol: Protocol,
    pub(crate) gzip: bool,
    /// Whether metrics are sent as changes, not as totals.
    pub(crate) delta: bool,
}

impl Export {
    /// Where a signal is sent to over HTTP.
    pub(crate) fn url(&self, signal: &str) -> String {
        format!("{}/v1/{}", self.endpoint, if self.one_url { "otel" } else { signal })
    }
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
            Self::Grpc => "grpc",
        }
    }
}

impl Sdk {
    /// Sends everything that the SDK can say, and returns what that was.
    pub(crate) async fn send_everything(self, export: Export) -> Value {
        let Some(mut program) = self.program("everything", &export) else {
            let sent = tokio::task::spawn_blocking(move || rust_sender::everything(&export));
            return within_patience(sent).await.unwrap();
        };
        let output = within_patience(program.output()).await.unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{self:?}: {complaints}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Sends small exports, one after another, until told to stop.
    pub(crate) fn send_steadily(self, export: Export) -> Steady {
        let (stop, (retry, retries)) = (CancellationToken::new(), watch::channel(0));
        let stopped = stop.clone();
        let finished = match self.program("steadily", &export) {
            None => {
                tokio::task::spawn_blocking(move || rust_steady::send(&export, &stopped, &retry))
            }
            Some(mut program) => {
                let child = program.stdin(Stdio::piped()).spawn().unwrap();
                tokio::spawn(drive(child, stopped, retry))
            }
        };
        Steady { stop, retries, finished }
    }

    /// The sender as a program; none for Rust.
    fn program(self, mode: &str, export: &Export) -> Option<Command> {
        // Python reads seconds where the specification has milliseconds.
        let (mut program, script, timeout) = match self {
            Self::Python => {
                (Command::new(installed(".venv/bin/python")), "send.py", TIMEOUT.as_secs().into())
            }
            Self::JavaScript => {
                installed("node_modules");
                (Command::new("node"), "send.mjs", TIMEOUT.as_millis())
            }
            Self::Rust => return None,
        };
        program.arg(folder().join(script)).arg(mode);
        program.env("OTEL_EXPORTER_OTLP_ENDPOINT", &export.endpoint);
        if export.one_url {
            for signal in ["LOGS", "TRACES", "METRICS"] {
                program.env(format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"), export.url(signal));
            }
        }
        program.env("OTEL_EXPORTER_OTLP_PROTOCOL", export.protocol.name());
        program.env("OTEL_EXPORTER_OTLP_TIMEOUT", timeout.to_string());
        let temporality = if export.delta { "delta" } else { "cumulative" };
        program.env("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality);
        if export.gzip {
            program.env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
        }
        program.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Some(program)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

fn installed(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.exists(), "{} is not there: run tests/interop/install first", path.display());
    path
}

/// A sender that goes on until it is told to stop.
#[derive(Debug)]
pub(crate) struct Steady {
    stop: CancellationToken,
    retries: watch::Receiver<u32>,
    finished: JoinHandle<Value>,
}

impl Steady {
    /// Waits until an export has found nobody there. Each of the two that may be under way can still tell of an answer that it had
    /// before; so the third retry from now on is one of those.
    pub(crate) async fn finds_nobody(&mut self) {
        let so_far = *self.retries.borrow_and_update();
        within_patience(self.retries.wait_for(|retries| *retries >= so_far + 3)).await.unwrap();
    }

    /// Stops it, and returns what has become of each export.
    pub(crate) async fn finish(self) -> Value {
        self.stop.cancel();
        within_patience(self.finished).await.unwrap()
    }
}

/// Lets a program go on until `stopped`, and counts its retries, which it tells line by line.
async fn drive(mut child: Child, stopped: CancellationToken, retry: watch::Sender<u32>) -> Value {
    let (stdin, mut stdout) = (child.stdin.take(), child.stdout.take().unwrap());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            match line.as_str() {
                "retrying" => retry.send_modify(|retries| *retries += 1),
                // Shown if the test fails.
                complaint => println!("{complaint}"),
            }
        }
    };
    let stop = async {
        stopped.cancelled().await;
        drop(stdin);
    };
    let mut truth = Vec::new();
    let (read, (), ()) = tokio::join!(stdout.read_to_end(&mut truth), told, stop);
    read.unwrap();
    assert!(child.wait().await.unwrap().success());
    serde_json::from_slice(&truth).unwrap()
}
