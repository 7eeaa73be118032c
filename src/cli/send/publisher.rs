//! Posts batches to the hub, one at a time, and sees each one through.
//!
//! Nothing is dropped here without the [`Console`] being told. A batch is repeated until the hub has answered for it, so
//! delivery is at least once.

use std::str::FromStr;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Url, redirect};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::answer::{self, Answer, Receipt, Rejection};
use super::backoff::Backoff;
use super::batch::Batch;
use super::console::Console;
use crate::config::Secret;
use crate::error_chain::error_chain;
use crate::signature::{self, WebhookKey};

const EVENTS_PATH: [&str; 3] = ["api", "telemetry", "events"];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A hub answers when its collector has the events, in well under a second: this one hangs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The reasons for 500 rejections come to far less.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Shorter trouble is not worth a line.
const TELL_AFTER: Duration = Duration::from_secs(2);

/// Where a hub takes events.
#[derive(Debug, Clone)]
pub(super) struct Endpoint(Url);

/// Why a URL is not one of a hub.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("not a URL like http://127.0.0.1:8787: {0}")]
    NotAUrl(String),
    #[error("{0}: expected http or https")]
    NotHttp(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url =
            Url::parse(text).map_err(|error| EndpointError::NotAUrl(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointError::NotHttp(url.scheme().to_owned()));
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(EVENTS_PATH);
        }
        Ok(Self(url))
    }
}

impl Endpoint {
    fn is_on_this_host(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

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
    endpoint: Endpoint,
    key: Option<WebhookKey>,
    token: Option<Secret>,
    retry_for: Duration,
    console: &'a Console,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(
        endpoint: Endpoint,
        retry_for: Duration,
        console: &'a Console,
    ) -> reqwest::Result<Self> {
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A redirected POST may arrive as a GET.
            .redirect(redirect::Policy::none());
        if endpoint.is_on_this_host() {
            builder = builder.no_proxy();
        }
        let (key, token) = (None, None);
        Ok(Self { client: builder.build()?, endpoint, key, token, retry_for, console })
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
            Err(error) => Answer::Busy { reason: self.explain(&error), retry_after: None },
        }
    }

    async fn try_post(&self, batch: &Batch) -> reqwest::Result<Answer> {
        let mut request = self
            .client
            .post(self.endpoint.0.clone())
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

    /// What went wrong, without what a URL may hold that is secret.
    fn explain(&self, error: &reqwest::Error) -> String {
        let hub = self.endpoint.0.origin().ascii_serialization();
        if error.is_timeout() {
            return format!("no answer from {hub}");
        }
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
        let cause = causes.last().map(ToString::to_string).unwrap_or_default();
        if error.is_connect() {
            format!("cannot reach {hub}: {cause}")
        } else {
            format!("the connection to {hub} broke: {cause}")
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let found = match url.parse::<Endpoint>() {
            Ok(endpoint) => endpoint.0.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn path_is_appended() {
        check("http://127.0.0.1:8787", "http://127.0.0.1:8787/api/telemetry/events");
        check("https://hub", "https://hub/api/telemetry/events");
        check("http://hub/", "http://hub/api/telemetry/events");
        check("http://hub/behind/proxy/", "http://hub/behind/proxy/api/telemetry/events");
        check("http://[::1]:1?token=x", "http://[::1]:1/api/telemetry/events?token=x");
    }

    #[test]
    fn other_urls_are_refused() {
        check("localhost:8787", "localhost: expected http or https");
        check("hub", "not a URL like http://127.0.0.1:8787: relative URL without a base");
    }

    #[test]
    fn proxies_are_for_other_hosts() {
        for (url, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
            ("http://hub", false),
        ] {
            assert_eq!(url.parse::<Endpoint>().unwrap().is_on_this_host(), expected, "{url}");
        }
    }
}
