//! `telemetry-hub health`: whether a hub wants work, for whoever starts hubs and asks by running a program: a container's health check has
//! neither a shell nor curl.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use reqwest::{Certificate, Client, Response};
use serde::Deserialize;

use super::harmless::harmless;
use super::hub_client::HubUrl;

/// A hub answers at once or is stuck.
const PATIENCE: Duration = Duration::from_secs(3);

/// Options for asking a hub how it is.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct HealthOptions {
    /// The hub to ask
    #[arg(value_name = "URL", env = "TELEMETRY_HUB_URL", default_value = "http://127.0.0.1:8787")]
    url: HubUrl,
    /// Whether it works (/healthz), not whether it wants work (/readyz)
    #[arg(long)]
    live: bool,
    /// Certificates (PEM) to trust besides the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  telemetry-hub health
  telemetry-hub health --live https://127.0.0.1:8787

Needs no token. The certificate of a hub on this machine may be for any name: it is
known there by its address.

Exit codes:
  0  the hub is ready (--live: it works)
  1  it is not, and why is on standard error
  2  a bad option
";

/// Asks once.
pub(super) async fn run(options: HealthOptions) -> anyhow::Result<ExitCode> {
    let (path, good) = if options.live { ("healthz", "works") } else { ("readyz", "ready") };
    let request = options.client()?.get(options.url.at(&[path]));
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => anyhow::bail!(options.url.explain(&error)),
    };
    let status = answer.status();
    if status == 200 {
        println!("{good}");
        return Ok(ExitCode::SUCCESS);
    }
    let detail = detail(answer).await;
    anyhow::bail!("{status}: {}", harmless(&detail))
}

impl HealthOptions {
    fn client(&self) -> anyhow::Result<Client> {
        let mut builder = self.url.client().timeout(PATIENCE);
        if let Some(file) = &self.ca {
            let certificates = std::fs::read(file)
                .map_err(anyhow::Error::from)
                .and_then(|pem| Ok(Certificate::from_pem_bundle(&pem)?))
                .with_context(|| format!("cannot read certificates from {}", file.display()))?;
            builder = builder.tls_certs_merge(certificates);
        } else if self.url.is_on_this_host() {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        builder.build().context("cannot set up the HTTP client")
    }
}

/// What the hub says of it; nothing if it is not a hub that speaks.
async fn detail(answer: Response) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let body = answer.bytes().await.unwrap_or_default();
    let problem = serde_json::from_slice(&body);
    problem.map_or_else(|_| "no answer of a hub".to_owned(), |Problem { detail }| detail)
}
