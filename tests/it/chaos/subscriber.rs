//! A client that watches: reads well, stalls, trickles or leaves in the middle of a frame, and comes back, mostly with the last id it
//! saw. It writes down all that it is told; what it should have been told is for the [verdict](super::verdict).

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rand::RngExt;
use rand::rngs::StdRng;
use reqwest::Response;
use telemetry_hub_actors::{EventId, Follow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use super::events::{Numbered, Wish, query};
use super::frames::{Frame, Frames};
use super::journal::pause;
use super::journal::{Journal, Marks};
use super::script::{random_time, rng};
use crate::harness::within_patience;

/// How a client reads, until the end of the run: then all read well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    /// Everything, at once.
    Good,
    /// Now and then nothing for seconds.
    Stalls,
    /// A few bytes at a time.
    Trickles,
    /// Hangs up amid a frame.
    Leaves,
}

/// What carries its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// The first request of a connection over HTTP/1.1: its stream has the socket to itself.
    Socket,
    /// A later request of a connection over HTTP/1.1: its stream is a body in chunks.
    Chunks,
    Http2,
}

pub(super) struct Subscriber {
    pub(super) name: String,
    pub(super) wanted: (Wish, Follow),
    pub(super) manners: Manners,
    pub(super) transport: Transport,
    pub(super) url: String,
    pub(super) seed: u64,
    pub(super) journal: Arc<Journal>,
}

/// All that a subscriber saw.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) wanted: (Wish, Follow),
    pub(super) visits: Vec<Visit>,
    /// How often it was not let in.
    pub(super) refusals: u32,
}

/// One stream, from the request to its end.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) start: Start,
    /// What had been answered 200 when it asked.
    pub(super) accepted_before: Marks,
    /// What had been posted when it had been let in.
    pub(super) posted_before: Marks,
    pub(super) said: Vec<Said>,
    pub(super) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Live,
    /// With the last so many events.
    Last(usize),
    After(EventId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Event(EventId, Numbered),
    /// So many were missed, from this to that one.
    Slow(u64, EventId, EventId),
    /// What came up to this one is not there any more.
    Expired(EventId),
    CaughtUp(u64),
    Bye(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It hung up.
    Left,
    /// The hub said so.
    Bye,
    /// Its actor was broken.
    Broken,
    /// Its socket took nothing for too long.
    Cut,
    /// Nobody can say why.
    Unexplained,
}

/// What there is to read of a stream.
enum Source {
    Socket(TcpStream),
    Response(Response),
}

impl Subscriber {
    /// Watches until the hub says that it shuts down. Checks in once it has been told of the last event of the run.
    pub(super) async fn watch(self, check_in: mpsc::Sender<()>) -> Record {
        let mut rng = rng(self.seed, &self.name);
        let mut record = Record {
            name: self.name.clone(),
            wanted: self.wanted,
            visits: Vec::new(),
            refusals: 0,
        };
        let mut check_in = Some(check_in);
        loop {
            let start = self.start(&record.visits, &mut rng);
            let visit = self.visit(start, &mut check_in, &mut rng).await;
            let is_refused = visit.is_none();
            match visit {
                Some(visit) => record.visits.push(visit),
                None => record.refusals += 1,
            }
            if record.has_been_told_goodbye() || (is_refused && check_in.is_none()) {
                return record;
            }
            pause(random_time(&mut rng, 1..300), &self.journal).await;
        }
    }

    /// Where the next stream begins: nearly always where the one before ended.
    fn start(&self, visits: &[Visit], rng: &mut StdRng) -> Start {
        let ids: Vec<EventId> = visits.iter().filter_map(Visit::last_id).collect();
        let Some(last) = ids.last() else {
            return if self.journal.is_ending() { Start::Last(50) } else { Start::Live };
        };
        match rng.random_range(0..10) {
            _ if self.journal.is_ending() => Start::After(*last),
            0 => Start::Live,
            1 => Start::Last(rng.random_range(0..200)),
            // An id that it has from long ago.
            2 => Start::After(ids[rng.random_range(0..ids.len())]),
            _ => Start::After(*last),
        }
    }

    /// `None` if it was not let in.
    async fn visit(
        &self,
        start: Start,
        check_in: &mut Option<mpsc::Sender<()>>,
        rng: &mut StdRng,
    ) -> Option<Visit> {
        let (accepted_before, blows) = (self.journal.accepted(), self.journal.blows());
        let was_ending = self.journal.is_ending();
        let mut source = within_patience(self.open(start)).await?;
        if self.journal.is_ending() && !was_ending {
            // It may have come too late for the last event.
            return None;
        }
        let posted_before = self.journal.posted();
        let mut frames = Frames::default();
        let mut visit =
            Visit { start, accepted_before, posted_before, said: Vec::new(), end: End::Bye };
        let mut patience = match self.manners {
            Manners::Leaves => rng.random_range(1..150_000),
            Manners::Good | Manners::Stalls | Manners::Trickles => usize::MAX,
        };
        while let Some(bytes) = within_patience(self.read(&mut source, rng)).await {
            let has_left = patience < bytes.len() && !self.journal.is_ending();
            let part = if has_left { bytes.slice(..patience) } else { bytes };
            patience = patience.saturating_sub(part.len());
            visit.said.extend(frames.push(&part).iter().flat_map(Frame::said));
            if has_left {
                visit.end = End::Left;
                return Some(visit);
            }
            if self.journal.last_id().is_some_and(|last| visit.last_id() >= Some(last)) {
                drop(check_in.take());
            }
        }
        visit.end = self.why(&visit, blows);
        Some(visit)
    }

    /// Why the stream has ended.
    fn why(&self, visit: &Visit, blows: u64) -> End {
        let may_be_cut = self.manners != Manners::Good && self.manners != Manners::Leaves;
        match visit.said.last() {
            Some(Said::Bye(_)) => End::Bye,
            _ if self.journal.blows() > blows => End::Broken,
            _ if may_be_cut => End::Cut,
            _ => End::Unexplained,
        }
    }

    async fn open(&self, start: Start) -> Option<Source> {
        let mut path = format!("/api/telemetry/traces/live?{}", query(self.wanted));
        let last = match start {
            Start::Live => None,
            Start::Last(count) => {
                write!(path, "&replay={count}").unwrap();
                None
            }
            Start::After(id) => Some(id),
        };
        match self.transport {
            Transport::Socket => self.open_socket(&path, last).await,
            Transport::Chunks | Transport::Http2 => self.open_response(&path, last).await,
        }
    }

    async fn open_socket(&self, path: &str, last: Option<EventId>) -> Option<Source> {
        let socket = TcpSocket::new_v4().unwrap();
        // What the system holds for a client that does not read is little.
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let address = self.url.strip_prefix("http://").unwrap().parse().unwrap();
        let mut socket = socket.connect(address).await.ok()?;
        let last = last.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{last}\r\n");
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.ok()?);
        }
        head.starts_with(b"HTTP/1.1 200 ").then_some(Source::Socket(socket))
    }

    async fn open_response(&self, path: &str, last: Option<EventId>) -> Option<Source> {
        let mut client = reqwest::Client::builder().http2_initial_stream_window_size(1 << 16);
        if self.transport == Transport::Http2 {
            client = client.http2_prior_knowledge();
        }
        let client = client.build().unwrap();
        if self.transport == Transport::Chunks {
            let first = client.get(format!("{}/readyz", self.url)).send().await.ok()?;
            first.bytes().await.ok()?;
        }
        let mut request = client.get(format!("{}{path}", self.url));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await.ok()?;
        (response.status() == 200).then_some(Source::Response(response))
    }

    /// The next bytes, in its own manner; `None` at the end.
    async fn read(&self, source: &mut Source, rng: &mut StdRng) -> Option<Bytes> {
        let mut most = 16 * 1024;
        match self.manners {
            Manners::Good | Manners::Leaves => {}
            Manners::Stalls => {
                if rng.random_ratio(1, 30) {
                    let time = random_time(rng, 1000..15000);
                    pause(time, &self.journal).await;
                }
            }
            Manners::Trickles => {
                let time = random_time(rng, 1..10);
                pause(time, &self.journal).await;
                if !self.journal.is_ending() {
                    most = rng.random_range(1..100);
                }
            }
        }
        match source {
            Source::Socket(socket) => {
                let mut bytes = BytesMut::with_capacity(most);
                let length = socket.take(most as u64).read_buf(&mut bytes).await.ok()?;
                (length > 0).then(|| bytes.freeze())
            }
            Source::Response(response) => response.chunk().await.ok()?,
        }
    }
}

impl Record {
    /// Whether the last that it heard is that the hub shuts down.
    pub(super) fn has_been_told_goodbye(&self) -> bool {
        self.visits.last().is_some_and(|visit| visit.has_said("shutdown"))
    }
}

impl Visit {
    /// Whether it ended with this farewell.
    pub(super) fn has_said(&self, farewell: &str) -> bool {
        matches!(self.said.last(), Some(Said::Bye(reason)) if reason == farewell)
    }

    /// What a client says that comes back.
    pub(super) fn last_id(&self) -> Option<EventId> {
        let before = match self.start {
            Start::After(id) => Some(id),
            Start::Live | Start::Last(_) => None,
        };
        self.said.iter().rev().find_map(Said::id).or(before)
    }
}

impl Said {
    fn id(&self) -> Option<EventId> {
        match self {
            Self::Event(id, _) | Self::Slow(_, _, id) | Self::Expired(id) => Some(*id),
            Self::CaughtUp(_) | Self::Bye(_) => None,
        }
    }
}
