//! Our hub, as it is built with this bench and with its defaults; only the ports of OTLP stay closed.

use std::net::SocketAddr;

use tokio::process::Command;

use super::Recipe;
use crate::hub;

pub(super) fn recipe(address: SocketAddr) -> Recipe {
    let mut command = Command::new(hub());
    command.args(["serve", "--otlp-http", "off", "--otlp-grpc", "off", "--listen"]);
    command.arg(address.to_string());
    // What the caller has set for a hub of his own is not meant for this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TELEMETRY_HUB_") {
            command.env_remove(name);
        }
    }
    Recipe {
        command,
        stop: None,
        subscribe_path: "/api/telemetry/traces/live",
        publish_path: "/api/telemetry/events",
        is_made: false,
    }
}
