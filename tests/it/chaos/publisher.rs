//! A publisher that does everything right, over a connection of its own, and knows what was answered 200.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use rand::RngExt;
use serde_json::Value;

use super::events::{Events, Numbered, SPAN};
use super::journal::pause;
use super::journal::{Answer, Journal};
use super::script::{random_time, rng};
use crate::harness::within_patience;

pub(super) struct Publisher {
    pub(super) url: String,
    pub(super) events: Events,
    pub(super) number: usize,
    /// Between two posts, in milliseconds.
    pub(super) pause: Range<u64>,
    pub(super) journal: Arc<Journal>,
}

impl Publisher {
    /// Posts until the end of the run; then what it has in hand is answered, or never will be.
    pub(super) async fn publish(self) {
        let mut rng = rng(self.events.seed, &format!("publisher {}", self.number));
        let client = reqwest::Client::builder();
        let client =
            if self.number.is_multiple_of(2) { client.http2_prior_knowledge() } else { client };
        let client = client.build().unwrap();
        let mut next = 0;
        while !self.journal.is_ending() {
            let numbers = next..next + SPAN * rng.random_range(1..4);
            next = numbers.end;
            self.journal.post(self.number, next);
            let answer = within_patience(self.post(&client, numbers.clone(), rng.random())).await;
            self.journal.answered(self.number, numbers, answer);
            within_patience(self.journal.room()).await;
            let time = random_time(&mut rng, self.pause.clone());
            pause(time, &self.journal).await;
        }
    }

    async fn post(&self, client: &reqwest::Client, numbers: Range<u64>, as_lines: bool) -> Answer {
        let publisher = self.number;
        let events = numbers.map(|number| self.events.body(Numbered { publisher, number }));
        let (media_type, body) = if as_lines {
            let mut lines = String::new();
            events.for_each(|event| writeln!(lines, "{event}").unwrap());
            ("application/x-ndjson", lines)
        } else {
            ("application/json", events.collect::<Value>().to_string())
        };
        let post = client.post(format!("{}/api/telemetry/events", self.url));
        match post.header("content-type", media_type).body(body).send().await {
            Ok(answer) if answer.status() == 200 => Answer::Accepted,
            Ok(answer) if answer.status() == 503 => Answer::Refused,
            Ok(answer) => panic!("a good post was answered {}", answer.status()),
            Err(_) => Answer::Unknown,
        }
    }
}
