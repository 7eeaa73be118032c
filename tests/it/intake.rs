//! `POST /api/telemetry/events`: every form that is taken, and everything that is not.

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use reqwest::Response;
use serde_json::{Value, json};
use telemetry_hub_actors::Fault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{TestServer, problem, types, within_patience};
use crate::hostile::raw_request;

const PATH: &str = "/api/telemetry/events";
const LINES: &str = "application/x-ndjson";

async fn compressed(server: &TestServer, encoding: &str, body: Vec<u8>) -> Response {
    let request = server.client.post(format!("{}{PATH}", server.base));
    let request = request.header("content-type", "application/json");
    request.header("content-encoding", encoding).body(body).send().await.unwrap()
}

async fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(body).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn zstd(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZstdEncoder::new(Vec::new());
    encoder.write_all(body).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn answer(response: Response) -> Value {
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

#[tokio::test]
async fn one_an_array_an_envelope_and_lines_are_taken() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    assert_eq!(answer(server.post("{\"type\":\"a\"}").await).await, json!({"accepted": 1}));
    assert_eq!(
        answer(server.post("[{\"type\":\"b\"},{\"type\":\"c\"}]").await).await,
        json!({"accepted": 2})
    );
    assert_eq!(
        answer(server.post("{\"events\":[{\"type\":\"d\"}]}").await).await,
        json!({"accepted": 1})
    );
    let lines = "{\"type\":\"e\"}\r\n\n{\"type\":\"f\"}\n  \n{\"type\":\"g\"}";
    assert_eq!(answer(server.post_to(PATH, LINES, lines).await).await, json!({"accepted": 3}));
    for nothing in ["[]", "{\"events\":[]}"] {
        assert_eq!(answer(server.post(nothing).await).await, json!({"accepted": 0}));
    }
    assert_eq!(answer(server.post_to(PATH, LINES, "\n").await).await, json!({"accepted": 0}));
    assert_eq!(types(&stream.events(7).await), ["a", "b", "c", "d", "e", "f", "g"]);
}

#[tokio::test]
async fn compressed_bodies_are_taken() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let body = b"{\"type\":\"a\"}";
    for (encoding, bytes) in
        [("gzip", gzip(body).await), ("zstd", zstd(body).await), ("GZIP", gzip(body).await)]
    {
        assert_eq!(
            answer(compressed(&server, encoding, bytes).await).await,
            json!({"accepted": 1})
        );
        assert_eq!(types(&stream.events(1).await), ["a"]);
    }
    problem(compressed(&server, "gzip", b"no gzip".to_vec()).await, 400).await;
    problem(compressed(&server, "zstd", zstd(body).await[..8].to_vec()).await, 400).await;
    let unknown = compressed(&server, "br", body.to_vec()).await;
    assert_eq!(unknown.headers()["accept-encoding"], "gzip, zstd");
    problem(unknown, 415).await;
}

#[tokio::test]
async fn the_limit_holds_after_decompression() {
    let server = TestServer::with(json!({"max_body_bytes": "1 MiB"})).await;
    let bomb = format!("{{\"type\":\"{}\"}}", "a".repeat(8 << 20));
    problem(server.post(bomb.clone()).await, 413).await;
    for (encoding, body) in
        [("gzip", gzip(bomb.as_bytes()).await), ("zstd", zstd(bomb.as_bytes()).await)]
    {
        assert!(body.len() < 100_000);
        problem(compressed(&server, encoding, body).await, 413).await;
    }
    // Of unknown length, so that only reading tells.
    let chunks = (0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100_000]));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    problem(server.post(body).await, 413).await;
    assert_eq!(server.hub.stats().received, 0);
}

#[tokio::test]
async fn a_line_of_10_mb_is_rejected_and_its_neighbours_are_not() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let long = format!("{{\"type\":\"long\",\"text\":\"{}\"}}", "x".repeat(10 << 20));
    let body = format!("{{\"type\":\"a\"}}\n{long}\n{{\"type\":\"b\"}}\n");
    let answer = answer(server.post_to(PATH, LINES, body).await).await;
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(1)));
    assert_eq!(answer["errors"][0]["index"], 1);
    assert!(answer["errors"][0]["error"].as_str().unwrap().contains("over the limit"), "{answer}");
    assert_eq!(types(&stream.events(2).await), ["a", "b"]);
}

#[tokio::test]
async fn an_event_of_a_megabyte_arrives_whole() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let text = "é".repeat(1 << 19);
    server.accept(&json!({"type": "a", "text": text})).await;
    assert_eq!(stream.events(1).await[0]["text"], text);
}

#[tokio::test]
async fn bad_events_do_not_spoil_the_good_ones() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let deep = format!("{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000));
    let body = format!(
        r#"[{{"type":"a"}},{{"type":5}},7,{{"type":"b","data":[]}},{deep},{{"type":"c","level":[]}},{{"type":"d"}}]"#
    );
    let answer = answer(server.post(body).await).await;
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(2), &json!(5)));
    let told: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|e| e["index"].as_u64().unwrap()).collect();
    assert_eq!(told, [1, 2, 3, 4, 5]);
    assert_eq!(types(&stream.events(2).await), ["a", "d"]);
}

#[tokio::test]
async fn invalid_utf_8_is_rejected_line_by_line() {
    let server = TestServer::start().await;
    let body = b"{\"type\":\"a\"}\n{\"type\":\"\xff\"}\n".to_vec();
    let answer = answer(server.post_to(PATH, LINES, body).await).await;
    assert_eq!((&answer["accepted"], &answer["errors"][0]["index"]), (&json!(1), &json!(1)));
    problem(server.post(b"[{\"type\":\"\xff\"}]".to_vec()).await, 400).await;
}

#[tokio::test]
async fn bodies_of_which_nothing_can_be_taken_get_400() {
    let server = TestServer::start().await;
    for body in ["", "{", "[{\"type\":\"a\"}", "nonsense", "{\"type\":\"a\"}}"] {
        problem(server.post(body).await, 400).await;
    }
    let one = problem(server.post("{\"type\":5}").await, 400).await;
    assert_eq!(
        (&one["index"], &one["detail"]),
        (&json!(0), &json!("type: expected a string, not a number"))
    );
    let broken = problem(server.post_to(PATH, LINES, "{\"a\":").await, 400).await;
    let detail = broken["detail"].as_str().unwrap();
    assert!(detail.starts_with("not valid JSON: EOF while parsing"), "{detail}");
    let two = problem(server.post("[5,6]").await, 400).await;
    assert_eq!((&two["rejected"], two["errors"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(two.get("index"), None);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    problem(server.post(deep).await, 400).await;
    assert_eq!(server.hub.stats().received, 0);
}

#[tokio::test]
async fn errors_are_told_up_to_a_bound_and_counted_beyond_it() {
    let server = TestServer::start().await;
    let answer = problem(server.post_to(PATH, LINES, "x\n".repeat(50_000)).await, 400).await;
    assert_eq!(
        (&answer["rejected"], answer["errors"].as_array().unwrap().len()),
        (&json!(50_000), 1000)
    );
}

#[tokio::test]
async fn other_media_types_get_415_and_are_told_what_is_taken() {
    let server = TestServer::start().await;
    for content_type in ["application/x-www-form-urlencoded", "text/plain", "image/png; a=b", ""] {
        let response = server.post_to(PATH, content_type, "{}").await;
        assert_eq!(response.headers()["accept-post"], "application/json, application/x-ndjson");
        problem(response, 415).await;
    }
    let request = server.client.post(format!("{}{PATH}", server.base)).body("{}");
    assert_eq!(request.send().await.unwrap().status(), 200, "without a type it is taken for JSON");
    let typed = server.post_to(PATH, "Application/JSON; charset=UTF-8", "{}").await;
    assert_eq!(typed.status(), 200);
}

#[tokio::test]
async fn a_full_queue_gets_503_and_what_was_answered_200_still_arrives() {
    let settings = json!({"ingest_queue_bytes": "16 KiB", "ingest_patience": "0s"});
    let server = TestServer::with(settings).await;
    let mut stream = server.watch("").await;
    server.hub.inject(Fault::HangCollector).await;
    let mut accepted = 0;
    let refused = loop {
        let answer = server.post(json!({"type": "t", "data": {"n": accepted}}).to_string()).await;
        if answer.status() != 200 {
            break answer;
        }
        accepted += 1;
    };
    assert_eq!(refused.headers()["retry-after"], "1");
    problem(refused, 503).await;
    assert!(accepted > 10);
    server.hub.inject(Fault::KillCollector).await;
    let numbers: Vec<_> =
        stream.events(accepted).await.iter().map(|e| e["data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..accepted as u64).collect::<Vec<_>>());
    server.accept(&json!({"type": "t"})).await;
}

#[tokio::test]
async fn bodies_that_are_read_at_once_have_only_so_much_room() {
    let server = TestServer::with(json!({"max_body_bytes": "64 KiB"})).await;
    let pad = " ".repeat(60_000);
    let head = format!(
        "POST /api/telemetry/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        pad.len() + 12
    );
    // Heads alone take none of it, however many.
    let mut heads = Vec::new();
    for _ in 0..50 {
        heads.push(raw_request(&server, &head).await);
    }
    assert_eq!(server.post("{}").await.status(), 200);
    drop(heads);
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(raw_request(&server, &format!("{head}{pad}")).await);
    }
    // What they have sent is read as soon as may be; then there is no room for so much again.
    let large = format!("{pad}{{}}");
    let is_full = async || server.post(large.clone()).await.status() == 503;
    within_patience(async { while !is_full().await {} }).await;
    let refused = server.post(large.clone()).await;
    assert_eq!(refused.headers()["retry-after"], "1");
    problem(refused, 503).await;
    let page = server.get("/metrics").await.text().await.unwrap();
    assert!(page.lines().any(|line| line == "server_bodies_refused_total 2"), "{page}");
    // Whoever finishes makes room.
    for socket in &mut sockets {
        socket.write_all(b"{\"type\":\"a\"}").await.unwrap();
        let mut status = [0; "HTTP/1.1 200".len()];
        within_patience(socket.read_exact(&mut status)).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    assert_eq!(server.post("{}").await.status(), 200);
}

#[tokio::test]
async fn many_small_items_are_refused_before_they_fill_the_memory() {
    let server = TestServer::with(json!({"ingest_queue_bytes": "1 MiB"})).await;
    problem(server.post(format!("[{}{{}}]", "{},".repeat(1_000_000))).await, 413).await;
    problem(server.post_to(PATH, LINES, "{}\n".repeat(1_000_000)).await, 413).await;
    assert_eq!(server.hub.stats().received, 0);
}

#[tokio::test]
async fn compressed_bodies_of_many_parts_are_taken_whole() {
    let server = TestServer::start().await;
    let (first, second) = (b"[{\"type\":\"a\"},".as_slice(), b"{\"type\":\"b\"}]".as_slice());
    for (encoding, body) in [
        ("gzip", [gzip(first).await, gzip(second).await].concat()),
        ("zstd", [zstd(first).await, zstd(second).await].concat()),
    ] {
        assert_eq!(answer(compressed(&server, encoding, body).await).await, json!({"accepted": 2}));
    }
}

#[tokio::test]
async fn a_mark_of_utf_8_at_the_beginning_is_no_error() {
    let server = TestServer::start().await;
    assert_eq!(answer(server.post("\u{feff}{\"type\":\"a\"}").await).await, json!({"accepted": 1}));
}

#[tokio::test]
async fn a_batch_that_the_queue_can_never_hold_gets_413() {
    let server = TestServer::with(json!({"ingest_queue_bytes": "64 KiB"})).await;
    let events: Vec<Value> = (0..1000).map(|n| json!({"type": "t", "n": n})).collect();
    problem(server.post(json!(events).to_string()).await, 413).await;
}
