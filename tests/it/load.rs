//! The load tool, as a user starts it: against a real hub, and against a server that does one thing wrong, which the tool has
//! to name exactly.

use std::process::{Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::harness::{TestServer, within_patience};

async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.arg("load").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    within_patience(command.output()).await.unwrap()
}

/// Loads a server. The exit code, and the report.
async fn load(arguments: &[&str]) -> (i32, Value) {
    let output = run(&[arguments, &["--json", "-"]].concat()).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
    (output.status.code().unwrap(), report)
}

/// Loads a hub.
async fn load_hub(server: &TestServer, arguments: &[&str]) -> (i32, Value) {
    load(&[&["--url", &server.base, "--idle", "0s"], arguments].concat()).await
}

#[track_caller]
fn check(report: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&report[name], value, "{name} of {report:#}");
    }
}

#[tokio::test]
async fn a_hub_delivers_everything_over_either_protocol() {
    let server = TestServer::start().await;
    for (protocol, connections) in [(vec![], 200), (vec!["--http2"], 2)] {
        let arguments = ["--subscribers", "200", "--rate", "200", "--duration", "1s"];
        let (code, report) = load_hub(&server, &[&arguments, protocol.as_slice()].concat()).await;
        check(
            &report,
            &json!({
                "is_ok": true, "problems": [], "subscribers": 200, "connected": 200, "failed_to_connect": 0,
                "scheduled": 200, "sent": 200, "accepted": 200, "unknown": 0,
                "expected": 40_000, "delivered": 40_000, "missed": 0, "cut_off": 0, "unexplained": 0,
                "overtold": 0, "doubled": 0, "out_of_order": 0, "unwanted": 0, "ended_without_bye": 0,
            }),
        );
        assert_eq!((code, &report["load"]["connections"]), (0, &json!(connections)));
        assert_eq!(report["delivery_latency"]["count"], 40_000);
        assert_eq!(report["publish_latency"]["count"], 200);
        assert!(report["pings"].as_u64().unwrap() >= 200);
        // The hub runs in this very process, and the tool has found it.
        #[cfg(target_os = "linux")]
        assert_eq!(report["server"]["pids"], json!([std::process::id()]));
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_hub_on_ipv6_is_loaded_like_any() {
    if TcpListener::bind("[::1]:0").await.is_err() {
        // A machine may have none.
        return;
    }
    let server = TestServer::with(json!({"listen": "[::1]:0"})).await;
    for protocol in [&[][..], &["--http2"]] {
        let arguments = ["--subscribers", "20", "--rate", "50", "--duration", "200ms"];
        let (code, report) = load_hub(&server, &[&arguments, protocol].concat()).await;
        check(&report, &json!({"connected": 20, "delivered": 200, "unexplained": 0}));
        assert_eq!(code, 0, "{report:#}");
        #[cfg(target_os = "linux")]
        assert_eq!(report["server"]["pids"], json!([std::process::id()]));
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn each_gets_what_its_filter_lets_through() {
    let server = TestServer::start().await;
    for filter in ["remote-ip={n.ip}", "account-name=user-{n.hex}&level=info"] {
        let (code, report) = load_hub(
            &server,
            &[
                "--subscribers",
                "60",
                "--filters",
                "30",
                "--filter",
                filter,
                "--sources",
                "3",
                "--publishers",
                "4",
                "--batch",
                "5",
                "--rate",
                "600",
                "--duration",
                "500ms",
            ],
        )
        .await;
        check(
            &report,
            &json!({"accepted": 300, "expected": 600, "delivered": 600, "unexplained": 0, "unwanted": 0, "out_of_order": 0}),
        );
        assert_eq!((code, &report["load"]["filters"]), (0, &json!(30)));
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn subscribers_and_publishers_take_turns_with_several_servers() {
    let servers = [TestServer::start().await, TestServer::start().await];
    let urls = |path: &str| servers.iter().map(|server| format!("{}{path}", server.base)).collect();
    let [live, events]: [Vec<String>; 2] =
        ["/api/telemetry/traces/live", "/api/telemetry/events"].map(urls);
    let urls = [
        ["--subscribe-url", &live[0], "--subscribe-url", &live[1]],
        ["--publish-url", &events[0], "--publish-url", &events[1]],
    ];
    for protocol in [&[][..], &["--http2", "--streams-per-connection", "3"]] {
        let arguments = ["--subscribers", "6", "--publishers", "2", "--rate", "50"];
        let times = ["--duration", "200ms", "--idle", "0s", "--settle", "500ms"];
        let (code, report) =
            load(&[&urls.concat(), &arguments[..], &times, protocol].concat()).await;
        // No server knows of the other's events: half of all deliveries are missing.
        check(&report, &json!({"connected": 6, "accepted": 10, "expected": 60, "delivered": 30}));
        assert_eq!(code, 1);
        // Both run in this very process.
        #[cfg(target_os = "linux")]
        {
            let server = &report["server"];
            assert_eq!(server["pids"], json!([std::process::id()]));
            assert_eq!(server["cpu_seconds_each"], json!([server["cpu_seconds"]]));
        }
    }
    for server in servers {
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_filter_that_nothing_matches_is_told() {
    let server = TestServer::start().await;
    let arguments =
        ["--subscribers", "3", "--filter", "type=other", "--rate", "20", "--duration", "200ms"];
    let (code, report) =
        load_hub(&server, &[&arguments[..], &["--settle", "200ms"]].concat()).await;
    check(&report, &json!({"accepted": 4, "expected": 12, "delivered": 0, "unexplained": 12}));
    assert_eq!(code, 1);
    server.stop().await.unwrap();
}

/// A reader that stalls, and a hub that soon loses its patience.
async fn stall(protocol: &[&str]) {
    let settings = json!({"subscriber_queue_bytes": "20KiB", "stall_timeout": "200ms"});
    let server = TestServer::with(settings).await;
    let arguments = [
        "--subscribers",
        "10",
        "--stalled",
        "10%",
        "--receive-buffer",
        "2048",
        "--event-bytes",
        "4000",
        "--batch",
        "10",
        "--rate",
        "200",
        "--duration",
        "2s",
    ];
    let (code, report) = load_hub(&server, &[&arguments, protocol].concat()).await;
    let stalled = &report["readers"]["stalled"];
    check(
        stalled,
        &json!({"subscribers": 1, "unexplained": 0, "overtold": 0, "ended_with_bye": 1, "ended_without_bye": 0}),
    );
    let not_delivered = stalled["missed"].as_u64().unwrap() + stalled["cut_off"].as_u64().unwrap();
    assert!(not_delivered > 0 && stalled["missed"].as_u64().unwrap() > 0, "{report:#}");
    assert!(report["byes"]["stalled"].as_u64().unwrap() >= 1, "{report:#}");
    check(
        &report,
        &json!({"accepted": 400, "unexplained": 0, "overtold": 0, "doubled": 0, "problems": []}),
    );
    assert_eq!(code, 0, "{report:#}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stalled_reader_that_is_cut_is_explained() {
    stall(&[]).await;
}

#[tokio::test]
async fn a_stalled_stream_of_http2_is_explained() {
    stall(&["--http2"]).await;
}

#[tokio::test]
async fn slow_readers_are_told_apart() {
    let server = TestServer::start().await;
    let arguments = [
        "--subscribers",
        "10",
        "--slow",
        "20",
        "--slow-rate",
        "500",
        "--rate",
        "100",
        "--duration",
        "1s",
    ];
    let (code, report) = load_hub(&server, &arguments).await;
    check(
        &report["readers"]["slow"],
        &json!({"subscribers": 2, "expected": 200, "delivered": 200}),
    );
    check(
        &report["readers"]["healthy"],
        &json!({"subscribers": 8, "expected": 800, "delivered": 800}),
    );
    assert_eq!((code, &report["delivery_latency"]["count"]), (0, &json!(800)));
    server.stop().await.unwrap();
}

/// What a server does wrong, with the third event or the first subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Loses,
    Doubles,
    /// Sends it after the next one.
    Delays,
    /// To the first subscriber, whomever it is for.
    Misdirects,
    SingleBytes,
    ClosesStream,
    SaysBye,
    /// Delivers, and says that it has not.
    RefusesFalsely,
    /// Takes it, and closes the connection.
    AnswersNothing,
    ClaimsGap(Option<u64>),
    /// Takes all of a POST but one, and says so.
    RejectsLast,
}

/// How a server ends its streams' bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Chunks,
    Close,
}

/// A server of events, as small as can be. Subscribers of `/live/N` get the events of `/events/N`.
#[derive(Debug)]
struct FaultyServer {
    fault: Fault,
    delimiter: Delimiter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    subscribers: Vec<(String, TcpStream)>,
    events: u32,
    held_back: String,
}

impl FaultyServer {
    /// Its address. It lives as long as the set of its tasks.
    async fn start(fault: Fault, delimiter: Delimiter) -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::new(Self { fault, delimiter, state: Mutex::default() });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(Arc::clone(&server).serve(socket));
            }
        });
        (base, tasks)
    }

    async fn serve(self: Arc<Self>, mut socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        let mut buffer = Vec::new();
        loop {
            let head_end = loop {
                if let Some(at) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
                    break at + 4;
                }
                if socket.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let head = String::from_utf8(buffer.drain(..head_end).collect()).unwrap();
            let path = head.split(' ').nth(1).unwrap();
            if let Some(channel) = path.strip_prefix("/live/") {
                return self.subscribe(channel.to_owned(), socket).await;
            }
            let length = head.split("Content-Length: ").nth(1).unwrap();
            let length: usize = length.split('\r').next().unwrap().parse().unwrap();
            while buffer.len() < length {
                socket.read_buf(&mut buffer).await.unwrap();
            }
            let body = String::from_utf8(buffer.drain(..length).collect()).unwrap();
            let channel = path.strip_prefix("/events/").unwrap();
            let Some(status) = self.publish(channel, &body).await else { return };
            let told = match self.fault {
                Fault::RejectsLast => json!({"accepted": body.lines().count() - 1, "rejected": 1}),
                _ => json!("ok"),
            };
            let (told, kind) = (told.to_string(), "Content-Type: application/json");
            let length = told.len();
            let answer =
                format!("HTTP/1.1 {status} So\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{told}");
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    async fn subscribe(&self, channel: String, mut socket: TcpStream) {
        let mut state = self.state.lock().await;
        let delimiter = match self.delimiter {
            Delimiter::Chunks => "Transfer-Encoding: chunked",
            Delimiter::Close => "Connection: close",
        };
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{delimiter}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        state.subscribers.push((channel, socket));
    }

    /// Sends an event to its subscribers, more or less. The status to answer with, if any.
    async fn publish(&self, channel: &str, body: &str) -> Option<u16> {
        let mut state = self.state.lock().await;
        state.events += 1;
        let is_third = state.events == 3;
        let frame = format!("data: {body}\n\n");
        let held_back = std::mem::take(&mut state.held_back);
        let mut first = true;
        for (of, socket) in &mut state.subscribers {
            let is_victim = is_third && std::mem::take(&mut first);
            if of != channel && !(is_victim && self.fault == Fault::Misdirects) {
                continue;
            }
            let text = match self.fault {
                Fault::Loses | Fault::Delays if is_victim => String::new(),
                Fault::Doubles if is_victim => frame.repeat(2),
                Fault::SaysBye if is_victim => {
                    format!("{frame}event: bye\ndata: {{\"reason\":\"limit\",\"retry\":1}}\n\n")
                }
                Fault::ClaimsGap(missed) if is_victim => {
                    format!(
                        "event: gap\ndata: {{\"reason\":\"slow\",\"missed\":{}}}\n\n",
                        json!(missed)
                    )
                }
                Fault::RejectsLast => {
                    let (taken, _) = body.rsplit_once('\n').unwrap();
                    format!("data: {}\n\n", taken.replace('\n', "\ndata: "))
                }
                _ => format!("{frame}{held_back}"),
            };
            self.write(socket, &text, is_third && self.fault == Fault::SingleBytes).await;
        }
        let ends = is_third && matches!(self.fault, Fault::ClosesStream | Fault::SaysBye);
        if ends {
            state.subscribers.remove(0);
        }
        if is_third && self.fault == Fault::Delays {
            state.held_back = frame;
        }
        match self.fault {
            Fault::RefusesFalsely if is_third => Some(503),
            Fault::AnswersNothing if is_third => None,
            _ => Some(200),
        }
    }

    async fn write(&self, socket: &mut TcpStream, text: &str, by_bytes: bool) {
        if text.is_empty() {
            return;
        }
        let bytes = match self.delimiter {
            Delimiter::Chunks => format!("{:x}\r\n{text}\r\n", text.len()),
            Delimiter::Close => text.to_owned(),
        };
        let size = if by_bytes { 1 } else { bytes.len() };
        for piece in bytes.as_bytes().chunks(size) {
            socket.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    }
}

/// Five events, and time for those that come late.
const FIVE: [&str; 6] = ["--rate", "50", "--duration", "100ms", "--settle", "1s"];

/// Loads a small server: the subscribers of a place, by its name, and publishers to one.
async fn load_faulty(base: &str, from: &str, to: &str, arguments: &[&str]) -> (i32, Value) {
    let (subscribe, publish) = (format!("{base}/live/{from}"), format!("{base}/events/{to}"));
    let urls = ["--subscribe-url", &subscribe, "--publish-url", &publish, "--idle", "0s"];
    load(&[&urls[..], arguments].concat()).await
}

/// Five events, two subscribers, over both ways of ending a body.
async fn check_fault(fault: Fault, code: i32, expected: Value) {
    for delimiter in [Delimiter::Chunks, Delimiter::Close] {
        let (base, _server) = FaultyServer::start(fault, delimiter).await;
        let body = ["--publish-body", "{stamp} {pad}", "--publish-content-type", "text/plain"];
        let (found, report) =
            load_faulty(&base, "all", "all", &[&body[..], &["--subscribers", "2"], &FIVE].concat())
                .await;
        check(&report, &expected);
        assert_eq!(found, code, "{fault:?} {delimiter:?}: {report:#}");
        assert_eq!(report["is_ok"], code == 0);
    }
}

#[tokio::test]
async fn any_server_will_do() {
    let expected =
        json!({"accepted": 5, "expected": 10, "delivered": 10, "unexplained": 0, "problems": []});
    check_fault(Fault::None, 0, expected.clone()).await;
    check_fault(Fault::SingleBytes, 0, expected).await;
}

#[tokio::test]
async fn a_lost_event_is_unexplained() {
    let problems = ["1 deliveries are missing without a word (unexplained)"];
    let expected = json!({"delivered": 9, "unexplained": 1, "overtold": 0, "doubled": 0, "problems": problems});
    check_fault(Fault::Loses, 1, expected).await;
}

#[tokio::test]
async fn a_doubled_event_is_told() {
    let expected = json!({"delivered": 10, "unexplained": 0, "doubled": 1, "problems": ["1 deliveries were doubled"]});
    check_fault(Fault::Doubles, 1, expected).await;
}

#[tokio::test]
async fn an_event_that_comes_late_is_out_of_order() {
    // The other subscriber gets it twice: in its time, and with the first one.
    let expected = json!({"delivered": 10, "unexplained": 0, "out_of_order": 1, "doubled": 1});
    check_fault(Fault::Delays, 1, expected).await;
}

#[tokio::test]
async fn a_gap_explains_as_much_as_it_says() {
    let told = json!({"delivered": 9, "missed": 1, "gaps": 1, "unexplained": 0, "problems": []});
    check_fault(Fault::ClaimsGap(Some(1)), 0, told).await;
    let too_much = json!({"missed": 3, "unexplained": 0, "overtold": 2});
    check_fault(Fault::ClaimsGap(Some(3)), 1, too_much).await;
    let unknown = json!({"missed": 0, "unknown_gaps": 1, "unexplained": null});
    check_fault(Fault::ClaimsGap(None), 1, unknown).await;
}

#[tokio::test]
async fn a_stream_may_end_only_with_bye() {
    let closed =
        json!({"delivered": 8, "unexplained": 2, "cut_off": 0, "ended_without_bye": 1, "byes": {}});
    check_fault(Fault::ClosesStream, 1, closed).await;
    let announced = json!({"delivered": 8, "unexplained": 0, "cut_off": 2, "ended_without_bye": 0, "byes": {"limit": 1}});
    // Told, and yet no reader that keeps up may be left without.
    check_fault(Fault::SaysBye, 1, announced).await;
}

#[tokio::test]
async fn a_refused_event_is_not_expected() {
    let expected = json!({"accepted": 4, "refused": {"503": 1}, "expected": 8, "delivered": 10, "unexplained": 0, "overtold": 2});
    check_fault(Fault::RefusesFalsely, 1, expected).await;
}

#[tokio::test]
async fn without_an_answer_nobody_knows_what_to_expect() {
    let expected =
        json!({"sent": 5, "accepted": 4, "unknown": 1, "unexplained": null, "delivered": 10});
    check_fault(Fault::AnswersNothing, 1, expected).await;
}

#[tokio::test]
async fn what_an_answer_does_not_take_is_not_expected() {
    let (base, _server) = FaultyServer::start(Fault::RejectsLast, Delimiter::Close).await;
    let events = ["--batch", "4", "--rate", "40", "--duration", "200ms", "--subscribers", "3"];
    let (code, report) = load_faulty(&base, "all", "all", &events).await;
    check(
        &report,
        &json!({"sent": 8, "accepted": 6, "rejected": 2, "expected": 18, "delivered": 18}),
    );
    check(&report, &json!({"unexplained": 0, "problems": ["2 events were rejected"]}));
    assert_eq!(code, 1);
}

#[tokio::test]
async fn what_comes_to_the_wrong_subscriber_is_unwanted() {
    for (fault, unwanted) in [(Fault::None, 0), (Fault::Misdirects, 1)] {
        let (base, _server) = FaultyServer::start(fault, Delimiter::Chunks).await;
        let subscribers = ["--publish-body", "{stamp}", "--subscribers", "5"];
        let arguments = [&subscribers[..], &FIVE].concat();
        let (code, report) = load_faulty(&base, "{n}", "{target}", &arguments).await;
        check(
            &report,
            &json!({"expected": 5, "delivered": 5, "unexplained": 0, "unwanted": unwanted}),
        );
        assert_eq!(code, i32::from(unwanted > 0));
    }
}

#[tokio::test]
async fn those_that_cannot_connect_are_told_with_their_reasons() {
    let server = TestServer::with(json!({"max_subscribers": 3})).await;
    for protocol in [&[][..], &["--http2"]] {
        let arguments = ["--subscribers", "5", "--rate", "10", "--duration", "200ms"];
        let (code, report) = load_hub(&server, &[&arguments, protocol].concat()).await;
        check(
            &report,
            &json!({"connected": 3, "failed_to_connect": 2, "connect_failures": {"answered 503": 2}}),
        );
        check(&report, &json!({"expected": 6, "delivered": 6, "unexplained": 0}));
        assert_eq!(code, 1);
    }
    let nobody = server.base.clone();
    server.stop().await.unwrap();
    let (code, report) = load(&["--url", &nobody, "--subscribers", "2", "--duration", "1s"]).await;
    check(&report, &json!({"connected": 0, "failed_to_connect": 2, "sent": 0, "server": null}));
    let reasons: Vec<_> = report["connect_failures"].as_object().unwrap().keys().collect();
    assert!(reasons[0].starts_with("cannot connect: "), "{reasons:?}");
    assert_eq!(code, 1);
}

#[tokio::test]
async fn bad_options_end_with_2_and_their_name() {
    for (arguments, expected) in [
        (vec!["--url", "http://10.0.0.1:8787"], "--url: 10.0.0.1 is not a loopback address"),
        (vec!["--url", "http://127.0.0.1@evil.example"], "--url: a user name or a password"),
        (vec!["--publish-url", "http://192.0.2.1/x"], "--publish-url: 192.0.2.1 is not"),
        (
            vec!["--subscribe-url", "http://localhost.evil.example/"],
            "--subscribe-url: localhost.evil.example is not",
        ),
        (vec!["--subscribe-url", "http://127.0.0.{n}/"], "--subscribe-url: "),
        (
            vec!["--subscribe-url", "http://[::1]/{n}", "--subscribe-url", "http://[::1]/0"],
            "--subscribe-url: a number stands in one",
        ),
        (vec!["--filter", "text=a b{n}"], "write it as it is to be sent"),
        (vec!["--filters", "3"], "--filters: needs an {n}"),
        (vec!["--publish-body", "x"], "--publish-body: needs {stamp}"),
        (vec!["--publish-body", "{stamp}", "--filter", "x={n}"], "no event differs by {target}"),
        (vec!["--publish-url", "http://[::1]/{target}", "--batch", "2"], "--batch: "),
        (vec!["--publish-header", "x: a\r\nb: c"], "--publish-header: not a header"),
        (vec!["--url", "http://[::1]", "--sources", "2"], "--sources: ::1 is not reached"),
        (vec!["--slow", "60", "--stalled", "50"], "--slow: "),
        (vec!["--subscribers", "1000000"], "telemetry-hub: --"),
        (vec!["--subscribers", "2000000"], "--subscribers"),
        (vec!["--publishers", "65"], "--publishers"),
        (vec!["--rate=-1"], "--rate"),
        (vec!["--duration", "2h"], "--duration"),
    ] {
        let output = run(&arguments).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn help_shows_the_places_of_templates() {
    let output = run(&["--help"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    for place in ["\n  {n}      in --filter", "{n.ip}", "{target.hex}", "{stamp}", "{pad}"] {
        assert!(text.contains(place), "{place} in {text}");
    }
}

#[tokio::test]
async fn people_and_programs_are_told_the_same() {
    let server = TestServer::start().await;
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("load-report.json");
    let arguments =
        ["--url", &server.base, "--subscribers", "3", "--rate", "50", "--duration", "200ms"];
    let output = run(&[&arguments[..], &["--json", file.to_str().unwrap()]].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("3 connected in ") && text.contains("30 of 30 in "), "{text}");
    assert!(text.contains("0 unexplained") && text.contains("ok  "), "{text}");
    // Standard error is no terminal here, so there is no progress.
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let report: Value = serde_json::from_slice(&tokio::fs::read(file).await.unwrap()).unwrap();
    check(&report, &json!({"connected": 3, "delivered": 30}));
    server.stop().await.unwrap();
}
