//! durable-streams-server: it keeps a stream in a file and hands subscribers to a thread a core, each with an epoll of its
//! own. Without its write-ahead log ("memory"), so that nothing waits for a disk.
//!
//! The stream is one of JSON, as the hub's is: each body is parsed, and what was appended meanwhile comes as one array. It
//! ends every subscription after a minute, so that no load may last longer.

use std::net::SocketAddr;
use std::path::Path;

use tokio::process::Command;

use super::Recipe;
use crate::install;

pub(super) fn recipe(address: SocketAddr, folder: &Path) -> Recipe {
    let mut command = Command::new(install::durable_streams());
    command.arg("--host").arg(address.ip().to_string());
    command.arg("--port").arg(address.port().to_string());
    command.arg("--data-dir").arg(folder.join("data"));
    command.args(["--durability", "memory"]);
    Recipe {
        command,
        stop: None,
        subscribe_path: "/load?offset=now&live=sse",
        publish_path: "/load",
        is_made: true,
    }
}
