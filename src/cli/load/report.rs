//! What a run came to: for people as text, for programs as JSON, and as a verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde::Serialize;

use super::ledger::{ClassTotals, FrameCounts, Ledger, ReaderClass, Reasons, latency_histogram};
use super::plan::Plan;
use super::publisher::Published;
use super::server_process::Usage;

mod text;

/// All that was found out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    run: String,
    is_ok: bool,
    /// Why not.
    problems: Vec<String>,
    load: Load,

    subscribers: u64,
    connected: u64,
    failed_to_connect: u64,
    connect_failures: BTreeMap<String, u64>,
    connect_seconds: f64,

    /// Events that were to be sent.
    scheduled: u64,
    sent: u64,
    accepted: u64,
    rejected: u64,
    /// By status.
    refused: BTreeMap<u16, u64>,
    /// Sent, and no answer came.
    unknown: u64,
    /// Not sent, because the server could not be reached.
    failed_to_send: u64,
    /// Not sent, because publishers were behind when their time was up.
    unsent: u64,
    publish_failures: BTreeMap<String, u64>,
    /// From the first event to the last answer.
    publish_seconds: f64,
    accepted_per_second: f64,

    expected: u64,
    delivered: u64,
    missed: u64,
    unknown_gaps: u64,
    cut_off: u64,
    /// `None` if it cannot be told.
    unexplained: Option<u64>,
    overtold: Option<u64>,
    doubled: u64,
    out_of_order: u64,
    unwanted: u64,
    /// From the first event to the last delivery.
    delivery_seconds: f64,
    deliveries_per_second: f64,

    gaps: u64,
    pings: u64,
    caught_up: u64,
    byes: BTreeMap<String, u64>,
    ended_without_bye: u64,
    readers: Readers,

    delivery_latency: Latency,
    publish_latency: Latency,

    server: Option<ServerCost>,
    client: Option<ClientCost>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
struct Load {
    protocol: &'static str,
    connections: u32,
    filters: u32,
    publishers: u32,
    rate: f64,
    batch: u32,
    seconds: f64,
}

/// The sums of each class apart.
#[derive(Debug, Serialize)]
struct Readers {
    healthy: ClassTotals,
    slow: ClassTotals,
    stalled: ClassTotals,
}

/// Latencies, from the intended time of sending.
#[derive(Debug, Serialize)]
struct Latency {
    count: u64,
    mean_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p99_9_ms: f64,
    max_ms: f64,
}

/// What the server spent. Its memory at three moments.
#[derive(Debug, Serialize)]
struct ServerCost {
    pids: Vec<u32>,
    cpu_seconds: f64,
    /// The same for each of the processes.
    cpu_seconds_each: Vec<f64>,
    deliveries_per_cpu_second: f64,
    resident_before: u64,
    resident_idle: u64,
    resident_end: u64,
    kib_per_subscriber: f64,
}

/// What this tool spent.
#[derive(Debug, Serialize)]
struct ClientCost {
    cpu_seconds: f64,
    cpu_microseconds_per_delivery: f64,
    resident_idle: u64,
    kib_per_subscriber: f64,
}

/// What was measured while a run went on.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) failed: u64,
    pub(super) connect_time: Duration,
    pub(super) delivery_time: Duration,
    pub(super) server_pids: Vec<u32>,
    pub(super) server: Readings,
    pub(super) client: Readings,
}

/// Processes at the moments that matter; `None` if that cannot be told.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// Before the first subscriber.
    pub(super) before: Option<Usage>,
    /// All connected, nothing published.
    pub(super) idle: Option<Usage>,
    /// At the last delivery.
    pub(super) delivered: Option<Usage>,
    pub(super) end: Option<Usage>,
}

impl Report {
    /// Closes the books. `accepted` says how many events of each filter the server took.
    pub(super) fn new(
        plan: &Plan,
        measured: &Measured,
        published: Published,
        ledgers: &[Ledger],
        accepted: &[u32],
    ) -> Self {
        let books = Books::close(ledgers, accepted);
        let sum = books.sum();
        // An event of which nobody knows whether it is there may be missing for good reason.
        let is_known = published.unknown == 0 && (sum.unknown_gaps == 0 || sum.unexplained == 0);
        let seconds = measured.delivery_time.as_secs_f64();
        let mut report = Self {
            run: plan.run.to_string(),
            is_ok: true,
            problems: Vec::new(),
            load: Load::of(plan),
            subscribers: plan.subscribing.subscribers.into(),
            connected: sum.subscribers,
            failed_to_connect: measured.failed,
            connect_failures: books.failures.0,
            connect_seconds: measured.connect_time.as_secs_f64(),
            scheduled: plan.schedule.events(),
            sent: published.sent,
            accepted: published.accepted,
            rejected: published.rejected,
            refused: published.refused,
            unknown: published.unknown,
            failed_to_send: published.failed,
            unsent: published.unsent,
            publish_failures: published.reasons.0,
            publish_seconds: published.took.as_secs_f64(),
            accepted_per_second: per(published.accepted as f64, published.took.as_secs_f64()),
            expected: sum.expected,
            delivered: sum.delivered,
            missed: sum.missed,
            unknown_gaps: sum.unknown_gaps,
            cut_off: sum.cut_off,
            unexplained: is_known.then_some(sum.unexplained),
            overtold: is_known.then_some(sum.overtold),
            doubled: books.counts.doubled,
            out_of_order: books.counts.out_of_order,
            unwanted: books.counts.unwanted,
            delivery_seconds: seconds,
            deliveries_per_second: per(sum.delivered as f64, seconds),
            gaps: books.counts.gaps,
            pings: books.counts.pings,
            caught_up: books.counts.caught_up,
            byes: books.counts.byes.0,
            ended_without_bye: sum.ended_without_bye,
            readers: books.readers,
            delivery_latency: Latency::of(&books.latency),
            publish_latency: Latency::of(&published.latency),
            server: ServerCost::of(measured, &sum),
            client: ClientCost::of(measured, &sum),
        };
        report.problems = report.find_problems();
        report.is_ok = report.problems.is_empty();
        report
    }

    /// Whether every event was accepted, and is explained for every subscriber.
    pub(super) fn is_ok(&self) -> bool {
        self.is_ok
    }

    pub(super) fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a report is valid JSON");
        json.push('\n');
        json
    }

    fn find_problems(&self) -> Vec<String> {
        let refused: u64 = self.refused.values().sum();
        let counts = [
            (self.failed_to_connect, "subscribers failed to connect"),
            (self.failed_to_send, "events could not be sent"),
            (self.unsent, "events were not sent in time"),
            (refused, "events were refused"),
            (self.rejected, "events were rejected"),
            (
                self.unknown,
                "events were sent without an answer, so that nobody can tell what to expect",
            ),
            (self.unexplained.unwrap_or(0), "deliveries are missing without a word (unexplained)"),
            (
                self.overtold.unwrap_or(0),
                "deliveries more than expected, or told as missed beyond that",
            ),
            (self.doubled, "deliveries were doubled"),
            (self.out_of_order, "deliveries were out of order"),
            (self.unwanted, "deliveries were for another filter"),
            (self.readers.healthy.cut_off, "deliveries to healthy readers were cut off by `bye`"),
            (
                self.readers.healthy.ended_without_bye,
                "streams of healthy readers ended without `bye`",
            ),
        ];
        let told = counts.into_iter().filter(|(count, _)| *count > 0);
        let mut problems: Vec<_> =
            told.map(|(count, what)| format!("{} {what}", HumanCount(count))).collect();
        if self.unexplained.is_none() && self.unknown == 0 {
            problems.push("gaps of unknown size: nobody can tell what is unexplained".to_owned());
        }
        problems
    }
}

impl Load {
    fn of(plan: &Plan) -> Self {
        Self {
            protocol: if plan.subscribing.http2 { "HTTP/2" } else { "HTTP/1.1" },
            connections: plan.subscribing.connections(),
            filters: plan.schedule.filters,
            publishers: plan.schedule.publishers,
            rate: plan.schedule.rate,
            batch: plan.schedule.batch,
            seconds: plan.schedule.duration.as_secs_f64(),
        }
    }
}

/// All ledgers together.
struct Books {
    readers: Readers,
    counts: FrameCounts,
    latency: Histogram<u64>,
    failures: Reasons,
}

impl Books {
    fn close(ledgers: &[Ledger], accepted: &[u32]) -> Self {
        let mut totals = BTreeMap::new();
        let (mut counts, mut failures) = (FrameCounts::default(), Reasons::default());
        let mut latency = latency_histogram();
        for ledger in ledgers {
            ledger.settle(accepted, &mut totals);
            counts.add(&ledger.counts);
            latency.add(&ledger.latency).expect("all have the same bounds");
            failures.add_all(&ledger.failures);
        }
        let mut class = |class| totals.remove(&class).unwrap_or_default();
        let readers = Readers {
            healthy: class(ReaderClass::Healthy),
            slow: class(ReaderClass::Slow),
            stalled: class(ReaderClass::Stalled),
        };
        Self { readers, counts, latency, failures }
    }

    fn sum(&self) -> ClassTotals {
        let mut sum = self.readers.healthy;
        sum.add(&self.readers.slow);
        sum.add(&self.readers.stalled);
        sum
    }
}

/// A ratio; 0 where there is nothing to divide by, since JSON has no infinity.
fn per(amount: f64, of: f64) -> f64 {
    if of > 0.0 { amount / of } else { 0.0 }
}

fn cpu_seconds_each(begin: &Usage, end: &Usage) -> Vec<f64> {
    begin.cpu.iter().zip(&end.cpu).map(|(begin, end)| (*end - *begin).as_secs_f64()).collect()
}

fn kib_each(before: u64, after: u64, count: u64) -> f64 {
    per((after as f64 - before as f64) / 1024.0, count as f64)
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            count: histogram.len(),
            mean_ms: histogram.mean() / 1000.0,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p99_9_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1000.0,
        }
    }
}

impl ServerCost {
    fn of(measured: &Measured, sum: &ClassTotals) -> Option<Self> {
        let Readings { before, idle, delivered, end } = &measured.server;
        let [before, idle, delivered, end] =
            [before.as_ref()?, idle.as_ref()?, delivered.as_ref()?, end.as_ref()?];
        let cpu_seconds_each = cpu_seconds_each(idle, delivered);
        let cpu_seconds = cpu_seconds_each.iter().sum();
        Some(Self {
            pids: measured.server_pids.clone(),
            cpu_seconds,
            cpu_seconds_each,
            deliveries_per_cpu_second: per(sum.delivered as f64, cpu_seconds),
            resident_before: before.resident,
            resident_idle: idle.resident,
            resident_end: end.resident,
            kib_per_subscriber: kib_each(before.resident, idle.resident, sum.subscribers),
        })
    }
}

impl ClientCost {
    fn of(measured: &Measured, sum: &ClassTotals) -> Option<Self> {
        let Readings { before, idle, delivered, .. } = &measured.client;
        let [before, idle, delivered] = [before.as_ref()?, idle.as_ref()?, delivered.as_ref()?];
        let cpu_seconds = cpu_seconds_each(idle, delivered).iter().sum();
        Some(Self {
            cpu_seconds,
            cpu_microseconds_per_delivery: per(cpu_seconds * 1e6, sum.delivered as f64),
            resident_idle: idle.resident,
            kib_per_subscriber: kib_each(before.resident, idle.resident, sum.subscribers),
        })
    }
}
