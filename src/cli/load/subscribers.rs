//! The subscribers: threads that open streams and read them, as cheaply as may be, for the server is on the same cores.
//!
//! Each thread has a runtime, a ledger and a buffer of its own, and shares nothing with the others but a few counters. A subscriber is
//! a task that owns a socket or a stream and the place of its account; what it reads goes through the thread's buffer into
//! the ledger at once. No subscriber has a timer, a string or a buffer of its own.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::frames::FrameReader;
use super::http1::{AnswerError, Body};
use super::ledger::{Ledger, ReaderClass};
use super::plan::Plan;
use super::stamp::StampFinder;

mod connection;
mod stream;

/// How much is read at once. All subscribers of a thread share it.
const BUFFER_BYTES: usize = 64 * 1024;

/// How many connections are being opened at a time, over all threads. Many servers let 128 wait to be accepted; what comes beyond
/// that is dropped, and tried again by the system after a second.
const CONNECTIONS_IN_FLIGHT: u32 = 100;

/// The same for HTTP/2, where each goes on to open its streams one after the other.
const HTTP2_CONNECTIONS_IN_FLIGHT: u32 = 32;

/// How long a stream may take to open. What takes longer would also be called broken by a browser.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long connecting may take beyond the ramp-up. It is enough for a hundred thousand; a server that leaves each to its timeout
/// would take hours.
const MAX_CONNECTING: Duration = Duration::from_secs(120);

/// How often slow readers may read, so that they read little each time without a timer each.
const SLOW_TICK: Duration = Duration::from_millis(100);

/// Where the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Connecting,
    Publishing,
    /// All is published; stalled readers read what is left.
    Settling,
    Done,
}

/// What the threads tell while they run. Each is written by one thread, and read by whoever watches.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connected: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) ended: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) missed: AtomicU64,
}

/// What all threads have in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) plan: Arc<Plan>,
    pub(super) begin: Instant,
    /// How many subscribers of each filter have a stream.
    pub(super) connected: Arc<[AtomicU32]>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Common {
    /// Nanoseconds since the run's begin.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Runs one thread's share of the subscribers until the run is done, and returns its ledger.
pub(super) fn run(thread: u32, common: Common, counters: &Arc<Counters>) -> io::Result<Ledger> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let mut phase = common.phase.clone();
    let worker = Rc::new(Worker::new(thread, common, Arc::clone(counters)));
    local.block_on(&runtime, async {
        let mut helpers = JoinSet::new();
        for _ in 0..worker.connectors() {
            helpers.spawn_local(connection::open_all(Rc::clone(&worker)));
        }
        helpers.spawn_local(Rc::clone(&worker).tick());
        tokio::select! {
            // An error means that whoever directs the run is gone, which ends it as well.
            _ = phase.wait_for(|phase| *phase == Phase::Done) => {}
            panicked = first_panic(&mut helpers) => std::panic::resume_unwind(panicked.into_panic()),
        }
    });
    // Drops all tasks, and with them the connections.
    drop(local);
    let worker = Rc::into_inner(worker).expect("only the tasks had it besides");
    Ok(worker.ledger.into_inner())
}

/// A subscriber whose connecting has panicked would be waited for in vain.
async fn first_panic(helpers: &mut JoinSet<()>) -> JoinError {
    while let Some(outcome) = helpers.join_next().await {
        if let Err(error) = outcome {
            return error;
        }
    }
    std::future::pending().await
}

/// One thread.
struct Worker {
    thread: u32,
    common: Common,
    counters: Arc<Counters>,
    finder: StampFinder,
    buffer: RefCell<Box<[u8]>>,
    ledger: RefCell<Ledger>,
    /// How many connections of this thread have had their turn.
    begun: Cell<u32>,
    slow_tick: watch::Sender<()>,
    senders: RefCell<Vec<connection::Sender>>,
}

/// Where bytes of one stream go.
#[derive(Debug)]
struct Reader {
    account: u32,
    body: Body,
    frames: FrameReader,
}

/// How reading went.
enum Step {
    Read(usize),
    Ended,
}

impl Worker {
    fn new(thread: u32, common: Common, counters: Arc<Counters>) -> Self {
        let (plan, filters) = (&common.plan, common.plan.schedule.filters);
        let own = subscribers_of(thread, plan);
        let accounts = own.map(|number| (number % filters, plan.subscribing.readers.class(number)));
        let ledger = Ledger::new(plan.schedule, accounts);
        Self {
            thread,
            finder: StampFinder::new(plan.run),
            buffer: RefCell::new(vec![0; BUFFER_BYTES].into()),
            ledger: RefCell::new(ledger),
            begun: Cell::new(0),
            slow_tick: watch::Sender::new(()),
            senders: RefCell::default(),
            common,
            counters,
        }
    }

    fn plan(&self) -> &Plan {
        &self.common.plan
    }

    /// How many tasks open connections.
    fn connectors(&self) -> u32 {
        let most = if self.plan().subscribing.http2 {
            HTTP2_CONNECTIONS_IN_FLIGHT
        } else {
            CONNECTIONS_IN_FLIGHT
        };
        (most / self.plan().threads).max(1)
    }

    /// Lets slow readers read on.
    async fn tick(self: Rc<Self>) {
        let mut ticks = interval(SLOW_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.slow_tick.send_replace(());
        }
    }

    /// The next connection's number among the thread's own, once it is due; `None` if all have had their turn.
    async fn next_connection(&self) -> Option<u32> {
        let own = self.begun.get();
        let connection = self.thread + own * self.plan().threads;
        let connections = self.plan().subscribing.connections();
        if connection >= connections {
            return None;
        }
        self.begun.set(own + 1);
        let due = self.plan().ramp_up * connection / connections;
        sleep_until(self.common.begin + due).await;
        Some(own)
    }

    /// Whether no more streams are opened.
    fn is_too_late(&self) -> bool {
        self.common.begin.elapsed() > self.plan().ramp_up + MAX_CONNECTING
    }

    fn opened(&self, account: u32) {
        let filter = self.ledger.borrow_mut().opened(account);
        self.common.connected[filter as usize].fetch_add(1, Ordering::Relaxed);
        self.counters.connected.fetch_add(1, Ordering::Relaxed);
    }

    fn failed(&self, reason: String, count: u32) {
        self.ledger.borrow_mut().failures.add(reason, count.into());
        self.counters.failed.fetch_add(count.into(), Ordering::Relaxed);
    }

    fn ended(&self, account: u32) {
        self.ledger.borrow_mut().ended(account);
        self.counters.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps a connection of HTTP/2: hyper ends one that nobody can ask anything more.
    fn keep(&self, sender: connection::Sender) {
        self.senders.borrow_mut().push(sender);
    }

    /// Enters what came on a stream.
    fn take(&self, reader: &mut Reader, bytes: &[u8]) -> Result<(), AnswerError> {
        let now = self.common.now();
        let mut ledger = self.ledger.borrow_mut();
        let Reader { account, body, frames } = reader;
        let outcome = body.take(bytes, |data| {
            frames.take(data, &self.finder, |seen| ledger.enter(*account, &seen, now));
        });
        self.counters.delivered.store(ledger.delivered, Ordering::Relaxed);
        self.counters.missed.store(ledger.missed, Ordering::Relaxed);
        outcome
    }

    /// Reads once from a socket, at most so many bytes.
    fn poll_read(
        &self,
        socket: &mut TcpStream,
        reader: &mut Reader,
        most: usize,
        context: &mut Context<'_>,
    ) -> Poll<Step> {
        let mut buffer = self.buffer.borrow_mut();
        let most = most.min(buffer.len());
        let mut buffer = ReadBuf::new(&mut buffer[..most]);
        // Unlike `try_read`, this knows that a short read has emptied the socket, and does without a second one.
        let outcome = ready!(Pin::new(socket).poll_read(context, &mut buffer));
        let bytes = buffer.filled();
        if outcome.is_err() || bytes.is_empty() {
            return Poll::Ready(Step::Ended);
        }
        let is_well_formed = self.take(reader, bytes).is_ok();
        let goes_on = is_well_formed && !reader.body.is_ended();
        Poll::Ready(if goes_on { Step::Read(bytes.len()) } else { Step::Ended })
    }

    /// Waits until stalled readers may read.
    async fn all_published(&self) {
        let mut phase = self.common.phase.clone();
        // An error means that the run is over, and then this task is, too.
        phase.wait_for(|phase| *phase >= Phase::Settling).await.ok();
    }

    /// Opens a socket for the connection of this number.
    async fn connect(&self, connection: u32, class: ReaderClass) -> io::Result<TcpStream> {
        let subscribing = &self.plan().subscribing;
        let address = subscribing.site(connection).target.address;
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if class != ReaderClass::Healthy {
            socket.set_recv_buffer_size(subscribing.readers.receive_buffer)?;
        }
        if subscribing.sources > 1 {
            let source = 1 + connection % u32::from(subscribing.sources);
            let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 0)) + source);
            socket.bind(SocketAddr::new(source.into(), 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The numbers of a thread's subscribers, in the order of their accounts. Threads take turns connection by connection.
fn subscribers_of(thread: u32, plan: &Plan) -> impl Iterator<Item = u32> {
    let (streams, subscribers) =
        (plan.subscribing.streams_per_connection, plan.subscribing.subscribers);
    let connections = (thread..plan.subscribing.connections()).step_by(plan.threads as usize);
    connections.flat_map(move |connection| {
        connection * streams..((connection + 1) * streams).min(subscribers)
    })
}
