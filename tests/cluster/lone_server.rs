//! One NATS server with JetStream, which asks everybody who they are.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::nats::program;
use crate::patience::eventually;
use crate::ports::free_port;

/// It ends with this value.
pub(crate) struct LoneServer {
    pub(crate) port: u16,
    _child: Child,
}

impl LoneServer {
    /// A server that listens, and lets in whom these lines of its configuration name.
    pub(crate) async fn start(folder: &Path, lets_in: &str) -> Self {
        let port = free_port().await;
        let (configuration, store) = (folder.join("nats.conf"), folder.join("store"));
        let text = format!(
            "port: {port}\n\
             jetstream {{ store_dir: {store:?}, max_file_store: 2GB }}\n\
             {lets_in}\n"
        );
        std::fs::write(&configuration, text).unwrap();
        let log = File::create(folder.join("nats.log")).unwrap();
        let mut command = Command::new(program());
        command.arg("-c").arg(configuration).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let server = Self { port, _child: command.spawn().unwrap() };
        eventually("a NATS server listens", async || {
            TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
        server
    }

    /// Its address, for one who shows it no more than what stands there: nothing, or `user:password@`.
    pub(crate) fn url(&self, shown: &str) -> String {
        format!("nats://{shown}127.0.0.1:{}", self.port)
    }

    /// Its address for one who wants its certificate.
    pub(crate) fn tls_url(&self) -> String {
        format!("tls://localhost:{}", self.port)
    }
}
