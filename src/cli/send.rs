//! `telemetry-hub send`: the lines of a file or a pipe become events of a hub.
//!
//! A thread reads and recognises lines ([`input`], [`recognise`]), this task gathers them into batches ([`batch`]) and
//! posts these one at a time ([`publisher`]): a slow hub slows the reading, and memory stays bounded. Every line ends as
//! accepted, rejected, unreadable or not sent, and all but the first are said on standard error ([`console`]).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::SignedDuration;
use tokio::sync::{Notify, mpsc};

use batch::Gatherer;
use console::Console;
use input::{Input, Line};

use publisher::{PublishError, Publisher};
use recognise::{Format, Recogniser};

use super::hub_client::HubUrl;
use super::interrupts::Interrupts;
use crate::config::Secret;
use crate::signature::WebhookKey;

mod answer;
mod backoff;
mod batch;
mod console;
mod input;
mod journal;
mod logfmt;
mod publisher;
mod recognise;

#[cfg(test)]
mod tests;

/// How many batches wait for the one in flight.
const BATCHES_AHEAD: usize = 1;

/// As shells have it: ended by SIGINT.
const INTERRUPTED: u8 = 130;

/// Options for sending lines.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct SendOptions {
    /// What to read, line by line; `-` is standard input
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// The hub to send to; /api/telemetry/events is appended
    #[arg(long, value_name = "URL", env = "TELEMETRY_HUB_URL")]
    #[arg(default_value = "http://127.0.0.1:8787")]
    url: HubUrl,
    /// What the lines are; `auto` decides line by line
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// The type of the events made of text and of logfmt without a `type`
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// How long to try again while the hub cannot be reached or has no room, before giving up
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    retry_for: Duration,
    /// The key to sign with, if the hub asks for signed events (X-Signature). Other users of the machine can see it here; the
    /// environment hides it
    #[arg(long, value_name = "KEY", env = "TELEMETRY_HUB_WEBHOOK_KEY", hide_env_values = true)]
    webhook_key: Option<Secret>,
    /// The token to show, if the hub asks for one. Other users of the machine can see it here; the environment hides it
    #[arg(long, value_name = "TOKEN", env = "TELEMETRY_HUB_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// No progress and no summary; lines that were not accepted are still reported
    #[arg(long, short)]
    quiet: bool,
}

const AFTER_HELP: &str = "\
Examples:
  journalctl -f -o json | telemetry-hub send
  kubectl logs -f deploy/web | telemetry-hub send --type web
  telemetry-hub send --url http://hub.internal:8787 /var/log/app.json

Lines:
  JSON objects are sent as they are: the hub finds message, level, time, trace
  and span ids in their usual spellings. An entry of journalctl -o json gets
  its identifier or unit as its type. logfmt (level=info msg=\"hello world\")
  becomes an object of its pairs. All else is the text of an event. Empty lines
  are skipped. A line of over 2 MiB is not sent, and that is reported.

Delivery:
  Lines leave in batches, 0.2 s after they came at the latest. A batch whose
  answer got lost is sent again: an event may arrive twice, but none is lost
  without a message. Ctrl-C sends what was read, then ends; a second Ctrl-C
  ends at once.

Exit codes:
  0  every line was accepted
  1  some were not; standard error says which, and why
";

/// Reads a duration such as `90s`, `5m` or `1h 30m`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, jiff::Error> {
    Duration::try_from(text.parse::<SignedDuration>()?)
}

/// Sends all lines; the exit code says whether every one of them was accepted.
pub(super) async fn run(options: SendOptions) -> anyhow::Result<ExitCode> {
    let input = Input::open(&options.file)
        .with_context(|| format!("cannot open {}", options.file.display()))?;
    let console = Console::on_stderr(&input, options.quiet);
    let publisher = Publisher::new(options.url, options.retry_for, &console)
        .context("cannot set up the HTTP client")?
        .signing_with(options.webhook_key.as_ref().map(|key| WebhookKey::new(key.as_str())))
        .showing(options.token);
    let recogniser = Recogniser::new(options.format, options.kind);
    let mut interrupts = Interrupts::listen().context("cannot listen for signals")?;

    let stop = Notify::new();
    let outcome = tokio::select! {
        outcome = send(input, recogniser, &publisher, &stop) => outcome?,
        () = interrupted_twice(&mut interrupts, &stop, &console) => Outcome::Abandoned,
    };
    console.finish();
    Ok(match outcome {
        Outcome::AllAccepted => ExitCode::SUCCESS,
        Outcome::Incomplete => ExitCode::FAILURE,
        Outcome::Abandoned => ExitCode::from(INTERRUPTED),
    })
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The hub accepted every line, or every line until the signal that ended an endless input.
    AllAccepted,
    /// Some line was not accepted; each has been reported.
    Incomplete,
    /// The second signal came before all that was read could be sent.
    Abandoned,
}

/// Reads, batches and publishes until the input ends or `stop` is notified.
async fn send(
    input: Input,
    recogniser: Recogniser,
    publisher: &Publisher<'_>,
    stop: &Notify,
) -> std::io::Result<Outcome> {
    let console = publisher.console();
    let input_ends = input.ends();
    let lines = input.read_lines(recogniser)?;
    let (batches_sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let gatherer = Gatherer::new(lines, batches_sender, console).input_ends(input_ends);
    let gather = gatherer.run(stop);
    let (gathered, published) = tokio::join!(gather, publisher.publish_all(batches));

    if let Err(error) = &published {
        report_unsent(gathered.lines, input_ends, error, console).await;
    }
    let cut_short = gathered.stopped && input_ends;
    if cut_short {
        console.say("interrupted: the rest of the file was not sent");
    }
    let all_accepted = published.is_ok() && !cut_short && console.tally().all_accepted();
    Ok(if all_accepted { Outcome::AllAccepted } else { Outcome::Incomplete })
}

/// Says how many lines are left when publishing has ended early: those of a file to its end, those of a pipe that have
/// come.
async fn report_unsent(
    mut lines: mpsc::Receiver<std::io::Result<Line>>,
    input_ends: bool,
    error: &PublishError,
    console: &Console,
) {
    if !input_ends {
        while let Ok(Ok(line)) = lines.try_recv() {
            console.count_read(&line);
        }
    }
    let more_may_come = !input_ends && !lines.is_closed();
    if more_may_come {
        lines.close();
    }
    while let Some(Ok(line)) = lines.recv().await {
        console.count_read(&line);
    }
    let and_more = if more_may_come { ", nor what followed" } else { "" };
    console.say(format_args!("{error}: {}{and_more}", console.unsent()));
}

/// The first signal stops the reading; returns at the second.
async fn interrupted_twice(interrupts: &mut Interrupts, stop: &Notify, console: &Console) {
    interrupts.next().await;
    stop.notify_one();
    console.note("interrupted: sending what was read; once more to end at once");
    interrupts.next().await;
    console.say(format_args!("interrupted: {}", console.unsent()));
}
