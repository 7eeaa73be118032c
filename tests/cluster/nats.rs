//! Three NATS servers with JetStream, which are killed and come back with what they had stored.
//!
//! They reach one another by links of the test's own: what a server advertises leads nowhere.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::disk::Disk;
use crate::patience::eventually;
use crate::ports::free_port;
use crate::proxy::Proxy;

pub(crate) const SERVERS: usize = 3;

pub(crate) struct Nats {
    servers: Vec<Server>,
    /// The route from one server to another, which speak over either's.
    routes: Vec<((usize, usize), Arc<Proxy>)>,
    client: reqwest::Client,
}

struct Server {
    name: String,
    folder: PathBuf,
    client_port: u16,
    route_port: u16,
    monitor_port: u16,
    disk: Option<Disk>,
    child: Option<Child>,
}

impl Nats {
    /// Three servers that have agreed on who leads them, each with its store in a folder of its own; so many of them on small disks.
    pub(crate) async fn start(folder: &Path, small_disks: usize) -> Self {
        let mut servers = Vec::new();
        for index in 0..SERVERS {
            let folder = folder.join(format!("nats{index}"));
            servers.push(Server::new(&folder, index, index < small_disks).await);
        }
        let mut nats = Self { servers, routes: Vec::new(), client: monitor_client() };
        nats.configure().await;
        for index in 0..SERVERS {
            nats.servers[index].start();
        }
        for index in 0..SERVERS {
            nats.is_healthy(index).await;
        }
        nats
    }

    async fn configure(&mut self) {
        for from in 0..SERVERS {
            let mut ports = Vec::new();
            for to in (0..SERVERS).filter(|to| *to != from) {
                let port = free_port().await;
                let proxy = Proxy::start(port, self.servers[to].route_port).await;
                self.routes.push(((from, to), Arc::new(proxy)));
                ports.push(port);
            }
            self.servers[from].write_configuration(&ports);
        }
    }

    pub(crate) fn client_port(&self, index: usize) -> u16 {
        self.servers[index].client_port
    }

    /// The links between this server and the others.
    pub(crate) fn routes_of(&self, index: usize) -> Vec<Arc<Proxy>> {
        let has = |ends: &(usize, usize)| ends.0 == index || ends.1 == index;
        let routes = self.routes.iter().filter(|(ends, _)| has(ends));
        routes.map(|(_, proxy)| Arc::clone(proxy)).collect()
    }

    /// As `kill -9` does.
    pub(crate) async fn kill(&mut self, index: usize) {
        self.servers[index].child.take().unwrap().kill().await.unwrap();
    }

    /// Starts it again, on what it had stored, and waits until it has what the others have.
    pub(crate) async fn restart(&mut self, index: usize) {
        self.servers[index].start();
        self.is_healthy(index).await;
    }

    /// Kills all, and starts them again.
    pub(crate) async fn restart_all(&mut self) {
        for index in 0..SERVERS {
            self.kill(index).await;
        }
        for server in &mut self.servers {
            server.start();
        }
        for index in 0..SERVERS {
            self.is_healthy(index).await;
        }
    }

    async fn is_healthy(&self, index: usize) {
        let what = format!("{} is healthy", self.servers[index].name);
        let url = format!("http://127.0.0.1:{}/healthz", self.servers[index].monitor_port);
        eventually(&what, async || {
            let answer = self.client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Which server leads the stream: one that runs, and says so itself.
    pub(crate) async fn leader(&self, stream: &str) -> usize {
        eventually("the stream has a leader", async || {
            for (index, server) in self.servers.iter().enumerate() {
                if server.child.is_some() && self.leads(server, stream).await == Some(true) {
                    return Some(index);
                }
            }
            None
        })
        .await
    }

    async fn leads(&self, server: &Server, stream: &str) -> Option<bool> {
        let stream = self.look(server, stream).await?;
        Some(stream["cluster"]["leader"] == *server.name)
    }

    /// The stream as a server sees it, with the consumers that are kept there.
    async fn look(&self, server: &Server, stream: &str) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/jsz?streams=1&consumers=1", server.monitor_port);
        let jetstream: Value = self.client.get(url).send().await.ok()?.json().await.ok()?;
        let accounts = jetstream["account_details"].as_array()?;
        let streams = accounts.iter().filter_map(|one| one["stream_detail"].as_array()).flatten();
        streams.into_iter().find(|one| one["name"] == stream).cloned()
    }

    /// Whether somebody reads the stream from a consumer that this server keeps.
    pub(crate) async fn is_read_at(&self, index: usize, stream: &str) -> bool {
        let server = &self.servers[index];
        let stream = self.look(server, stream).await.unwrap_or_default();
        let consumers = stream["consumer_detail"].as_array().cloned().unwrap_or_default();
        // One that nobody reads any more is kept for a while.
        consumers.iter().any(|one| {
            one["cluster"]["leader"] == *server.name && one["num_waiting"].as_u64() > Some(0)
        })
    }

    /// Waits until it has found that its disk is full.
    pub(crate) async fn has_no_room(&self, index: usize) {
        let log = self.servers[index].folder.join("log");
        eventually("a disk is full", async || {
            let text = std::fs::read_to_string(&log).unwrap();
            text.contains("no space left on device").then_some(())
        })
        .await;
    }

    /// How its disk is limited, if it is.
    pub(crate) fn disk(&self, index: usize) -> &Disk {
        self.servers[index].disk.as_ref().unwrap()
    }
}

impl Server {
    async fn new(folder: &Path, index: usize, small_disk: bool) -> Self {
        std::fs::create_dir_all(folder.join("store")).unwrap();
        let disk =
            if small_disk { Some(Disk::new(&folder.join("store"), index).await) } else { None };
        Self {
            name: format!("nats{index}"),
            folder: folder.to_owned(),
            client_port: free_port().await,
            route_port: free_port().await,
            monitor_port: free_port().await,
            disk,
            child: None,
        }
    }

    fn write_configuration(&self, routes: &[u16]) {
        let Self { name, client_port, route_port, monitor_port, .. } = self;
        let store = self.folder.join("store");
        let routes: Vec<String> =
            routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let routes = routes.join(", ");
        // By itself the server keeps off a fourth of the disk, and would stop before it is full.
        let text = format!(
            "server_name: {name}\n\
             listen: \"127.0.0.1:{client_port}\"\n\
             http: \"127.0.0.1:{monitor_port}\"\n\
             jetstream {{ store_dir: {store:?}, max_file_store: 10GB }}\n\
             cluster {{ name: hubs, listen: \"127.0.0.1:{route_port}\", advertise: \"127.0.0.1:9\", \
             no_advertise: true, routes: [{routes}] }}\n"
        );
        std::fs::write(self.configuration(), text).unwrap();
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("nats.conf")
    }

    fn start(&mut self) {
        let log = File::options().append(true).create(true).open(self.folder.join("log")).unwrap();
        let mut command = match &self.disk {
            Some(disk) => disk.command(program()),
            None => Command::new(program()),
        };
        command.arg("-c").arg(self.configuration()).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().unwrap());
    }
}

/// What `tests/cluster/install` has put there, or `NATS_SERVER`.
pub(crate) fn program() -> PathBuf {
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("nats/bin/nats-server");
    let program = std::env::var_os("NATS_SERVER").map_or(installed, PathBuf::from);
    assert!(program.exists(), "{} is not there: tests/cluster/install", program.display());
    program
}

fn monitor_client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap()
}
