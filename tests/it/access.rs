//! Who may do what: tokens and their scopes, what their holders see, what a hub without tokens asks of a browser, and that it stays
//! on this machine.

use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use telemetry_hub::{Server, ServerError, Settings};

use crate::harness::{LiveStream, TestServer, within_patience};

pub(crate) const EVENTS: &str = "/api/telemetry/events";
pub(crate) const TRACES: &str = "/api/telemetry/traces/live";
pub(crate) const METRICS: &str = "/api/telemetry/metrics/live";

/// A token as the settings have it.
pub(crate) fn known(token: &str, scopes: &[&str], more: &Value) -> Value {
    let hash = Sha256::digest(token.as_bytes());
    let mut settings = json!({
        "name": token,
        "hash": format!("sha256:{}", const_hex::encode(hash)),
        "scopes": scopes,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

pub(crate) async fn guarded(tokens: Vec<Value>) -> TestServer {
    TestServer::with(json!({ "tokens": tokens })).await
}

pub(crate) fn request(
    server: &TestServer,
    method: Method,
    path: &str,
    token: &str,
) -> RequestBuilder {
    let request = server.client.request(method, format!("{}{path}", server.base));
    request.bearer_auth(token)
}

/// Watches with a token.
pub(crate) async fn watch(server: &TestServer, path: &str, token: &str) -> LiveStream {
    LiveStream::open(request(server, Method::GET, path, token).send().await.unwrap())
}

pub(crate) async fn post(server: &TestServer, token: &str, events: &Value) {
    let request = request(server, Method::POST, EVENTS, token);
    let answer = request.json(events).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// Runs the program with a token in its environment, or without.
async fn run(arguments: &[&str], token: Option<&str>, input: &str) -> std::process::Output {
    use tokio::io::AsyncWriteExt;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.args(arguments).kill_on_drop(true).env_remove("TELEMETRY_HUB_TOKEN");
    command.envs(token.map(|token| ("TELEMETRY_HUB_TOKEN", token)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    within_patience(child.wait_with_output()).await.unwrap()
}

/// The token and the settings that the program makes.
async fn make_token(arguments: &[&str]) -> (String, String) {
    let output = run(&[&["token", "--bare"], arguments].concat(), None, "").await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{}", text(output.stderr));
    (text(output.stdout).trim_end().to_owned(), text(output.stderr))
}

#[tokio::test]
async fn the_program_makes_tokens_and_shows_them() {
    let scopes = ["--scope", "ingest", "--scope", "traces"];
    let limits = ["--name", "a \"b\"", "--filter", "account=alice", "--metrics", "smtp"];
    let (token, lines) =
        make_token(&[&scopes[..], &limits, &["--expires", "2100-01-01T00:00:00Z"]].concat()).await;
    assert!(token.starts_with("thub_") && !lines.contains(&token), "{lines}");
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tokens.toml");
    std::fs::write(&file, &lines).unwrap();
    let settings =
        Settings::load(Some(&file), &json!({})).unwrap_or_else(|e| panic!("{e}: {lines}"));
    for part in ["account=alice", "smtp", "2100-01-01"] {
        assert!(format!("{settings:?}").contains(part), "{part} of {settings:?}");
    }

    for (option, value, told) in [
        ("--filter", "level=loud", "level"),
        ("--filter", "replay=5", "replay"),
        ("--filter", "", "leaves nothing out"),
        ("--filter", "max-rate=5", "max-rate"),
        ("--filter", "where=data.x = 5", "where"),
        ("--metrics", ",", "name"),
        ("--expires", "soon", "soon"),
        ("--scope", "all", "possible values: ingest, traces, metrics, admin"),
    ] {
        let output = run(&["token", "--scope", "traces", option, value], None, "").await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{option} {value}");
        assert!(stderr.contains(option) && stderr.contains(told), "{stderr}");
    }

    let server = guarded(vec![known(&token, &["ingest", "traces"], &json!({}))]).await;
    let send = ["send", "--url", &server.base, "--quiet"];
    let load = ["load", "--url", &server.base, "--subscribers", "2", "--duration", "100ms"];
    for protocol in [&[][..], &["--http2"]] {
        let load = [&load[..], &["--idle", "0s"], protocol].concat();
        assert!(run(&load, Some(&token), "").await.status.success());
        let output = run(&load, None, "").await;
        let report = String::from_utf8(output.stdout).unwrap();
        assert!(!output.status.success() && report.contains("answered 401"), "{report}");
    }
    let mut live = watch(&server, &format!("{TRACES}?filter=hello"), &token).await;
    assert!(run(&send, Some(&token), "hello\n").await.status.success());
    assert_eq!(live.events(1).await[0]["text"], "hello");
    let output = run(&send, Some("thub_wrong"), "hello\n").await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("401"), "{told}");
    assert!(!told.contains("thub_wrong"), "{told}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn no_other_server_is_shown_the_token() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let seen = tokio::spawn(async move {
        let mut heads = Vec::new();
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = socket.read(&mut head).await.unwrap();
            heads.push(String::from_utf8_lossy(&head[..length]).to_lowercase());
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        heads
    });
    let urls = ["load", "--subscribe-url", &url, "--publish-url", &url, "--idle", "0s"];
    let few = ["--subscribers", "1", "--rate", "10", "--duration", "100ms", "--settle", "100ms"];
    run(&[&urls[..], &few].concat(), Some("thub_secret"), "").await;
    for head in within_patience(seen).await.unwrap() {
        assert!(head.contains("host: ") && !head.contains("thub_secret"), "{head}");
    }
}

/// What needs which scope.
fn requests() -> Vec<(Method, &'static str, &'static str)> {
    vec![
        (Method::POST, EVENTS, "ingest"),
        (Method::POST, "/api/telemetry/metrics", "ingest"),
        (Method::POST, "/v1/logs", "ingest"),
        (Method::POST, "/v1/traces", "ingest"),
        (Method::POST, "/v1/metrics", "ingest"),
        (Method::POST, "/v1/otel", "ingest"),
        (Method::GET, TRACES, "traces"),
        (Method::HEAD, TRACES, "traces"),
        (Method::GET, METRICS, "metrics"),
        (Method::GET, "/metrics", "metrics"),
        (Method::GET, "/api/telemetry/subscribers", "admin"),
        (Method::GET, "/api/telemetry/subscribers/1", "admin"),
        (Method::DELETE, "/api/telemetry/subscribers/1", "admin"),
    ]
}

#[tokio::test]
async fn each_path_asks_for_its_scope() {
    let scopes = ["ingest", "traces", "metrics", "admin"];
    let server =
        guarded(scopes.iter().map(|scope| known(scope, &[scope], &json!({}))).collect()).await;
    for (method, path, needed) in requests() {
        for scope in scopes {
            let request = request(&server, method.clone(), path, scope);
            // OTLP's own types, so that nothing else is wrong.
            let request = match method {
                Method::POST => request.header("content-type", "application/json").body("{}"),
                _ => request,
            };
            let answer = request.send().await.unwrap();
            let (status, headers) = (answer.status(), answer.headers().clone());
            if scope == needed {
                assert!(![401, 403].contains(&status.as_u16()), "{method} {path}: {status}");
            } else {
                assert_eq!(status, 403, "{method} {path} with {scope}");
                let challenge = headers[WWW_AUTHENTICATE].to_str().unwrap();
                let expected = format!("error=\"insufficient_scope\", scope=\"{needed}\"");
                assert!(challenge.starts_with("Bearer ") && challenge.contains(&expected));
            }
        }
        let url = format!("{}{path}", server.base);
        for authorization in [None, Some("Bearer nobody's"), Some("Basic dTpw")] {
            let request = server.client.request(method.clone(), &url);
            let request = authorization
                .into_iter()
                .fold(request, |request, value| request.header(AUTHORIZATION, value));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{method} {path} with {authorization:?}");
            assert_eq!(answer.headers()[WWW_AUTHENTICATE], "Bearer realm=\"telemetry-hub\"");
            let text = answer.text().await.unwrap();
            assert!(!text.contains("nobody's"), "no token is ever said: {text}");
        }
    }
    // Whether the hub lives is no secret.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.status(), 200);
    }
    let requests = requests().len() as f64;
    let metrics = watch(&server, &format!("{METRICS}?metrics=server.access"), "metrics").await;
    assert_eq!(count(metrics, "server.access.forbidden").await, 3.0 * requests);
    let metrics = watch(&server, &format!("{METRICS}?metrics=server.access"), "metrics").await;
    assert_eq!(count(metrics, "server.access.unauthorized").await, 3.0 * requests);
    server.stop().await.unwrap();
}

async fn count(mut stream: LiveStream, series: &str) -> f64 {
    let (samples, _) = stream.expect("metrics").await;
    let samples = samples.as_array().unwrap().clone();
    let sample = samples.iter().find(|sample| sample["id"] == series);
    sample.unwrap_or_else(|| panic!("{series} in {samples:?}"))["value"].as_f64().unwrap()
}

#[tokio::test]
async fn over_grpc_too() {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
    let server =
        guarded(vec![known("in", &["ingest"], &json!({})), known("out", &["traces"], &json!({}))])
            .await;
    let mut client = LogsServiceClient::connect(server.base.clone()).await.unwrap();
    for (token, code) in [
        (Some("in"), None),
        (Some("out"), Some(tonic::Code::PermissionDenied)),
        (Some("x"), Some(tonic::Code::Unauthenticated)),
        (None, Some(tonic::Code::Unauthenticated)),
    ] {
        let mut request = tonic::Request::new(ExportLogsServiceRequest::default());
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        let outcome = client.export(request).await;
        assert_eq!(outcome.err().map(|status| status.code()), code, "{token:?}");
    }
    server.stop().await.unwrap();
}

/// Two accounts in one span, a stranger's event first.
fn mixed() -> Value {
    json!([
        {"type": "a", "spanId": "s", "data": {"account": "bob", "n": 1}},
        {"type": "a", "spanId": "s", "data": {"account": "alice", "n": 2}},
        {"type": "b", "spanId": "s", "data": {"account": "bob", "n": 3}},
        {"type": "b", "spanId": "s", "data": {"account": "alice", "n": 4}},
        {"type": "a", "spanId": "t", "data": {"n": 5}},
    ])
}

pub(crate) fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_token_with_a_filter_sees_nothing_else() {
    let limit = json!({"filter": "account=alice"});
    let server =
        guarded(vec![known("alice", &["traces"], &limit), known("in", &["ingest"], &json!({}))])
            .await;
    // What comes after all, so that nothing can come later.
    let last = json!([{"type": "a", "data": {"account": "alice", "n": 9}}, {"type": "b", "data": {"account": "alice", "n": 9}}]);
    for (query, expected) in [
        ("", &[2, 4, 9, 9][..]),
        ("type=a", &[2, 4, 9]),
        ("type=a&follow=span", &[2, 4, 9]),
        ("type=a&follow=trace", &[2, 4, 9]),
        ("type=b", &[4, 9]),
        ("type=a&follow=none", &[2, 9]),
        ("account=bob&account=alice", &[2, 4, 9, 9]),
    ] {
        let mut live = watch(&server, &format!("{TRACES}?{query}"), "alice").await;
        post(&server, "in", &mixed()).await;
        post(&server, "in", &last).await;
        assert_eq!(numbers(&live.events(expected.len()).await), expected, "{query}");
    }
    // A replay is of one's own as well, and nothing tells of the others.
    let mut replay = watch(&server, &format!("{TRACES}?replay=3&filter=alice"), "alice").await;
    let events = replay.events(3).await;
    assert!(events.iter().all(|event| event["data"]["account"] == "alice"), "{events:?}");
    assert_eq!(replay.expect("caught-up").await.0, json!({"replayed": 3}));
    server.stop().await.unwrap();
}

/// An id of this moment that no event has.
fn made_up() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("{:08x}-{:04x}-7fff-8000-000000000000", now >> 16, now & 0xffff)
}

#[tokio::test]
async fn an_id_that_is_made_up_does_not_tell_whether_anothers_event_came_after_it() {
    let limit = json!({"filter": "account=alice"});
    let tokens =
        vec![known("alice", &["traces"], &limit), known("in", &["ingest", "traces"], &json!({}))];
    let server = guarded(tokens).await;
    let mut everything = watch(&server, TRACES, "in").await;
    for _ in 0..2 {
        // The last event is first before this id, and then after it.
        let id = made_up();
        for _ in 0..2 {
            let mut asked = watch(&server, &format!("{TRACES}?since={id}"), "alice").await;
            assert_eq!(asked.expect("caught-up").await.0, json!({"replayed": 0}));
            post(&server, "in", &json!({"type": "a", "data": {"account": "bob"}})).await;
            everything.events(1).await;
        }
    }
    // Who may see all is told that the hub does not know it.
    let mut all = watch(&server, &format!("{TRACES}?since={}", made_up()), "in").await;
    all.expect("gap").await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn who_comes_back_sees_no_more_and_is_told_no_id_of_anothers() {
    let limit = json!({"filter": "account=alice"});
    let tokens =
        vec![known("alice", &["traces"], &limit), known("in", &["ingest", "traces"], &json!({}))];
    let server =
        TestServer::with(json!({"tokens": tokens, "replay_bytes": "20KiB", "batch_bytes": "1KiB"}))
            .await;
    let pad = "x".repeat(1000);
    let mut everything = watch(&server, TRACES, "in").await;
    post(&server, "in", &json!({"type": "a", "data": {"account": "bob", "n": 0}})).await;
    let strangers = everything.events(1).await[0]["id"].as_str().unwrap().to_owned();
    for n in 1..100 {
        let account = if n % 2 == 0 { "alice" } else { "bob" };
        post(
            &server,
            "in",
            &json!({"type": "a", "data": {"account": account, "n": n, "pad": pad}}),
        )
        .await;
    }
    let resume = request(&server, Method::GET, TRACES, "alice").header("Last-Event-ID", &strangers);
    let mut live = LiveStream::open(resume.send().await.unwrap());
    let (gap, id) = live.expect("gap").await;
    assert_eq!(gap, json!({"reason": "expired", "missed": null, "from": strangers, "to": null}));
    assert_eq!(id, "");
    // What is evicted while she reads is told in the same way.
    let events = loop {
        let frame = live.frame().await.unwrap();
        let data: Value = serde_json::from_str(&frame.data).unwrap();
        match &*frame.event {
            "gap" => assert_eq!((&data["to"], &*frame.id), (&Value::Null, "")),
            kind => {
                assert_eq!(kind, "trace");
                break data;
            }
        }
    };
    let mut events = events.as_array().unwrap().iter();
    assert!(events.all(|event| event["data"]["account"] == "alice"));
    // One who may see all is told where the hole ends.
    let resume = request(&server, Method::GET, TRACES, "in").header("Last-Event-ID", &strangers);
    let mut live = LiveStream::open(resume.send().await.unwrap());
    assert!(live.expect("gap").await.0["to"].is_string());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_with_names_sees_no_other_series() {
    let limit = json!({"metrics": "hub.events,queue"});
    let server = guarded(vec![known("some", &["metrics"], &limit)]).await;
    for (query, expected) in [
        ("", 6),
        ("?metrics=queue,server", 1),
        ("?metrics=hub.events.received", 1),
        ("?metrics=*", 6),
        ("?metrics=server.memory", 0),
    ] {
        let mut live = watch(&server, &format!("{METRICS}{query}"), "some").await;
        let (samples, _) = live.expect("metrics").await;
        assert_eq!(samples.as_array().unwrap().len(), expected, "{query}: {samples}");
    }
    let text = request(&server, Method::GET, "/metrics", "some").send().await.unwrap();
    let text = text.text().await.unwrap();
    assert!(text.contains("hub_events_received") && !text.contains("server_memory"), "{text}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let soon = json!({ "expires": expires.to_string() });
    let tokens = vec![known("soon", &["traces", "metrics"], &soon)];
    let server = TestServer::with(json!({"tokens": tokens, "ping_interval": "200ms"})).await;
    let mut traces = watch(&server, TRACES, "soon").await;
    let mut metrics = watch(&server, &format!("{METRICS}?interval=10"), "soon").await;
    metrics.expect("metrics").await;
    for stream in [&mut traces, &mut metrics] {
        let (bye, _) = stream.expect("bye").await;
        assert_eq!(bye["reason"], "expired-token");
        assert!(stream.frame().await.is_none());
    }
    assert!(jiff::Timestamp::now() >= expires);
    for path in [TRACES, METRICS] {
        let answer = request(&server, Method::GET, path, "soon").send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn without_tokens_a_browser_asks_for_no_other_site() {
    let server = TestServer::start().await;
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[], 200),
        (&[("host", "localhost:1")], 200),
        (&[("host", "evil.example")], 403),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-origin")], 200),
    ];
    for (path, method) in [("/metrics", Method::GET), ("/v1/logs", Method::POST)] {
        for (headers, status) in cases {
            let mut request =
                server.client.request(method.clone(), format!("{}{path}", server.base));
            request = request.header("content-type", "application/json").body("{}");
            for (name, value) in *headers {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), *status, "{path} {headers:?}");
        }
    }
    let request =
        server.client.get(format!("{}/metrics", server.base)).header(HOST, "evil.example");
    let detail = request.send().await.unwrap().text().await.unwrap();
    assert!(detail.contains("evil.example is no name of this machine's own"), "{detail}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn every_answer_tells_browsers_to_make_nothing_else_of_it() {
    let server = TestServer::start().await;
    let paths =
        ["/healthz", "/metrics", "/nowhere", EVENTS, TRACES, "/api/telemetry/traces/live?level=x"];
    let later = server.get("/readyz").await;
    let mut answers = vec![later, server.post("no JSON").await, server.post("{}").await];
    for path in paths {
        // The first of a connection, of which a stream leaves HTTP's machinery, and a later one.
        let first = reqwest::Client::new().get(format!("{}{path}", server.base));
        answers.extend([first.send().await.unwrap(), server.get(path).await]);
    }
    for answer in answers {
        let (url, headers) = (answer.url(), answer.headers());
        assert_eq!(headers["x-content-type-options"], "nosniff", "{url}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{url}");
        let policy = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(headers["content-security-policy"], policy, "{url}");
        assert!(!headers.contains_key("access-control-allow-origin"), "{url}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn without_tokens_a_hub_stays_on_this_machine() {
    let bind = async |settings: Value| {
        let settings = Settings::load(None, &settings).unwrap();
        Server::bind(settings).await.map(|_| ())
    };
    for settings in [
        json!({"listen": "0.0.0.0:0", "otlp_http": "off", "otlp_grpc": "off"}),
        json!({"listen": "[::]:0", "otlp_http": "off", "otlp_grpc": "off"}),
        json!({"listen": "127.0.0.1:0", "otlp_http": "0.0.0.0:0", "otlp_grpc": "off"}),
        json!({"listen": "127.0.0.1:0", "otlp_http": "off", "otlp_grpc": "0.0.0.0:0"}),
    ] {
        let error = bind(settings.clone()).await.unwrap_err();
        assert!(matches!(error, ServerError::Exposed { .. }), "{settings}: {error}");
    }
    let token = known("a", &["admin"], &json!({}));
    bind(json!({"listen": "0.0.0.0:0", "otlp_http": "off", "otlp_grpc": "off", "tokens": [token]}))
        .await
        .unwrap();
}

#[test]
fn settings_that_would_let_in_the_wrong_ones_are_refused() {
    let good = known("a", &["traces"], &json!({"filter": "level=warn", "metrics": "smtp"}));
    assert!(Settings::load(None, &json!({ "tokens": [good] })).is_ok());
    let twice = [known("a", &["traces"], &json!({})), known("a", &["ingest"], &json!({}))];
    let error = Settings::load(None, &json!({ "tokens": twice })).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
    for (bad, expected) in [
        (known("a", &[], &json!({})), "good for nothing"),
        (known("a", &["everything"], &json!({})), "unknown variant"),
        (known("a", &["traces"], &json!({"hash": "secret"})), "64 hexadecimal digits"),
        (known("a", &["traces"], &json!({"filter": "level=loud"})), "level"),
        (known("a", &["traces"], &json!({"filter": "replay=5"})), "replay"),
        (known("a", &["traces"], &json!({"filter": ""})), "leaves nothing out"),
        (known("a", &["traces"], &json!({"filter": "follow=span"})), "leaves nothing out"),
        (known("a", &["metrics"], &json!({"filter": "a=b"})), "name the series"),
        (known("a", &["traces"], &json!({"filter": "max-rate=5"})), "max-rate"),
        (known("a", &["traces"], &json!({"metrics": ","})), "name"),
        (known("a", &["traces"], &json!({"expires": "soon"})), "expires"),
        (known("a", &["traces"], &json!({"fitler": "level=warn"})), "fitler"),
    ] {
        let error = Settings::load(None, &json!({ "tokens": [bad] })).unwrap_err().to_string();
        assert!(error.contains(expected), "{bad}: {error}");
    }
}

#[tokio::test]
async fn nothing_of_a_body_is_read_of_those_who_may_not_send() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = guarded(vec![known("out", &["traces"], &json!({}))]).await;
    let address = server.base.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000000000\r\nAuthorization: Bearer out\r\nExpect: 100-continue\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let length = socket.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn who_can_only_sign_needs_no_token() {
    let tokens =
        [known("in", &["ingest"], &json!({})), known("all", &["traces", "metrics"], &json!({}))];
    let server = TestServer::with(json!({"tokens": tokens, "webhook_keys": ["key"]})).await;
    let mut live = watch(&server, TRACES, "all").await;
    let sign = |key: &[u8], body: &str| {
        use base64::Engine;
        use hmac::{KeyInit, Mac};
        let mac = hmac::Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(body);
        base64::prelude::BASE64_STANDARD.encode(mac.finalize().into_bytes())
    };
    let body = json!({"type": "signed", "data": {"n": 1}}).to_string();
    let (good, bad) = (sign(b"key", &body), sign(b"other", &body));
    for (path, token, signature, expected) in [
        (EVENTS, None, Some(&good), 200),
        (EVENTS, None, Some(&bad), 401),
        (EVENTS, None, None, 401),
        (EVENTS, Some("in"), Some(&good), 200),
        (EVENTS, Some("in"), None, 401),
        (EVENTS, Some("in"), Some(&bad), 401),
        (EVENTS, Some("all"), Some(&good), 403),
        (EVENTS, Some("nobody"), Some(&good), 401),
        // Only events are signed.
        ("/api/telemetry/metrics", None, Some(&good), 401),
        ("/v1/logs", None, Some(&good), 401),
        (TRACES, None, Some(&good), 405),
    ] {
        let request = server.client.post(format!("{}{path}", server.base)).body(body.clone());
        let request = request.header("content-type", "application/json");
        let request = token.into_iter().fold(request, RequestBuilder::bearer_auth);
        let request = signature
            .into_iter()
            .fold(request, |request, signature| request.header("x-signature", signature));
        let status = request.send().await.unwrap().status();
        assert_eq!(status, expected, "{path} {token:?} {signature:?}");
    }
    assert_eq!(numbers(&live.events(2).await), [1, 1]);
    for (series, expected) in [("server.access.granted", 6.0), ("server.access.unauthorized", 5.0)]
    {
        // With those two tokens: two streams, four that send; the counter is read by one more.
        let metrics = watch(&server, &format!("{METRICS}?metrics={series}"), "all").await;
        let counted = count(metrics, series).await;
        assert!(counted >= expected, "{series}: {counted}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn no_log_however_long_tells_a_secret() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
    let settings = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("logged.toml");
    let hash = const_hex::encode(Sha256::digest(b"s3cret-token"));
    let token = format!(
        "[[tokens]]\nname = \"a\"\nhash = \"sha256:{hash}\"\nscopes = [\"ingest\", \"traces\"]\n"
    );
    std::fs::write(&settings, format!("otlp_http = \"off\"\notlp_grpc = \"off\"\n{token}"))
        .unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.args(["--listen", "127.0.0.1:0", "--config"]).arg(&settings).kill_on_drop(true);
    command.env("TELEMETRY_HUB_LOG", "trace").env("TELEMETRY_HUB_WEBHOOK_KEY", "s3cret-key");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = child.stderr.take().unwrap();
    let log = tokio::spawn(async move {
        let mut text = Vec::new();
        log.read_to_end(&mut text).await.unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within_patience(lines.next_line()).await.unwrap().unwrap();
    let base = first.split_once(" on ").unwrap().1.to_owned();
    let mut secrets =
        vec!["s3cret-token".to_owned(), "s3cret-key".to_owned(), "s3cret-signature".to_owned()];
    for client in [
        reqwest::Client::builder().build().unwrap(),
        reqwest::Client::builder().http2_prior_knowledge().build().unwrap(),
    ] {
        let url = format!("{base}/api/telemetry/live/tracing-token");
        let ticket: Value = client
            .get(&url)
            .bearer_auth("s3cret-token")
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let ticket = ticket["data"].as_str().unwrap().to_owned();
        let stream = client.get(format!("{base}{TRACES}?token={ticket}")).send().await.unwrap();
        let cookie = stream.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let again = client.get(format!("{base}{TRACES}")).header("cookie", &cookie);
        assert_eq!(again.send().await.unwrap().status(), 200);
        let send = client.post(format!("{base}{EVENTS}")).header("x-signature", "s3cret-signature");
        assert_eq!(
            send.bearer_auth("s3cret-token").json(&json!({})).send().await.unwrap().status(),
            401
        );
        secrets.extend([ticket, cookie.split_once('=').unwrap().1.to_owned()]);
    }
    child.kill().await.unwrap();
    let log = within_patience(log).await.unwrap();
    assert!(log.contains("h2::"), "HTTP/2 is told frame by frame: {log}");
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret}");
    }
}
