//! The program itself, where descriptors or memory run short, and when it is told to stop amid everything.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_compression::tokio::write::GzipEncoder;
use bytes::Bytes;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::json;
use telemetry_hub_actors::{EventId, Follow};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::events::{Events, Numbered, Wish};
use super::journal::{Journal, Phase};
use super::publisher::Publisher;
use super::script::Script;
use super::subscriber::{Manners, Record, Said, Subscriber, Transport};
use super::verdict::{Truth, Verdict};
use crate::harness::{LiveStream, PATIENCE, eventually, types, within_patience};
use crate::program::{limited_program, signal, started};

const EVENTS: &str = "/api/telemetry/events";
const REFUSED: u16 = 503;
const STREAM: &str = "/api/telemetry/traces/live";

async fn connect(url: &str) -> TcpStream {
    let address = url.strip_prefix("http://").unwrap();
    within_patience(TcpStream::connect(address)).await.unwrap()
}

async fn get(client: &Client, url: &str, path: &str) -> Response {
    within_patience(client.get(format!("{url}{path}")).send()).await.unwrap()
}

/// A number that the system tells of a process.
async fn of_process(child: &Child, file: &str, field: impl Fn(&str) -> Option<u64>) -> u64 {
    let path = format!("/proc/{}/{file}", child.id().unwrap());
    field(&tokio::fs::read_to_string(path).await.unwrap()).unwrap()
}

/// The time on the processor so far, in hundredths of a second.
async fn cpu_time(child: &Child) -> u64 {
    // After the name, which stands in brackets.
    let field = |stat: &str| {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)
    };
    of_process(child, "stat", field).await
}

/// The most memory that it has had so far, in MiB.
async fn peak_memory(child: &Child) -> u64 {
    let field = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
    };
    of_process(child, "status", field).await
}

/// One of the hub's own series.
async fn measured(client: &Client, url: &str, name: &str) -> f64 {
    let text = get(client, url, "/metrics").await.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
}

#[tokio::test]
async fn without_descriptors_newcomers_wait_and_the_others_go_on() {
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("without-descriptors.log");
    let mut program = limited_program("ulimit -n 64", &[]);
    program.stderr(Stdio::from(std::fs::File::create(&log).unwrap()));
    let (mut child, url, _lines) = started(program).await;
    let client = Client::new();
    let mut stream = LiveStream::open(get(&client, &url, STREAM).await);
    assert_eq!(get(&client, &url, "/healthz").await.status(), 200);
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(connect(&url).await);
    }
    let is_refusing = || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.contains("cannot accept a connection")
    };
    eventually(is_refusing).await;
    let cpu_before = cpu_time(&child).await;
    // Whoever is there already is served, on the connection that it has.
    let post = client.post(format!("{url}{EVENTS}")).json(&json!({"type": "a"}));
    assert_eq!(within_patience(post.send()).await.unwrap().status(), 200);
    assert_eq!(types(&stream.events(1).await), ["a"]);
    assert!(measured(&client, &url, "server_memory_bytes").await > 1e6);
    let newcomer = Client::new();
    let kept_waiting = newcomer.get(format!("{url}/healthz")).send();
    let answer = tokio::time::timeout(Duration::from_secs(2), kept_waiting).await;
    assert!(answer.is_err(), "there is no descriptor for it: {answer:?}");
    let spent = cpu_time(&child).await - cpu_before;
    assert!(spent < 50, "it spins: {spent} hundredths of a second in 2 s");
    drop(crowd);
    assert_eq!(get(&newcomer, &url, "/healthz").await.status(), 200);
    drop(stream);
    signal(&child, "-TERM").await;
    assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(0));
}

/// Nearly four mebibytes of events of many types: in every other round so many that in memory they would be many times that.
fn large_body(round: usize) -> String {
    let (mut body, text) = (String::new(), "x".repeat(round % 2 * 1000));
    for number in 0.. {
        if body.len() > (4 << 20) - 2000 {
            return body;
        }
        let kind = (round * 7919 + number) % 100_000;
        let data = r#"{"a":{"b":[1,2,3]}}"#;
        writeln!(
            body,
            r#"{{"type":"kind.{kind}","spanId":"{number}","text":"{text}","data":{data}}}"#
        )
        .unwrap();
    }
    unreachable!("it grows")
}

/// How a post is answered, in the time that a body may take and some more. One that is refused while much of it is still to come may
/// find the connection closed before it has the answer.
async fn answer(post: RequestBuilder) -> u16 {
    let answer = tokio::time::timeout(3 * PATIENCE, post.send()).await.expect("an answer in time");
    answer.map_or(REFUSED, |answer| answer.status().as_u16())
}

/// Posts large bodies, one after the other. Returns how they were answered.
async fn post_large(url: String, first: usize) -> Vec<u16> {
    let client = Client::new();
    let mut answers = Vec::new();
    for round in first..first + 2 {
        let post = client.post(format!("{url}{EVENTS}")).body(large_body(round));
        let post = post.header("content-type", "application/x-ndjson");
        answers.push(answer(post).await);
    }
    answers
}

/// A body that is small, and would be large.
async fn bomb() -> Bytes {
    let mut encoder = GzipEncoder::new(Vec::new());
    for _ in 0..16 {
        encoder.write_all(&vec![b' '; 1 << 20]).await.unwrap();
    }
    encoder.shutdown().await.unwrap();
    encoder.into_inner().into()
}

async fn post_bomb(url: String, bomb: Bytes) -> u16 {
    let post = Client::new().post(format!("{url}{EVENTS}")).body(bomb);
    answer(post.header("content-encoding", "gzip")).await
}

/// Posts a thousand series that nobody has had before.
async fn post_series(url: String, round: usize) -> u16 {
    let series = (0..1000).map(
        |number| json!({"id": format!("series.{round}.{number}"), "type": "counter", "value": 1}),
    );
    let post = Client::new().post(format!("{url}/api/telemetry/metrics"));
    answer(post.json(&series.collect::<Vec<_>>())).await
}

/// Connections of clients that do not go on: streams that nobody reads, and bodies that take most of the room there is, of which the
/// rest never comes.
async fn idlers(url: &str) -> Vec<TcpStream> {
    let mut idlers = Vec::new();
    for number in 0..100 {
        let path = format!("{STREAM}?replay=100000&n={number}&n=1");
        let get = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        idlers.push(connect(url).await);
        idlers[number].write_all(get.as_bytes()).await.unwrap();
    }
    for _ in 0..6 {
        let mut body = connect(url).await;
        let post =
            format!("POST {EVENTS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4000000\r\n\r\n");
        within_patience(body.write_all(post.as_bytes())).await.unwrap();
        within_patience(body.write_all(&vec![b' '; 2_000_000])).await.unwrap();
        idlers.push(body);
    }
    idlers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_load_takes_no_more_memory_than_the_bounds_allow() {
    let settings = [
        ("MAX_BODY_BYTES", "4MiB"),
        ("INGEST_QUEUE_BYTES", "16MiB"),
        ("REPLAY_BYTES", "16MiB"),
        ("SUBSCRIBER_QUEUE_BYTES", "1MiB"),
        ("MAX_SERIES", "2000"),
        ("STALL_TIMEOUT", "5s"),
        ("WRITE_TIMEOUT", "5s"),
    ];
    // Address space, most of which nobody ever touches: whoever asks for more is refused it, and dies.
    let mut program = limited_program("ulimit -v 2000000", &settings);
    program.stderr(Stdio::null());
    let (mut child, url, _lines) = started(program).await;
    hostile_load(&url).await;
    let peak = peak_memory(&child).await;
    assert!(peak < 400, "{peak} MiB");
    // What it took came back: the same again takes what is there, but for what an allocator keeps in pieces.
    for _ in 0..2 {
        hostile_load(&url).await;
    }
    let again = peak_memory(&child).await;
    println!("{peak} MiB at most, and {again} MiB after all");
    assert!(again < peak + 60, "{peak} MiB, then {again} MiB");
    signal(&child, "-TERM").await;
    assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(0));
}

/// All of them at once, until nothing of it is left.
async fn hostile_load(url: &str) {
    let (client, url) = (Client::new(), url.to_owned());
    let idlers = idlers(&url).await;
    let mut posts = JoinSet::new();
    for number in 0..8 {
        posts.spawn(post_large(url.clone(), number * 2));
    }
    let bomb = bomb().await;
    let (mut bombs, mut series) = (JoinSet::new(), JoinSet::new());
    for round in 0..10 {
        bombs.spawn(post_bomb(url.clone(), bomb.clone()));
        series.spawn(post_series(url.clone(), round));
    }
    let answers: Vec<u16> = posts.join_all().await.concat();
    assert!(answers.iter().all(|answer| [200, 413, REFUSED].contains(answer)), "{answers:?}");
    assert!(answers.contains(&200), "{answers:?}");
    let bombs = bombs.join_all().await;
    assert!(bombs.iter().all(|answer| [413, REFUSED].contains(answer)), "{bombs:?}");
    let series = series.join_all().await;
    assert!(series.iter().all(|answer| [200, REFUSED].contains(answer)), "{series:?}");
    assert_eq!(get(&client, &url, "/healthz").await.status(), 200);
    drop(idlers);
    for name in ["hub_subscribers", "hub_filters", "queue_count"] {
        let nothing_left = async { while measured(&client, &url, name).await > 0.0 {} };
        within_patience(nothing_left).await;
    }
}

/// Publishers and readers of a hub that is told to stop amid everything.
struct Drain {
    journal: Arc<Journal>,
    events: Events,
    publishing: JoinSet<()>,
    watching: JoinSet<Record>,
}

const PUBLISHERS: usize = 3;

/// So long that there is always something accepted that has not been handed over.
const LINGER: (&str, &str) = ("LINGER", "200ms");

impl Drain {
    /// Begins, and waits until everybody is at it.
    async fn begin(url: &str) -> Self {
        let events = Events { seed: Script::some_seed() };
        println!("CHAOS_SEED={}", events.seed);
        let journal = Arc::new(Journal::without_scribe(PUBLISHERS));
        let (mut publishing, mut watching) = (JoinSet::new(), JoinSet::new());
        let (check_in, _) = mpsc::channel(1);
        let client = Client::new();
        let before = measured(&client, url, "hub_subscribers").await;
        for (number, transport) in
            [Transport::Socket, Transport::Socket, Transport::Chunks, Transport::Http2]
                .into_iter()
                .enumerate()
        {
            let subscriber = Subscriber {
                name: format!("reader {number}"),
                wanted: (Wish::Everything, Follow::None),
                manners: Manners::Good,
                transport,
                url: url.to_owned(),
                seed: events.seed,
                journal: Arc::clone(&journal),
            };
            watching.spawn(subscriber.watch(check_in.clone()));
        }
        let watching_now = async || measured(&client, url, "hub_subscribers").await - before;
        let all_watch = async { while watching_now().await < 4.0 {} };
        within_patience(all_watch).await;
        for number in 0..PUBLISHERS {
            let (url, journal) = (url.to_owned(), Arc::clone(&journal));
            publishing.spawn(Publisher { url, events, number, pause: 0..5, journal }.publish());
        }
        eventually(|| journal.accepted().iter().all(|accepted| *accepted > 100)).await;
        Self { journal, events, publishing, watching }
    }

    /// Once the hub has ended: every reader has had everything that was answered 200, in the same order.
    async fn check(self) {
        self.journal.phase.send_replace(Phase::Ending);
        within_patience(self.publishing.join_all()).await;
        let records = within_patience(self.watching.join_all()).await;
        let all = events_of(&records[0]);
        let (count, mut verdict) = (all.len() as u64, Verdict::default());
        let seed = self.events.seed;
        let truth = Truth::new(self.events, all);
        truth.check_posts(&self.journal, count, &mut verdict);
        for record in &records {
            verdict.expect("one stream for each", record.visits.len(), 1);
            verdict.expect("events of each", events_of(record).len() as u64, count);
            truth.check(record, &mut verdict);
        }
        verdict.pronounce(seed);
    }
}

fn events_of(record: &Record) -> Vec<(EventId, Numbered)> {
    let said = record.visits.iter().flat_map(|visit| &visit.said);
    let event = |said: &Said| match said {
        Said::Event(id, event) => Some((*id, *event)),
        Said::Slow(..) | Said::Expired(_) | Said::CaughtUp(_) | Said::Bye(_) => None,
    };
    said.filter_map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_amid_everything_it_hands_over_what_it_has_accepted() {
    let mut program = limited_program(":", &[LINGER]);
    program.stderr(Stdio::null());
    let (mut child, url, _lines) = started(program).await;
    let drain = Drain::begin(&url).await;
    signal(&child, "-TERM").await;
    assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(0));
    drain.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_costs_the_drain_its_time_and_the_others_nothing() {
    let mut program = limited_program(":", &[LINGER, ("DRAIN_TIMEOUT", "2s")]);
    program.stderr(Stdio::null());
    let (mut child, url, _lines) = started(program).await;
    let mut stalled = connect(&url).await;
    let request = format!("GET {STREAM} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stalled.write_all(request.as_bytes()).await.unwrap();
    within_patience(stalled.readable()).await.unwrap();
    let text = "x".repeat(1 << 20);
    for _ in 0..12 {
        let post = Client::new().post(format!("{url}{EVENTS}"));
        let post = post.json(&json!({"type": "t", "text": text})).send();
        assert_eq!(within_patience(post).await.unwrap().status(), 200);
    }
    let drain = Drain::begin(&url).await;
    signal(&child, "-TERM").await;
    assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(1));
    drain.check().await;
    drop(stalled);
}
