//! One hub as a program of its own, which shows NATS who it is.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::process::{Child, Command};

use crate::events::Wish;
use crate::patience::eventually;
use crate::ports::free_port;
use crate::publisher::{Pace, Publishers};
use crate::subscriber::{Loyalty, Watching};

/// It ends with this value.
pub(crate) struct LoneHub {
    pub(crate) urls: Arc<[String]>,
    log: PathBuf,
    client: reqwest::Client,
    _child: Child,
}

impl LoneHub {
    /// A hub with these settings, which logs more than one does by itself.
    pub(crate) async fn start(folder: &Path, name: &str, settings: &[(&str, &str)]) -> Self {
        let port = free_port().await;
        let log = folder.join(format!("{name}.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        command.envs([("TELEMETRY_HUB_OTLP_HTTP", "off"), ("TELEMETRY_HUB_OTLP_GRPC", "off")]);
        command.envs([("TELEMETRY_HUB_PING_INTERVAL", "1s"), ("TELEMETRY_HUB_LOG", "debug")]);
        command.envs(settings.iter().map(|(name, value)| (format!("TELEMETRY_HUB_{name}"), value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
        Self { urls: [format!("http://127.0.0.1:{port}")].into(), log, client, _child: child }
    }

    async fn readiness(&self) -> Option<(StatusCode, String)> {
        let answer = self.client.get(format!("{}/readyz", self.urls[0])).send().await.ok()?;
        Some((answer.status(), answer.text().await.ok()?))
    }

    pub(crate) async fn is_ready(&self) {
        let log = self.log.display();
        eventually(&format!("the hub of {log} is ready"), async || {
            (self.readiness().await?.0 == StatusCode::OK).then_some(())
        })
        .await;
    }

    /// Waits until it is not ready, and says that this is why.
    pub(crate) async fn is_refused(&self, reason: &str) {
        let log = self.log.display();
        eventually(&format!("the hub of {log} is refused: {reason}"), async || {
            let (status, told) = self.readiness().await?;
            (status == StatusCode::SERVICE_UNAVAILABLE && told.contains(reason)).then_some(())
        })
        .await;
    }

    /// Becomes ready, and shows what is posted to it.
    pub(crate) async fn carries_events(&self) {
        self.is_ready().await;
        let watching = Watching::start(Arc::clone(&self.urls), 0, Wish::All, Loyalty::Stays);
        let publishers = Publishers::new(Arc::clone(&self.urls));
        publishers.post(0, 2, Pace::STEADY).await;
        assert_eq!(publishers.accepted_so_far().len(), 2, "{}", self.log.display());
        watching.has_seen(2).await;
    }

    /// Has told nobody any of these secrets: neither now, when it is asked whether it is ready, nor ever in its log.
    pub(crate) async fn keeps_to_itself(&self, secrets: &[&str]) {
        let log = std::fs::read_to_string(&self.log).unwrap();
        let (_, told) = self.readiness().await.unwrap();
        assert!(log.contains("DEBUG"), "{} is whole", self.log.display());
        for secret in secrets {
            assert!(!log.contains(secret), "{} has {secret}", self.log.display());
            assert!(!told.contains(secret), "{told}");
        }
    }
}
