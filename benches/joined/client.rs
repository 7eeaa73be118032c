//! The client: `telemetry-hub load`, with the same options for every setup, and what its report says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use crate::figures::{Figure, Figures};
use crate::loads::{Outcome, Scene};
use crate::network::Network;
use crate::setups::Setup;
use crate::{hub, work_folder};

/// So many, that one whose answer takes a while makes none of the others late; and as many for each of three hubs.
const PUBLISHERS: &str = "12";

/// How long the client waits, when all has been sent, for what is late.
const SETTLE: &str = "2s";

/// How long everybody waits once all are connected.
const IDLE: &str = "300ms";

/// How much longer than its schedule the client may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts the scene's load on the hubs of a setup.
pub(crate) async fn drive(
    scene: &Scene,
    setup: Setup,
    network: &Network,
) -> anyhow::Result<Outcome> {
    let [report, log] = ["report.json", "client.log"].map(|name| work_folder().join(name));
    if report.exists() {
        fs::remove_file(&report)?;
    }
    let output = File::create(&log)?;
    let mut command = command(scene, setup, network);
    command.arg("--json").arg(&report).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut client = command.spawn().context("the client does not start")?;
    let ended = timeout(scene.duration + PATIENCE, client.wait()).await;
    ended.with_context(|| format!("the client does not end: see {}", log.display()))??;
    // What it finds fault with is in the report; without one it could not work.
    let Ok(json) = fs::read(&report) else {
        bail!("the client says:\n{}", fs::read_to_string(&log)?);
    };
    let report: Report = serde_json::from_slice(&json).context("a report of another shape")?;
    report.outcome(setup)
}

fn command(scene: &Scene, setup: Setup, network: &Network) -> Command {
    let mut command = Command::new(hub());
    command.arg("load");
    let mut option = |name: &str, value: &dyn std::fmt::Display| {
        command.arg(format!("--{name}={value}"));
    };
    for url in setup.watched(&network.urls("/api/telemetry/traces/live")) {
        option("subscribe-url", url);
    }
    for url in setup.published_to(&network.urls("/api/telemetry/events")) {
        option("publish-url", url);
    }
    for pid in network.pids() {
        option("server-pid", &pid);
    }
    option("subscribers", &scene.subscribers);
    option("publishers", &PUBLISHERS);
    option("rate", &scene.rate);
    option("batch", &scene.batch);
    option("duration", &format!("{}ms", scene.duration.as_millis()));
    option("idle", &IDLE);
    option("settle", &SETTLE);
    if let Some(filters) = scene.filters {
        option("filter", &"remote-ip={n.ip}");
        option("filters", &filters);
    }
    command
}

/// What is looked at of the client's report.
#[derive(Debug, Deserialize)]
struct Report {
    problems: Vec<String>,
    subscribers: u64,
    connected: u64,
    connect_failures: BTreeMap<String, u64>,
    publish_failures: BTreeMap<String, u64>,
    accepted: u64,
    accepted_per_second: f64,
    expected: u64,
    delivered: u64,
    deliveries_per_second: f64,
    delivery_latency: Latency,
    publish_latency: Latency,
    server: Option<ServerCost>,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Debug, Deserialize)]
struct ServerCost {
    /// Hubs first.
    cpu_seconds_each: Vec<f64>,
}

impl Report {
    /// What went wrong.
    fn problems(&self) -> Vec<String> {
        let reasons = [&self.connect_failures, &self.publish_failures].into_iter().flatten();
        let reasons = reasons.map(|(reason, count)| format!("{count} × {reason}"));
        self.problems.iter().cloned().chain(reasons).collect()
    }

    fn outcome(&self, setup: Setup) -> anyhow::Result<Outcome> {
        if self.connected < self.subscribers {
            bail!("only {} of {} subscribers got a stream", self.connected, self.subscribers);
        }
        if self.accepted == 0 {
            bail!("no event was accepted");
        }
        let server = self.server.as_ref().context("a process has ended meanwhile")?;
        let (hubs, servers) = server.cpu_seconds_each.split_at(setup.hubs());
        let [hub_seconds, nats_seconds] = [hubs, servers].map(|each| each.iter().sum::<f64>());
        let (accepted, delivered) = (self.accepted as f64, self.delivered as f64);
        let mut figures = Figures::from([
            (Figure::DeliveriesPerHubSecond, delivered / hub_seconds),
            (Figure::DeliveriesPerCpuSecond, delivered / (hub_seconds + nats_seconds)),
            (Figure::DeliveredPerSecond, self.deliveries_per_second),
            (Figure::LatencyMedian, self.delivery_latency.p50_ms / 1e3),
            (Figure::LatencyP99, self.delivery_latency.p99_ms / 1e3),
            (Figure::PublishMedian, self.publish_latency.p50_ms / 1e3),
            (Figure::PublishP99, self.publish_latency.p99_ms / 1e3),
            (Figure::HubCpu, hub_seconds / hubs.len() as f64 / accepted),
            (Figure::AcceptedPerSecond, self.accepted_per_second),
        ]);
        if setup == Setup::Other {
            let reading: f64 = setup.watched(hubs).iter().sum();
            figures.insert(Figure::ReaderCpu, reading / accepted);
        }
        if !servers.is_empty() {
            figures.insert(Figure::NatsCpu, nats_seconds / accepted);
        }
        let is_whole = self.delivered == self.expected;
        Ok(Outcome { figures, problems: self.problems(), is_whole })
    }
}
