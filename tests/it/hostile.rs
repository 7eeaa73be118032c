//! Clients that break off at every stage, and bytes that are no HTTP.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{TestServer, eventually, types, within_patience};

/// Sends bytes over a socket of its own, which is not read from.
pub(crate) async fn raw_request(server: &TestServer, bytes: &str) -> TcpStream {
    let address = server.base.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    socket
}

const STREAM: &str = "GET /api/telemetry/traces/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
const POST: &str = "POST /api/telemetry/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 30\r\n\r\n{\"type\":\"broken off\",\"data\":{}}";

#[tokio::test]
async fn hanging_up_at_every_byte_of_a_request_leaves_nothing_behind() {
    let server = TestServer::start().await;
    let mut stream = server.watch("type=end").await;
    for request in [STREAM, POST] {
        for length in 0..request.len() {
            drop(raw_request(&server, &request[..length]).await);
        }
    }
    let hub = server.hub.clone();
    eventually(|| hub.stats().subscribers == 1).await;
    assert_eq!(hub.stats().received, 0, "nothing broken off was taken");
    server.accept(&json!({"type": "end"})).await;
    assert_eq!(types(&stream.events(1).await), ["end"]);
    drop(stream);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn hanging_up_at_every_stage_of_a_stream_ends_its_actor() {
    let server = TestServer::start().await;
    let hub = server.hub.clone();
    for read in [0, 1, 20, 100, 200, 300] {
        let mut socket = raw_request(&server, STREAM).await;
        eventually(|| hub.stats().subscribers == 1).await;
        server.accept(&json!({"type": "t"})).await;
        let mut buffer = vec![0; read];
        within_patience(socket.read_exact(&mut buffer)).await.unwrap();
        drop(socket);
        eventually(|| hub.stats().subscribers == 0).await;
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn one_deep_and_wide_event_does_not_hold_up_the_others() {
    let server = TestServer::start().await;
    let mut stream = server.watch("type=end&aaa=1&follow=none").await;
    let mut followed = server.watch("a.b.c=1&filter=zzz").await;
    let long = "a".repeat(1 << 20);
    let members = vec!["\"b\":0"; 100_000].join(",");
    for root in [long.as_str(), "a"] {
        let body = format!("{{\"type\":\"t\",\"data\":{{\"{root}\":{{{members}}}}}}}");
        assert_eq!(server.post(body).await.status(), 200);
    }
    server
        .accept(&json!({"type": "end", "data": {"aaa": 1, "a": {"b": {"c": 1}}, "z": "zzz"}}))
        .await;
    assert_eq!(types(&stream.events(1).await), ["end"]);
    assert_eq!(types(&followed.events(1).await), ["end"]);
}

#[tokio::test]
async fn a_client_that_begins_no_request_is_cut() {
    let server = TestServer::with(serde_json::json!({"head_timeout": "200ms"})).await;
    let mut stream = server.watch("").await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n\r\nS", "GET / HTTP/1.1\r\nhost: localhost\r\n"] {
        let mut socket = raw_request(&server, beginning).await;
        let mut answer = Vec::new();
        within_patience(socket.read_to_end(&mut answer)).await.ok();
    }
    // Those that have begun go on, however long they are silent.
    server.accept(&json!({"type": "a"})).await;
    assert_eq!(types(&stream.events(1).await), ["a"]);
}

/// What is answered to a client that says at once, with its request or after it, that it has no more to send.
async fn half_closed(server: &TestServer, request: &str) -> String {
    let mut socket = raw_request(server, request).await;
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    within_patience(socket.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// On several threads, as in the program: the end of its input may be seen before or after its body has been read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_client_still_gets_its_answer() {
    let server = TestServer::start().await;
    let body = "{\"type\":\"a\"}";
    let length = body.len();
    let post = |path: &str, headers: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n")
    };
    let events = "/api/telemetry/events";
    let requests = [
        ("200", post(events, &format!("content-length: {length}")) + body),
        (
            "200",
            post(events, "transfer-encoding: chunked")
                + &format!("{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ),
        (
            "415",
            post(events, &format!("content-type: text/plain\r\ncontent-length: {length}")) + body,
        ),
        ("404", post("/nope", &format!("content-length: {length}")) + body),
        ("100", post(events, &format!("expect: 100-continue\r\ncontent-length: {length}")) + body),
        ("200", "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
    ];
    for _ in 0..100 {
        for (status, request) in &requests {
            let answer = half_closed(&server, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer:?}");
            assert!(*status != "100" || answer.contains("HTTP/1.1 200 OK"), "{answer}");
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn who_half_closes_in_the_middle_or_watches_has_gone() {
    let server = TestServer::start().await;
    let broken_off = &POST[..POST.len() - 1];
    let answer = half_closed(&server, broken_off).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "the rest is not waited for: {answer}");
    let then_watch = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n{STREAM}");
    for watch in [STREAM, &then_watch] {
        half_closed(&server, watch).await;
        let hub = server.hub.clone();
        eventually(|| hub.stats().subscribers == 0).await;
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = TestServer::start().await;
    for garbage in
        ["\r\n\r\nhello\r\n\r\n", "GET\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}", "GET / HTTP/9.9\r\n\r\n"]
    {
        let mut socket = raw_request(&server, garbage).await;
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        within_patience(socket.read_to_end(&mut answer)).await.ok();
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{garbage:?}");
    }
    assert_eq!(server.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_refused_body_is_read_on_so_that_its_client_gets_the_answer() {
    let server = TestServer::with(json!({"max_body_bytes": "10 kB"})).await;
    let body = "x".repeat(100_000);
    for (path, content_type, status) in [
        ("/nope", "application/json", 404),
        ("/v1/logs", "text/plain", 415),
        ("/healthz", "text/plain", 405),
        ("/api/telemetry/events", "text/plain", 415),
        ("/api/telemetry/events", "application/json", 413),
    ] {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        let mut socket = raw_request(&server, &head).await;
        // In two parts: the answer may be ready before the second is sent.
        for part in [&body[..1000], &body[1000..]] {
            socket.write_all(part.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        // The connection is still good for the next request.
        let next = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        socket.write_all(next.as_bytes()).await.unwrap();
        let mut answers = String::new();
        within_patience(socket.read_to_string(&mut answers)).await.unwrap();
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{answers}");
        assert!(answers.contains("HTTP/1.1 200 OK"), "{path} {status}: {answers}");
    }
}
