//! Asks `/healthz` all the time, and holds the answers against what is known of the collector.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::journal::Journal;
use crate::harness::{PATIENCE, within_patience};

const EVERY: Duration = Duration::from_millis(50);

/// A task that is due and not run for so long says that the machine is too busy for anybody to answer in time.
const BUSY: Duration = Duration::from_millis(100);

/// How the collector is known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Works,
    /// It hangs, and everything that is asked of it.
    Stuck,
    /// It is about to break, or to be restarted.
    Unknown,
}

/// How the collector is, and what was said of it.
#[derive(Debug)]
pub(super) struct Health {
    condition: watch::Sender<(u64, Condition)>,
    answers: watch::Sender<Answers>,
}

/// What was said.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    pub(super) healthy: u64,
    /// That it is not healthy, and it was not.
    pub(super) stuck: u64,
    /// The longest that it took to say so.
    pub(super) slowest: Duration,
    /// While nothing was known, or the machine was too busy.
    pub(super) unjudged: u64,
    pub(super) lies: Vec<String>,
}

impl Default for Health {
    fn default() -> Self {
        let condition = watch::Sender::new((0, Condition::Works));
        Self { condition, answers: watch::Sender::default() }
    }
}

impl Health {
    pub(super) fn becomes(&self, condition: Condition) {
        self.condition.send_modify(|(turn, old)| (*turn, *old) = (*turn + 1, condition));
    }

    /// Waits until somebody has been told that the collector is stuck.
    pub(super) async fn wait_for_answer(&self) {
        let before = self.answers.borrow().stuck;
        let mut answers = self.answers.subscribe();
        let is_more = |answers: &Answers| answers.stuck > before || !answers.lies.is_empty();
        within_patience(answers.wait_for(is_more)).await.unwrap();
    }

    /// Asks until the end of the run. Returns what was said.
    pub(super) async fn poll(self: Arc<Self>, url: String, journal: Arc<Journal>) -> Answers {
        // A connection that is kept may be closed just when it is used again.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let mut tick = tokio::time::interval(EVERY);
        while !journal.is_ending() {
            tick.tick().await;
            let (before, asked) = (*self.condition.borrow(), Instant::now());
            let answer = client.get(format!("{url}/healthz")).timeout(PATIENCE).send();
            let (answer, busy) = busyness(answer).await;
            let after = *self.condition.borrow();
            let known = (before == after && busy < BUSY).then_some(before.1);
            let status = answer.map(|answer| answer.status().as_u16()).unwrap_or_default();
            self.judge(known, status, asked.elapsed());
        }
        self.answers.borrow().clone()
    }

    fn judge(&self, known: Option<Condition>, status: u16, took: Duration) {
        self.answers.send_modify(|answers| match (known, status) {
            (Some(Condition::Works), 200) => answers.healthy += 1,
            (Some(Condition::Stuck), 503) => {
                answers.stuck += 1;
                answers.slowest = answers.slowest.max(took);
            }
            (None | Some(Condition::Unknown), 200 | 503) => answers.unjudged += 1,
            _ => answers.lies.push(format!("{status} after {took:?} while {known:?}")),
        });
    }
}

/// What a future comes to, and by how much a timer was late meanwhile.
async fn busyness<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let tick = Duration::from_millis(10);
    let (mut future, mut latest) = (std::pin::pin!(future), Duration::ZERO);
    loop {
        let begun = Instant::now();
        match tokio::time::timeout(tick, future.as_mut()).await {
            Ok(outcome) => return (outcome, latest.max(begun.elapsed())),
            Err(_) => latest = latest.max(begun.elapsed().saturating_sub(tick)),
        }
    }
}
