//! `telemetry-hub check`: whether settings are good, and what they would open to whom. Nothing is opened.

use std::fmt::Write;
use std::process::ExitCode;

use super::serve::{self, ServeOptions};
use crate::access::TokenSettings;
use crate::config::Settings;
use crate::server;

/// Reads what the hub would read, and tells of it.
pub(super) fn run(options: &ServeOptions) -> anyhow::Result<ExitCode> {
    let settings = match options.settings() {
        Ok(settings) => settings,
        Err(error) => return Ok(serve::bad_option(&error)),
    };
    if let Err(error) = server::check(&settings) {
        return Ok(serve::bad_option(&error));
    }
    print!("{}", description(&settings));
    Ok(ExitCode::SUCCESS)
}

/// What there is to know before one lets it loose.
fn description(settings: &Settings) -> String {
    let mut text = String::from("These settings are good.\n\nIt would listen on\n");
    let scheme = if settings.tls().is_some() { "https" } else { "http" };
    let [http, grpc] = settings.otlp_listen();
    let everything = (Some(settings.listen), "everything");
    let otlp = [http, grpc].map(|listen| (listen.map(|listen| listen.address), "OTLP alone"));
    for (address, what) in [everything].into_iter().chain(otlp) {
        if let Some(address) = address {
            let from = if address.ip().is_loopback() { "this machine" } else { "anywhere" };
            say(&mut text, format_args!("  {scheme}://{address}: {what}, from {from}"));
        }
    }
    text.push_str("\nIt would let in\n");
    for line in who(settings) {
        say(&mut text, format_args!("  {line}"));
    }
    let warnings = warnings(settings);
    if !warnings.is_empty() {
        text.push_str("\nLook at this\n");
    }
    for warning in warnings {
        say(&mut text, format_args!("  {warning}"));
    }
    text
}

fn say(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}

fn who(settings: &Settings) -> Vec<String> {
    let mut who: Vec<_> = settings.tokens().iter().map(holder).collect();
    who.extend(settings.jwt_keys().iter().map(|key| {
        format!(
            "whoever has a JWT of {} for {} by {}: what its claims say",
            key.issuer,
            key.audience,
            key.file.display()
        )
    }));
    if who.is_empty() {
        who.push("everybody on this machine: everything; no browser for another site".to_owned());
    }
    let signers = settings.webhook_keys();
    if signers > 0 && settings.asks_for_tokens() {
        who.push(format!("whoever signs with a webhook key ({signers}): send events"));
    } else if signers > 0 {
        who.push(format!(
            "of those who send events, those who sign with a webhook key ({signers})"
        ));
    }
    if let Some(authority) = settings.tls().and_then(|tls| tls.client_ca) {
        who.push(format!("of all these, those with a certificate by {}", authority.display()));
    }
    who.extend(settings.cors_origins().iter().map(|origin| format!("pages of {origin}, as well")));
    who
}

fn holder(token: &TokenSettings) -> String {
    let mut holder = format!("the holder of the token {:?}: {}", token.name, token.scopes);
    if let Some(filter) = &token.filter {
        holder += &format!(", of events those of {filter}");
    }
    if let Some(metrics) = &token.metrics {
        holder += &format!(", of series {metrics}");
    }
    if let Some(expires) = token.expires {
        holder += &format!(", until {expires}");
    }
    holder
}

fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |is_so: bool, warning: &str| {
        if is_so {
            warnings.push(warning.to_owned());
        }
    };
    let is_exposed = settings.exposed().is_some();
    warn(
        is_exposed && settings.tls().is_none(),
        "without TLS, tokens and telemetry cross the network for everybody on the way to read",
    );
    let now = jiff::Timestamp::now();
    let has_expired = |token: &&TokenSettings| token.expires.is_some_and(|expires| expires <= now);
    for token in settings.tokens().iter().filter(has_expired) {
        warn(true, &format!("the token {:?} has expired", token.name));
    }
    warn(
        is_exposed && settings.tokens().iter().any(|token| token.expires.is_none()),
        "some tokens never expire",
    );
    warnings
}
