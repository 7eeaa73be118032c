//! Hubs and servers of NATS as processes of their own, on loopback ports, for one measurement.
//!
//! Whatever happens, they end with the [`Network`]; no process that was not started here is ever touched.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

use crate::place::{empty, free_address};
use crate::setups::Setup;
use crate::{hub, nats, program, work_folder};

/// How long all of them may take until every hub is ready, or until one has ended: three servers first agree on a leader.
const PATIENCE: Duration = Duration::from_secs(40);

/// Far more than is published, and little beside a disk or a memory.
const STREAM_BYTES: &str = "256 MiB";

/// All that runs.
#[derive(Debug)]
pub(crate) struct Network {
    folder: PathBuf,
    hubs: Vec<Hub>,
    servers: Vec<Process>,
}

#[derive(Debug)]
struct Hub {
    process: Process,
    address: SocketAddr,
}

/// It is killed with this value.
#[derive(Debug)]
struct Process {
    name: String,
    child: Child,
    pid: u32,
}

impl Network {
    /// Starts all of a setup, and waits until every hub is ready. `settings` are environment variables for the hubs.
    pub(crate) async fn start(setup: Setup, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = empty(work_folder().join("run"))?;
        let places = (0..setup.servers()).map(|_| nats::Place::free());
        let places = places.collect::<anyhow::Result<Vec<_>>>()?;
        let mut network = Self { folder, hubs: Vec::new(), servers: Vec::new() };
        for number in 0..places.len() {
            let name = format!("nats{number}");
            let command = nats::serve(number, &places, &network.folder.join(&name));
            network.servers.push(Process::start(name, command, &network.folder)?);
        }
        let urls: Vec<_> = places.iter().map(nats::Place::url).collect();
        for number in 0..setup.hubs() {
            let address = free_address()?;
            let mut command = program::serve(&hub(), address);
            command.envs(settings.iter().copied());
            if !urls.is_empty() {
                command.arg("--nats").arg(urls.join(","));
                command.env("TELEMETRY_HUB_NATS_STORAGE", setup.storage());
                command.env("TELEMETRY_HUB_NATS_REPLICAS", urls.len().to_string());
                command.env("TELEMETRY_HUB_NATS_MAX_BYTES", STREAM_BYTES);
            }
            let process = Process::start(format!("hub{number}"), command, &network.folder)?;
            network.hubs.push(Hub { process, address });
        }
        let folder = network.folder.display().to_string();
        let ready = timeout(PATIENCE, network.wait_until_ready()).await;
        ready
            .unwrap_or_else(|_| bail!("the hubs are not ready"))
            .with_context(|| format!("see {folder}"))?;
        Ok(network)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let mut tick = interval(Duration::from_millis(20));
        let mut unready: Vec<_> = self.hubs.iter().map(|hub| hub.address).collect();
        let processes = self.hubs.iter_mut().map(|hub| &mut hub.process);
        let mut processes: Vec<_> = processes.chain(&mut self.servers).collect();
        while let Some(address) = unready.last() {
            tick.tick().await;
            let answer = reqwest::get(format!("http://{address}/readyz")).await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                unready.pop();
            }
            for process in &mut processes {
                if let Some(status) = process.child.try_wait()? {
                    bail!("{} has ended: {status}", process.name);
                }
            }
        }
        Ok(())
    }

    /// Where each hub has something.
    pub(crate) fn urls(&self, path: &str) -> Vec<String> {
        self.hubs.iter().map(|hub| format!("http://{}{path}", hub.address)).collect()
    }

    /// All processes: those of the hubs first.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let hubs = self.hubs.iter().map(|hub| &hub.process);
        hubs.chain(&self.servers).map(|process| process.pid).collect()
    }

    /// Ends all, and removes what they have stored.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let hubs = self.hubs.into_iter().map(|hub| hub.process);
        for Process { name, mut child, .. } in hubs.chain(self.servers) {
            timeout(PATIENCE, child.kill())
                .await
                .with_context(|| format!("{name} does not end"))??;
        }
        fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}

impl Process {
    /// Starts it. What it says goes to a file in a folder of its own.
    fn start(name: String, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let folder = empty(folder.join(&name))?;
        let log = File::create(folder.join("log"))?;
        command.current_dir(&folder).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().with_context(|| format!("{name} has ended"))?;
        Ok(Self { name, child, pid })
    }
}
