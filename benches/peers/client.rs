//! The client: `telemetry-hub load`, the same program with the same options for every server, and what its report says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use crate::figures::{Figure, Outcome};
use crate::hub;
use crate::loads::Scene;
use crate::servers::{Kind, Server};

/// Without a schedule that one publisher alone may not keep: durable-streams and nchan answer once they have written.
const PUBLISHERS: &str = "4";

/// How long the client waits, when all has been sent, for what is late. A server that has not kept up is not waited for.
const SETTLE: &str = "2s";

/// How much longer than its schedule the client may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts the scene's load on a server.
pub(crate) async fn drive(
    scene: &Scene,
    server: &Server,
    folder: &Path,
) -> anyhow::Result<Outcome> {
    let (report, log) = (folder.join("report.json"), folder.join("client.log"));
    if report.exists() {
        fs::remove_file(&report)?;
    }
    let mut command = command(scene, server);
    let output = File::create(&log)?;
    command.arg("--json").arg(&report).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut client = command.spawn().context("the client does not start")?;
    let ended = timeout(scene.estimate() + PATIENCE, client.wait()).await;
    ended.with_context(|| format!("the client does not end: see {}", log.display()))??;
    // What it finds fault with is in the report; without one it could not work.
    let Ok(json) = fs::read(&report) else {
        bail!("the client says:\n{}", fs::read_to_string(&log)?);
    };
    let report: Report = serde_json::from_slice(&json).context("a report of another shape")?;
    report.complain(server.kind);
    report.figures()
}

fn command(scene: &Scene, server: &Server) -> Command {
    let mut command = Command::new(hub());
    command.arg("load");
    let mut option = |name: &str, value: &dyn std::fmt::Display| {
        command.arg(format!("--{name}={value}"));
    };
    option("subscribe-url", &server.subscribe_url);
    option("publish-url", &server.publish_url);
    let is_json = scene.batch == 1;
    let content_type = if is_json { "application/json" } else { "application/x-ndjson" };
    option("publish-content-type", &content_type);
    option("subscribers", &scene.subscribers);
    option("publishers", &PUBLISHERS);
    option("rate", &scene.rate);
    option("batch", &scene.batch);
    option("duration", &seconds(scene.duration));
    option("ramp-up", &seconds(scene.ramp_up));
    option("settle", &SETTLE);
    option("stalled", &scene.stalled_percent);
    if let Some(filters) = scene.filters {
        option("filter", &"remote-ip={n.ip}");
        option("filters", &filters);
    }
    if scene.is_http2 {
        command.arg("--http2");
    }
    command
}

fn seconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
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
    unexplained: Option<u64>,
    deliveries_per_second: f64,
    readers: Readers,
    delivery_latency: Latency,
    publish_latency: Latency,
    server: Option<ServerCost>,
}

#[derive(Debug, Deserialize)]
struct Readers {
    healthy: Reader,
    stalled: Reader,
}

/// One class of readers.
#[derive(Debug, Deserialize)]
struct Reader {
    expected: u64,
    delivered: u64,
    missed: u64,
    ended_with_bye: u64,
    ended_without_bye: u64,
}

#[derive(Debug, Deserialize)]
struct Latency {
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Debug, Deserialize)]
struct ServerCost {
    cpu_seconds: f64,
    deliveries_per_cpu_second: f64,
    resident_end: u64,
    kib_per_subscriber: f64,
}

impl Report {
    /// Tells who watches what went wrong. That a server of others is behind is told by its figures.
    fn complain(&self, kind: Kind) {
        let reasons = [&self.connect_failures, &self.publish_failures].into_iter().flatten();
        let problems = self.problems.iter().cloned();
        for problem in problems.chain(reasons.map(|(reason, count)| format!("{count} × {reason}")))
        {
            eprintln!("    {kind}: {problem}");
        }
    }

    fn figures(&self) -> anyhow::Result<Outcome> {
        let server =
            self.server.as_ref().context("the client has not found the server's processes")?;
        if self.connected < self.subscribers {
            bail!("only {} of {} subscribers got a stream", self.connected, self.subscribers);
        }
        let Readers { healthy, stalled } = &self.readers;
        let mut outcome = Outcome::from([
            (Figure::DeliveriesPerCpuSecond, server.deliveries_per_cpu_second),
            (Figure::DeliveredPerSecond, self.deliveries_per_second),
            (Figure::LatencyMedian, self.delivery_latency.p50_ms / 1e3),
            (Figure::LatencyP99, self.delivery_latency.p99_ms / 1e3),
            (Figure::PublishMedian, self.publish_latency.p50_ms / 1e3),
            (Figure::PublishP99, self.publish_latency.p99_ms / 1e3),
            (Figure::Missed, stalled.missed as f64),
            (Figure::Cut, (stalled.ended_with_bye + stalled.ended_without_bye) as f64),
            (Figure::MemoryPerSubscriber, server.kib_per_subscriber * 1024.0),
            (Figure::MemoryAtEnd, server.resident_end as f64),
        ]);
        // Where nobody can tell, nothing is explained.
        let unexplained = self.unexplained.map_or(f64::INFINITY, |count| count as f64);
        outcome.insert(Figure::Unexplained, unexplained);
        if healthy.expected > 0 {
            let share = healthy.delivered as f64 / healthy.expected as f64;
            outcome.insert(Figure::DeliveredShare, share);
        }
        if self.accepted > 0 {
            outcome.insert(Figure::CpuPerEvent, server.cpu_seconds / self.accepted as f64);
        }
        Ok(outcome)
    }
}
