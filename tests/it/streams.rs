//! How streams leave the server: by HTTP/1.1 on a socket of their own, as the body of a response where that cannot be, and what
//! becomes of clients that do not read.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{TestServer, eventually, types, within_patience};
use crate::hostile::raw_request;

const PATH: &str = "/api/telemetry/traces/live";

/// Reads up to and with `end`.
async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(within_patience(socket.read_u8()).await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    within_patience(socket.read_to_string(&mut text)).await.unwrap();
    text
}

/// The names and values of a head, but for the date.
fn headers(head: &str) -> Vec<(String, String)> {
    let pairs = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut headers: Vec<_> =
        pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let date = headers.iter().position(|(name, _)| name == "date").expect("a date");
    let (_, date) = headers.remove(date);
    jiff::fmt::rfc2822::parse(&date).expect("a date as RFC 9110 has it");
    headers.sort();
    headers
}

/// Those of every stream, and one more.
fn stream_headers(other: (&str, &str)) -> Vec<(String, String)> {
    let usual = [
        ("cache-control", "no-store, no-transform"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("content-type", "text/event-stream"),
        ("referrer-policy", "no-referrer"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ];
    let headers = usual.into_iter().chain([other]);
    let mut headers: Vec<_> =
        headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    headers.sort();
    headers
}

#[tokio::test]
async fn the_first_request_of_a_connection_gets_the_socket() {
    let server = TestServer::start().await;
    for request in [format!("GET {PATH} HTTP/1.1"), format!("GET {PATH} HTTP/1.0")] {
        let mut socket =
            raw_request(&server, &format!("{request}\r\nhost: localhost\r\n\r\n")).await;
        let head = read_until(&mut socket, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(headers(&head), stream_headers(("connection", "close")));
        // No chunks: frames follow as they are.
        let opening = read_until(&mut socket, "{\"interval\":15000}\n\n").await;
        assert!(opening.starts_with("retry: "), "{opening}");
        server.accept(&json!({"type": "t"})).await;
        let frame = read_until(&mut socket, "}]\n\n").await;
        assert!(frame.starts_with("event: trace\nid: "), "{frame}");
    }
}

#[tokio::test]
async fn a_later_request_of_a_connection_is_answered_in_chunks() {
    let server = TestServer::start().await;
    let first = "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    // Both at once, as a client that does not wait would.
    let both = format!("{first}GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut socket = raw_request(&server, &both).await;
    let ready = read_until(&mut socket, "{\"status\":\"ready\"}").await;
    assert!(ready.starts_with("HTTP/1.1 200 OK\r\n"), "{ready}");
    let head = read_until(&mut socket, "\r\n\r\n").await;
    assert_eq!(headers(&head), stream_headers(("transfer-encoding", "chunked")));
    let opening = read_until(&mut socket, "\r\nretry: ").await;
    assert!(opening.ends_with("\r\nretry: "), "{opening}");
}

#[tokio::test]
async fn a_head_alone_and_a_refusal_end_as_any_answer() {
    let server = TestServer::start().await;
    let close = "HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut socket = raw_request(&server, &format!("HEAD {PATH} {close}")).await;
    let head = read_to_end(&mut socket).await;
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let mut socket = raw_request(&server, &format!("GET {PATH}?level=loud {close}")).await;
    let refusal = read_to_end(&mut socket).await;
    assert!(refusal.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{refusal}");
    let hub = server.hub.clone();
    eventually(|| hub.stats().subscribers == 0).await;
}

#[tokio::test]
async fn what_a_client_goes_on_to_send_has_no_meaning_and_its_end_is_the_streams() {
    let server = TestServer::start().await;
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let noise = "x".repeat(100_000);
    let mut socket = raw_request(&server, &format!("{request}{noise}")).await;
    read_until(&mut socket, "{\"interval\":15000}\n\n").await;
    server.accept(&json!({"type": "t"})).await;
    read_until(&mut socket, "}]\n\n").await;
    assert_eq!(server.hub.stats().subscribers, 1);
    drop(socket);
    let hub = server.hub.clone();
    eventually(|| hub.stats().subscribers == 0).await;
}

/// The frames of a stream by kind, and what trace and gap frames hold.
fn frames(text: &str) -> Vec<(&str, Value)> {
    let frame = |frame: &'_ str| {
        let line = |name| frame.lines().find_map(move |line| line.strip_prefix(name));
        let data = line("data: ").map(|data| serde_json::from_str(data).unwrap());
        data.map(|data| (line("event: ").unwrap().to_owned(), data))
    };
    let whole = text.split_terminator("\n\n").filter_map(frame);
    let known = ["ping", "trace", "gap", "bye"];
    whole
        .map(|(kind, data)| {
            let kind = known.into_iter().find(|known| *known == kind);
            (kind.expect("a known kind"), data)
        })
        .collect()
}

/// Sends to a client that does not read, until it is cut; then it reads, and must have been told of all. Returns how many events
/// it missed.
async fn check_cut(settings: Value) -> u64 {
    let server = TestServer::with(settings).await;
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut stalled = raw_request(&server, &request).await;
    let mut healthy = server.watch("follow=none").await;
    let hub = server.hub.clone();
    eventually(|| hub.stats().subscribers == 2).await;
    let text = "a".repeat(100_000);
    let mut sent = 0;
    // Whatever the system holds for it is soon full.
    within_patience(async {
        while hub.stats().stalled == 0 {
            server.accept(&json!({"type": "t", "text": text})).await;
            assert_eq!(types(&healthy.events(1).await), ["t"]);
            sent += 1;
        }
    })
    .await;
    let said = read_to_end(&mut stalled).await;
    let said = frames(&said[said.find("retry: ").unwrap()..]);
    let (last, before) = said.split_last().unwrap();
    assert_eq!((last.0, &last.1["reason"]), ("bye", &json!("stalled")));
    let of_kind = |wanted| before.iter().filter(move |(kind, _)| *kind == wanted);
    let read: usize = of_kind("trace").map(|(_, events)| events.as_array().unwrap().len()).sum();
    let missed: u64 = of_kind("gap").map(|(_, gap)| gap["missed"].as_u64().unwrap()).sum();
    // The last event may have come when the client had been cut already.
    let told = read as u64 + missed;
    assert!((sent - 1..=sent).contains(&told), "{told} of {sent}");
    let stats = hub.stats();
    assert_eq!((stats.stalled, stats.subscribers, stats.missed), (1, 1, missed));
    missed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut_counted_and_told() {
    // By the socket that takes nothing, however much room its queue has. It has as long again to read what it is told.
    check_cut(json!({"write_timeout": "3s"})).await;
    // By its queue that is full, however patient the socket is.
    let cramped = json!({"subscriber_queue_bytes": "150KB", "stall_timeout": "100ms"});
    assert!(check_cut(cramped).await > 0);
}

/// What every client of HTTP/2 begins with: the preface, and a frame of settings that are all the usual ones (RFC 9113, 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// GET of the stream: a frame of headers, all of them literal (RFC 7541, 6.2.2), that opens and ends the client's side of stream 1.
fn http2_get() -> Vec<u8> {
    let mut block = Vec::new();
    let pairs =
        [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", PATH)];
    for (name, value) in pairs {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    let length = u8::try_from(block.len()).unwrap();
    let (headers, end_of_stream_and_headers) = (1, 5);
    let mut frame = vec![0, 0, length, headers, end_of_stream_and_headers, 0, 0, 0, 1];
    frame.extend(block);
    frame
}

#[tokio::test]
async fn a_client_of_http2_that_answers_nothing_is_left() {
    let server = TestServer::with(json!({"write_timeout": "200ms"})).await;
    let mut socket = raw_request(&server, "").await;
    socket.write_all(HTTP2).await.unwrap();
    socket.write_all(&http2_get()).await.unwrap();
    let hub = server.hub.clone();
    eventually(|| hub.stats().subscribers == 1).await;
    let mut frames = Vec::new();
    within_patience(socket.read_to_end(&mut frames)).await.ok();
    let opening = b"event: ping";
    assert!(frames.windows(opening.len()).any(|window| window == opening), "it was a stream");
    eventually(|| hub.stats().subscribers == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_again_is_left() {
    let server = TestServer::with(json!({"write_timeout": "100ms", "linger": "0s"})).await;
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let stalled = raw_request(&server, &request).await;
    let hub = server.hub.clone();
    eventually(|| hub.stats().subscribers == 1).await;
    let text = "a".repeat(100_000);
    within_patience(async {
        while hub.stats().stalled == 0 {
            server.accept(&json!({"type": "t", "text": text})).await;
        }
    })
    .await;
    // The server waits for no connection, though the client still holds its end.
    server.stop().await.unwrap();
    drop(stalled);
}
