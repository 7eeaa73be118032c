//! Shows on a terminal how a run goes. Nothing, where there is none.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// The line at the bottom of the terminal.
#[derive(Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn on_stderr() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{bar:20} {prefix} {wide_msg}");
        Self(ProgressBar::new(1).with_style(style.expect("the template is valid")))
    }

    pub(super) fn connecting(&self, connected: u64, failed: u64, subscribers: u64) {
        let message =
            format!("{} of {}{}", HumanCount(connected), HumanCount(subscribers), failures(failed));
        self.show("connecting", connected + failed, subscribers, message);
    }

    pub(super) fn publishing(&self, since_start: Duration, duration: Duration, counts: &Counts) {
        let (position, length) = (since_start.as_millis() as u64, duration.as_millis() as u64);
        self.show("publishing", position.min(length), length, counts.to_string());
    }

    pub(super) fn settling(&self, counts: &Counts) {
        let position = counts.delivered + counts.missed;
        self.show("settling", position.min(counts.expected), counts.expected, counts.to_string());
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }

    fn show(&self, phase: &'static str, position: u64, length: u64, message: String) {
        self.0.set_prefix(phase);
        self.0.set_length(length.max(1));
        self.0.set_position(position);
        self.0.set_message(message);
    }
}

fn failures(count: u64) -> String {
    if count == 0 { String::new() } else { format!(", {} failed", HumanCount(count)) }
}

/// How much has come so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) missed: u64,
    pub(super) ended: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (accepted, delivered) = (HumanCount(self.accepted), HumanCount(self.delivered));
        write!(f, "{accepted} events, {delivered} of {} deliveries", HumanCount(self.expected))?;
        for (count, what) in [(self.missed, "missed"), (self.ended, "streams ended")] {
            if count > 0 {
                write!(f, ", {} {what}", HumanCount(count))?;
            }
        }
        Ok(())
    }
}
