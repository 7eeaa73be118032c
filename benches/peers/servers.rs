//! The servers that are compared: how each is started for a job of nothing but fan-out, and ended.
//!
//! One is a process of ours on a loopback port of its own. However a run ends, by success, error, panic or Ctrl-C, the
//! process ends with the [`Server`]; no process that was not started here is ever touched.

mod durable_streams;
mod floor;
mod hub;
mod nchan;

use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

use crate::place::{empty, free_address};

/// How long a server may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    Hub,
    Nchan,
    DurableStreams,
    Floor,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Hub, Self::Nchan, Self::DurableStreams, Self::Floor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Nchan => "nchan",
            Self::DurableStreams => "durable-streams",
            Self::Floor => "floor",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How to start one server: what each module of this folder says of its own.
struct Recipe {
    command: Command,
    /// Ends it, where its process alone would leave others behind.
    stop: Option<std::process::Command>,
    subscribe_path: &'static str,
    publish_path: &'static str,
    /// Whether the path published to has to be made first, by PUT.
    is_made: bool,
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    address: SocketAddr,
    child: Child,
    stop: Option<std::process::Command>,
    pub(crate) subscribe_url: String,
    pub(crate) publish_url: String,
}

impl Server {
    /// Starts a server and waits until it listens. `settings` are environment variables for it; `folder` is where it may
    /// write, and what it says goes to `log` in there.
    pub(crate) async fn start(
        kind: Kind,
        settings: &[(&str, &str)],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let folder = empty(folder.join(kind.name()))?;
        let address = free_address()?;
        let mut recipe = recipe(kind, address, &folder)?;
        let log = File::create(folder.join("log"))?;
        let command = &mut recipe.command;
        command.envs(settings.iter().copied()).current_dir(&folder);
        command.kill_on_drop(recipe.stop.is_none());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {kind}"))?;
        let mut server = Self {
            kind,
            address,
            child,
            stop: recipe.stop,
            subscribe_url: format!("http://{address}{}", recipe.subscribe_path),
            publish_url: format!("http://{address}{}", recipe.publish_path),
        };
        let listening = server.wait_until_it_listens().await;
        listening.with_context(|| format!("{kind} does not start: see {}", folder.display()))?;
        if recipe.is_made {
            server.make_stream().await?;
        }
        Ok(server)
    }

    async fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let listens = async {
            let mut tick = interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                if TcpStream::connect(self.address).await.is_ok() {
                    return Ok(());
                }
                if let Some(status) = self.child.try_wait()? {
                    bail!("it has ended: {status}");
                }
            }
        };
        timeout(PATIENCE, listens).await.context("it does not listen")?
    }

    async fn make_stream(&self) -> anyhow::Result<()> {
        let request = reqwest::Client::new().put(&self.publish_url);
        let answer = request.header("Content-Type", "application/json").send().await?;
        answer.error_for_status().with_context(|| format!("{} makes no stream", self.kind))?;
        Ok(())
    }

    /// How many streams the hub has cut because nobody read them, as it says itself.
    pub(crate) async fn streams_cut(&self) -> anyhow::Result<f64> {
        const NAME: &str = "hub_subscribers_stalled";
        let url = format!("http://{}/metrics", self.address);
        let text = reqwest::get(url).await?.error_for_status()?.text().await?;
        let lines = text.lines().filter(|line| line.starts_with(NAME));
        let value = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).next();
        value.with_context(|| format!("the hub does not count {NAME}"))
    }

    /// The process that was started; nginx has others below it.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends the server, and waits until it has.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let asked = match self.stop.take() {
            Some(mut stop) => stop.status().map(|_| ()),
            None => self.child.start_kill(),
        };
        asked.with_context(|| format!("cannot end {}", self.kind))?;
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.with_context(|| format!("{} does not end", self.kind))??;
        Ok(())
    }
}

/// Where nobody waits any more. What has no way of its own to stop is killed by [`Child`].
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut stop) = self.stop.take() {
            stop.status().ok();
        }
    }
}

fn recipe(kind: Kind, address: SocketAddr, folder: &Path) -> anyhow::Result<Recipe> {
    match kind {
        Kind::Hub => Ok(hub::recipe(address)),
        Kind::Nchan => nchan::recipe(address, folder),
        Kind::DurableStreams => Ok(durable_streams::recipe(address, folder)),
        Kind::Floor => floor::recipe(address),
    }
}
