//! nginx and HAProxy, each with its file of `packaging/`, in which nothing is replaced but what this machine has another of: addresses,
//! paths, and how many files may be open.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Certificates, LiveStream, Transport, within_patience};
use crate::hubs::folder;

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    HaProxy,
}

/// Every test is made with both.
pub(crate) const KINDS: [Kind; 2] = [Kind::Nginx, Kind::HaProxy];

/// As browsers and programs come.
pub(crate) const TRANSPORTS: [Transport; 2] = [Transport::Http1Tls, Transport::Http2Tls];

/// A proxy that runs. It ends with this value.
pub(crate) struct Proxy {
    kind: Kind,
    child: Child,
    certificates: Certificates,
    folder: PathBuf,
    pub(crate) base: String,
}

impl Proxy {
    /// Before these, of which the last one stands in the place of those that are missing to three.
    pub(crate) async fn start(kind: Kind, hubs: &[SocketAddr]) -> Self {
        Self::with_times(kind, hubs, &[]).await
    }

    /// With times other than those of its file.
    pub(crate) async fn with_times(
        kind: Kind,
        hubs: &[SocketAddr],
        times: &[(&str, &str)],
    ) -> Self {
        let (certificates, folder, port) =
            (Certificates::for_localhost(), folder("proxy"), free_port());
        let mut file = File::read(match kind {
            Kind::Nginx => "nginx.conf",
            Kind::HaProxy => "haproxy.cfg",
        });
        for (number, hub) in
            (11..=13).zip(hubs.iter().chain(std::iter::repeat(&hubs[hubs.len() - 1])))
        {
            file.replace(&format!("192.0.2.{number}:8787"), &hub.to_string());
        }
        for (from, to) in times {
            file.replace(from, to);
        }
        let child = match kind {
            Kind::Nginx => nginx(file, port, &folder, &certificates),
            Kind::HaProxy => haproxy(file, port, &folder, &certificates),
        };
        let proxy =
            Self { kind, child, certificates, folder, base: format!("https://localhost:{port}") };
        within_patience(async { while !proxy.listens(port).await {} }).await;
        proxy
    }

    async fn listens(&self, port: u16) -> bool {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    }

    /// A client that comes so, with a connection of its own.
    pub(crate) fn client(&self, transport: Transport) -> reqwest::Client {
        transport.client(&self.certificates).build().unwrap()
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) async fn get(&self, client: &reqwest::Client, path: &str) -> reqwest::Response {
        within_patience(client.get(self.url(path)).send()).await.unwrap()
    }

    pub(crate) async fn watch(&self, client: &reqwest::Client) -> LiveStream {
        LiveStream::open(self.get(client, "/api/telemetry/traces/live").await)
    }

    pub(crate) async fn post(&self, client: &reqwest::Client, event: &Value) -> reqwest::Response {
        let request = client.post(self.url("/api/telemetry/events")).json(event);
        within_patience(request.send()).await.unwrap()
    }

    /// What it has written into its log, once that has a text in it.
    pub(crate) async fn log_with(&self, text: &str) -> String {
        let file = self.folder.join("access.log");
        within_patience(async {
            loop {
                let log = tokio::fs::read_to_string(&file).await.unwrap_or_default();
                if log.contains(text) {
                    return log;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A master that is killed leaves its workers.
        Command::new("kill").arg(self.child.id().to_string()).status().ok();
        self.child.wait().ok();
    }
}

/// A file of `packaging/` on its way to become this machine's.
pub(crate) struct File(String);

impl File {
    pub(crate) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
        Self(std::fs::read_to_string(path).unwrap())
    }

    #[track_caller]
    pub(crate) fn replace(&mut self, from: &str, to: &str) {
        assert!(self.0.contains(from), "{from} stands there no more");
        self.0 = self.0.replace(from, to);
    }

    /// Takes out what stands from here to there.
    #[track_caller]
    pub(crate) fn cut(&mut self, from: &str, to: &str) {
        let (start, rest) = self.0.split_once(from).unwrap();
        let (_, end) = rest.split_once(to).unwrap();
        self.0 = format!("{start}{to}{end}");
    }

    /// Puts another public key of NATS in the place of the one that stands there.
    pub(crate) fn replace_key(&mut self, key: &str) {
        let (_, rest) = self.0.split_once("nkey: \"").unwrap();
        let (old, _) = rest.split_once('"').unwrap();
        self.0 = self.0.replace(old, key);
    }

    pub(crate) fn write(self, path: &Path) -> String {
        std::fs::write(path, self.0).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn nginx(mut file: File, port: u16, folder: &Path, certificates: &Certificates) -> Child {
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    file.replace("listen 443 ", &format!("listen 127.0.0.1:{port} "));
    file.replace("/etc/nginx/hub.example.org.pem", certificates.certificate.to_str().unwrap());
    file.replace("/etc/nginx/hub.example.org.key", certificates.key.to_str().unwrap());
    file.replace("/run/nginx.pid", &at("pid"));
    file.replace("/var/log/nginx/", &at(""));
    file.replace("worker_rlimit_nofile 140000;", "");
    file.replace("worker_connections 65536;", "worker_connections 1024;");
    let file = file.write(&folder.join("nginx.conf"));
    start("nginx", &["-c", &file, "-g", "daemon off;"], Stdio::null())
}

fn haproxy(mut file: File, port: u16, folder: &Path, certificates: &Certificates) -> Child {
    let both =
        [&certificates.certificate, &certificates.key].map(|file| std::fs::read(file).unwrap());
    let pem = folder.join("both.pem");
    std::fs::write(&pem, both.concat()).unwrap();
    file.replace("bind :443 ", &format!("bind 127.0.0.1:{port} "));
    file.replace("/etc/haproxy/hub.example.org.pem", pem.to_str().unwrap());
    // The path of a socket may not be as long as the folder's.
    file.replace("    stats socket /run/haproxy/admin.sock mode 660 level admin\n", "");
    file.replace("log /dev/log ", "log stdout format raw ");
    file.replace("maxconn 65536", "maxconn 1024");
    file.replace("abns@once", &format!("abns@once-{port}"));
    let file = file.write(&folder.join("haproxy.cfg"));
    let log = std::fs::File::create(folder.join("access.log")).unwrap();
    start("haproxy", &["-db", "-f", &file], log.into())
}

fn start(program: &str, arguments: &[&str], output: Stdio) -> Child {
    // Not everybody has this folder in their path.
    let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", path).stdin(Stdio::null()).stdout(output);
    command.stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}: tests/deploy/install"))
}

/// One that nobody has just now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// So long that a proxy with times of two seconds would have cut it several times.
pub(crate) const QUIET: Duration = Duration::from_secs(7);
