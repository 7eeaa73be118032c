//! Three hubs as programs of their own, each with its own link to each NATS server.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::nats::{Nats, SERVERS};
use crate::patience::{eventually, within_patience};
use crate::ports::free_port;
use crate::proxy::Proxy;

pub(crate) const HUBS: usize = 3;

/// Settings, by their names in the environment without what all begin with.
pub(crate) type Settings = BTreeMap<&'static str, String>;

pub(crate) struct Hubs {
    hubs: Vec<Hub>,
    client: reqwest::Client,
}

struct Hub {
    port: u16,
    log: PathBuf,
    /// To each server.
    links: Vec<(u16, Arc<Proxy>)>,
    settings: Settings,
    child: Option<Child>,
}

impl Hubs {
    /// Three hubs that are ready.
    pub(crate) async fn start(folder: &Path, nats: &Nats, settings: [Settings; HUBS]) -> Self {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
        let mut hubs = Self { hubs: Vec::new(), client };
        for (index, settings) in settings.into_iter().enumerate() {
            let log = folder.join(format!("hub{index}.log"));
            hubs.hubs.push(Hub::new(log, nats, settings).await);
            hubs.hubs[index].start(index);
        }
        hubs.are_ready().await;
        hubs
    }

    pub(crate) fn urls(&self) -> Arc<[String]> {
        self.hubs.iter().map(|hub| format!("http://127.0.0.1:{}", hub.port)).collect()
    }

    /// The links of this hub to all servers.
    pub(crate) fn links_of(&self, index: usize) -> Vec<Arc<Proxy>> {
        self.hubs[index].links.iter().map(|(_, proxy)| Arc::clone(proxy)).collect()
    }

    /// The links of all hubs to this server.
    pub(crate) fn links_to(&self, server: usize) -> Vec<Arc<Proxy>> {
        self.hubs.iter().map(|hub| Arc::clone(&hub.links[server].1)).collect()
    }

    /// As `kill -9` does.
    pub(crate) async fn kill(&mut self, index: usize) {
        self.hubs[index].child.take().unwrap().kill().await.unwrap();
    }

    /// Asks it to end.
    pub(crate) async fn terminate(&self, index: usize) {
        let pid = self.hubs[index].child.as_ref().unwrap().id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    }

    /// Waits until it has ended, as one does that was asked to.
    pub(crate) async fn has_ended(&mut self, index: usize) {
        let mut child = self.hubs[index].child.take().unwrap();
        let status = within_patience("the hub ends", child.wait()).await.unwrap();
        assert!(status.success(), "hub {index}: {status}");
    }

    /// How a measurement of its own stands, by its name in `/metrics`, where there are those of the other hubs as well.
    pub(crate) async fn measured(&self, index: usize, name: &str) -> u64 {
        let url = format!("http://127.0.0.1:{}/metrics", self.hubs[index].port);
        let series = format!("{name}{{hub=\"hub{index}\"}}");
        eventually(&format!("hub {index} tells {name}"), async || {
            let page = self.client.get(&url).send().await.ok()?.text().await.ok()?;
            let mut words = page.lines().map(str::split_whitespace);
            let mut line =
                words.find_map(|mut line| (line.next() == Some(&series)).then_some(line));
            line.as_mut()?.next()?.parse().ok()
        })
        .await
    }

    /// Waits until a measurement of its own stands there.
    pub(crate) async fn comes_to(&self, index: usize, name: &str, value: u64) {
        let what = format!("{name} of hub {index} comes to {value}");
        eventually(&what, async || (self.measured(index, name).await == value).then_some(())).await;
    }

    /// Starts it again, and waits until it is ready.
    pub(crate) async fn restart(&mut self, index: usize) {
        self.hubs[index].start(index);
        self.is_ready(index, true).await;
    }

    pub(crate) async fn are_ready(&self) {
        for index in 0..HUBS {
            self.is_ready(index, true).await;
        }
    }

    /// Waits until it says that it is ready, or that it is not.
    pub(crate) async fn is_ready(&self, index: usize, wanted: bool) {
        let url = format!("http://127.0.0.1:{}/readyz", self.hubs[index].port);
        eventually(&format!("hub {index} is ready: {wanted}"), async || {
            let status = self.client.get(&url).send().await.ok()?.status();
            (status == if wanted { 200 } else { 503 }).then_some(())
        })
        .await;
    }
}

impl Hub {
    async fn new(log: PathBuf, nats: &Nats, settings: Settings) -> Self {
        let mut links = Vec::new();
        for server in 0..SERVERS {
            let port = free_port().await;
            links.push((port, Arc::new(Proxy::start(port, nats.client_port(server)).await)));
        }
        Self { port: free_port().await, log, links, settings, child: None }
    }

    fn start(&mut self, index: usize) {
        let log = File::options().append(true).create(true).open(&self.log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
        command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--nats", &self.servers()]);
        command.envs([("TELEMETRY_HUB_OTLP_HTTP", "off"), ("TELEMETRY_HUB_OTLP_GRPC", "off")]);
        command.envs([("TELEMETRY_HUB_NATS_REPLICAS", "3"), ("TELEMETRY_HUB_PING_INTERVAL", "1s")]);
        command.env("TELEMETRY_HUB_HUB_NAME", format!("hub{index}"));
        command.envs(
            self.settings.iter().map(|(name, value)| (format!("TELEMETRY_HUB_{name}"), value)),
        );
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().unwrap());
    }

    fn servers(&self) -> String {
        let urls: Vec<String> =
            self.links.iter().map(|(port, _)| format!("nats://127.0.0.1:{port}")).collect();
        urls.join(",")
    }
}
