//! Hubs as programs of their own, which can be told to end and be killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::interval;

use crate::harness::within_patience;

/// How often a hub is asked what it does not tell by itself.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A hub. It is killed with this value.
pub(crate) struct Hub {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Hub {
    /// One with settings other than the defaults, as the environment has them.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_at("127.0.0.1:0", settings).await
    }

    pub(crate) async fn start_at(address: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
        command.env("TELEMETRY_HUB_LISTEN", address);
        command.env("TELEMETRY_HUB_OTLP_HTTP", "off").env("TELEMETRY_HUB_OTLP_GRPC", "off");
        command.envs(settings.iter().map(|(name, value)| (format!("TELEMETRY_HUB_{name}"), value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = within_patience(lines.next_line()).await.unwrap().unwrap();
        let address = first.rsplit_once("http://").unwrap().1.parse().unwrap();
        Self { child, address }
    }

    /// Three, all alike.
    pub(crate) async fn three(settings: &[(&str, &str)]) -> [Self; 3] {
        [Self::start(settings).await, Self::start(settings).await, Self::start(settings).await]
    }

    pub(crate) fn addresses(hubs: &[Self]) -> Vec<SocketAddr> {
        hubs.iter().map(|hub| hub.address).collect()
    }

    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
    }

    /// The exit code, once it has ended.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        within_patience(self.child.wait()).await.unwrap().code()
    }

    /// Waits until it wants work.
    pub(crate) async fn is_ready(&self) {
        let url = format!("http://{}/readyz", self.address);
        let mut tick = interval(LOOK_AGAIN);
        let look = async {
            while reqwest::get(&url).await.unwrap().status() != 200 {
                tick.tick().await;
            }
        };
        within_patience(look).await;
    }

    /// Sends an event to this hub, past all proxies.
    pub(crate) async fn accept(&self, event: &Value) {
        let url = format!("http://{}/api/telemetry/events", self.address);
        let answer = reqwest::Client::new().post(url).json(event).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Who watches at this hub, as it tells by itself.
    pub(crate) async fn subscribers(&self) -> Vec<Value> {
        let url = format!("http://{}/api/telemetry/subscribers", self.address);
        let mut answer: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let Value::Array(subscribers) = answer["subscribers"].take() else { panic!("{answer}") };
        subscribers
    }

    /// Waits until so many watch at this hub.
    pub(crate) async fn has_subscribers(&self, count: usize) {
        let mut tick = interval(LOOK_AGAIN);
        let look = async {
            while self.subscribers().await.len() != count {
                tick.tick().await;
            }
        };
        within_patience(look).await;
    }
}

/// A token for everything, and the file of settings that lets a hub know it.
pub(crate) async fn token() -> (String, PathBuf) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.args(["token", "--bare"]);
    for scope in ["ingest", "traces", "metrics", "admin"] {
        command.args(["--scope", scope]);
    }
    let made = within_patience(command.output()).await.unwrap();
    let file = folder("settings").join("hub.toml");
    std::fs::write(&file, made.stderr).unwrap();
    (String::from_utf8(made.stdout).unwrap().trim().to_owned(), file)
}

/// A new folder for one of these.
pub(crate) fn folder(what: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deploy").join(what).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// An event by which it can be told from others.
pub(crate) fn event(number: usize) -> Value {
    json!({"type": "deploy.test", "data": {"number": number}})
}
