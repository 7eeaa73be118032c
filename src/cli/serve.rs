//! `telemetry-hub [serve]`: runs the hub until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::config::Settings;
use crate::server::Server;

/// The exit code for settings that cannot be, as clap has it for options.
const BAD_OPTION: u8 = 2;

/// Options for running the hub.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct ServeOptions {
    /// The address to listen on [default: 127.0.0.1:8787]; with port 0 the system chooses one
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// How long the end may take, from SIGTERM or Ctrl-C on [default: 10s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_timeout: Option<String>,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE", env = "TELEMETRY_HUB_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub(super) async fn run(options: ServeOptions) -> anyhow::Result<ExitCode> {
    let settings = match Settings::load(options.config.as_deref(), &options) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("telemetry-hub: {error}");
            return Ok(ExitCode::from(BAD_OPTION));
        }
    };
    let server = Server::bind(settings).await?;
    print_welcome(server.address());
    server.run(asked_to_stop()?).await?;
    Ok(ExitCode::SUCCESS)
}

fn print_welcome(address: SocketAddr) {
    println!("telemetry-hub {} on http://{address}", env!("CARGO_PKG_VERSION"));
    println!();
    println!("  watch    curl -N 'http://{address}/api/telemetry/traces/live'");
    println!(
        "  filter   curl -N 'http://{address}/api/telemetry/traces/live?level=warn&remote-ip=10.0.0.0/8'"
    );
    println!("  metrics  curl -N 'http://{address}/api/telemetry/metrics/live?interval=1'");
    println!(
        "  send     curl --json '{{\"type\":\"hello\",\"text\":\"it works\"}}' http://{address}/api/telemetry/events"
    );
    println!("           journalctl -f -o json | telemetry-hub send --url http://{address}");
    println!();
    if !address.ip().is_loopback() {
        eprintln!("telemetry-hub: anyone who can reach {address} can read and write here");
    }
}

/// Resolves at the first SIGTERM or Ctrl-C. A second Ctrl-C ends the process at once.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.ok();
        exit_at_second_signal();
    })
}

fn exit_at_second_signal() {
    // Ends with the process, whichever way that goes.
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(1);
        }
    });
}
