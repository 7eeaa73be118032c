//! Hostile requests, one by one: what each gets, and that nothing of it becomes an event and nobody else is disturbed.

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{LiveStream, TestServer, eventually, types, within_patience};

mod http2;

/// A server with a good subscriber, which has to get everything that is good and nothing else.
struct Scene {
    server: TestServer,
    good: LiveStream,
    /// How many events there have been.
    events: u64,
}

impl Scene {
    async fn set() -> Self {
        let settings =
            json!({"head_timeout": "300ms", "max_body_bytes": "4MiB", "write_timeout": "2s"});
        let mut server = TestServer::with(settings).await;
        // A connection that is kept may be closed just when it is used again.
        server.client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let good = server.watch("type=good&follow=none").await;
        Self { server, good, events: 0 }
    }

    /// Whether all goes on. Returns how many events the attack became.
    async fn check(&mut self, attack: &str) -> u64 {
        self.server.accept(&json!({"type": "good"})).await;
        assert_eq!(types(&self.good.events(1).await), ["good"], "{attack}");
        assert_eq!(self.server.get("/healthz").await.status(), 200, "{attack}");
        let hub = self.server.hub.clone();
        eventually(|| hub.stats().subscribers == 1).await;
        let before = std::mem::replace(&mut self.events, hub.stats().received);
        self.events - before - 1
    }

    /// The statuses of all that is answered until the connection ends.
    async fn statuses(&self, bytes: &[u8]) -> Vec<u16> {
        let answer = self.exchange(bytes).await;
        let answer = String::from_utf8_lossy(&answer);
        let heads = answer.split("HTTP/1.").skip(1);
        heads.map(|head| head[2..5].parse().unwrap()).collect()
    }

    /// Sends, whether or not it is read, and reads all that is answered.
    async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let address = self.server.base.strip_prefix("http://").unwrap();
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut reader, mut writer) = socket.into_split();
        let mut answer = Vec::new();
        // A server that has heard enough hangs up, and may do so amid what is sent.
        let sending = async { writer.write_all(bytes).await.ok() };
        let reading = async { reader.read_to_end(&mut answer).await.ok() };
        within_patience(async { tokio::join!(sending, reading) }).await;
        answer
    }
}

const EVENT: &str = r#"{"type":"attack"}"#;

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /api/telemetry/events HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}").into()
}

/// A whole request with this body, after which the connection ends.
fn whole_post(headers: &str, body: &[u8]) -> Vec<u8> {
    let headers = format!("{headers}connection: close\r\ncontent-length: {}\r\n", body.len());
    [post(&headers, ""), body.to_vec()].concat()
}

fn get(target: &str, headers: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n").into()
}

/// An event, and behind it another that is hidden in what one reader takes for a body and another for a request.
fn smuggled(headers: &str) -> Vec<u8> {
    let hidden = String::from_utf8(whole_post("", EVENT.as_bytes())).unwrap();
    let body = format!("{:x}\r\n{EVENT}\r\n0\r\n\r\n", EVENT.len());
    post(headers, &format!("{body}{hidden}"))
}

async fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZstdEncoder::new(Vec::new());
    encoder.write_all(bytes).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

/// Runs attacks: a name, what is sent, the statuses that are answered, how many events are taken.
async fn check_all(attacks: Vec<(&str, Vec<u8>, &[u16], u64)>) {
    let mut scene = Scene::set().await;
    let mut wrong = Vec::new();
    for (name, bytes, statuses, events) in attacks {
        println!("{name}");
        let seen = (scene.statuses(&bytes).await, scene.check(name).await);
        if (seen.0.as_slice(), seen.1) != (statuses, events) {
            wrong.push(format!("{name}: {seen:?}, not {:?}", (statuses, events)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    drop(scene.good);
    scene.server.stop().await.unwrap();
}

#[tokio::test]
async fn requests_that_two_readers_would_read_differently() {
    let both = "content-length: 5\r\ntransfer-encoding: chunked\r\n";
    let both_reversed = "transfer-encoding: chunked\r\ncontent-length: 5\r\n";
    let chunked = |body: &str| post("connection: close\r\ntransfer-encoding: chunked\r\n", body);
    let length =
        |value: &str| post(&format!("connection: close\r\ncontent-length: {value}\r\n"), EVENT);
    check_all(vec![
        ("a length and chunks", smuggled(both), &[200], 1),
        ("chunks and a length", smuggled(both_reversed), &[200], 1),
        ("two lengths", smuggled("content-length: 5\r\ncontent-length: 17\r\n"), &[400], 0),
        ("the same length twice", length("17\r\ncontent-length: 17"), &[200], 1),
        ("two lengths in one", length("17, 17"), &[400], 0),
        ("a length with a sign", length("+17"), &[400], 0),
        ("a negative length", length("-17"), &[400], 0),
        ("a length in hexadecimal", length("0x11"), &[400], 0),
        ("a length past counting", length("99999999999999999999999"), &[400], 0),
        ("an empty length", length(""), &[400], 0),
        ("chunks twice over", smuggled("transfer-encoding: chunked, chunked\r\n"), &[200, 200], 2),
        ("chunks, then something else", smuggled("transfer-encoding: chunked, x\r\n"), &[400], 0),
        ("chunks of an unknown coding", smuggled("transfer-encoding: xchunked\r\n"), &[400], 0),
        ("chunks hidden by a tab", smuggled("transfer-encoding:\tchunked\r\n"), &[200, 200], 2),
        ("chunks before the colon", smuggled("transfer-encoding : chunked\r\n"), &[400], 0),
        ("a line that is folded", smuggled("x: a\r\n transfer-encoding: chunked\r\n"), &[400], 0),
        ("a chunk with an extension", chunked("11;a=\"b\"\r\n{\"type\":\"attack\"}\r\n0\r\n\r\n"), &[200], 1),
        ("a chunk with a long extension", chunked(&format!("11;{}\r\n{EVENT}\r\n0\r\n\r\n", "a".repeat(1 << 20))), &[400], 0),
        ("a chunk past counting", chunked(&format!("ffffffffffffffff1\r\n{EVENT}\r\n0\r\n\r\n")), &[400], 0),
        ("a chunk with a sign", chunked(&format!("+11\r\n{EVENT}\r\n0\r\n\r\n")), &[400], 0),
        ("a chunk that is longer than it says", chunked(&format!("10\r\n{EVENT}\r\n0\r\n\r\n")), &[400], 0),
        ("chunks with bare line feeds", chunked(&format!("11\n{EVENT}\n0\n\n")), &[400], 0),
        ("many trailers", chunked(&format!("11\r\n{EVENT}\r\n0\r\n{}\r\n", "a: b\r\n".repeat(10_000))), &[400], 0),
        ("lines that end with bare line feeds", format!("POST /api/telemetry/events HTTP/1.1\nhost: localhost\nconnection: close\ncontent-length: 17\n\n{EVENT}").into(), &[200], 1),
        ("lines that end with bare carriage returns", format!("POST /api/telemetry/events HTTP/1.1\rhost: localhost\rcontent-length: 17\r\r{EVENT}").into(), &[400], 0),
        ("a body where none is due", [get("/readyz", "content-length: 17\r\n"), EVENT.into()].concat(), &[200], 0),
        ("a thousand requests at once", [post("content-length: 17\r\n", EVENT).repeat(999), whole_post("", EVENT.as_bytes())].concat(), &[200; 1000], 1000),
    ])
    .await;
}

#[tokio::test]
async fn heads_that_are_too_much_or_make_no_sense() {
    let long = "a".repeat(1 << 20);
    check_all(vec![
        ("a head of a megabyte", get("/readyz", &format!("x: {long}\r\n")), &[431], 0),
        ("ten thousand headers", get("/readyz", &"x: y\r\n".repeat(10_000)), &[431], 0),
        ("a name of a megabyte", get("/readyz", &format!("{long}: x\r\n")), &[431], 0),
        ("a target of a megabyte", get(&format!("/{long}"), ""), &[431], 0),
        ("a query of 64 kB", get(&format!("/api/telemetry/traces/live?a={}", &long[..60_000]), ""), &[400], 0),
        ("a thousand parameters", get(&format!("/api/telemetry/traces/live?{}", "a=b&".repeat(1000)), ""), &[400], 0),
        ("NUL in a value", get("/readyz", "x: a\0b\r\n"), &[400], 0),
        ("NUL in a target", get("/readyz\0", ""), &[400], 0),
        ("a carriage return in a value", get("/readyz", "x: a\rb\r\n"), &[400], 0),
        ("a space in a name", get("/readyz", "x y: a\r\n"), &[400], 0),
        ("no name", get("/readyz", ": a\r\n"), &[400], 0),
        ("no colon", get("/readyz", "xy\r\n"), &[400], 0),
        ("two hosts", get("/healthz", "host: evil.example\r\n"), &[200], 0),
        ("two hosts at a stream", get("/api/telemetry/traces/live", "host: evil.example\r\n"), &[403], 0),
        ("a space before the colon", get("/readyz", "x : a\r\n"), &[400], 0),
        ("bytes that are no text", [&b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: "[..], &[0xff, 0xfe], b"\r\n\r\n"].concat(), &[200], 0),
        ("a head that never ends", b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nx: ".to_vec(), &[], 0),
        ("HTTP/0.9", b"GET /readyz\r\n".to_vec(), &[400], 0),
        ("HTTP/1.0 without a host", b"GET /readyz HTTP/1.0\r\n\r\n".to_vec(), &[200], 0),
        ("HTTP/3.0", b"GET /readyz HTTP/3.0\r\nhost: localhost\r\n\r\n".to_vec(), &[400], 0),
        ("CONNECT", b"CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), &[404], 0),
        ("TRACE", b"TRACE /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncookie: secret\r\n\r\n".to_vec(), &[405], 0),
        ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), &[404], 0),
        ("an unknown method", b"BREW /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(), &[405], 0),
        ("a proxy's target, this machine", get("http://localhost/readyz", ""), &[200], 0),
        ("a proxy's target, another", get("http://evil.example/api/telemetry/traces/live", ""), &[403], 0),
        ("a WebSocket", get("/api/telemetry/traces/live?level=loud", "upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), &[400], 0),
        ("an upgrade to HTTP/2", get("/readyz", "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"), &[200], 0),
        ("an expectation that nobody has", get("/readyz", "expect: miracles\r\n"), &[200], 0),
    ])
    .await;
}

#[tokio::test]
async fn paths_and_parameters_that_try_to_get_elsewhere() {
    let live = |query: &str| get(&format!("/api/telemetry/traces/live?level=loud&{query}"), "");
    let resume = |id: &str| get("/api/telemetry/traces/live", &format!("last-event-id: {id}\r\n"));
    check_all(vec![
        ("up and out", get("/../../../etc/passwd", ""), &[404], 0),
        ("up and out, escaped", get("/%2e%2e/%2e%2e/etc/passwd", ""), &[404], 0),
        ("up and back in", get("/api/../healthz", ""), &[404], 0),
        ("two slashes", get("//healthz", ""), &[404], 0),
        ("a slash behind", get("/healthz/", ""), &[200], 0),
        ("a path that is escaped", get("/%68ealthz", ""), &[404], 0),
        ("a slash that is escaped", get("/api%2ftelemetry%2ftraces%2flive", ""), &[404], 0),
        ("a backslash", get("/api\\telemetry\\traces\\live", ""), &[404], 0),
        ("escapes that are none", live("filter=%zz%f"), &[400], 0),
        ("an escaped NUL", live("filter=%00"), &[400], 0),
        ("escaped bytes that are no text", live("filter=%ff%fe"), &[400], 0),
        ("an id that is none", resume("x"), &[400], 0),
        ("an id of 64 kB", resume(&"0".repeat(1 << 16)), &[400], 0),
        (
            "an id with a frame in it",
            get("/api/telemetry/traces/live?last-event-id=%0d%0a%0d%0aevent:%20bye", ""),
            &[400],
            0,
        ),
        (
            "a replay past counting",
            get("/api/telemetry/traces/live?replay=99999999999999999999", ""),
            &[400],
            0,
        ),
        (
            "a replay from before time",
            get("/api/telemetry/traces/live?since=-9999-01-01T00:00:00Z", ""),
            &[400],
            0,
        ),
        ("an interval of nothing", get("/api/telemetry/metrics/live?interval=0", ""), &[400], 0),
        (
            "an interval that is no number",
            get("/api/telemetry/metrics/live?interval=NaN", ""),
            &[400],
            0,
        ),
        (
            "a glob that takes for ever",
            get(
                &format!("/api/telemetry/metrics/live?interval=0&metrics={}b", "*a".repeat(500)),
                "",
            ),
            &[400],
            0,
        ),
    ])
    .await;
}

#[tokio::test]
async fn bodies_that_are_more_than_they_seem() {
    let spaces = vec![b' '; 8 << 20];
    let deep = format!(
        r#"{{"type":"attack","data":{}}}"#,
        "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000)
    );
    let long_key = format!(r#"{{"type":"attack","data":{{"{}":1}}}}"#, "a".repeat(1 << 20));
    let many = format!("[{}]", vec!["1"; 200_000].join(","));
    let bomb = gzip(&spaces).await;
    check_all(vec![
        ("a bomb of gzip", whole_post("content-encoding: gzip\r\n", &bomb), &[413], 0),
        ("a bomb of zstd", whole_post("content-encoding: zstd\r\n", &zstd(&spaces).await), &[413], 0),
        ("a bomb in a bomb", whole_post("content-encoding: gzip\r\n", &gzip(&bomb).await), &[400], 0),
        ("two encodings", whole_post("content-encoding: gzip, gzip\r\n", &bomb), &[415], 0),
        ("members of gzip without end", whole_post("content-encoding: gzip\r\n", &gzip(b"").await.repeat(100_000)), &[400], 0),
        ("a window of zstd of 2 GiB", whole_post("content-encoding: zstd\r\n", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 1, 0, 0]), &[400], 0),
        ("gzip that breaks off", whole_post("content-encoding: gzip\r\n", &gzip(EVENT.as_bytes()).await[..20]), &[400], 0),
        ("a bomb for OTLP", format!("POST /v1/logs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len()).bytes().chain(bomb).collect(), &[413], 0),
        ("JSON a hundred thousand deep", whole_post("", deep.as_bytes()), &[400], 0),
        ("brackets that never close", whole_post("", "[".repeat(1 << 20).as_bytes()), &[400], 0),
        ("a key of a megabyte", whole_post("", long_key.as_bytes()), &[200], 1),
        ("many events that are none", whole_post("", many.as_bytes()), &[400], 0),
        ("a number past counting", whole_post("", br#"{"type":"attack","data":{"a":1e400}}"#), &[400], 0),
        ("bytes that are no text in a body", whole_post("", b"{\"type\":\"\xff\xfe\"}"), &[400], 0),
        ("half a surrogate", whole_post("", br#"{"type":"\ud800"}"#), &[400], 0),
        ("the same key twice", whole_post("", br#"{"type":"attack","type":"attack","data":{"a":1,"a":2}}"#), &[200], 1),
        ("frames in texts", whole_post("", br#"{"type":"a\r\n\r\nevent: bye\ndata: {}\n\n","text":"\u0000\u2028","spanId":"a\nid: 0"}"#), &[200], 1),
        ("a body that is nothing", whole_post("", b""), &[400], 0),
    ])
    .await;
}
