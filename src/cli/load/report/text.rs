//! The report as people read it: a line for each question, aligned, and the verdict last.

use std::collections::BTreeMap;
use std::fmt;

use indicatif::{BinaryBytes, HumanCount};

use super::{Latency, Load, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show_load(f)?;
        self.show_deliveries(f)?;
        self.show_readers(f)?;
        writeln!(f, "delivery     {}", self.delivery_latency)?;
        writeln!(f, "publishing   {}", self.publish_latency)?;
        self.show_costs(f)?;
        match self.problems.as_slice() {
            [] => writeln!(
                f,
                "ok           every event was accepted, and is explained for every subscriber"
            ),
            problems => {
                problems.iter().try_for_each(|problem| writeln!(f, "FAILED       {problem}"))
            }
        }
    }
}

impl Report {
    fn show_load(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { protocol, connections, .. } = self.load;
        write!(
            f,
            "subscribers  {} connected in {:.1} s, over {} {protocol} {}",
            HumanCount(self.connected),
            self.connect_seconds,
            HumanCount(connections.into()),
            if connections == 1 { "connection" } else { "connections" },
        )?;
        let filters = self.load.filters;
        if filters > 1 {
            write!(f, ", {} filters", HumanCount(filters.into()))?;
        }
        writeln!(f)?;
        show_reasons(f, &self.connect_failures)?;
        write!(
            f,
            "events       {} accepted of {} in {:.1} s, {}/s",
            HumanCount(self.accepted),
            HumanCount(self.scheduled),
            self.publish_seconds,
            rounded(self.accepted_per_second),
        )?;
        for (status, count) in &self.refused {
            write!(f, "; {} refused with {status}", HumanCount(*count))?;
        }
        show_counts(
            f,
            &[
                (self.rejected, "rejected"),
                (self.unknown, "unknown"),
                (self.failed_to_send, "not sent"),
                (self.unsent, "too late to be sent"),
            ],
        )?;
        writeln!(f)?;
        show_reasons(f, &self.publish_failures)
    }

    fn show_deliveries(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "deliveries   {} of {} in {:.1} s, {}/s; {} missed, {} cut off, ",
            HumanCount(self.delivered),
            HumanCount(self.expected),
            self.delivery_seconds,
            rounded(self.deliveries_per_second),
            HumanCount(self.missed),
            HumanCount(self.cut_off),
        )?;
        match self.unexplained {
            Some(count) => write!(f, "{} unexplained", HumanCount(count))?,
            None => write!(f, "unexplained: cannot be told")?,
        }
        show_counts(
            f,
            &[
                (self.overtold.unwrap_or(0), "overtold"),
                (self.doubled, "doubled"),
                (self.out_of_order, "out of order"),
                (self.unwanted, "unwanted"),
            ],
        )?;
        writeln!(f)?;
        write!(f, "frames       {} gap, {} ping", HumanCount(self.gaps), HumanCount(self.pings))?;
        for (reason, count) in &self.byes {
            write!(f, ", {} bye ({})", HumanCount(*count), printable(reason))?;
        }
        if self.ended_without_bye > 0 {
            write!(f, "; {} streams ended without bye", HumanCount(self.ended_without_bye))?;
        }
        writeln!(f)
    }

    /// The others apart from the healthy, if there are any.
    fn show_readers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, totals) in [("slow", &self.readers.slow), ("stalled", &self.readers.stalled)] {
            if totals.subscribers > 0 {
                writeln!(
                    f,
                    "{name:12} {} readers: {} of {} delivered, {} missed, {} cut off, {} unexplained; {} ended with bye, {} without",
                    HumanCount(totals.subscribers),
                    HumanCount(totals.delivered),
                    HumanCount(totals.expected),
                    HumanCount(totals.missed),
                    HumanCount(totals.cut_off),
                    HumanCount(totals.unexplained),
                    HumanCount(totals.ended_with_bye),
                    HumanCount(totals.ended_without_bye),
                )?;
            }
        }
        Ok(())
    }

    fn show_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(server) = &self.server {
            writeln!(
                f,
                "server       {:.2} s CPU, {} deliveries per CPU-second; {} before, {} with all idle ({:.1} KiB each), {} at the end",
                server.cpu_seconds,
                rounded(server.deliveries_per_cpu_second),
                BinaryBytes(server.resident_before),
                BinaryBytes(server.resident_idle),
                server.kib_per_subscriber,
                BinaryBytes(server.resident_end),
            )?;
        }
        if let Some(client) = &self.client {
            writeln!(
                f,
                "this tool    {:.2} s CPU, {:.2} µs a delivery; {} with all idle ({:.1} KiB each)",
                client.cpu_seconds,
                client.cpu_microseconds_per_delivery,
                BinaryBytes(client.resident_idle),
                client.kib_per_subscriber,
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_ms, p90_ms, p99_ms, p99_9_ms, max_ms, .. } = self;
        write!(
            f,
            "p50 {p50_ms:.2}  p90 {p90_ms:.2}  p99 {p99_ms:.2}  p99.9 {p99_9_ms:.2}  max {max_ms:.2} ms"
        )
    }
}

fn show_counts(f: &mut fmt::Formatter<'_>, counts: &[(u64, &str)]) -> fmt::Result {
    let some = counts.iter().filter(|(count, _)| *count > 0);
    some.copied().try_for_each(|(count, what)| write!(f, ", {} {what}", HumanCount(count)))
}

fn show_reasons(f: &mut fmt::Formatter<'_>, reasons: &BTreeMap<String, u64>) -> fmt::Result {
    reasons.iter().try_for_each(|(reason, count)| {
        writeln!(f, "             {} × {}", HumanCount(*count), printable(reason))
    })
}

/// What a server says must not steer the terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn rounded(rate: f64) -> HumanCount {
    HumanCount(rate.round() as u64)
}
