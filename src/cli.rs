//! The command line. A bad option is exit code 2, any other failure 1.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::Settings;

mod check;
mod completions;
mod harmless;
mod health;
mod hub_client;
mod interrupts;
mod live;
mod load;
mod manual;
mod output;
mod send;
mod serve;
mod systemd;
mod tail;
mod token;
mod top;

/// Watch what your systems do, live: logs, traces and metrics in, filtered Server-Sent Events out.
///
/// Without a command, serves on http://127.0.0.1:8787. Anything that can POST JSON can send events to it; curl, a browser
/// or a terminal can watch them, each through filters of its own.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub. This is what happens without a command, too
    #[command(after_long_help = AFTER_HELP)]
    Serve(serve::ServeOptions),
    /// Send the lines of a file or a pipe to a hub, as events
    Send(send::SendOptions),
    /// Watch the events of a hub, as lines
    Tail(tail::TailOptions),
    /// Watch the metrics of a hub, as a table
    Top(top::TopOptions),
    /// Ask a hub whether it is ready, as a container's health check does
    Health(health::HealthOptions),
    /// Load a server with subscribers and events; prove that all arrives, and tell what it costs
    Load(load::LoadOptions),
    /// Look whether settings are good, and tell what they would open to whom
    Check(serve::ServeOptions),
    /// Make a token that lets its holder watch or send
    Token(token::TokenOptions),
    /// Print what a shell needs to complete the command line
    Completions(completions::CompletionsOptions),
    /// Print the manual, or write its pages into a folder
    Man(manual::ManualOptions),
}

const AFTER_HELP: &str = "\
Examples:
  telemetry-hub
  curl -N 'http://127.0.0.1:8787/api/telemetry/traces/live?level=warn'
  curl http://127.0.0.1:8787/api/telemetry/events -H 'Content-Type: application/json' \\
       -d '{\"type\":\"hello\",\"text\":\"it works\"}'
  journalctl -f -o json | telemetry-hub send
  telemetry-hub tail level=warn remote-ip=10.0.0.0/8
  telemetry-hub top 'server.*'
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:8787 your-program

Filters, in the query of /api/telemetry/traces/live:
  filter=TEXT           TEXT stands anywhere in the event
  remote-ip=10.0.0.0/8  the value of a key matches: text, number, IP address or network
  level=warn            WARN and above
  follow=trace          with the events that match, the later ones of their traces
  where=severity>=13    an expression of CEL is true of the event
  replay=100, since=5m  first the last 100 events that match, or those of five minutes
  max-rate=50           of more than 50 events a second a sample, errors first

Exit codes of the hub:
  0  ended cleanly: every stream got what it was owed
  1  could not start, or did not end cleanly
  2  a bad option or setting

Settings:
  Each can stand in the file given by --config, as below with its default, and in the environment
  as TELEMETRY_HUB_ and its name in capitals. The command line wins over the environment, the
  environment over the file. TELEMETRY_HUB_LOG sets what the hub logs to standard error
  (default: warn).
";

/// Runs the program.
pub fn main() -> ExitCode {
    let matches = command_line().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Err(error) = log_to_stderr() {
        eprintln!("telemetry-hub: {LOG_VARIABLE}: {error}");
        return ExitCode::from(serve::BAD_OPTION);
    }
    let command = cli.command.unwrap_or(Command::Serve(cli.serve));
    let outcome = match command {
        Command::Serve(options) => on_runtime(serve::run(options)),
        Command::Send(options) => on_runtime(send::run(options)),
        Command::Tail(options) => on_runtime(tail::run(options)),
        Command::Top(options) => on_runtime(top::run(options)),
        Command::Health(options) => on_runtime(health::run(options)),
        Command::Load(options) => on_runtime(load::run(options)),
        Command::Check(options) => check::run(&options),
        Command::Token(options) => token::run(&options),
        Command::Completions(options) => on_runtime(completions::run(options, command_line())),
        Command::Man(options) => on_runtime(manual::run(options, command_line())),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("telemetry-hub: {error:#}");
        ExitCode::FAILURE
    })
}

/// All commands and options, with what is computed in their help.
fn command_line() -> clap::Command {
    let help = |command: clap::Command| {
        let text = format!("{AFTER_HELP}\n{}", indented(&Settings::defaults_as_toml()));
        command.after_long_help(text)
    };
    help(Cli::command()).mut_subcommand("serve", help)
}

fn on_runtime(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(command);
    // Reading standard input cannot be interrupted: its thread is left to the operating system.
    runtime.shutdown_background();
    outcome
}

/// Says what the hub logs.
const LOG_VARIABLE: &str = "TELEMETRY_HUB_LOG";

fn log_to_stderr() -> Result<(), ParseError> {
    let filter = match std::env::var(LOG_VARIABLE) {
        Ok(directives) => EnvFilter::try_new(directives)?,
        Err(_) => EnvFilter::new("warn"),
    };
    let (stderr, colour) = (std::io::stderr, std::io::stderr().is_terminal());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colour).init();
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_among_the_options_are_never_shown() {
        for command in ["serve", "send"] {
            let cli = Cli::parse_from(["telemetry-hub", command, "--webhook-key", "s3cret"]);
            let shown = format!("{cli:?}");
            assert!(shown.contains("Secret") && !shown.contains("s3cret"), "{shown}");
        }
    }
}
