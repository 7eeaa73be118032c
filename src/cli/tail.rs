//! `telemetry-hub tail`: the events of a hub as lines on standard output, for as long as somebody reads them.
//!
//! [`live`](super::live) follows the stream; here is what a person sees of it. Standard output gets events and, between
//! them, what is missing; standard error gets what becomes of the connection. With `--json` standard output has events alone.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use telemetry_hub_actors::Key;

use super::harmless::harmless;
use super::interrupts::Interrupts;
use super::live::{self, Frame, LiveOptions, Parameter, Query, Signal, Update};
use super::output::{self, INTERRUPTED, Reader, reader_gone, say};
use event::TailEvent;
use layout::Layout;

mod event;
mod layout;

/// A narrower terminal cannot be helped: it breaks the lines itself.
const NARROWEST: usize = 20;

/// Options for watching events.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct TailOptions {
    /// Which events: `level=warn`, `remote-ip=10.0.0.0/8`, or a text that stands anywhere in them. The same key again is OR,
    /// different keys are AND
    #[arg(value_name = "QUERY")]
    query: Vec<Parameter>,
    /// Begin with those since then: 5m, a time (RFC 3339), or the id of an event
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Begin with the last so many
    #[arg(long, value_name = "N")]
    replay: Option<usize>,
    /// With an event that matches, the later ones of its span or its trace: span, trace or none [default: span]
    #[arg(long, value_name = "WHAT")]
    follow: Option<String>,
    /// An expression of CEL that must be true of the event
    #[arg(long = "where", value_name = "EXPRESSION")]
    expression: Option<String>,
    /// Of more events a second than this a sample, errors first
    #[arg(long, value_name = "N")]
    max_rate: Option<u32>,
    /// Only the values of these keys, in this order, in columns
    #[arg(long, value_name = "KEY,KEY", value_delimiter = ',', conflicts_with = "json")]
    keys: Option<Vec<ShownKey>>,
    /// Each event as the hub sent it, one a line; all else is on standard error
    #[arg(long)]
    json: bool,
    /// When to use colours. `auto` heeds the terminal, NO_COLOR, CLICOLOR and CLICOLOR_FORCE
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Colours::Auto)]
    color: Colours,
    #[command(flatten)]
    live: LiveOptions,
}

const AFTER_HELP: &str = "\
Examples:
  telemetry-hub tail level=warn remote-ip=10.0.0.0/8
  telemetry-hub tail --since 5m type=auth account-name=alice
  telemetry-hub tail --keys remote-ip,elapsed --where 'data.elapsed > 250'
  telemetry-hub tail --json --replay 100 | jq .data

Connection:
  A lost connection is taken up again where it broke, however long that takes:
  no event is lost or shown twice without a line that says so. --no-retry ends
  instead. A token is taken from TELEMETRY_HUB_TOKEN or a file, never from the
  command line, where others can see it.

Exit codes:
  0    whoever read the lines has gone (tail | head)
  1    the hub refused, or with --no-retry is away
  2    a bad option, or one that the hub does not know
  130  interrupted
";

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Colours {
    Auto,
    Always,
    Never,
}

impl Colours {
    fn for_stdout(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
            }
        }
    }
}

/// A key whose values are shown.
#[derive(Debug, Clone)]
struct ShownKey {
    name: String,
    key: Key,
}

impl FromStr for ShownKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_prefix("data.").unwrap_or(text);
        let key = Key::new(name).ok_or("not a key")?;
        Ok(Self { name: harmless(name).into_owned(), key })
    }
}

impl TailOptions {
    fn query(&self) -> Query {
        let mut query = Query::from(self.query.clone());
        query.add("since", self.since.as_ref());
        query.add("replay", self.replay);
        query.add("follow", self.follow.as_ref());
        query.add("where", self.expression.as_ref());
        query.add("max-rate", self.max_rate);
        query
    }

    fn view(&self) -> View {
        let keys = self.keys.clone();
        let keys = keys.map(|keys| keys.into_iter().map(|key| (key.name, key.key)).collect());
        match self.json {
            true => View::Json,
            false => View::Lines(Layout::new(self.color.for_stdout(), keys)),
        }
    }
}

/// Shows events until nobody wants them any more.
pub(super) async fn run(options: TailOptions) -> anyhow::Result<ExitCode> {
    let updates = live::follow(&options.live, Signal::Traces, options.query())?;
    let is_terminal = io::stdout().is_terminal();
    let tail = Tail { view: options.view(), is_terminal, trouble: None, out: String::new() };
    let mut interrupts = Interrupts::listen().context("cannot listen for signals")?;
    let code = tokio::select! {
        code = tail.show(updates) => code?,
        () = interrupts.next() => INTERRUPTED,
        () = reader_gone() => 0,
    };
    Ok(ExitCode::from(code))
}

/// How events are shown.
enum View {
    Json,
    Lines(Layout),
}

struct Tail {
    view: View,
    is_terminal: bool,
    /// Why there is no stream, as it was said.
    trouble: Option<String>,
    /// What has not been written yet.
    out: String,
}

impl Tail {
    /// Shows what comes; the exit code once nothing will.
    async fn show(mut self, updates: impl Stream<Item = Update>) -> io::Result<u8> {
        let mut updates = std::pin::pin!(updates);
        while let Some(update) = updates.next().await {
            match update {
                Update::Open { after: None } => {}
                Update::Open { after: Some(after) } => {
                    self.trouble = None;
                    say(format_args!("connected again after {:.1} s", after.as_secs_f64()));
                }
                Update::Frame(frame) => self.frame(&frame),
                Update::Away { reason, wait } => self.away(reason, wait),
                Update::Refused(refusal) => {
                    say(refusal.reason);
                    return Ok(refusal.exit_code);
                }
            }
            if output::write(&std::mem::take(&mut self.out)).await? == Reader::Gone {
                return Ok(0);
            }
        }
        Ok(1)
    }

    /// Says why there is no stream, once as long as it is the same.
    fn away(&mut self, reason: String, wait: Duration) {
        let wait = format!("trying again in {:.1} s", wait.as_secs_f64());
        if self.trouble.as_ref() == Some(&reason) {
            return say(format_args!("still so; {wait}"));
        }
        say(format_args!("{reason}; {wait}"));
        self.trouble = Some(reason);
    }

    fn frame(&mut self, frame: &Frame) {
        match frame.kind.as_str() {
            "trace" => self.events(&frame.data),
            "gap" => self.notice(&gap(&frame.data)),
            "caught-up" => self.notice(&caught_up(&frame.data)),
            "bye" => {
                let bye: live::Bye = serde_json::from_str(&frame.data).unwrap_or_default();
                say(format_args!("the hub ends the stream: {}", bye.reason));
            }
            _ => {}
        }
    }

    fn events(&mut self, json: &str) {
        let Ok(events) = serde_json::from_str::<Vec<&RawValue>>(json) else {
            return say("the hub sent a frame that is no array of events");
        };
        let width = self.width();
        match &mut self.view {
            View::Json => {
                let lines = events.into_iter().map(|event| json_line(event, self.is_terminal));
                self.out.extend(lines);
            }
            View::Lines(layout) => {
                let events: Vec<_> = events.into_iter().map(TailEvent::read).collect();
                layout.events(&events, width, &mut self.out);
            }
        }
    }

    fn notice(&mut self, notice: &str) {
        let width = self.width();
        match &self.view {
            View::Json => say(notice),
            View::Lines(layout) => layout.notice(&harmless(notice), width, &mut self.out),
        }
    }

    /// That of the terminal as it is now, if lines are to keep to it.
    fn width(&self) -> Option<usize> {
        let (columns, _) = self.is_terminal.then(crossterm::terminal::size)?.ok()?;
        Some(usize::from(columns)).filter(|width| *width >= NARROWEST)
    }
}

/// The very bytes that came, on one line; on a terminal what would steer it is escaped as JSON has it.
fn json_line(event: &RawValue, is_terminal: bool) -> String {
    // In JSON a line may end between two values only.
    let mut line = event.get().replace(['\n', '\r'], " ");
    if is_terminal {
        line = harmless(&line).into_owned();
    }
    line.push('\n');
    line
}

/// What a `gap` says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gap {
    reason: String,
    missed: Option<u64>,
    from: Option<String>,
}

fn gap(data: &str) -> String {
    let Gap { reason, missed, from } = serde_json::from_str(data).unwrap_or_default();
    let missed = match missed {
        Some(1) => "gap: 1 event missed".to_owned(),
        Some(missed) => format!("gap: {} events missed", indicatif::HumanCount(missed)),
        None => "gap: events missed, nobody knows how many".to_owned(),
    };
    let why = match (reason.as_str(), from) {
        ("slow", _) => "they came faster than they were read (slow)".to_owned(),
        ("sampled", _) => "more came than max-rate lets through (sampled)".to_owned(),
        ("restart", _) => "the hub was restarted (restart)".to_owned(),
        ("expired", Some(from)) => {
            format!("the hub no longer has all that came after {from} (expired)")
        }
        ("expired", None) => "the hub no longer has them (expired)".to_owned(),
        (reason, _) => reason.to_owned(),
    };
    format!("{missed}: {why}")
}

fn caught_up(data: &str) -> String {
    #[derive(Deserialize)]
    struct CaughtUp {
        replayed: u64,
    }
    match serde_json::from_str(data) {
        Ok(CaughtUp { replayed: 1 }) => "1 event replayed; live from here".to_owned(),
        Ok(CaughtUp { replayed }) => {
            format!("{} events replayed; live from here", indicatif::HumanCount(replayed))
        }
        Err(_) => "live from here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_gap(data: &str, expected: &str) {
        assert_eq!(gap(data), expected);
    }

    #[test]
    fn gaps_say_how_many_and_why() {
        check_gap(
            r#"{"reason":"slow","missed":1200,"from":"a","to":"b"}"#,
            "gap: 1,200 events missed: they came faster than they were read (slow)",
        );
        check_gap(
            r#"{"reason":"expired","missed":null,"from":"0199","to":null}"#,
            "gap: events missed, nobody knows how many: the hub no longer has all that came after 0199 (expired)",
        );
        check_gap(r#"{"reason":"flood","missed":1}"#, "gap: 1 event missed: flood");
        check_gap("?", "gap: events missed, nobody knows how many: ");
    }

    #[test]
    fn events_in_json_are_not_touched() {
        let json = "{\"n\":18446744073709551616.10,\"s\":\"\u{202e}\\u001b é\"}";
        let event: &RawValue = serde_json::from_str(json).unwrap();
        assert_eq!(json_line(event, false), format!("{json}\n"));
        let expected = "{\"n\":18446744073709551616.10,\"s\":\"\\u202e\\u001b é\"}\n";
        assert_eq!(json_line(event, true), expected);
    }
}
