//! Publishers that post numbered events, to one hub after another, and the ledger of what they were answered.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::events::{LAST, event};
use crate::patience::{eventually, pause, within_patience};

/// After so long without an answer, nobody knows what became of a post.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How events are posted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Events in a post.
    pub(crate) batch: u64,
    /// Bytes of text in each.
    pub(crate) text: usize,
    /// Between two posts.
    pub(crate) pause: Duration,
}

impl Pace {
    pub(crate) const STEADY: Self = Self { batch: 2, text: 20, pause: Duration::from_millis(8) };
}

/// How long a hub is left alone that could not be reached.
const UNREACHED: Duration = Duration::from_secs(1);

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Accepted,
    /// 503, and when to come back.
    Refused(Duration),
    /// Nobody listened.
    Unreached,
    /// The answer never came, and what was posted may be there or not.
    Unknown,
}

/// All that was posted. Every attempt has numbers of its own.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) accepted: BTreeSet<u64>,
    /// Refused, or never answered.
    pub(crate) open: BTreeSet<u64>,
    pub(crate) refused_posts: u64,
    pub(crate) unreached_posts: u64,
    pub(crate) unknown_posts: u64,
    /// Answers that no hub should give.
    pub(crate) findings: Vec<String>,
    next: u64,
}

/// Who posts, until they are stopped.
pub(crate) struct Publishers {
    ledger: Arc<Mutex<Ledger>>,
    hubs: Arc<[String]>,
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

struct Publisher {
    ledger: Arc<Mutex<Ledger>>,
    hubs: Arc<[String]>,
    at: usize,
    /// Until when each hub is left alone.
    shunned: Vec<Instant>,
    pace: Pace,
    client: Client,
}

impl Publishers {
    pub(crate) fn new(hubs: Arc<[String]>) -> Self {
        let (ledger, stop, running) = (Arc::default(), watch::Sender::new(false), JoinSet::new());
        Self { ledger, hubs, stop, running }
    }

    /// One for each hub to begin with, which goes on to the next after each post.
    pub(crate) fn start(&mut self, pace: Pace) {
        for at in 0..self.hubs.len() {
            let publisher = self.publisher(at, pace);
            self.running.spawn(publisher.run(self.stop.subscribe()));
        }
    }

    fn publisher(&self, at: usize, pace: Pace) -> Publisher {
        let client = Client::builder().timeout(ANSWER_TIMEOUT).build().unwrap();
        let (ledger, hubs) = (Arc::clone(&self.ledger), Arc::clone(&self.hubs));
        let shunned = vec![Instant::now(); hubs.len()];
        Publisher { ledger, hubs, at, shunned, pace, client }
    }

    /// Posts so many events to this hub, one post after the other, and waits for the answers.
    pub(crate) async fn post(&self, hub: usize, count: u64, pace: Pace) {
        let mut publisher = self.publisher(hub, pace);
        for _ in 0..count / pace.batch {
            publisher.post_next().await;
        }
    }

    /// Waits until so many more events have been answered 200.
    pub(crate) async fn accepted(&self, more: usize) {
        let accepted = || self.ledger.lock().unwrap().accepted.len();
        let enough = accepted() + more;
        let what = format!("{more} more events are accepted");
        eventually(&what, async || (accepted() >= enough).then_some(())).await;
    }

    /// What has been answered 200 so far.
    pub(crate) fn accepted_so_far(&self) -> BTreeSet<u64> {
        self.ledger.lock().unwrap().accepted.clone()
    }

    /// Waits until every one of the hubs has refused something.
    pub(crate) async fn refused(&self) {
        let posts = self.hubs.len() as u64;
        let refused = async || (self.ledger.lock().unwrap().refused_posts >= posts).then_some(());
        eventually("posts are refused", refused).await;
    }

    /// Stops those who post, and posts the last event until a hub has taken it. Returns what there was before.
    pub(crate) async fn finish(mut self) -> Ledger {
        self.stop.send_replace(true);
        let all = async { while self.running.join_next().await.transpose().unwrap().is_some() {} };
        within_patience("the publishers are answered", all).await;
        let mut last = self.publisher(0, Pace::STEADY);
        eventually("the last event is accepted", async || {
            let answer = last.send(LAST..LAST + 1).await;
            last.at = (last.at + 1) % last.hubs.len();
            matches!(answer, Ok(Answer::Accepted)).then_some(())
        })
        .await;
        std::mem::take(&mut self.ledger.lock().unwrap())
    }
}

impl Publisher {
    async fn run(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            if self.shunned[self.at] <= Instant::now() {
                self.post_next().await;
            }
            self.at = (self.at + 1) % self.hubs.len();
            pause(self.pace.pause).await;
        }
    }

    async fn post_next(&mut self) {
        let numbers = self.ledger.lock().unwrap().take(self.pace.batch);
        let answer = self.send(numbers.clone()).await;
        match answer {
            Ok(Answer::Refused(time)) => self.shunned[self.at] = Instant::now() + time,
            Ok(Answer::Unreached) => self.shunned[self.at] = Instant::now() + UNREACHED,
            Ok(Answer::Accepted | Answer::Unknown) | Err(_) => {}
        }
        self.ledger.lock().unwrap().answered(numbers, answer);
    }

    /// An error tells of an answer that should not be.
    async fn send(&self, numbers: Range<u64>) -> Result<Answer, String> {
        let count = numbers.end - numbers.start;
        let events: Value = numbers.map(|number| event(number, self.pace.text)).collect();
        let post = self.client.post(format!("{}/api/telemetry/events", self.hubs[self.at]));
        let answer = match post.json(&events).send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Ok(Answer::Unreached),
            Err(_) => return Ok(Answer::Unknown),
        };
        let (status, retry_after) = (answer.status(), retry_after(&answer));
        let Ok(text) = answer.text().await else { return Ok(Answer::Unknown) };
        match (status, retry_after) {
            (StatusCode::OK, _) => {
                let body: Value = serde_json::from_str(&text).unwrap();
                let all = body["accepted"] == count;
                if all { Ok(Answer::Accepted) } else { Err(format!("200 for {count}: {text}")) }
            }
            (StatusCode::SERVICE_UNAVAILABLE, Some(time)) => Ok(Answer::Refused(time)),
            _ => Err(format!("{status}, Retry-After: {retry_after:?}: {text}")),
        }
    }
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

impl Ledger {
    fn take(&mut self, count: u64) -> Range<u64> {
        let first = self.next.max(LAST + 1);
        self.next = first + count;
        first..self.next
    }

    fn answered(&mut self, numbers: Range<u64>, answer: Result<Answer, String>) {
        let answer = answer.unwrap_or_else(|finding| {
            self.findings.push(finding);
            Answer::Unknown
        });
        match answer {
            Answer::Accepted => self.accepted.extend(numbers),
            Answer::Refused(_) | Answer::Unreached | Answer::Unknown => self.open.extend(numbers),
        }
        match answer {
            Answer::Accepted => {}
            Answer::Refused(_) => self.refused_posts += 1,
            Answer::Unreached => self.unreached_posts += 1,
            Answer::Unknown => self.unknown_posts += 1,
        }
    }
}
