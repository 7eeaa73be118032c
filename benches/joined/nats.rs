//! nats-server: where it is, and how it is started: with its defaults, on loopback ports, its store in a folder of this bench.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::place::free_address;
use crate::program::target_folder;

/// What `tests/cluster/install` has put there, or `NATS_SERVER`.
fn path() -> PathBuf {
    let installed = || target_folder().join("nats/bin/nats-server");
    std::env::var_os("NATS_SERVER").map_or_else(installed, PathBuf::from)
}

/// What it says of itself; an error if it is not there.
pub(crate) fn version() -> anyhow::Result<String> {
    let path = path();
    let output = std::process::Command::new(&path).arg("--version").output();
    let output =
        output.with_context(|| format!("{}: tests/cluster/install gets it", path.display()))?;
    if !output.status.success() {
        bail!("{}: {}", path.display(), output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Where one server can be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) clients: SocketAddr,
    routes: SocketAddr,
}

impl Place {
    pub(crate) fn free() -> anyhow::Result<Self> {
        Ok(Self { clients: free_address()?, routes: free_address()? })
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.clients)
    }
}

/// Starts the server of that number among several, or the only one.
pub(crate) fn serve(number: usize, places: &[Place], folder: &Path) -> Command {
    let own = places[number];
    let mut command = Command::new(path());
    command.arg("--addr").arg(own.clients.ip().to_string());
    command.arg("--port").arg(own.clients.port().to_string());
    command.args(["--server_name", &format!("nats{number}"), "--jetstream", "--store_dir"]);
    command.arg(folder.join("store"));
    if places.len() > 1 {
        let route = |place: &Place| format!("nats://{}", place.routes);
        let routes: Vec<_> = places.iter().map(route).collect();
        command.args(["--cluster_name", "hubs", "--cluster", &routes[number]]);
        command.arg("--routes").arg(routes.join(","));
    }
    command
}
