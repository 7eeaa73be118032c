//! `telemetry-hub load`: many subscribers and some publishers against a server of events; proves that all is delivered, and
//! tells what that costs.
//!
//! Threads of readers ([`subscribers`]) and of publishers ([`publisher`]) do the work by a fixed [`schedule`]; this task directs
//! them from phase to phase, watches, and closes the books ([`ledger`], [`report`]). Everything is bounded in count and in time
//! ([`options`]), and nothing is sent to other machines unless told to ([`target`]).

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use ledger::Ledger;
pub(super) use options::LoadOptions;
use plan::Plan;
use progress::{Counts, Progress};
use publisher::{PublishCounters, Published, Publisher, Publishing};
use report::{Measured, Readings, Report};
use server_process::{Processes, Usage};
use subscribers::{Common, Counters, Phase};

mod frames;
mod http1;
mod ledger;
mod limits;
mod options;
mod plan;
mod progress;
mod publisher;
mod report;
mod schedule;
mod server_process;
mod stamp;
mod subscribers;
mod target;
mod template;

/// How often the run is looked at: often enough for times that are told in tenths of a second.
const WATCH: Duration = Duration::from_millis(50);

/// If all has come, so long is waited for what should not come: doubles.
const AFTERMATH: Duration = Duration::from_millis(300);

/// A server that goes on sending for so long after the last event will not be waited for.
const MAX_SETTLING: Duration = Duration::from_secs(600);

/// Runs the load; the exit code says whether all went well.
pub(super) async fn run(options: LoadOptions) -> anyhow::Result<ExitCode> {
    let plan = match Plan::new(&options).await {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("telemetry-hub: {error}");
            return Ok(ExitCode::from(super::serve::BAD_OPTION));
        }
    };
    let report = Run::begin(plan).complete().await?;
    hand_over(&report, options.json.as_deref())?;
    Ok(if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the report for people, and for programs if they want one.
fn hand_over(report: &Report, json: Option<&Path>) -> anyhow::Result<()> {
    match json {
        Some(path) if path == Path::new("-") => {
            eprint!("{report}");
            std::io::stdout().write_all(report.to_json().as_bytes())?;
        }
        Some(path) => {
            std::io::stdout().write_all(report.to_string().as_bytes())?;
            std::fs::write(path, report.to_json())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => std::io::stdout().write_all(report.to_string().as_bytes())?,
    }
    Ok(())
}

/// A run under way.
struct Run {
    plan: Arc<Plan>,
    begin: Instant,
    ticks: Interval,
    phase: watch::Sender<Phase>,
    server: Processes,
    measured: Measured,
    readers: JoinSet<std::io::Result<Ledger>>,
    counters: Vec<Arc<Counters>>,
    publish_counters: Arc<PublishCounters>,
    /// How many subscribers each filter has, and how many events the server took for it.
    connected: Arc<[AtomicU32]>,
    accepted: Arc<[AtomicU32]>,
    progress: Progress,
}

impl Run {
    /// Starts the threads that read.
    fn begin(plan: Plan) -> Self {
        let (plan, begin) = (Arc::new(plan), Instant::now());
        let server = match plan.server_pids.as_slice() {
            [] => Processes::listening_at(plan.subscribing.addresses()),
            pids => Processes(pids.to_vec()),
        };
        let zeros = || (0..plan.schedule.filters).map(|_| AtomicU32::new(0)).collect();
        let mut ticks = interval(WATCH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut run = Self {
            begin,
            ticks,
            phase: watch::Sender::new(Phase::Connecting),
            measured: Measured { server_pids: server.0.clone(), ..Measured::default() },
            server,
            readers: JoinSet::new(),
            counters: (0..plan.threads).map(|_| Arc::default()).collect(),
            publish_counters: Arc::default(),
            connected: zeros(),
            accepted: zeros(),
            progress: Progress::on_stderr(),
            plan,
        };
        run.read_usage(|readings| &mut readings.before);
        run.start_readers();
        run
    }

    fn start_readers(&mut self) {
        for (thread, counters) in (0..).zip(&self.counters) {
            let common = Common {
                plan: Arc::clone(&self.plan),
                begin: self.begin,
                connected: Arc::clone(&self.connected),
                phase: self.phase.subscribe(),
            };
            let counters = Arc::clone(counters);
            self.readers.spawn_blocking(move || subscribers::run(thread, common, &counters));
        }
    }

    /// Goes through all phases.
    async fn complete(mut self) -> anyhow::Result<Report> {
        self.connect().await?;
        sleep_until(Instant::now() + self.plan.idle).await;
        self.read_usage(|readings| &mut readings.idle);
        self.phase.send_replace(Phase::Publishing);
        let start = Instant::now();
        let published = self.publish(start).await?;
        self.phase.send_replace(Phase::Settling);
        self.settle(start).await?;
        self.read_usage(|readings| &mut readings.end);
        self.progress.finish();
        self.phase.send_replace(Phase::Done);
        let mut ledgers = Vec::new();
        while let Some(outcome) = self.readers.join_next().await {
            ledgers.push(outcome?.context("a thread of readers could not start")?);
        }
        let accepted: Vec<u32> =
            self.accepted.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Ok(Report::new(&self.plan, &self.measured, published, &ledgers, &accepted))
    }

    /// Waits until every subscriber has a stream, or has failed.
    async fn connect(&mut self) -> anyhow::Result<()> {
        let subscribers = u64::from(self.plan.subscribing.subscribers);
        loop {
            self.tick().await?;
            let connected = self.sum(|counters| &counters.connected);
            let failed = self.sum(|counters| &counters.failed);
            self.progress.connecting(connected, failed, subscribers);
            if connected + failed >= subscribers {
                self.measured.failed = failed;
                self.measured.connect_time = self.begin.elapsed();
                return Ok(());
            }
        }
    }

    /// Has everything published. Nobody publishes to nobody.
    async fn publish(&mut self, start: Instant) -> anyhow::Result<Published> {
        let mut published = Published::default();
        let mut publishers = JoinSet::new();
        let is_anybody_there = self.sum(|counters| &counters.connected) > 0;
        let common = Publishing {
            plan: Arc::clone(&self.plan),
            begin: self.begin,
            start,
            connected: Arc::clone(&self.connected),
            accepted: Arc::clone(&self.accepted),
            counters: Arc::clone(&self.publish_counters),
        };
        for number in (0..self.plan.schedule.publishers).filter(|_| is_anybody_there) {
            let publisher = Publisher::new(number, common.clone());
            publishers.spawn_blocking(move || publisher.run());
        }
        let end = start + self.plan.schedule.duration;
        let mut counts = Counts::default();
        while !publishers.is_empty() || (is_anybody_there && Instant::now() < end) {
            self.tick().await?;
            while let Some(outcome) = publishers.try_join_next() {
                published.add(&outcome?);
            }
            self.note_deliveries(&mut counts, start);
            self.progress.publishing(start.elapsed(), self.plan.schedule.duration, &counts);
        }
        self.measure_delivered(start);
        Ok(published)
    }

    /// Waits for what is still to come: until all has come, or nothing comes any more.
    async fn settle(&mut self, start: Instant) -> anyhow::Result<()> {
        let mut counts = self.counts();
        let (begin, mut quiet_since) = (Instant::now(), Instant::now());
        loop {
            self.tick().await?;
            if self.note_deliveries(&mut counts, start) {
                quiet_since = Instant::now();
            }
            self.progress.settling(&counts);
            let is_complete = counts.delivered + counts.missed == counts.expected;
            let patience = if is_complete { AFTERMATH } else { self.plan.settle };
            if quiet_since.elapsed() >= patience || begin.elapsed() >= MAX_SETTLING {
                return Ok(());
            }
        }
    }

    /// Waits for the next look. A thread that has ended before it was told to has failed.
    async fn tick(&mut self) -> anyhow::Result<()> {
        self.ticks.tick().await;
        match self.readers.try_join_next() {
            None => Ok(()),
            Some(Ok(Ok(_))) => bail!("a thread of readers ended too soon"),
            Some(Ok(Err(error))) => Err(error).context("a thread of readers could not start"),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Looks whether anything has come since `counts`; if so, that is the last delivery so far.
    fn note_deliveries(&mut self, counts: &mut Counts, start: Instant) -> bool {
        let now = self.counts();
        let has_come = (now.delivered, now.missed, now.ended)
            != (counts.delivered, counts.missed, counts.ended);
        if now.delivered != counts.delivered {
            self.measure_delivered(start);
        }
        *counts = now;
        has_come
    }

    fn measure_delivered(&mut self, start: Instant) {
        self.measured.delivery_time = start.elapsed();
        self.read_usage(|readings| &mut readings.delivered);
    }

    fn counts(&self) -> Counts {
        Counts {
            accepted: self.publish_counters.accepted.load(Ordering::Relaxed),
            expected: self.publish_counters.expected.load(Ordering::Relaxed),
            delivered: self.sum(|counters| &counters.delivered),
            missed: self.sum(|counters| &counters.missed),
            ended: self.sum(|counters| &counters.ended),
        }
    }

    fn sum(&self, counter: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.counters.iter().map(|counters| counter(counters).load(Ordering::Relaxed)).sum()
    }

    fn read_usage(&mut self, moment: impl Fn(&mut Readings) -> &mut Option<Usage>) {
        *moment(&mut self.measured.server) = self.server.usage();
        *moment(&mut self.measured.client) = Processes::own().usage();
    }
}
