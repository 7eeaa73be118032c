//! Posts batches to the hub, one at a time, and sees each one through.
//!
//! Nothing is dropped here without the [`Console`] being told. A batch is repeated until the hub has answered for it, so
//! delivery is at least once.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Url};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::answer::{self, Answer, Receipt, Rejection};
use super::backoff::Backoff;
use super::batch::Batch;
use super::console::Console;
use crate::cli::hub_client::HubUrl;
use crate::config::Secret;
use crate::error_chain::error_chain;
use crate::signature::{self, WebhookKey};

const EVENTS_PATH: [&str; 3] = ["api", "telemetry", "events"];

/// A hub answers when its collector has the events, in well under a second: this one hangs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The reasons for 500 rejections come to far less.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Shorter trouble is not worth a line.
const TELL_AFTER: Duration = Duration::from_secs(2);

/// Why no more is sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("gave up after {:.1} s: {reason}", failing_for.as_secs_f64())]
    GaveUp { failing_for: Duration, reason: String },
    #[error("the hub refused: {0}")]
    Refused(String),
}

/// A client of one hub.
#[derive(Debug)]
pub(super) struct Publisher<'a> {
    client: Client,
    hub: HubUrl,
    endpoint: Url,
    key: Option<WebhookKey>,
    token: Option<Secret>,
    retry_for: Duration,
    console: &'a Console,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(
        hub: HubUrl,
        retry_for: Duration,
        console: &'a Console,
    ) -> reqwest::Result<Self> {
        let client = hub.client().timeout(REQUEST_TIMEOUT).build()?;
        let (endpoint, key, token) = (hub.at(&EVENTS_PATH), None, None);
        Ok(Self { client, hub, endpoint, key, token, retry_for, console })
    }

    /// With a key that every body is signed with.
    pub(super) fn signing_with(mut self, key: Option<WebhookKey>) -> Self {
        self.key = key;
        self
    }

    /// With a token that every request shows.
    pub(super) fn showing(mut self, token: Option<Secret>) -> Self {
        self.token = token;
        self
    }

    pub(super) fn console(&self) -> &'a Console {
        self.console
    }

    /// Publishes every batch that comes; takes no more after an error.
    pub(super) async fn publish_all(
        &self,
        mut batches: mpsc::Receiver<Batch>,
    ) -> Result<(), PublishError> {
        while let Some(batch) = batches.recv().await {
            self.publish(batch).await?;
        }
        Ok(())
    }

    /// Sees a batch through, in parts if it is too large for the hub.
    async fn publish(&self, batch: Batch) -> Result<(), PublishError> {
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            self.console.sending(&part);
            match self.deliver(&part).await? {
                Delivered::Read(receipt) => self.console.count_answered(&part, &receipt),
                Delivered::TooLarge(reason) => match part.split() {
                    Ok((first, second)) => parts.extend([second, first]),
                    Err(single) => self.console.count_answered(&single, &rejects_it(reason)),
                },
            }
        }
        Ok(())
    }

    /// Posts a batch until the hub answers for it.
    async fn deliver(&self, batch: &Batch) -> Result<Delivered, PublishError> {
        let mut backoff = Backoff::new(self.retry_for);
        let mut told = false;
        loop {
            let answer = self.post(batch).await;
            let (reason, retry_after) = match answer {
                Answer::Read(receipt) => return Ok(Delivered::Read(receipt)),
                Answer::TooLarge(reason) => return Ok(Delivered::TooLarge(reason)),
                Answer::Refused(reason) => return Err(PublishError::Refused(reason)),
                Answer::Busy { reason, retry_after } => (reason, retry_after),
            };
            let Some(wait) = backoff.next_wait(retry_after) else {
                let failing_for = backoff.failing_for();
                return Err(PublishError::GaveUp { failing_for, reason });
            };
            if !told && backoff.failing_for() + wait >= TELL_AFTER {
                self.console.note(format_args!("{reason}; trying again"));
                told = true;
            }
            self.console.waiting(&reason);
            sleep_until(Instant::now() + wait).await;
        }
    }

    /// One attempt. That no answer came is like a busy hub's.
    async fn post(&self, batch: &Batch) -> Answer {
        match self.try_post(batch).await {
            Ok(answer) => answer,
            Err(error) if error.is_builder() => Answer::Refused(error_chain(&error.without_url())),
            Err(error) => Answer::Busy { reason: self.hub.explain(&error), retry_after: None },
        }
    }

    async fn try_post(&self, batch: &Batch) -> reqwest::Result<Answer> {
        let mut request = self
            .client
            .post(self.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-ndjson")
            .body(batch.body.clone());
        if let Some(key) = &self.key {
            request = request.header(signature::HEADER, key.sign(&batch.body));
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.as_str());
        }
        let mut response = request.send().await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Ok(answer::read(response.status(), retry_after, &body, batch.len()))
    }
}

/// What the hub did with a batch in the end.
enum Delivered {
    Read(Receipt),
    TooLarge(String),
}

/// For a single event that is too large.
fn rejects_it(reason: String) -> Receipt {
    Receipt { accepted: 0, rejected: 1, errors: vec![Rejection { index: 0, error: reason }] }
}
