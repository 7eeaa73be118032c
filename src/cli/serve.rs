//! `telemetry-hub [serve]`: runs the hub until it is told to stop.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::systemd;
use crate::config::{ExtraListen, Secret, Settings, SettingsError, Time};
use crate::error_chain::error_chain;
use crate::server::{Server, ServerError};

/// The exit code for settings that cannot be, as clap has it for options.
pub(super) const BAD_OPTION: u8 = 2;

/// Options for running the hub.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct ServeOptions {
    /// The address to listen on [default: 127.0.0.1:8787]; with port 0 the system chooses one
    #[arg(long, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Where to take OTLP over HTTP besides: "auto" (port 4318 of the same address, if it is free), "off", or
    /// ADDRESS:PORT [default: auto]
    #[arg(long, value_name = "WHERE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    otlp_http: Option<ExtraListen>,
    /// Where to take OTLP over gRPC besides: the same, with port 4317 [default: auto]
    #[arg(long, value_name = "WHERE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    otlp_grpc: Option<ExtraListen>,
    /// A key that what is posted to /api/telemetry/events must be signed with (X-Signature); several times: any of these.
    /// OTLP and /api/telemetry/metrics are taken unsigned. Other users of the machine can see it here; the environment and
    /// the file hide it
    #[arg(
        long = "webhook-key",
        value_name = "KEY",
        env = "TELEMETRY_HUB_WEBHOOK_KEY",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    webhook_keys: Vec<Secret>,
    /// The certificate for TLS, in PEM, with those between it and one that clients know. Then all of its addresses speak
    /// TLS, and nothing else. Replaced while the hub runs, it is good for connections from then on
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_certificate: Option<PathBuf>,
    /// The key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_key: Option<PathBuf>,
    /// A server of NATS through which this hub is joined to others: nats://HOST:4222, or tls://…; several times, or with commas:
    /// any of these. Then what one hub accepts, each of them shows
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nats: Vec<Secret>,
    /// How long the end may take, from SIGTERM or Ctrl-C on [default: 10s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_timeout: Option<Time>,
    /// A TOML file with settings
    #[arg(long, value_name = "FILE", env = "TELEMETRY_HUB_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

impl ServeOptions {
    /// With all that the file and the environment say.
    pub(super) fn settings(&self) -> Result<Settings, SettingsError> {
        Settings::load(self.config.as_deref(), self)
    }
}

/// Tells what is wrong with the settings.
pub(super) fn bad_option(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("telemetry-hub: {}", error_chain(error));
    ExitCode::from(BAD_OPTION)
}

/// Serves until SIGTERM or Ctrl-C, then drains.
pub(super) async fn run(options: ServeOptions) -> anyhow::Result<ExitCode> {
    let settings = match options.settings() {
        Ok(settings) => settings,
        Err(error) => return Ok(bad_option(&error)),
    };
    let server = match Server::bind_to(settings, systemd::sockets()?).await {
        Err(error @ (ServerError::Exposed { .. } | ServerError::File(_))) => {
            return Ok(bad_option(&error));
        }
        server => server?,
    };
    let stop = asked_to_stop()?;
    // Whoever started it may have closed its output: that is no reason not to serve.
    std::io::stdout().write_all(welcome(&server).as_bytes()).ok();
    systemd::tell_ready(&server.address().to_string());
    let hub = server.hub().clone();
    let stop = async {
        stop.await;
        systemd::tell_stopping();
    };
    tokio::select! {
        outcome = server.run(stop) => outcome?,
        never = systemd::keep_telling_health(&hub) => match never {},
    }
    Ok(ExitCode::SUCCESS)
}

fn welcome(server: &Server) -> String {
    let address = server.address();
    let (scheme, hub_address) = (server.scheme(), reachable(address));
    let hub = format!("{scheme}://{hub_address}");
    let json = "-H 'Content-Type: application/json'";
    let mut text = format!(
        "telemetry-hub {version} on {scheme}://{address}

  look     {hub} in a browser
  watch    curl -N '{hub}/api/telemetry/traces/live'
  filter   curl -N '{hub}/api/telemetry/traces/live?level=warn&remote-ip=10.0.0.0/8'
  metrics  curl -N '{hub}/api/telemetry/metrics/live?interval=1'
  send     curl {hub}/api/telemetry/events {json} -d '{{\"type\":\"hello\",\"text\":\"it works\"}}'
           journalctl -f -o json | telemetry-hub send --url {hub}
  otlp     {otlp}

",
        version = env!("CARGO_PKG_VERSION"),
        otlp = otlp_addresses(server),
    );
    if server.is_joined() {
        text.push_str(&format!("  hubs     {}\n\n", joined(server.hub().services())));
    }
    if server.asks_for_tokens() {
        text.push_str(
            "  Every request needs a token: -H \"Authorization: Bearer $TELEMETRY_HUB_TOKEN\"\n\n",
        );
    }
    text
}

/// What it has in common with other hubs.
fn joined(services: &[String]) -> String {
    match services {
        [] => "joined by NATS: each of them shows what any of them accepts".to_owned(),
        some => format!("joined by NATS: this one shows the services {} alone", some.join(", ")),
    }
}

/// Where exporters of OpenTelemetry find the hub.
fn otlp_addresses(server: &Server) -> String {
    let url = |address| format!("{}://{}", server.scheme(), reachable(address));
    let [http, grpc] = server.otlp_addresses().map(|address| address.unwrap_or(server.address()));
    format!("{} (HTTP), {} (gRPC)", url(http), url(grpc))
}

/// An address to paste: one that listens everywhere is not one to connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Resolves at the first SIGTERM or Ctrl-C; listens for them from now on. A second Ctrl-C ends the process at once.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Ends with the process, whichever way that goes.
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(1);
        });
    })
}
