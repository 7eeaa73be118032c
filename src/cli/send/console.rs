//! All that `send` says, on standard error, and the tally behind it.
//!
//! Lines that were not accepted are always said, one each; progress and the summary may be turned off. Messages stand
//! above the bar. That nobody reads standard error must not stop the sending, so its failures are ignored.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::answer::Receipt;
use super::batch::Batch;
use super::input::{Input, InputKind, Line};
use crate::error_chain::error_chain;

const REDRAW: Duration = Duration::from_millis(100);

/// What became of the lines.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// Lines that became events.
    events: u64,
    accepted: u64,
    rejected: u64,
    /// Lines that became none.
    bad: u64,
    input_failed: bool,
    last_line: u64,
    /// The first line that the hub has been sent and has not answered for.
    in_flight_from: u64,
}

impl Tally {
    pub(super) fn all_accepted(self) -> bool {
        self.accepted == self.events && self.bad == 0 && !self.input_failed
    }

    fn unsent(self) -> u64 {
        self.events - self.accepted - self.rejected
    }
}

/// Speaks to the person at the terminal, or to the log that standard error is.
pub(super) struct Console {
    bar: ProgressBar,
    shows_bytes: bool,
    out: Mutex<Box<dyn Write + Send>>,
    quiet: bool,
    started: Instant,
    tally: Mutex<Tally>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("tally", &self.tally()).finish_non_exhaustive()
    }
}

impl Console {
    /// Shows progress if somebody may see it and nobody is typing.
    pub(super) fn on_stderr(input: &Input, quiet: bool) -> Self {
        let shows_progress = !quiet && io::stderr().is_terminal();
        let bar = if shows_progress { progress_bar(input.kind()) } else { ProgressBar::hidden() };
        let console = Self::new(Box::new(io::stderr()), bar, quiet);
        Self { shows_bytes: input.ends(), ..console }
    }

    fn new(out: Box<dyn Write + Send>, bar: ProgressBar, quiet: bool) -> Self {
        Self {
            bar,
            shows_bytes: false,
            out: Mutex::new(out),
            quiet,
            started: Instant::now(),
            tally: Mutex::default(),
        }
    }

    /// Says it, `--quiet` or not, on one line: what a hub or a line has to say must not steer the terminal.
    pub(super) fn say(&self, message: impl fmt::Display) {
        let message = message.to_string().replace(char::is_control, " ");
        self.bar.suspend(|| writeln!(lock(&self.out), "{message}").ok());
    }

    /// Says it to those who want to know more than what was lost.
    pub(super) fn note(&self, message: impl fmt::Display) {
        if !self.quiet {
            self.say(message);
        }
    }

    /// Remembers where a batch begins that is not answered for yet.
    pub(super) fn sending(&self, batch: &Batch) {
        lock(&self.tally).in_flight_from = batch.first_line();
    }

    /// Shows beside the bar why nothing moves.
    pub(super) fn waiting(&self, reason: &str) {
        self.bar.set_message(format!("({reason})").replace(char::is_control, " "));
    }

    /// Counts a line; says what is wrong with it.
    pub(super) fn count_read(&self, line: &Line) {
        let mut tally = lock(&self.tally);
        tally.last_line = line.number;
        match &line.event {
            Ok(_) => tally.events += 1,
            Err(error) => {
                tally.bad += 1;
                drop(tally);
                self.say(format_args!("line {}: not sent: {}", line.number, error_chain(error)));
            }
        }
    }

    pub(super) fn input_failed(&self, error: &io::Error) {
        lock(&self.tally).input_failed = true;
        let last_line = self.tally().last_line;
        self.say(format_args!("cannot read on after line {last_line}: {error}"));
    }

    /// Counts what the hub took of a batch; says what it did not, and why.
    pub(super) fn count_answered(&self, batch: &Batch, receipt: &Receipt) {
        for rejection in &receipt.errors {
            match batch.line(rejection.index) {
                Some(line) => self.say(format_args!("line {line}: rejected: {}", rejection.error)),
                None => self.say(format_args!("rejected: {}", rejection.error)),
            }
        }
        let unnamed = receipt.rejected - receipt.errors.len();
        if unnamed > 0 {
            let (first, last) = (batch.first_line(), batch.last_line());
            self.say(format_args!("{unnamed} more rejected from line {first} to {last}"));
        }
        let tally = {
            let mut tally = lock(&self.tally);
            tally.accepted += receipt.accepted as u64;
            tally.rejected += receipt.rejected as u64;
            *tally
        };
        self.bar.set_message("");
        let position = if self.shows_bytes { batch.input_end() } else { tally.accepted };
        self.bar.set_position(position);
    }

    pub(super) fn tally(&self) -> Tally {
        *lock(&self.tally)
    }

    /// How many lines were read that the hub has not answered for, and from where on.
    pub(super) fn unsent(&self) -> String {
        let tally = self.tally();
        let (count, from) = (tally.unsent(), tally.in_flight_from);
        let lines = if count == 1 { "line was" } else { "lines were" };
        format!("{} {lines} not sent, from line {from} on", HumanCount(count))
    }

    /// Ends the progress and sums up.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
        self.note(summary(self.tally(), self.started.elapsed()));
    }
}

/// `sent 6,621 events (2 rejected) in 1.2 s`
fn summary(tally: Tally, elapsed: Duration) -> String {
    let mut losses = Vec::new();
    for (count, what) in [(tally.rejected, "rejected"), (tally.bad + tally.unsent(), "not sent")] {
        if count > 0 {
            losses.push(format!("{} {what}", HumanCount(count)));
        }
    }
    let losses =
        if losses.is_empty() { String::new() } else { format!(" ({})", losses.join(", ")) };
    let elapsed = if elapsed < Duration::from_secs(60) {
        format!("{:.1} s", elapsed.as_secs_f64())
    } else {
        HumanDuration(elapsed).to_string()
    };
    let events = if tally.accepted == 1 { "event" } else { "events" };
    format!("sent {} {events}{losses} in {elapsed}", HumanCount(tally.accepted))
}

fn progress_bar(kind: InputKind) -> ProgressBar {
    let (bar, template) = match kind {
        InputKind::File(bytes) => (
            ProgressBar::new(bytes),
            "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left {wide_msg}",
        ),
        InputKind::Pipe => {
            (ProgressBar::new_spinner(), "{spinner} {human_pos} events sent {wide_msg}")
        }
        InputKind::Device => return ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template(template).expect("the templates above are valid");
    bar.set_style(style);
    bar.enable_steady_tick(REDRAW);
    bar
}

/// Locks, whoever panicked while holding it: a tally or a stream is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a console under test has said.
#[cfg(test)]
#[derive(Debug, Clone, Default)]
pub(super) struct Said(std::sync::Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Said {
    pub(super) fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl Console {
    /// A console that shows no progress, and what it says.
    pub(super) fn captured() -> (Self, Said) {
        let said = Said::default();
        (Self::new(Box::new(said.clone()), ProgressBar::hidden(), false), said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tally: Tally, milliseconds: u64, expected: &str) {
        assert_eq!(summary(tally, Duration::from_millis(milliseconds)), expected);
    }

    #[test]
    fn summary_says_what_was_lost() {
        let tally = Tally { events: 6623, accepted: 6621, rejected: 2, ..Tally::default() };
        check(tally, 1230, "sent 6,621 events (2 rejected) in 1.2 s");
        check(
            Tally { events: 6630, bad: 1, ..tally },
            1230,
            "sent 6,621 events (2 rejected, 8 not sent) in 1.2 s",
        );
        check(Tally { events: 1, accepted: 1, ..Tally::default() }, 0, "sent 1 event in 0.0 s");
        check(Tally::default(), 3 * 60 * 1000, "sent 0 events in 3 minutes");
    }
}
