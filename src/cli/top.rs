//! `telemetry-hub top`: the metrics of a hub as a table that lives, or, where there is no terminal, as one that is printed.
//!
//! [`live`](super::live) follows the stream; [`Board`] knows the series, [`Screen`] what a person sees of them and does with
//! them. Whatever ends the program, the terminal is left as it was.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use crossterm::event::EventStream;
use futures_util::{Stream, StreamExt};
use ratatui::DefaultTerminal;
use tokio::time::{Instant, sleep_until};

use super::interrupts::Interrupts;
use super::live::{self, LiveOptions, Query, Refusal, Signal, Update};
use super::output::{self, INTERRUPTED, Reader, reader_gone, say};
use board::Board;
use screen::{Reaction, Screen};
use table::Order;

mod board;
mod quantity;
mod screen;
mod table;

/// How often a screen is drawn on which nothing happens: there may be seconds counted down.
const REDRAW: Duration = Duration::from_secs(1);

/// Options for watching metrics.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct TopOptions {
    /// Which series: names, groups (`server` is all of `server.…`) and globs (`*.count`) [default: all]
    #[arg(value_name = "METRICS")]
    metrics: Vec<String>,
    /// How often they come: seconds, or with a unit (500ms, 2s, 1m)
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    interval: String,
    /// What comes first
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t)]
    sort: Order,
    /// Print one table, and end; with 1 if the hub cannot be reached
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    live: LiveOptions,
}

const AFTER_HELP: &str = "\
Examples:
  telemetry-hub top
  telemetry-hub top 'smtp.*' queue --interval 500ms
  telemetry-hub top --once --sort rate | head

Keys:
  /  filter by name and attributes (Esc: all of them)   s      what comes first
  j k PgUp PgDn g G  up and down                        space  pause, and go on
  q  end

Exit codes:
  0    ended by whoever watches
  1    the hub refused, or with --no-retry or --once is away
  2    a bad option, or one that the hub does not know
  130  interrupted
";

impl TopOptions {
    fn query(&self) -> Query {
        let mut query = Query::default();
        for metrics in &self.metrics {
            query.add("metrics", Some(metrics));
        }
        query.add("interval", Some(&self.interval));
        query
    }
}

/// Shows metrics until nobody wants them any more.
pub(super) async fn run(mut options: TopOptions) -> anyhow::Result<ExitCode> {
    options.live.no_retry |= options.once;
    let updates = live::follow(&options.live, Signal::Metrics, options.query())?;
    let mut interrupts = Interrupts::listen().context("cannot listen for signals")?;
    if io::stdout().is_terminal() && !options.once {
        let hub = options.live.url.to_string();
        let screen = Screen::new(hub, options.interval, options.sort);
        return on_terminal(screen, updates, &mut interrupts).await;
    }
    let code = tokio::select! {
        code = print(&options, updates) => code?,
        () = interrupts.next() => INTERRUPTED,
        () = reader_gone() => 0,
    };
    Ok(ExitCode::from(code))
}

/// Prints a table for each frame.
async fn print(options: &TopOptions, updates: impl Stream<Item = Update>) -> anyhow::Result<u8> {
    let mut updates = std::pin::pin!(updates);
    let mut board = Board::default();
    while let Some(update) = updates.next().await {
        match update {
            Update::Frame(frame) if frame.kind == "metrics" => {
                let space = if board.is_empty() { "" } else { "\n" };
                board.take(&frame.data, Instant::now()).context("the hub sent no metrics")?;
                let table = table::as_text(&table::rows(&board, "", options.sort));
                let reader = output::write(&format!("{space}{table}")).await?;
                if options.once || reader == Reader::Gone {
                    return Ok(0);
                }
            }
            Update::Open { .. } | Update::Frame(_) => {}
            Update::Away { reason, wait } => {
                say(format_args!("{reason}; trying again in {:.1} s", wait.as_secs_f64()));
            }
            Update::Refused(refusal) => return Ok(tell(&refusal)),
        }
    }
    Ok(1)
}

fn tell(refusal: &Refusal) -> u8 {
    say(&refusal.reason);
    refusal.exit_code
}

/// How it ended on a terminal.
enum End {
    Wanted,
    Interrupted,
    Refused(Refusal),
}

async fn on_terminal(
    screen: Screen,
    updates: impl Stream<Item = Update>,
    interrupts: &mut Interrupts,
) -> anyhow::Result<ExitCode> {
    let end = {
        let mut terminal = ratatui::try_init().context("cannot use this terminal")?;
        let _restored = Restored;
        watch(screen, &mut terminal, updates, interrupts).await?
    };
    Ok(ExitCode::from(match end {
        End::Wanted => 0,
        End::Interrupted => INTERRUPTED,
        End::Refused(refusal) => tell(&refusal),
    }))
}

/// Leaves the terminal as it was. A panic does so before it is told, by a hook that ratatui has set.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn watch(
    mut screen: Screen,
    terminal: &mut DefaultTerminal,
    updates: impl Stream<Item = Update>,
    interrupts: &mut Interrupts,
) -> anyhow::Result<End> {
    let mut updates = std::pin::pin!(updates);
    let mut events = EventStream::new();
    loop {
        terminal.draw(|frame| screen.draw(frame, Instant::now()))?;
        tokio::select! {
            update = updates.next() => match update {
                Some(Update::Refused(refusal)) => return Ok(End::Refused(refusal)),
                Some(update) => screen.update(update, Instant::now()),
                None => return Ok(End::Wanted),
            },
            event = events.next() => match event.context("the terminal has gone")? {
                Ok(event) if screen.event(&event) == Reaction::End => return Ok(End::Wanted),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            },
            () = sleep_until(Instant::now() + REDRAW) => {}
            () = interrupts.next() => return Ok(End::Interrupted),
        }
    }
}
