//! `send` as a whole, against a server that answers as it is told: what arrives, what is said, and how it ends.
//!
//! Real time and real sockets; the waits are for answers, never for a while.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use super::console::Said;
use super::input::InputKind;
use super::*;

const RETRY_FOR: Duration = Duration::from_secs(30);

/// Answers one request after the other as scripted, each on a connection of its own, then listens no more.
struct Server {
    address: SocketAddr,
    bodies: mpsc::Receiver<String>,
}

impl Server {
    fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (bodies_sender, bodies) = mpsc::channel();
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                bodies_sender.send(serve(stream, &answer)).unwrap();
            }
        });
        Self { address, bodies }
    }

    fn bodies(self) -> Vec<String> {
        self.bodies.iter().collect()
    }
}

/// Answers one request; its body.
fn serve(mut stream: TcpStream, answer: &str) -> String {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {
        let line = head.lines().last().unwrap().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    assert!(head.starts_with("POST /api/telemetry/events HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-ndjson\r\n"), "{head}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(answer.as_bytes()).unwrap();
    String::from_utf8(body).unwrap()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

fn ok(body: &str) -> String {
    answer("200 OK", "", body)
}

fn file(content: &str) -> Input {
    let content = content.to_owned();
    let kind = InputKind::File(content.len() as u64);
    Input::new(Cursor::new(content), kind)
}

/// Sends all of `input` to `address`.
async fn send_to(address: SocketAddr, retry_for: Duration, input: Input) -> (Outcome, String) {
    let (console, said) = Console::captured();
    let outcome = send_with(&console, address, retry_for, input, &Notify::new()).await;
    console.finish();
    (outcome, without_time(&said))
}

async fn send_with(
    console: &Console,
    address: SocketAddr,
    retry_for: Duration,
    input: Input,
    stop: &Notify,
) -> Outcome {
    let endpoint = format!("http://{address}").parse().unwrap();
    let publisher = Publisher::new(endpoint, retry_for, console).unwrap();
    send(input, Recogniser::new(Format::Auto, None), &publisher, stop).await.unwrap()
}

fn without_time(said: &Said) -> String {
    let text = said.text();
    text.rsplit_once(" in ").map_or(text.clone(), |(said, _)| said.to_owned())
}

#[tokio::test]
async fn busy_then_rejecting_then_too_large() {
    let server = Server::start(&[
        &answer("503 Service Unavailable", "Retry-After: 1\r\n", "{}"),
        &answer("413 Payload Too Large", "", r#"{"detail":"too much"}"#),
        &ok(r#"{"accepted":1,"rejected":1,"errors":[{"index":0,"error":"type: odd"}]}"#),
        &answer("413 Payload Too Large", "", r#"{"detail":"too much"}"#),
        &answer("413 Payload Too Large", "", r#"{"detail":"too much"}"#),
        &ok(r#"{"accepted":1}"#),
    ]);
    let begin = tokio::time::Instant::now();
    let input = file("{\"type\":5}\n\nb\nc\n{\"d\":4}\n");
    let (outcome, said) = send_to(server.address, RETRY_FOR, input).await;

    assert_eq!(outcome, Outcome::Incomplete);
    assert!(begin.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");
    let (a, b, c, d) =
        ("{\"type\":5}\n", "{\"message\":\"b\"}\n", "{\"message\":\"c\"}\n", "{\"d\":4}\n");
    let all = [a, b, c, d].concat();
    let second_half = [c, d].concat();
    assert_eq!(server.bodies(), [&*all, &*all, &[a, b].concat(), &*second_half, c, d],);
    assert_eq!(
        said,
        "line 1: rejected: type: odd\n\
         line 4: rejected: 413 Payload Too Large: too much\n\
         sent 2 events (2 rejected)"
    );
}

#[tokio::test]
async fn all_accepted_is_success() {
    let server = Server::start(&[&ok(r#"{"accepted":500}"#), &ok(r#"{"accepted":200}"#)]);
    let (outcome, said) = send_to(server.address, RETRY_FOR, file(&"line\n".repeat(700))).await;
    assert_eq!((outcome, &*said), (Outcome::AllAccepted, "sent 700 events"));
    let lines: Vec<usize> = server.bodies().iter().map(|body| body.lines().count()).collect();
    assert_eq!(lines, [500, 200]);
}

#[tokio::test]
async fn empty_input_is_success() {
    let server = Server::start(&[]);
    let (outcome, said) = send_to(server.address, RETRY_FOR, file("\n \n")).await;
    assert_eq!((outcome, &*said), (Outcome::AllAccepted, "sent 0 events"));
}

#[tokio::test]
async fn bad_batch_is_reported_line_by_line() {
    let problem = r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"none","rejected":2,
        "errors":[{"index":0,"error":"a"},{"index":1,"error":"b\nc"}]}"#;
    let server = Server::start(&[&answer("400 Bad Request", "", problem)]);
    let (outcome, said) = send_to(server.address, RETRY_FOR, file("{}\n\n{}\n")).await;
    assert_eq!(outcome, Outcome::Incomplete);
    assert_eq!(said, "line 1: rejected: a\nline 3: rejected: b c\nsent 0 events (2 rejected)");
}

#[tokio::test]
async fn giving_up_says_how_many_and_from_where() {
    let server = Server::start(&[&ok(r#"{"accepted":500}"#)]);
    let (outcome, said) = send_to(server.address, Duration::ZERO, file(&"x\n".repeat(3000))).await;
    assert_eq!(outcome, Outcome::Incomplete);
    assert!(said.starts_with("gave up after 0.0 s: "), "{said}");
    assert!(said.contains(": 2,500 lines were not sent, from line 501 on\n"), "{said}");
    assert!(said.ends_with("\nsent 500 events (2,500 not sent)"), "{said}");
}

#[tokio::test]
async fn refusal_ends_a_pipe_that_goes_on() {
    let problem = r#"{"title":"Unauthorized","detail":"no token"}"#;
    let server = Server::start(&[&answer("401 Unauthorized", "", problem)]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"a\nb\n").unwrap();
    let input = Input::new(reader, InputKind::Pipe);
    let (outcome, said) = send_to(server.address, RETRY_FOR, input).await;
    assert_eq!(outcome, Outcome::Incomplete);
    assert_eq!(
        said,
        "the hub refused: 401 Unauthorized: no token: 2 lines were not sent, from line 1 on, nor what followed\n\
         sent 0 events (2 not sent)"
    );
    drop(writer);
}

#[tokio::test]
async fn lost_answer_is_asked_for_again() {
    let server = Server::start(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        &ok(r#"{"accepted":1}"#),
    ]);
    let (outcome, said) = send_to(server.address, RETRY_FOR, file("a")).await;
    assert_eq!((outcome, &*said), (Outcome::AllAccepted, "sent 1 event"));
    assert_eq!(server.bodies().len(), 2);
}

#[tokio::test]
async fn pipe_that_pauses_is_sent_and_stopping_it_is_success() {
    let server = Server::start(&[&ok(r#"{"accepted":1}"#), &ok(r#"{"accepted":1}"#)]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (console, said) = Console::captured();
    let stop = Notify::new();
    let sending =
        send_with(&console, server.address, RETRY_FOR, Input::new(reader, InputKind::Pipe), &stop);
    let Server { bodies, .. } = server;
    let script = tokio::task::spawn_blocking(move || {
        let mut arrived = Vec::new();
        for line in ["a\n", "b\n"] {
            writer.write_all(line.as_bytes()).unwrap();
            arrived.push(bodies.recv().unwrap());
        }
        (arrived, writer)
    });
    let stopping = async {
        let (arrived, writer) = script.await.unwrap();
        stop.notify_one();
        (arrived, writer)
    };
    let (outcome, (arrived, writer)) = tokio::join!(sending, stopping);
    console.finish();
    assert_eq!(outcome, Outcome::AllAccepted);
    assert_eq!(arrived, ["{\"message\":\"a\"}\n", "{\"message\":\"b\"}\n"]);
    assert_eq!(without_time(&said), "sent 2 events");
    drop(writer);
}

#[tokio::test]
async fn stopping_a_file_is_not_success() {
    let server = Server::start(&[&ok(r#"{"accepted":500}"#)]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (console, said) = Console::captured();
    let stop = Notify::new();
    // A file's lines leave in full batches.
    writer.write_all("a\n".repeat(500).as_bytes()).unwrap();
    let input = Input::new(reader, InputKind::File(100));
    let sending = send_with(&console, server.address, RETRY_FOR, input, &stop);
    let bodies = tokio::task::spawn_blocking(move || server.bodies.recv().unwrap());
    let stopping = async {
        bodies.await.unwrap();
        stop.notify_one();
    };
    let (outcome, ()) = tokio::join!(sending, stopping);
    assert_eq!(outcome, Outcome::Incomplete);
    assert_eq!(said.text(), "interrupted: the rest of the file was not sent\n");
    drop(writer);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let error = |path: &str| Input::open(path.as_ref()).err().unwrap().kind();
    assert_eq!(error("/no/such/file"), std::io::ErrorKind::NotFound);
    assert_eq!(error("/"), std::io::ErrorKind::IsADirectory);
}
