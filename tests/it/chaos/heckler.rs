//! A client from which nothing good comes: broken bytes, broken bodies, broken connections. None of it may become an event.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::journal::Journal;
use super::journal::pause;
use super::script::{random_time, rng};
use crate::harness::within_patience;

const EVENT: &str = r#"{"type":"heckled","data":{}}"#;

#[derive(Debug, Clone, Copy)]
enum Nuisance {
    Garbage,
    NoJson,
    HugeBody,
    /// Comes a byte at a time, and never whole.
    SlowBody,
    /// A good request, after which its client says no more.
    HalfClosed,
    /// Announces more than comes.
    TooShort,
    /// What follows a body is no request.
    TooLong,
    BadGzip,
    BadOtlp,
    BadGrpc,
    /// HTTP/2 that breaks off in a frame.
    BadHttp2,
    HangsUpOnStream,
}

const ALL: [Nuisance; 12] = [
    Nuisance::Garbage,
    Nuisance::NoJson,
    Nuisance::HugeBody,
    Nuisance::SlowBody,
    Nuisance::HalfClosed,
    Nuisance::TooShort,
    Nuisance::TooLong,
    Nuisance::BadGzip,
    Nuisance::BadOtlp,
    Nuisance::BadGrpc,
    Nuisance::BadHttp2,
    Nuisance::HangsUpOnStream,
];

pub(super) struct Heckler {
    pub(super) url: String,
    pub(super) name: String,
    pub(super) seed: u64,
    pub(super) journal: Arc<Journal>,
}

impl Heckler {
    /// Returns how often it did what, and what it was answered.
    pub(super) async fn heckle(self) -> BTreeMap<String, u32> {
        let mut rng = rng(self.seed, &self.name);
        let mut answers = BTreeMap::new();
        while !self.journal.is_ending() {
            let nuisance = ALL[rng.random_range(0..ALL.len())];
            let answer = within_patience(self.commit(nuisance, &mut rng)).await;
            *answers.entry(format!("{nuisance:?}: {answer}")).or_default() += 1;
            let time = random_time(&mut rng, 5..200);
            pause(time, &self.journal).await;
        }
        answers
    }

    /// Returns the status that it is answered, or why there is none.
    async fn commit(&self, nuisance: Nuisance, rng: &mut StdRng) -> String {
        let noise: Vec<u8> = (0..rng.random_range(1..3000)).map(|_| rng.random()).collect();
        // No message of OTLP begins with these bytes.
        let garbage = [&[0xff; 4][..], &noise].concat();
        match nuisance {
            Nuisance::Garbage => self.send(&[b"\0", &noise[..]].concat()).await,
            Nuisance::NoJson => self.post("events", "", &garbage).await,
            Nuisance::HugeBody => self.post("events", "", &vec![b'x'; 3 << 20]).await,
            Nuisance::SlowBody => self.post_slowly(rng).await,
            Nuisance::HalfClosed => {
                self.send(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                    .await
            }
            Nuisance::TooShort => {
                let length = EVENT.len() + 10;
                let head = head("/api/telemetry/events", "", length);
                self.send(&[head.as_bytes(), EVENT.as_bytes()].concat()).await
            }
            Nuisance::TooLong => {
                let head = head("/api/telemetry/events", "", 2);
                self.send(&[head.as_bytes(), b"{]", &noise].concat()).await
            }
            Nuisance::BadGzip => {
                let magic = [0x1f, 0x8b, 8, 0];
                let body = [&magic, &noise[..]].concat();
                self.post("events", "content-encoding: gzip\r\n", &body).await
            }
            Nuisance::BadOtlp => {
                let head =
                    head("/v1/logs", "content-type: application/x-protobuf\r\n", garbage.len());
                self.send(&[head.as_bytes(), &garbage].concat()).await
            }
            Nuisance::BadGrpc => {
                let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
                let head = head(path, "content-type: application/grpc\r\n", garbage.len());
                self.send(&[head.as_bytes(), &garbage].concat()).await
            }
            Nuisance::BadHttp2 => {
                let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
                self.send(&[preface, &noise[..]].concat()).await
            }
            Nuisance::HangsUpOnStream => {
                let request =
                    "GET /api/telemetry/traces/live?replay=100 HTTP/1.1\r\nhost: localhost\r\n\r\n";
                let part = rng.random_range(1..=request.len());
                let Ok(mut socket) = self.connect().await else { return "-".to_owned() };
                socket.write_all(&request.as_bytes()[..part]).await.ok();
                "-".to_owned()
            }
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.url.strip_prefix("http://").unwrap()).await
    }

    async fn post(&self, what: &str, header: &str, body: &[u8]) -> String {
        let head = head(&format!("/api/telemetry/{what}"), header, body.len());
        self.send(&[head.as_bytes(), body].concat()).await
    }

    /// Sends, says that nothing more will come, and reads what is answered.
    async fn send(&self, bytes: &[u8]) -> String {
        let Ok(mut socket) = self.connect().await else { return "no connection".to_owned() };
        // A server that has heard enough may have hung up.
        socket.write_all(bytes).await.ok();
        socket.shutdown().await.ok();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.ok();
        status(&answer)
    }

    async fn post_slowly(&self, rng: &mut StdRng) -> String {
        let Ok(mut socket) = self.connect().await else { return "no connection".to_owned() };
        let head = head("/api/telemetry/events", "", EVENT.len());
        socket.write_all(head.as_bytes()).await.ok();
        for byte in EVENT.bytes().take(rng.random_range(0..EVENT.len())) {
            socket.write_all(&[byte]).await.ok();
            let time = random_time(rng, 1..100);
            pause(time, &self.journal).await;
        }
        "-".to_owned()
    }
}

fn head(path: &str, header: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{header}content-length: {length}\r\n\r\n")
}

fn status(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    match answer.strip_prefix("HTTP/1.1 ") {
        Some(rest) => rest.chars().take(3).collect(),
        None if answer.is_empty() => "hung up".to_owned(),
        None => "no HTTP/1.1".to_owned(),
    }
}
