//! Where a server may be: a port and a folder. The bench `joined` has this file, too.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail};

/// From here on up to where the system takes ports for connections of its own accord, which come and go by the thousand meanwhile.
const FIRST_PORT: u16 = 12_000;
const PORTS: u32 = 20_000;

/// A port that nobody has. Somebody might take it before the server does: then that does not start, and says so.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    // Another bench at the same time begins elsewhere.
    let first = std::process::id().wrapping_mul(100);
    for _ in 0..PORTS {
        let place = first.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST_PORT + place as u16));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port")
}

/// That folder, with nothing in it.
pub(crate) fn empty(folder: PathBuf) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
