//! A live stream of a hub, as `tail` and `top` follow it: through lost connections and hubs that are away, without losing an
//! event or getting one twice.
//!
//! What happens is told as it does ([`Update`]); nothing is printed here. A stream of events goes on after the last id that
//! came; before any has come, at the time when it began.

use std::time::Duration;

use futures_util::{Stream, stream};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout};

use super::hub_client::HubUrl;
use crate::config::Secret;

use answer::Answer;
use frames::FrameReader;

mod answer;
mod frames;
mod options;
mod query;

pub(super) use answer::Refusal;
pub(super) use frames::Frame;
pub(super) use options::LiveOptions;
pub(super) use query::{Parameter, Query};

/// A hub sends the head of a stream at once: this one hangs.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What it says of a refusal comes to far less.
const MAX_PROBLEM_BYTES: usize = 64 * 1024;

/// How often a hub sends a `ping` that has not told so yet.
const USUAL_PING: Duration = Duration::from_secs(15);

/// A connection on which so many pings did not come is dead.
const PINGS_MISSED: u32 = 3;

/// Networks have hiccups, however often the hub pings.
const SHORTEST_SILENCE: Duration = Duration::from_secs(1);

/// The first wait, where no hub has told another.
const USUAL_RETRY: Duration = Duration::from_millis(500);

/// Nobody is asked more often, whatever they ask for.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// A hub that is back is noticed within this time, or what it asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A little before the stream began, for the time that its request was on its way: rather an event from before than one too
/// few.
const SLACK: Duration = Duration::from_secs(1);

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    fn path(self) -> [&'static str; 4] {
        let signal = match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        };
        ["api", "telemetry", signal, "live"]
    }
}

/// What happens to a stream.
#[derive(Debug)]
pub(super) enum Update {
    /// It has begun, or begun again after so long.
    Open {
        after: Option<Duration>,
    },
    Frame(Frame),
    /// There is none, and will be another attempt after `wait`.
    Away {
        reason: String,
        wait: Duration,
    },
    /// There will be none; nothing follows.
    Refused(Refusal),
}

/// What a `bye` says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Bye {
    pub(super) reason: String,
    retry: Option<u64>,
}

/// Follows a stream. Between two updates it may be left alone for as long as one likes: then the hub waits, or tells of a gap.
pub(super) fn follow(
    options: &LiveOptions,
    signal: Signal,
    query: Query,
) -> anyhow::Result<impl Stream<Item = Update> + use<>> {
    let follower = Follower {
        client: options.client()?,
        hub: options.url.clone(),
        token: options.token()?,
        tries_again: !options.no_retry,
        place: Place { signal, query, last_id: None, began: None },
        phase: Phase::Connecting,
        retry: USUAL_RETRY,
        asked_to_wait: None,
        failures: 0,
        away_since: None,
    };
    Ok(stream::unfold(follower, async |mut follower| {
        let update = follower.next().await?;
        Some((update, follower))
    }))
}

/// One who follows a stream.
struct Follower {
    client: Client,
    hub: HubUrl,
    token: Option<Secret>,
    tries_again: bool,
    place: Place,
    phase: Phase,
    /// How long the hub wants its clients to wait.
    retry: Duration,
    /// How long it wants this one to wait now.
    asked_to_wait: Option<Duration>,
    /// Attempts since something came.
    failures: u32,
    away_since: Option<Instant>,
}

enum Phase {
    Connecting,
    Open(Box<OpenStream>),
    WaitingUntil(Instant),
    Ended,
}

impl Follower {
    async fn next(&mut self) -> Option<Update> {
        loop {
            match &mut self.phase {
                Phase::Ended => return None,
                Phase::WaitingUntil(until) => {
                    sleep_until(*until).await;
                    self.phase = Phase::Connecting;
                }
                Phase::Connecting => return Some(self.connect().await),
                Phase::Open(stream) => {
                    let frame = stream.next().await;
                    self.retry = stream.frames.retry().unwrap_or(self.retry);
                    return Some(match frame {
                        Ok(frame) => self.took(frame),
                        Err(end) => self.lost(&end),
                    });
                }
            }
        }
    }

    async fn connect(&mut self) -> Update {
        let begins = Instant::now();
        let request = self.place.request(&self.client, &self.hub);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.as_str()),
            None => request,
        };
        match timeout(HEAD_TIMEOUT, request.send()).await {
            Ok(Ok(response)) if is_event_stream(&response) => self.opened(response, begins),
            Ok(Ok(response)) => self.answered(response).await,
            Ok(Err(error)) if error.is_builder() => {
                let reason = crate::error_chain::error_chain(&error.without_url());
                self.refused(Refusal::new(reason))
            }
            Ok(Err(error)) => self.away(self.hub.explain(&error)),
            Err(_elapsed) => self.away(format!("no answer from {}", self.hub)),
        }
    }

    fn opened(&mut self, response: Response, begins: Instant) -> Update {
        self.place.began.get_or_insert(begins);
        let (frames, silence) = (FrameReader::default(), USUAL_PING * PINGS_MISSED);
        self.phase = Phase::Open(Box::new(OpenStream { response, frames, silence }));
        Update::Open { after: self.away_since.take().map(|since| since.elapsed()) }
    }

    async fn answered(&mut self, response: Response) -> Update {
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).cloned();
        let retry_after = retry_after.as_ref().and_then(|value| value.to_str().ok());
        let body = timeout(HEAD_TIMEOUT, beginning_of(response)).await.unwrap_or_default();
        match answer::read(status, retry_after, &body, self.token.is_some()) {
            Answer::Refused(refusal) => self.refused(refusal),
            Answer::Busy { reason, retry_after } => {
                self.asked_to_wait = retry_after;
                self.away(reason)
            }
        }
    }

    /// A frame has come: from here on it is the caller's.
    fn took(&mut self, frame: Frame) -> Update {
        self.failures = 0;
        if !frame.id.is_empty() {
            self.place.last_id = Some(frame.id.clone());
        }
        match frame.kind.as_str() {
            "ping" => {
                if let Phase::Open(stream) = &mut self.phase {
                    stream.expect_pings(&frame.data);
                }
            }
            // What was asked for has come: if nothing did, what matters is what comes from now on.
            "caught-up" => self.place.query = self.place.query.without_start(),
            "bye" => {
                let bye: Bye = serde_json::from_str(&frame.data).unwrap_or_default();
                if bye.reason == "closed-by-admin" {
                    return self.refused(Refusal::new("somebody who may has ended this stream"));
                }
                self.asked_to_wait = bye.retry.map(Duration::from_millis);
            }
            _ => {}
        }
        Update::Frame(frame)
    }

    fn lost(&mut self, end: &StreamEnd) -> Update {
        let hub = &self.hub;
        self.away(match end {
            StreamEnd::Finished => format!("the connection to {hub} ended"),
            StreamEnd::Broken(error) => hub.explain(error),
            StreamEnd::Silent(silence) => {
                format!("nothing came from {hub} for {:.0} s", silence.as_secs_f64())
            }
            StreamEnd::TooLarge(error) => format!("{hub} sent {error}"),
        })
    }

    fn away(&mut self, reason: String) -> Update {
        if !self.tries_again {
            return self.refused(Refusal::new(reason));
        }
        self.away_since.get_or_insert_with(Instant::now);
        let wait = wait(self.failures, self.retry, self.asked_to_wait.take(), rand::random());
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::WaitingUntil(Instant::now() + wait);
        Update::Away { reason, wait }
    }

    fn refused(&mut self, refusal: Refusal) -> Update {
        self.phase = Phase::Ended;
        Update::Refused(refusal)
    }
}

/// What to ask for, and how far it has come.
struct Place {
    signal: Signal,
    query: Query,
    last_id: Option<String>,
    /// When the request went out that was granted first.
    began: Option<Instant>,
}

impl Place {
    fn request(&self, client: &Client, hub: &HubUrl) -> reqwest::RequestBuilder {
        let id = self.last_id.as_ref().and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
        let mut url = hub.at(&self.signal.path());
        url.set_query(Some(&self.query_now(id.is_some()).encoded()));
        let request = client.get(url).header(ACCEPT, "text/event-stream");
        match id {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        }
    }

    fn query_now(&self, has_id: bool) -> Query {
        if self.signal == Signal::Metrics {
            return self.query.clone();
        }
        if has_id {
            return self.query.without_start();
        }
        let mut query = self.query.clone();
        // As a duration, it is the hub's clock that counts. Nothing has come yet, so that nothing can come twice.
        if let Some(began) = self.began.filter(|_| !query.has_start()) {
            query.add("since", Some((began.elapsed() + SLACK).as_secs_f64()));
        }
        query
    }
}

/// A stream that is open.
struct OpenStream {
    response: Response,
    frames: FrameReader,
    /// After so long without anything it is dead.
    silence: Duration,
}

/// Why a stream goes on no more.
enum StreamEnd {
    Finished,
    Broken(reqwest::Error),
    Silent(Duration),
    TooLarge(frames::FrameTooLarge),
}

impl OpenStream {
    async fn next(&mut self) -> Result<Frame, StreamEnd> {
        loop {
            if let Some(frame) = self.frames.next() {
                return Ok(frame);
            }
            let chunk = timeout(self.silence, self.response.chunk()).await;
            let chunk = chunk.map_err(|_elapsed| StreamEnd::Silent(self.silence))?;
            let chunk = chunk.map_err(StreamEnd::Broken)?.ok_or(StreamEnd::Finished)?;
            self.frames.push(&chunk).map_err(StreamEnd::TooLarge)?;
        }
    }

    fn expect_pings(&mut self, data: &str) {
        #[derive(Deserialize)]
        struct Ping {
            interval: u32,
        }
        if let Ok(Ping { interval }) = serde_json::from_str(data) {
            let silence = Duration::from_millis(interval.into()) * PINGS_MISSED;
            self.silence = silence.max(SHORTEST_SILENCE);
        }
    }
}

fn is_event_stream(response: &Response) -> bool {
    let is_event_stream = |value: &HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
    response.status() == reqwest::StatusCode::OK
        && response.headers().get(CONTENT_TYPE).is_some_and(is_event_stream)
}

/// What stands first in a body.
async fn beginning_of(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_PROBLEM_BYTES {
            break;
        }
    }
    body
}

/// The wait after so many failures before this one, up to a fifth more or less; `roll` is from 0 to 1. Never shorter than
/// asked.
fn wait(failures: u32, retry: Duration, asked: Option<Duration>, roll: f64) -> Duration {
    let doubled = retry.saturating_mul(2_u32.saturating_pow(failures));
    let wait = match asked {
        Some(asked) => asked.mul_f64(1.0 + 0.2 * roll),
        None => doubled.min(LONGEST_WAIT.max(retry)).mul_f64(0.8 + 0.4 * roll),
    };
    wait.max(SHORTEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failures: u32, retry: u64, asked: Option<u64>, roll: f64, milliseconds: u64) {
        let asked = asked.map(Duration::from_secs);
        let found = wait(failures, Duration::from_secs(retry), asked, roll);
        assert_eq!(found.as_millis(), milliseconds.into());
    }

    #[test]
    fn waits_begin_at_the_hubs_wish_and_double() {
        check(0, 3, None, 0.5, 3000);
        check(1, 3, None, 0.5, 6000);
        check(9, 3, None, 0.5, 30_000);
        check(u32::MAX, 3, None, 0.5, 30_000);
        check(0, 60, None, 0.5, 60_000);
    }

    #[test]
    fn waits_are_scattered_and_never_shorter_than_asked() {
        check(0, 1, None, 0.0, 800);
        check(0, 1, None, 1.0, 1200);
        check(7, 1, Some(5), 0.0, 5000);
        check(7, 1, Some(5), 1.0, 6000);
    }

    #[test]
    fn nobody_is_asked_without_end() {
        check(0, 0, None, 0.0, 100);
        check(9, 1, Some(0), 1.0, 100);
    }
}
