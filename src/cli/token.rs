//! `telemetry-hub token`: makes a token, and the lines that let a hub know it.

use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use telemetry_hub_actors::{QueryFault, Selection};

use super::serve::BAD_OPTION;
use crate::access::{NEEDS_METRICS, NewToken, Scope, parse_limit};

/// Options for making a token.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct TokenOptions {
    /// What it is good for; may be repeated
    #[arg(long = "scope", value_enum, value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,
    /// Whose it is
    #[arg(long, default_value = "unnamed")]
    name: String,
    /// The events that its holder may see, as a query: `account-name=alice`
    #[arg(long, value_name = "QUERY", value_parser = checked_filter)]
    filter: Option<String>,
    /// The series that its holder may see: `smtp,queue.*`
    #[arg(long, value_name = "NAMES", value_parser = checked_selection)]
    metrics: Option<String>,
    /// When it is good no more: 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires: Option<Timestamp>,
    /// The token alone to standard output, and the lines for the hub to standard error
    #[arg(long)]
    bare: bool,
}

const AFTER_HELP: &str = "\
Examples:
  telemetry-hub token --scope ingest --name web-servers
  telemetry-hub token --scope traces --name alice --filter account-name=alice

The hub knows the hash alone: the token itself is shown this once. It is sent as
`Authorization: Bearer TOKEN`; `telemetry-hub send`, `tail`, `top` and `load` take
it from the environment (TELEMETRY_HUB_TOKEN). To take a token back, remove its lines from
the hub's file and start it anew.
";

/// Makes a token and shows it.
pub(super) fn run(options: &TokenOptions) -> anyhow::Result<ExitCode> {
    let is_limited = options.filter.is_some() && options.metrics.is_none();
    if is_limited && options.scopes.contains(&Scope::Metrics) {
        eprintln!("telemetry-hub: the token would have {NEEDS_METRICS} (--metrics)");
        return Ok(ExitCode::from(BAD_OPTION));
    }
    let NewToken { token, hash } = NewToken::make();
    let scopes: Vec<_> = options.scopes.iter().map(Scope::to_string).collect();
    let mut lines = format!(
        "[[tokens]]\nname = {}\nhash = \"{hash}\"\nscopes = {}\n",
        quoted(&options.name),
        serde_json::to_string(&scopes)?,
    );
    let expires = options.expires.map(|expires| expires.to_string());
    for (name, value) in [
        ("filter", options.filter.as_deref()),
        ("metrics", options.metrics.as_deref()),
        ("expires", expires.as_deref()),
    ] {
        if let Some(value) = value {
            lines += &format!("{name} = {}\n", quoted(value));
        }
    }
    let mut stdout = std::io::stdout();
    if options.bare {
        writeln!(stdout, "{token}")?;
        eprint!("{lines}");
    } else {
        let intro = "The token, shown this once:";
        write!(stdout, "{intro}\n\n  {token}\n\nFor the hub's file (--config):\n\n{lines}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The text of a filter.
fn checked_filter(text: &str) -> Result<String, String> {
    parse_limit(text).map(|_| text.to_owned())
}

/// The text of a selection.
fn checked_selection(text: &str) -> Result<String, QueryFault> {
    text.parse().map(|_: Selection| text.to_owned())
}

/// A text as TOML has it: what JSON writes is a basic string there, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
