//! A real NATS server for the tests of joined hubs: `tests/cluster/install` gets it; `NATS_SERVER` names another.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use telemetry_hub_actors::{HubConfig, HubHandle, NatsConfig, Storage, TransportState};

use crate::harness::eventually;

/// A server with JetStream, which ends with its test.
pub(crate) struct Server {
    port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// One that does not run yet.
    pub(crate) fn new() -> Self {
        let port = free_port();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nats-{port}"));
        Self { port, folder, child: None }
    }

    pub(crate) fn started() -> Self {
        let mut server = Self::new();
        server.start();
        server
    }

    pub(crate) fn start(&mut self) {
        let mut command = Command::new(program());
        command.args(["--addr", "127.0.0.1", "--jetstream", "--port", &self.port.to_string()]);
        command.arg("--store_dir").arg(&self.folder).stdin(Stdio::null());
        self.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// At once, as if its machine had lost its power.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// What it has on its disk.
    pub(crate) fn save(&self) -> PathBuf {
        let saved = self.folder.join("saved");
        copy(&self.folder.join("jetstream"), &saved);
        saved
    }

    pub(crate) fn restore(&self, saved: &Path) {
        let store = self.folder.join("jetstream");
        std::fs::remove_dir_all(&store).unwrap();
        copy(saved, &store);
    }

    /// Somewhere else it is found only by those who are told so. Returns where it was.
    pub(crate) fn move_to(&mut self, port: u16) -> u16 {
        std::mem::replace(&mut self.port, port)
    }

    pub(crate) async fn hub(&self, name: &str) -> HubHandle {
        self.hub_with(name, HubConfig::default()).await
    }

    pub(crate) async fn hub_with(&self, name: &str, config: HubConfig) -> HubHandle {
        HubHandle::start_joined(config, self.nats(name)).await.unwrap()
    }

    /// How a hub of this name is joined.
    pub(crate) fn nats(&self, name: &str) -> NatsConfig {
        NatsConfig {
            servers: vec![format!("nats://127.0.0.1:{}", self.port)],
            hub_name: name.to_owned(),
            storage: Storage::Memory,
            // One that will not be answered need not wait long for it.
            patience: Duration::from_millis(if self.child.is_some() { 5000 } else { 500 }),
            ..NatsConfig::default()
        }
    }

    pub(crate) async fn joined(&self, name: &str) -> HubHandle {
        let hub = self.hub(name).await;
        join(&hub).await;
        hub
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

fn program() -> PathBuf {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("nats/bin/nats-server");
    let program = std::env::var_os("NATS_SERVER").map_or(installed, PathBuf::from);
    assert!(program.exists(), "{} is not there: tests/cluster/install", program.display());
    program
}

pub(crate) async fn join(hub: &HubHandle) {
    eventually(|| hub.transport(), |state| *state == TransportState::Joined).await;
}
