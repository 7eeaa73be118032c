//! The floor: the least that any server of Server-Sent Events must do. One thread writes the same bytes to every socket in
//! a loop; the body of each POST is one event.
//!
//! It runs as a program of its own (`peers floor --listen …`), so that its processor time and its memory can be told apart. It
//! filters nothing, remembers nothing and lets one client that does not read hold up all others, until it cuts it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-store\r\nConnection: close\r\n\r\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// Events that publishers may be ahead of the writer; then they wait for their answers.
const QUEUED_EVENTS: usize = 4096;

/// The largest head or body of a request. Larger ones end the connection.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// How long one client may hold up the others before it is cut.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Subscribers that the writer has not taken over yet.
type Newcomers = Arc<Mutex<Vec<TcpStream>>>;

/// Serves until the process is ended.
pub(crate) fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let newcomers = Newcomers::default();
    let (events, queue) = sync_channel(QUEUED_EVENTS);
    let subscribers = Arc::clone(&newcomers);
    thread::spawn(move || write_to_all(&queue, &subscribers));
    loop {
        let (stream, _) = listener.accept().context("cannot accept")?;
        let (newcomers, events) = (Arc::clone(&newcomers), events.clone());
        // One that takes its time with its first request must not hold up the next. That a client goes away is its own affair.
        thread::spawn(move || welcome(stream, &newcomers, &events).ok());
    }
}

/// Tells a subscriber from a publisher by the first request. The one goes to the writer, the other is served here.
fn welcome(
    mut stream: TcpStream,
    newcomers: &Newcomers,
    events: &SyncSender<Vec<u8>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    let head_length = read_head(&mut stream, &mut received)?;
    if received.starts_with(b"GET ") {
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        stream.write_all(STREAM_HEAD)?;
        newcomers.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        Ok(())
    } else {
        take_events(stream, received, head_length, events)
    }
}

/// Writes what is queued, all of it at once, to one subscriber after the other.
fn write_to_all(queue: &Receiver<Vec<u8>>, newcomers: &Newcomers) {
    let mut subscribers: Vec<TcpStream> = Vec::new();
    while let Ok(mut bytes) = queue.recv() {
        while let Ok(more) = queue.try_recv() {
            bytes.extend(more);
        }
        subscribers.append(&mut newcomers.lock().unwrap_or_else(PoisonError::into_inner));
        subscribers.retain_mut(|subscriber| subscriber.write_all(&bytes).is_ok());
    }
}

/// Makes an event of each request of a publisher's connection, until that ends.
fn take_events(
    mut stream: TcpStream,
    mut received: Vec<u8>,
    mut head_length: usize,
    events: &SyncSender<Vec<u8>>,
) -> io::Result<()> {
    loop {
        let body = head_length..head_length + content_length(&received[..head_length])?;
        while received.len() < body.end {
            read_more(&mut stream, &mut received)?;
        }
        let event = [b"data: ", &received[body.clone()], b"\n\n"].concat();
        if events.send(event).is_err() {
            return Ok(());
        }
        stream.write_all(ACCEPTED)?;
        received.drain(..body.end);
        head_length = read_head(&mut stream, &mut received)?;
    }
}

/// Reads until a head is complete; its length, with the empty line.
fn read_head(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<usize> {
    const END: &[u8] = b"\r\n\r\n";
    loop {
        let end = received.windows(END.len()).position(|window| window == END);
        if let Some(end) = end {
            return Ok(end + END.len());
        }
        read_more(stream, received)?;
    }
}

fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 8192];
    let length = stream.read(&mut buffer)?;
    if length == 0 || received.len() + length > MAX_REQUEST_BYTES {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    received.extend_from_slice(&buffer[..length]);
    Ok(())
}

/// The length of the body that a head announces: none, if it says nothing.
fn content_length(head: &[u8]) -> io::Result<usize> {
    let head = str::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData)?;
    let value = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    let length = value.map_or(Ok(0), str::parse).map_err(|_| io::ErrorKind::InvalidData)?;
    if length > MAX_REQUEST_BYTES { Err(io::ErrorKind::InvalidData.into()) } else { Ok(length) }
}
