//! The program that is measured, and its `load`, which measures, as cargo has built them with this bench. The bench `joined` has this file, too.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use tokio::process::Command;

const BUILT: &str = env!("CARGO_BIN_EXE_telemetry-hub");

/// Where cargo builds.
pub(crate) fn target_folder() -> &'static Path {
    Path::new(BUILT)
        .ancestors()
        .nth(2)
        .expect("cargo puts programs into a folder of the target folder")
}

/// Makes a copy, which no build changes while it runs.
pub(crate) fn copy(to: &Path) -> anyhow::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).context("no folder to work in")?;
    }
    fs::copy(BUILT, to).with_context(|| format!("cannot copy {BUILT}"))?;
    Ok(())
}

/// A hub with its defaults; only the ports of OTLP stay closed.
pub(crate) fn serve(program: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command.args(["serve", "--otlp-http", "off", "--otlp-grpc", "off", "--listen"]);
    command.arg(address.to_string());
    // What the caller has set for a hub of his own is not meant for this one.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TELEMETRY_HUB_") {
            command.env_remove(name);
        }
    }
    command
}

/// What it is called below a table.
pub(crate) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let described =
        std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    match described {
        Ok(output) if output.status.success() => {
            format!("hub {version} ({})", String::from_utf8_lossy(&output.stdout).trim())
        }
        Ok(_) | Err(_) => format!("hub {version}"),
    }
}
