//! A publisher: sends its events at the times of the schedule and notes what the server answers.
//!
//! It runs on a thread of its own with blocking calls: a runtime's timer is exact to a millisecond, which is as long as many an
//! answer takes, and this costs nothing while it waits. One POST is under way at a time, so that events of one publisher
//! have an order; who is behind sends at once, and the lateness counts. An event is never sent twice.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::time::Instant;

use super::http1::{AnswerError, Head};
use super::ledger::{Reasons, latency_histogram};
use super::plan::Plan;
use super::stamp::Stamp;
use crate::error_chain::error_chain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server answers in well under a second, or it hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A server may close a connection that has been idle; if it does so while a request is on its way, nobody knows what became
/// of that. The usual ones wait for two seconds and more.
const MAX_IDLE: Duration = Duration::from_secs(1);

/// As much of an answer's body as is looked at.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// What all publishers have in common.
#[derive(Debug, Clone)]
pub(super) struct Publishing {
    pub(super) plan: Arc<Plan>,
    /// The run's begin, from which stamps count.
    pub(super) begin: Instant,
    /// The time of the first event.
    pub(super) start: Instant,
    /// How many subscribers each filter has.
    pub(super) connected: Arc<[AtomicU32]>,
    /// How many events the server took for each filter.
    pub(super) accepted: Arc<[AtomicU32]>,
    pub(super) counters: Arc<PublishCounters>,
}

/// What publishers tell while they run.
#[derive(Debug, Default)]
pub(super) struct PublishCounters {
    pub(super) accepted: AtomicU64,
    /// Deliveries that must follow from what was accepted.
    pub(super) expected: AtomicU64,
}

/// What became of the events.
#[derive(Debug)]
pub(super) struct Published {
    /// Those that left, whatever came of them.
    pub(super) sent: u64,
    pub(super) accepted: u64,
    /// By an answer that took others of the same POST.
    pub(super) rejected: u64,
    /// By status.
    pub(super) refused: BTreeMap<u16, u64>,
    /// Nobody knows whether the server has them.
    pub(super) unknown: u64,
    /// The server could not be reached.
    pub(super) failed: u64,
    /// There was no time left.
    pub(super) unsent: u64,
    pub(super) reasons: Reasons,
    /// From the intended sending to the whole answer, in microseconds.
    pub(super) latency: Histogram<u64>,
    /// When the last answer came, from the first event's time on.
    pub(super) took: Duration,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            sent: 0,
            accepted: 0,
            rejected: 0,
            refused: BTreeMap::new(),
            unknown: 0,
            failed: 0,
            unsent: 0,
            reasons: Reasons::default(),
            latency: latency_histogram(),
            took: Duration::ZERO,
        }
    }
}

impl Published {
    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        for (status, count) in &other.refused {
            *self.refused.entry(*status).or_default() += count;
        }
        self.unknown += other.unknown;
        self.failed += other.failed;
        self.unsent += other.unsent;
        self.reasons.add_all(&other.reasons);
        self.latency.add(&other.latency).expect("all have the same bounds");
        self.took = self.took.max(other.took);
    }
}

/// One publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    number: u32,
    common: Publishing,
    connection: Option<Connection>,
    published: Published,
}

/// What one POST came to.
enum Outcome {
    Answered {
        status: u16,
        receipt: Option<Receipt>,
        detail: Option<String>,
    },
    /// Nothing has left.
    Failed(io::Error),
    /// Something has left, and no whole answer came.
    Unknown(ExchangeError),
}

/// What a hub took of a POST.
#[derive(Debug, Deserialize)]
struct Receipt {
    accepted: u32,
    #[serde(default)]
    errors: Vec<ItemError>,
}

#[derive(Debug, Deserialize)]
struct ItemError {
    index: u32,
}

/// A problem of RFC 9457.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
}

impl Publisher {
    pub(super) fn new(number: u32, common: Publishing) -> Self {
        Self { number, common, connection: None, published: Published::default() }
    }

    /// Sends all its events, or as many as there is time for.
    pub(super) fn run(mut self) -> Published {
        let (schedule, settle) = (self.common.plan.schedule, self.common.plan.settle);
        let deadline = self.common.start + schedule.duration + settle;
        let batches = schedule.batches_of(self.number);
        for batch in 0..batches {
            if Instant::now() > deadline {
                self.published.unsent = u64::from(batches - batch) * u64::from(schedule.batch);
                break;
            }
            let intended = self.common.start + schedule.intended(self.number, batch);
            let request = self.request(batch, intended);
            wait_until(intended);
            let outcome = self.post(&request);
            self.note(batch, intended, outcome);
        }
        self.published
    }

    fn request(&self, batch: u32, intended: Instant) -> String {
        let Publishing { plan, begin, .. } = &self.common;
        let since_begin = u64::try_from((intended - *begin).as_nanos()).unwrap_or(u64::MAX);
        let mut body = String::new();
        for sequence in self.sequences(batch) {
            if !body.is_empty() {
                body.push('\n');
            }
            let stamp = Stamp { publisher: self.number, sequence, intended: since_begin };
            let target = plan.schedule.target(self.number, sequence);
            plan.publishing.event(&mut body, target, &stamp.token(plan.run));
        }
        let target = plan.schedule.target(self.number, self.sequences(batch).start);
        plan.publishing.request(self.number, target, &body)
    }

    fn address(&self) -> SocketAddr {
        self.common.plan.publishing.site(self.number).target.address
    }

    fn sequences(&self, batch: u32) -> std::ops::Range<u32> {
        let size = self.common.plan.schedule.batch;
        batch * size..(batch + 1) * size
    }

    fn post(&mut self, request: &str) -> Outcome {
        let fresh = self.connection.take().filter(|connection| !connection.is_stale());
        let connection = fresh.map_or_else(|| Connection::open(self.address()), Ok);
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => return Outcome::Failed(error),
        };
        match connection.exchange(request) {
            Ok(answer) => {
                self.connection = (!answer.head.closes).then_some(connection);
                answer.into_outcome()
            }
            Err(error) => Outcome::Unknown(error),
        }
    }

    fn note(&mut self, batch: u32, intended: Instant, outcome: Outcome) {
        let size = u64::from(self.common.plan.schedule.batch);
        if !matches!(outcome, Outcome::Failed(_)) {
            self.published.sent += size;
        }
        match outcome {
            Outcome::Answered { status, receipt, detail } => {
                let micros = u64::try_from(intended.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.published.latency.saturating_record(micros);
                self.published.took = self.common.start.elapsed();
                if (200..300).contains(&status) {
                    self.note_accepted(batch, receipt);
                } else {
                    *self.published.refused.entry(status).or_default() += size;
                    let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
                    self.published.reasons.add(format!("answered {status}{detail}"), size);
                }
            }
            Outcome::Failed(error) => {
                self.published.failed += size;
                self.published.reasons.add(format!("cannot connect: {error}"), size);
            }
            Outcome::Unknown(error) => {
                self.published.unknown += size;
                self.published.reasons.add(error_chain(&error), size);
            }
        }
    }

    /// Notes which events of a POST are expected to arrive. Without a receipt, all.
    fn note_accepted(&mut self, batch: u32, receipt: Option<Receipt>) {
        let (schedule, common) = (self.common.plan.schedule, &self.common);
        let size = schedule.batch;
        let taken = match receipt.filter(|receipt| receipt.accepted < size) {
            None => Some((0..size).collect()),
            Some(receipt) => receipt.taken(size, schedule.filters),
        };
        let Some(taken) = taken else {
            self.published.unknown += u64::from(size);
            let reason = "the answer does not tell which events were rejected".to_owned();
            return self.published.reasons.add(reason, size.into());
        };
        let first = self.sequences(batch).start;
        let mut expected = 0;
        for index in &taken {
            let target = schedule.target(self.number, first + index) as usize;
            common.accepted[target].fetch_add(1, Ordering::Relaxed);
            expected += u64::from(common.connected[target].load(Ordering::Relaxed));
        }
        let accepted = taken.len() as u64;
        common.counters.expected.fetch_add(expected, Ordering::Relaxed);
        common.counters.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.published.accepted += accepted;
        self.published.rejected += u64::from(size) - accepted;
    }
}

impl Receipt {
    /// The places of the events that were taken, in a POST of so many. Where everybody gets everything, any will do; else they
    /// must be told.
    fn taken(&self, size: u32, filters: u32) -> Option<Vec<u32>> {
        if filters == 1 {
            return Some((0..self.accepted).collect());
        }
        let is_rejected = |index: u32| self.errors.iter().any(|error| error.index == index);
        let taken: Vec<_> = (0..size).filter(|index| !is_rejected(*index)).collect();
        (taken.len() == self.accepted as usize).then_some(taken)
    }
}

/// Waits on this thread, which has nothing else to do.
fn wait_until(time: Instant) {
    loop {
        let left = time.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

/// A connection that is kept from POST to POST.
#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    /// How long an exchange may take, however little of it moves meanwhile.
    patience: Duration,
    used: Instant,
    answer: Vec<u8>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    #[error("the connection broke before the answer")]
    Broken(#[source] io::Error),
    #[error("the connection was closed before the answer")]
    Closed,
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// A whole answer.
struct Answer {
    head: Head,
    body: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        Self::new(socket, ANSWER_TIMEOUT)
    }

    fn new(socket: TcpStream, patience: Duration) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(patience))?;
        Ok(Self { socket, patience, used: Instant::now(), answer: vec![0; 16 * 1024] })
    }

    fn is_stale(&self) -> bool {
        self.used.elapsed() > MAX_IDLE
    }

    /// Sends a request and reads its answer.
    fn exchange(&mut self, request: &str) -> Result<Answer, ExchangeError> {
        self.used = Instant::now();
        self.write_all(request.as_bytes())?;
        let mut begun = Vec::new();
        let (mut head, begin) = loop {
            begun.extend_from_slice(self.read()?);
            if let Some(found) = Head::read(&begun)? {
                break found;
            }
        };
        let mut body = Vec::new();
        let mut keep = |data: &[u8]| {
            let room = MAX_ANSWER_BYTES.saturating_sub(body.len());
            body.extend_from_slice(&data[..data.len().min(room)]);
        };
        head.body.take(&begun[begin..], &mut keep)?;
        while !head.body.is_ended() {
            match self.read() {
                Err(ExchangeError::Closed) if head.body.ends_with_connection() => break,
                bytes => head.body.take(bytes?, &mut keep)?,
            }
        }
        self.used = Instant::now();
        Ok(Answer { head, body })
    }

    /// Reads once. A server that keeps sending a little is not waited for any longer than one that is silent.
    fn read(&mut self) -> Result<&[u8], ExchangeError> {
        self.check_time()?;
        match self.socket.read(&mut self.answer)? {
            0 => Err(ExchangeError::Closed),
            count => Ok(&self.answer[..count]),
        }
    }

    fn write_all(&mut self, mut rest: &[u8]) -> Result<(), ExchangeError> {
        while !rest.is_empty() {
            self.check_time()?;
            match self.socket.write(rest)? {
                0 => return Err(ExchangeError::Closed),
                count => rest = &rest[count..],
            }
        }
        Ok(())
    }

    fn check_time(&self) -> Result<(), ExchangeError> {
        if self.used.elapsed() > self.patience { Err(ExchangeError::Timeout) } else { Ok(()) }
    }
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // What a socket's timeout is called depends on the system.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Broken(error),
        }
    }
}

impl Answer {
    fn into_outcome(self) -> Outcome {
        let Self { head, body } = self;
        let receipt = head.is_json.then(|| serde_json::from_slice(&body).ok()).flatten();
        let problem = head.is_json.then(|| serde_json::from_slice::<Problem>(&body).ok()).flatten();
        Outcome::Answered {
            status: head.status,
            receipt,
            detail: problem.map(|problem| problem.detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the thread is the server's own, and is to be slow"
    )]
    fn a_server_that_takes_a_request_bit_by_bit_is_given_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let (mut buffer, mut taken) = (vec![0; 64 * 1024], 0);
            while let Ok(count @ 1..) = socket.read(&mut buffer) {
                taken += count;
                std::thread::sleep(Duration::from_millis(20));
            }
            taken
        });
        let socket = TcpStream::connect(address).unwrap();
        let mut connection = Connection::new(socket, Duration::from_millis(200)).unwrap();
        let request = "x".repeat(64 << 20);
        assert!(matches!(connection.exchange(&request), Err(ExchangeError::Timeout)));
        drop(connection);
        assert!(server.join().unwrap() < request.len(), "it was sent whole");
    }

    #[test]
    fn rejected_events_are_not_expected() {
        let receipt = |json| serde_json::from_str::<Receipt>(json).unwrap();
        let told = receipt(
            r#"{"accepted":3,"rejected":2,"errors":[{"index":1,"error":"x"},{"index":4}]}"#,
        );
        assert_eq!(told.taken(5, 7), Some(vec![0, 2, 3]));
        assert_eq!(told.taken(5, 1).unwrap().len(), 3);
        let untold = receipt(r#"{"accepted":3,"rejected":2}"#);
        assert_eq!(untold.taken(5, 7), None);
        assert_eq!(untold.taken(5, 1).unwrap().len(), 3);
    }
}
