//! `telemetry-hub tail`, as somebody at a terminal or a script has it: against real hubs, and against servers that do what a
//! hub does in a bad hour.

use std::process::{ExitStatus, Output, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::access::{guarded, known};
use crate::harness::{Certificates, TestServer, data, eventually, within_patience};
use crate::program::{signal, started};
use crate::terminal::{Terminal, hub_program};

/// The program, without what the environment of whoever runs the tests would add.
fn tail(base: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.args(["tail", "--url", base]).args(arguments).kill_on_drop(true);
    for variable in ["TELEMETRY_HUB_TOKEN", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// One that runs, and what it writes.
struct Tail {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Tail {
    fn start(base: &str, arguments: &[&str]) -> Self {
        Self::of(tail(base, arguments))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr }
    }

    async fn line(&mut self) -> String {
        within_patience(self.stdout.next_line()).await.unwrap().expect("it goes on")
    }

    async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(self.line().await);
        }
        lines
    }

    /// What it says of the connection next.
    async fn says(&mut self) -> String {
        within_patience(self.stderr.next_line()).await.unwrap().expect("it goes on")
    }

    async fn end(mut self) -> ExitStatus {
        within_patience(self.child.wait()).await.unwrap()
    }
}

async fn run(mut command: Command) -> Output {
    within_patience(command.output()).await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

async fn recorded() -> TestServer {
    let server = TestServer::start().await;
    let events = data("stalwart-events.ndjson.zst").await;
    let path = "/api/telemetry/events";
    assert_eq!(server.post_to(path, "application/x-ndjson", events).await.status(), 200);
    server
}

/// A server under the test's own hand.
struct Stage {
    listener: TcpListener,
    base: String,
}

impl Stage {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, base }
    }

    /// The next request, and the connection on which to answer it.
    async fn request(&self) -> (String, TcpStream) {
        let (mut socket, _) = within_patience(self.listener.accept()).await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(within_patience(socket.read_u8()).await.unwrap());
        }
        (String::from_utf8(request).unwrap(), socket)
    }

    /// The next request, answered by a stream that begins so.
    async fn stream(&self, frames: &str) -> (String, TcpStream) {
        let (request, mut socket) = self.request().await;
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        socket.write_all(format!("{head}retry: 10\n\n{frames}").as_bytes()).await.unwrap();
        (request, socket)
    }
}

fn trace(id: &str, text: &str) -> String {
    let event = json!({"id": id, "createdAt": "2026-11-22T10:12:19Z", "type": "t", "text": text});
    format!("event: trace\nid: {id}\ndata: [{event}]\n\n")
}

#[tokio::test]
async fn recorded_events_are_aligned_lines() {
    let server = recorded().await;
    let mut tail = Tail::start(&server.base, &["--replay", "4", "remote-ip=127.0.0.10"]);
    let session = "listenerId=smtp localPort=2525 remoteIp=127.0.0.10 remotePort=43623 spanId=341966570238591030";
    let expected = [
        &format!(
            r#"2026-11-22T10:12:47Z smtp.raw-input      size=6 contents="quit\r\n" {session}"#
        ),
        &format!("2026-11-22T10:12:47Z smtp.quit           {session}"),
        &format!(
            r#"2026-11-22T10:12:47Z smtp.raw-output     size=16 contents="221 2.0.0 Bye.\r\n" {session}"#
        ),
        &format!("2026-11-22T10:12:47Z smtp.connection-end elapsed=14 {session}"),
        "--- 4 events replayed; live from here ---",
    ];
    assert_eq!(tail.lines(5).await, expected);
}

#[tokio::test]
async fn json_is_what_the_hub_has() {
    let server = recorded().await;
    let mut stream = server.watch("replay=500").await;
    let mut expected = String::new();
    loop {
        let frame = stream.frame().await.unwrap();
        match frame.event.as_str() {
            "trace" => {
                expected += frame.data.strip_prefix('[').unwrap().strip_suffix(']').unwrap();
                expected.push(',');
            }
            "caught-up" => break,
            _ => {}
        }
    }
    let mut tail = Tail::start(&server.base, &["--json", "--replay", "500"]);
    let lines = tail.lines(500).await;
    assert_eq!(lines.join(",") + ",", expected);
    assert!(lines[0].contains("\"spanId\":\"") || lines.iter().any(|line| line.contains("spanId")));
    assert_eq!(tail.says().await, "telemetry-hub: 500 events replayed; live from here");
}

#[tokio::test]
async fn keys_that_are_asked_for_stand_in_columns() {
    let server = TestServer::start().await;
    let events = json!([
        {"type": "a", "level": "warn", "text": "one", "timestamp": "2026-11-22T10:12:19.5Z", "data": {"n": 12345678901234567890_u64, "result": {"type": "ok"}}},
        {"type": "longer", "timestamp": "2026-11-22T10:12:20Z", "data": {"n": 7, "other": true}},
    ]);
    server.accept(&events).await;
    let arguments = ["--replay", "2", "--keys", "data.N,result.type"];
    let mut tail = Tail::start(&server.base, &arguments);
    let lines = tail.lines(3).await;
    assert_eq!(
        lines,
        [
            "2026-11-22T10:12:19.5Z WARN a      N=12345678901234567890 result.type=ok one",
            "2026-11-22T10:12:20Z        longer N=7                    result.type=-",
            "--- 2 events replayed; live from here ---",
        ]
    );
}

#[tokio::test]
async fn a_query_stays_within_its_parameters() {
    let stage = Stage::open().await;
    let arguments =
        ["a&replay=9#x", "level=warn", "--where", "data.n >= 1 && true", "--since", "5m"];
    let _tail = Tail::start(&format!("{}/under/", stage.base), &arguments);
    let (request, _socket) = stage.stream("").await;
    let expected = "GET /under/api/telemetry/traces/live?a%26replay=9%23x&level=warn&since=5m\
                    &where=data.n+%3E%3D+1+%26%26+true HTTP/1.1\r\n";
    assert!(request.starts_with(expected), "{request}");
}

#[tokio::test]
async fn a_stream_goes_on_where_it_broke() {
    let stage = Stage::open().await;
    let mut tail = Tail::start(&stage.base, &["--replay", "5", "x=1"]);
    // Nothing has come yet: all is asked for once more.
    let (request, socket) = stage.stream("event: ping\ndata: {}\n\n").await;
    assert!(request.contains("?x=1&replay=5 ") && !request.contains("last-event-id"), "{request}");
    drop(socket);
    assert!(tail.says().await.contains("ended; trying again in 0.1 s"));
    let (request, socket) = stage.stream("event: caught-up\ndata: {\"replayed\":0}\n\n").await;
    assert!(request.contains("?x=1&replay=5 "), "{request}");
    assert!(tail.says().await.starts_with("telemetry-hub: connected again after "));
    assert_eq!(tail.line().await, "--- 0 events replayed; live from here ---");
    drop(socket);
    // Of what comes from then on nothing may be missed, though no id has come.
    let frames = format!("{}event: trace\nid: 8\ndata: [{{\"cut", trace("7", "one"));
    let (request, socket) = stage.stream(&frames).await;
    assert!(request.contains("?x=1&since=1.") && !request.contains("replay"), "{request}");
    assert!(tail.line().await.ends_with(" t one"));
    drop(socket);
    let (request, _socket) = stage.stream(&trace("8", "two")).await;
    assert!(request.contains("?x=1 ") && request.contains("last-event-id: 7\r\n"), "{request}");
    assert!(tail.line().await.ends_with(" t two"));
}

#[tokio::test]
async fn connections_that_break_anywhere_lose_and_double_nothing() {
    let server = TestServer::with(json!({"retry": "1ms"})).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let address = server.base.replace("http://", "");
    let proxy = tokio::spawn(async move {
        for bytes in (1000_u64..).step_by(700) {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut hub = TcpStream::connect(&address).await.unwrap();
            let (client_reads, mut client_writes) = client.split();
            let (hub_reads, mut hub_writes) = hub.split();
            let (mut client_reads, mut hub_reads) = (client_reads, hub_reads.take(bytes));
            tokio::select! {
                _ = tokio::io::copy(&mut client_reads, &mut hub_writes) => {}
                _ = tokio::io::copy(&mut hub_reads, &mut client_writes) => {}
            }
        }
    });
    let mut tail = Tail::start(&base, &["--json"]);
    eventually(|| server.hub.stats().subscribers == 1).await;
    let mut sent = 0;
    for n in 0..300 {
        server.accept(&json!({"type": "t", "data": {"n": n}})).await;
        // Now and then it is let catch up, so that it breaks both while live and in replays.
        if n % 10 == 0 {
            while sent <= n {
                let event: Value = serde_json::from_str(&tail.line().await).unwrap();
                assert_eq!(event["data"]["n"], sent);
                sent += 1;
            }
        }
    }
    for n in sent..300 {
        let event: Value = serde_json::from_str(&tail.line().await).unwrap();
        assert_eq!(event["data"]["n"], n);
    }
    let first = tail.says().await;
    assert!(first.contains("trying again"), "{first}");
    proxy.abort();
}

#[tokio::test]
async fn a_hub_that_was_restarted_is_found_again_and_what_is_lost_is_told() {
    let post = async |address: &str, text: &str| {
        let request = reqwest::Client::new().post(format!("{address}/api/telemetry/events"));
        let answer = request.json(&json!({"type": "t", "text": text})).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    let (mut first, address, _lines) = started(hub_program("127.0.0.1:0")).await;
    let mut tail = Tail::start(&address, &["--since", "1m"]);
    assert_eq!(tail.line().await, "--- 0 events replayed; live from here ---");
    post(&address, "one").await;
    assert!(tail.line().await.ends_with(" t one"));
    signal(&first, "-TERM").await;
    within_patience(first.wait()).await.unwrap();
    assert_eq!(tail.says().await, "telemetry-hub: the hub ends the stream: shutdown");
    assert!(tail.says().await.contains("; trying again in 0."));

    let (_second, again, _lines) =
        started(hub_program(address.strip_prefix("http://").unwrap())).await;
    post(&again, "two").await;
    let gap = tail.line().await;
    assert!(gap.starts_with("--- gap: events missed, nobody knows how many: "), "{gap}");
    assert!(gap.contains("(expired)"), "{gap}");
    // It may have come back before that was posted, or after.
    let lines = tail.lines(2).await;
    let (events, notices): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line.ends_with(" t two"));
    assert!(
        events.len() == 1 && notices[0].ends_with(" replayed; live from here ---"),
        "{lines:?}"
    );
    post(&again, "three").await;
    assert!(tail.line().await.ends_with(" t three"));
}

#[tokio::test]
async fn what_becomes_of_a_stream_is_told() {
    let stage = Stage::open().await;
    let mut tail = Tail::start(&stage.base, &[]);
    let gaps = "event: gap\nid: 5\ndata: {\"reason\":\"slow\",\"missed\":1200,\"from\":\"4\",\"to\":\"5\"}\n\n\
                event: gap\ndata: {\"reason\":\"restart\",\"missed\":null,\"from\":null,\"to\":null}\n\n\
                event: bye\ndata: {\"reason\":\"stalled\",\"retry\":1500}\n\n";
    let (_, socket) = stage.stream(gaps).await;
    let expected = [
        "--- gap: 1,200 events missed: they came faster than they were read (slow) ---",
        "--- gap: events missed, nobody knows how many: the hub was restarted (restart) ---",
    ];
    assert_eq!(tail.lines(2).await, expected);
    assert_eq!(tail.says().await, "telemetry-hub: the hub ends the stream: stalled");
    drop(socket);
    // Not the 10 ms of `retry`: what the hub asked for last.
    let told = tail.says().await;
    assert!(told.contains("trying again in 1."), "{told}");
    let (request, _socket) =
        stage.stream("event: bye\ndata: {\"reason\":\"closed-by-admin\",\"retry\":1}\n\n").await;
    assert!(request.contains("last-event-id: 5\r\n"), "{request}");
    assert!(tail.says().await.contains("connected again after "));
    assert!(tail.says().await.contains("somebody who may has ended this stream"));
    assert_eq!(tail.end().await.code(), Some(1));
}

#[tokio::test]
async fn with_json_gaps_are_on_standard_error() {
    let stage = Stage::open().await;
    let mut tail = Tail::start(&stage.base, &["--json"]);
    let gap =
        "event: gap\ndata: {\"reason\":\"sampled\",\"missed\":3,\"from\":null,\"to\":null}\n\n";
    let frames =
        format!("{gap}event: trace\nid: 1\ndata: [{{\"n\":1.0}}, {{\"n\":\ndata: 2}}]\n\n");
    let _stream = stage.stream(&frames).await;
    assert_eq!(tail.lines(2).await, ["{\"n\":1.0}", "{\"n\": 2}"]);
    let told = tail.says().await;
    assert_eq!(
        told,
        "telemetry-hub: gap: 3 events missed: more came than max-rate lets through (sampled)"
    );
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_given_up() {
    let stage = Stage::open().await;
    let mut tail = Tail::start(&stage.base, &[]);
    let (_, _silent) = stage.stream("event: ping\ndata: {\"interval\":300}\n\n").await;
    let told = tail.says().await;
    assert!(
        told.contains("nothing came from http://127.0.0.1") && told.contains("for 1 s"),
        "{told}"
    );
    let _stream = stage.stream(&trace("1", "after all")).await;
    assert!(tail.line().await.ends_with("after all"));
}

#[tokio::test]
async fn a_busy_hub_is_asked_again_when_it_wants_and_an_absent_one_too() {
    let stage = Stage::open().await;
    let mut tail = Tail::start(&stage.base, &[]);
    let (_, mut socket) = stage.request().await;
    let answer = "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 16\r\nconnection: close\r\n\r\n{\"detail\":\"full\"}";
    socket.write_all(&answer.as_bytes()[..answer.len()]).await.unwrap();
    drop(socket);
    let told = tail.says().await;
    assert!(
        told.contains("503 Service Unavailable: ") && told.contains("trying again in 1."),
        "{told}"
    );
    let _stream = stage.stream(&trace("1", "served")).await;
    assert!(tail.line().await.ends_with("served"));

    let address = stage.base.clone();
    let place = stage.listener.local_addr().unwrap();
    drop((stage, _stream));
    // Nobody listens there, and nobody else will.
    let reserved = TcpSocket::new_v4().unwrap();
    reserved.set_reuseaddr(true).unwrap();
    reserved.bind(place).unwrap();
    assert!(tail.says().await.contains("connected again after"));
    assert!(tail.says().await.contains("ended; trying again"));
    let told = tail.says().await;
    assert!(told.contains("cannot reach http://127.0.0.1"), "{told}");
    assert!(tail.says().await.starts_with("telemetry-hub: still so; trying again in "));
    let output = run(self::tail(&address, &["--no-retry"])).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("cannot reach") && said(&output).lines().count() == 1);
}

#[tokio::test]
async fn refusals_end_it_and_say_why() {
    let server = TestServer::start().await;
    for (arguments, told) in [
        (&["level=wran"][..], "the parameter `level`: unknown level"),
        (&["--since", "soon"], "the parameter `since`: neither a duration (5m)"),
        (&["--where", "1 +"], "the parameter `where`: "),
        (&["token=s3cret"], "TELEMETRY_HUB_TOKEN"),
        (&[""], "empty; write key=value"),
        (&["--keys", "a,."], "not a key"),
        (&["--json", "--keys", "a"], "--keys"),
    ] {
        let output = run(tail(&server.base, arguments)).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(told), "{arguments:?}: {}", said(&output));
        assert!(output.stdout.is_empty());
    }
    let output = run(tail(&format!("{}/nowhere", server.base), &[])).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no live stream there: 404"), "{}", said(&output));
}

#[tokio::test]
async fn tokens_come_from_the_environment_or_a_file() {
    let server = guarded(vec![
        known("may", &["traces", "ingest"], &json!({})),
        known("may-not", &["metrics"], &json!({})),
    ])
    .await;
    let with = |token: Option<&str>, arguments: &[&str]| {
        let mut command = tail(&server.base, arguments);
        command.envs(token.map(|token| ("TELEMETRY_HUB_TOKEN", token)));
        command
    };
    for (token, told) in [
        (
            None,
            "the hub asks for a token, by TELEMETRY_HUB_TOKEN in the environment or --token-file",
        ),
        (Some("unknown"), "the hub does not take this token: 401"),
        (Some("may-not"), "the token has not the scope `traces`"),
    ] {
        let output = run(with(token, &[])).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(told), "{}", said(&output));
    }
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("tail-token");
    std::fs::write(&file, "may\n").unwrap();
    crate::access::post(&server, "may", &json!({"type": "t", "text": "seen"})).await;
    let from_file = ["--replay", "1", "--token-file", file.to_str().unwrap()];
    for command in [with(Some("may"), &["--replay", "1"]), with(Some("unknown"), &from_file)] {
        assert!(Tail::of(command).line().await.ends_with("seen"));
    }
    let output = run(with(None, &["--token-file", "/dev/null"])).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/dev/null: there is no token in it"));
}

#[tokio::test]
async fn hubs_are_watched_over_tls() {
    let certificates = Certificates::for_localhost();
    let mut settings = json!({});
    certificates.add_to(&mut settings);
    let server = TestServer::with(settings).await;
    let base = server.base.replace("http://127.0.0.1", "https://localhost");
    let event = telemetry_hub_actors::NewEvent::new("t").text("over TLS");
    server.hub.ingest(vec![event]).await.unwrap();
    let known = certificates.certificate.to_str().unwrap();
    let mut by_environment = tail(&base, &["--replay", "1"]);
    by_environment.env("SSL_CERT_FILE", known).env_remove("SSL_CERT_DIR");
    for command in [by_environment, tail(&base, &["--replay", "1", "--ca", known])] {
        assert!(Tail::of(command).line().await.ends_with("over TLS"));
    }
    let stranger = Certificates::for_localhost();
    for arguments in
        [&["--no-retry"][..], &["--no-retry", "--ca", stranger.certificate.to_str().unwrap()]]
    {
        let output = run(tail(&base, arguments)).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("certificate"), "{}", said(&output));
    }
    let output = run(tail(&base, &["--ca", "/no/such/file"])).await;
    assert!(said(&output).contains("cannot read certificates from /no/such/file"));
}

#[tokio::test]
async fn it_ends_quietly_when_nobody_reads() {
    let server = TestServer::start().await;
    server.accept(&json!([{"type": "t", "text": "1"}, {"type": "t", "text": "2"}])).await;
    let mut tail = Tail::start(&server.base, &["--replay", "2"]);
    tail.lines(3).await;
    // Nothing more comes, that it would fail to write.
    let Tail { mut child, stdout, mut stderr } = tail;
    drop(stdout);
    assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(0));
    assert_eq!(stderr.next_line().await.unwrap(), None);
}

#[tokio::test]
async fn it_ends_when_it_is_interrupted_whoever_does_not_read() {
    let server = TestServer::start().await;
    let tail = Tail::start(&server.base, &["--since", "1m"]);
    for _ in 0..4 {
        server.accept(&json!({"type": "t", "data": {"x": vec!["y".repeat(900); 100]}})).await;
    }
    eventually(|| server.hub.stats().delivered >= 4).await;
    signal(&tail.child, "-INT").await;
    assert_eq!(tail.end().await.code(), Some(130));
}

#[tokio::test]
async fn colours_are_for_those_who_want_them() {
    let server = TestServer::start().await;
    server
        .accept(&json!({"type": "t", "level": "error", "timestamp": "2026-11-22T10:12:19Z"}))
        .await;
    let plain = "2026-11-22T10:12:19Z ERROR t";
    let coloured = "\x1b[2m2026-11-22T10:12:19Z\x1b[0m \x1b[31mERROR\x1b[0m \x1b[1mt\x1b[0m";
    for (option, variable, expected) in [
        ("auto", None, plain),
        ("always", None, coloured),
        ("always", Some(("NO_COLOR", "1")), coloured),
        ("auto", Some(("CLICOLOR_FORCE", "1")), coloured),
        ("never", Some(("CLICOLOR_FORCE", "1")), plain),
    ] {
        let mut command = tail(&server.base, &["--replay", "1", "--color", option]);
        command.envs(variable).env("TERM", "xterm");
        assert_eq!(Tail::of(command).line().await, expected, "{option} {variable:?}");
    }
}

#[tokio::test]
async fn hostile_and_huge_values_are_harmless() {
    let server = TestServer::start().await;
    let text = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\n\u{202e}txt.exe";
    let event = json!({"type": "\u{1b}[31mt", "level": "warn", "text": text, "timestamp": "2026-11-22T10:12:19Z",
        "data": {"key\u{1b}[1m": "\u{85}", "huge": "h".repeat(1 << 20), "list": ["\u{7f}", "\u{9b}1m"]}});
    server.accept(&event).await;
    let mut tail = Tail::start(&server.base, &["--replay", "1", "--color", "never"]);
    let line = tail.line().await;
    assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
    let expected = concat!(
        r"2026-11-22T10:12:19Z WARN \u001b[31mt \u001b]0;owned\u0007\u001b[2J\u009b31m\r\n\u202etxt.exe ",
        "huge=hhhh"
    );
    assert!(line.starts_with(expected), "{line}");
    assert!(
        line.ends_with(r#"h…[1023.0 KiB more] key\u001b[1m="\u0085" list=["\u007f","\u009b1m"]"#),
        "{line}"
    );
    assert!(line.len() < 2000, "{}", line.len());
}

#[tokio::test]
async fn what_a_person_sees() {
    let server = TestServer::start().await;
    let events = json!([
        {"type": "auth.failed", "level": "error", "timestamp": "2026-11-22T10:12:19Z", "text": "\u{1b}]0;owned\u{7}wrong password, and this for the third time",
            "data": {"accountName": "alice", "remoteIp": "2001:db8::1"}},
        {"type": "x", "level": "info", "timestamp": "2026-11-22T10:12:20Z", "data": {"long": "0123456789".repeat(10)}},
    ]);
    server.accept(&events).await;
    let arguments = ["tail", "--url", &server.base, "--replay", "2"];
    let mut terminal = Terminal::start(&arguments, 12, 70);
    terminal.shows(|screen| screen.contains("live from here")).await;
    let expected = "\
2026-11-22T10:12:19Z ERROR auth.failed \\u001b]0;owned\\u0007wrong
                           password, and this for the third time
                           accountName=alice remoteIp=2001:db8::1
2026-11-22T10:12:20Z INFO  x
                           long=01234567890123456789012345678901234567
                           8901234567890123456789012345678901234567890
                           1234567890123456789
--- 2 events replayed; live from here ---";
    assert_eq!(terminal.screen().contents().trim_end(), expected);
    let colour = |row, column| terminal.screen().cell(row, column).unwrap().fgcolor();
    assert_eq!(colour(0, 21), vt100::Color::Idx(1), "an error is red");
    assert_eq!(colour(2, 27), vt100::Color::Idx(6), "a key is cyan");
    assert_eq!(colour(2, 40), vt100::Color::Default, "a value is as it is");
    assert_eq!(terminal.title(), None);

    terminal.types("\x03").await;
    assert_eq!(terminal.end().await.code(), Some(130));
}

#[tokio::test]
async fn json_on_a_terminal_is_harmless_too() {
    let server = TestServer::start().await;
    server.accept(&json!({"type": "t", "text": "\u{9b}31m\u{202e}"})).await;
    let arguments = ["tail", "--url", &server.base, "--json", "--replay", "1"];
    let mut terminal = Terminal::start(&arguments, 12, 300);
    terminal.shows(|screen| screen.contains(r#""text":"\u009b31m\u202e""#)).await;
}
