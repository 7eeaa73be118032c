//! What the commands that follow a stream are told on the command line: which hub, and how to be let in.

use std::path::PathBuf;

use anyhow::Context;
use reqwest::{Certificate, Client};

use crate::cli::hub_client::HubUrl;
use crate::config::Secret;

/// Where a token may stand that nobody else sees.
const TOKEN_VARIABLE: &str = "TELEMETRY_HUB_TOKEN";

/// Options for following a stream.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LiveOptions {
    /// The hub to watch
    #[arg(long, value_name = "URL", env = "TELEMETRY_HUB_URL")]
    #[arg(default_value = "http://127.0.0.1:8787")]
    pub(in crate::cli) url: HubUrl,
    /// A file with the token to show, if the hub asks for one [default: what is in TELEMETRY_HUB_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust besides the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// End, with 1, when the hub cannot be reached or the connection is lost
    #[arg(long)]
    pub(in crate::cli) no_retry: bool,
}

impl LiveOptions {
    pub(super) fn token(&self) -> anyhow::Result<Option<Secret>> {
        let (text, source) = match &self.token_file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                (text, file.display().to_string())
            }
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(text) => (text, TOKEN_VARIABLE.to_owned()),
                Err(_) => return Ok(None),
            },
        };
        let token = text.trim();
        anyhow::ensure!(!token.is_empty(), "{source}: there is no token in it");
        token.parse().map(Some).map_err(anyhow::Error::msg)
    }

    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let mut builder = self.url.client();
        if let Some(file) = &self.ca {
            let certificates = std::fs::read(file)
                .map_err(anyhow::Error::from)
                .and_then(|pem| Ok(Certificate::from_pem_bundle(&pem)?))
                .with_context(|| format!("cannot read certificates from {}", file.display()))?;
            builder = builder.tls_certs_merge(certificates);
        }
        builder.build().context("cannot set up the HTTP client")
    }
}
