//! A client that watches, and on any break goes on at the next hub after the last event that it has.
//!
//! It writes down all that it is told. What it should have been told is for the [verdict](crate::verdict).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::events::{LAST, Wish};
use crate::frames::{Frame, Frames};
use crate::patience::{eventually, pause};

/// The hub says something every second. A stream that is quiet for longer is dead.
const QUIET: Duration = Duration::from_secs(6);

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(50);

/// Whether a client goes to another hub when its stream breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loyalty {
    GoesOn,
    Stays,
}

/// All that a subscriber saw.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) wish: Wish,
    /// Ids and numbers, in the order in which they came.
    pub(crate) seen: Vec<(String, u64)>,
    /// What gaps it was told of, each with how many events had come before it.
    pub(crate) gaps: Vec<(usize, Value)>,
    /// Each farewell of a hub: how many events had come before it.
    pub(crate) byes: Vec<usize>,
    /// Times that its stream broke.
    pub(crate) breaks: u32,
    /// Times that it was not let in.
    pub(crate) refusals: u32,
    pub(crate) longest_silence: Duration,
    /// Whether it has seen the last event.
    pub(crate) is_complete: bool,
    is_connected: bool,
    last_id: Option<String>,
    last_event: Option<Instant>,
}

/// What matters of an event.
#[derive(Deserialize)]
struct Seen {
    id: String,
    data: Number,
}

#[derive(Deserialize)]
struct Number {
    number: u64,
}

/// A client at work. Dropped, it hangs up.
pub(crate) struct Watching {
    subscriber: Subscriber,
    running: JoinSet<()>,
}

#[derive(Clone)]
struct Subscriber {
    hubs: Arc<[String]>,
    at: usize,
    loyalty: Loyalty,
    client: Client,
    record: Arc<Mutex<Record>>,
}

impl Watching {
    /// Begins at this hub, with all that there ever was.
    pub(crate) fn start(hubs: Arc<[String]>, at: usize, wish: Wish, loyalty: Loyalty) -> Self {
        let client = Client::builder().http1_only().connect_timeout(QUIET).build().unwrap();
        let record = Arc::new(Mutex::new(Record::new(format!("{wish:?} from hub {at}"), wish)));
        let subscriber = Subscriber { hubs, at, loyalty, client, record };
        let mut watching = Self { subscriber, running: JoinSet::new() };
        watching.come_back();
        watching
    }

    /// Hangs up.
    pub(crate) async fn leave(&mut self) {
        self.running.shutdown().await;
    }

    /// Goes on after the last event that it has.
    pub(crate) fn come_back(&mut self) {
        self.running.spawn(self.subscriber.clone().watch());
    }

    pub(crate) async fn is_connected(&self) {
        self.eventually("is connected", |record| record.is_connected).await;
    }

    /// Waits until it was told of a gap.
    pub(crate) async fn has_heard_of_a_gap(&self) {
        self.eventually("has heard of a gap", |record| !record.gaps.is_empty()).await;
    }

    /// Waits until it has seen so many events.
    pub(crate) async fn has_seen(&self, count: usize) {
        self.eventually(&format!("has seen {count}"), |record| record.seen.len() >= count).await;
    }

    /// Waits for the last event. What came until then, or did not, is in the record.
    pub(crate) async fn is_complete(&self, deadline: Instant) {
        let is_complete = || self.subscriber.record.lock().unwrap().is_complete;
        while !is_complete() && Instant::now() < deadline {
            pause(RETRY).await;
        }
    }

    pub(crate) fn record(&self) -> Record {
        self.subscriber.record.lock().unwrap().clone()
    }

    async fn eventually(&self, what: &str, is_so: impl Fn(&Record) -> bool) {
        let record = &self.subscriber.record;
        let name = record.lock().unwrap().name.clone();
        let is_so = async || is_so(&record.lock().unwrap()).then_some(());
        eventually(&format!("{name} {what}"), is_so).await;
    }
}

impl Subscriber {
    async fn watch(mut self) {
        while !self.record.lock().unwrap().is_complete {
            match self.ask().await {
                Some(response) => self.read(response).await,
                None => self.record.lock().unwrap().refusals += 1,
            }
            if self.loyalty == Loyalty::GoesOn {
                self.at = (self.at + 1) % self.hubs.len();
            }
            pause(RETRY).await;
        }
    }

    async fn ask(&self) -> Option<Response> {
        let (query, last_id) = {
            let record = self.record.lock().unwrap();
            (record.wish.query(), record.last_id.clone())
        };
        let url = format!("{}/api/telemetry/traces/live?{query}", self.hubs[self.at]);
        let request = match last_id {
            Some(id) => self.client.get(url).header("last-event-id", id),
            // It has no id to go on from yet: from the beginning.
            None => self.client.get(format!("{url}&since=1h")),
        };
        let response = timeout(QUIET, request.send()).await.ok()?.ok()?;
        response.status().is_success().then_some(response)
    }

    /// To the end of the stream, however it comes, or to the last event.
    async fn read(&self, mut response: Response) {
        let mut frames = Frames::default();
        while let Ok(Ok(Some(bytes))) = timeout(QUIET, response.chunk()).await {
            let frames = frames.push(&bytes);
            let mut record = self.record.lock().unwrap();
            frames.iter().for_each(|frame| record.told(frame));
            if record.is_complete {
                return;
            }
        }
        self.record.lock().unwrap().breaks += 1;
    }
}

impl Record {
    pub(crate) fn new(name: String, wish: Wish) -> Self {
        Self {
            name,
            wish,
            seen: Vec::new(),
            gaps: Vec::new(),
            byes: Vec::new(),
            breaks: 0,
            refusals: 0,
            longest_silence: Duration::ZERO,
            is_complete: false,
            is_connected: false,
            last_id: None,
            last_event: None,
        }
    }

    fn told(&mut self, frame: &Frame) {
        self.is_connected = true;
        if frame.id.is_some() {
            self.last_id.clone_from(&frame.id);
        }
        match frame.event.as_str() {
            "trace" => {
                let events: Vec<Seen> = serde_json::from_str(&frame.data).unwrap();
                events.into_iter().for_each(|event| self.saw(event));
            }
            "gap" => self.gaps.push((self.seen.len(), serde_json::from_str(&frame.data).unwrap())),
            // `retry` alone makes no event.
            "" | "ping" | "caught-up" => {}
            "bye" => self.byes.push(self.seen.len()),
            other => panic!("a frame {other}"),
        }
    }

    fn saw(&mut self, event: Seen) {
        let now = Instant::now();
        if let Some(before) = self.last_event.replace(now) {
            self.longest_silence = self.longest_silence.max(now - before);
        }
        match event.data.number {
            LAST => self.is_complete = true,
            // What comes after the last may be anywhere.
            _ if self.is_complete => {}
            number => self.seen.push((event.id, number)),
        }
    }
}
