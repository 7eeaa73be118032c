//! Who is connected, over HTTP: what is told of each stream, who may ask, how one is ended, and how many one client may have.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use telemetry_hub::actors::{HubConfig, HubHandle};
use telemetry_hub::{HubService, PeerAddress};
use tower_service::Service;

use crate::access::{guarded, known, request};
use crate::harness::{LiveStream, TestServer, problem, within_patience};

const SUBSCRIBERS: &str = "/api/telemetry/subscribers";
const TRACES: &str = "/api/telemetry/traces/live";
const METRICS: &str = "/api/telemetry/metrics/live";

/// A client of each version of HTTP.
fn clients() -> [(&'static str, Client); 2] {
    let http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    [("HTTP/1.1", Client::new()), ("HTTP/2", http2)]
}

async fn open(client: &Client, server: &TestServer, path: &str, token: &str) -> LiveStream {
    let request = client.get(format!("{}{path}", server.base)).bearer_auth(token);
    LiveStream::open(request.send().await.unwrap())
}

async fn list(server: &TestServer) -> Vec<Value> {
    let answer = request(server, Method::GET, SUBSCRIBERS, "admin").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut page: Value = answer.json().await.unwrap();
    let Value::Array(subscribers) = page["subscribers"].take() else { panic!("{page}") };
    assert_eq!(page["total"], subscribers.len());
    subscribers
}

/// Waits until the list is so, and checks the books of everyone on it at each look.
async fn eventually_listed(server: &TestServer, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    within_patience(async {
        loop {
            let subscribers = list(server).await;
            subscribers.iter().for_each(check_law);
            if is_so(&subscribers) {
                return subscribers;
            }
        }
    })
    .await
}

#[track_caller]
fn check_law(subscriber: &Value) {
    let count = |name: &str| subscriber[name].as_u64().unwrap();
    assert_eq!(count("matched"), count("sent") + count("missed") + count("queued"), "{subscriber}");
}

/// A server on which `admin` sees who is there, `in` sends, and `alice` and `bob` watch.
async fn with_four(more: Value) -> TestServer {
    let tokens = [("admin", "admin"), ("in", "ingest"), ("alice", "traces"), ("bob", "metrics")];
    let tokens = tokens.map(|(name, scope)| known(name, &[scope], &json!({})));
    let mut settings = json!({ "tokens": tokens });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    TestServer::with(settings).await
}

async fn post(server: &TestServer, event: &Value) {
    let posted = request(server, Method::POST, "/api/telemetry/events", "in").json(event);
    assert_eq!(posted.send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_one_shows_what_waits_for_it_and_misses_what_it_is_told() {
    for (version, client) in clients() {
        let server = with_four(json!({"subscriber_queue_bytes": "150KB"})).await;
        let mut slow = open(&client, &server, &format!("{TRACES}?follow=none"), "alice").await;
        let event = json!({"type": "t", "text": "x".repeat(100_000)});
        let mut posted = 0;
        // Whatever the system and the client hold is soon full.
        let waiting = loop {
            post(&server, &event).await;
            posted += 1;
            let subscribers = list(&server).await;
            subscribers.iter().for_each(check_law);
            // The system may take some more: then nothing waits, and there must be more of it.
            let is_waiting = subscribers[0]["lag"].as_f64() > Some(0.0);
            if is_waiting && subscribers[0]["missed"].as_u64() >= Some(3) {
                break subscribers;
            }
            assert!(posted < 1000, "{version}: {subscribers:?}");
        };
        assert!(waiting[0]["queued"].as_u64() > Some(0), "{version}: {waiting:?}");
        assert!(waiting[0]["queuedBytes"].as_u64() > Some(100_000), "{version}: {waiting:?}");
        let (mut read, mut missed) = (0, 0);
        while read + missed < posted {
            let frame = slow.frame().await.unwrap();
            let data: Value = serde_json::from_str(&frame.data).unwrap();
            match &*frame.event {
                "trace" => read += data.as_array().unwrap().len() as u64,
                "gap" => missed += data["missed"].as_u64().unwrap(),
                kind => assert_eq!(kind, "ping"),
            }
        }
        let subscriber = &list(&server).await[0];
        let told = ["matched", "sent", "missed", "queued", "queuedBytes"]
            .map(|name| subscriber[name].as_u64().unwrap());
        assert_eq!(told, [posted, read, missed, 0, 0], "{version}");
        assert_eq!(subscriber["lag"], 0.0);
        drop(slow);
        eventually_listed(&server, <[Value]>::is_empty).await;
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn all_are_shown_with_their_names_and_what_they_may_see() {
    for (version, client) in clients() {
        let limited = json!({"filter": "account=alice", "metrics": "smtp"});
        let tokens = [
            known("admin", &["admin"], &limited),
            known("alice", &["traces"], &limited),
            known("bob", &["metrics"], &json!({})),
        ];
        let server = guarded(tokens.to_vec()).await;
        let before = jiff::Timestamp::now();
        let _alice = open(&client, &server, &format!("{TRACES}?level=warn"), "alice").await;
        let mut bob = open(&client, &server, &format!("{METRICS}?metrics=server"), "bob").await;
        bob.expect("metrics").await;
        let mut subscribers = eventually_listed(&server, |all| all[1]["sent"] == 1).await;
        for subscriber in &mut subscribers {
            let since: jiff::Timestamp = subscriber["since"].as_str().unwrap().parse().unwrap();
            let second = jiff::SignedDuration::from_secs(1);
            assert!((before - second..=jiff::Timestamp::now()).contains(&since), "{subscriber}");
            subscriber.as_object_mut().unwrap().remove("since");
        }
        let none = json!({
            "address": "127.0.0.1", "state": "live",
            "matched": 0, "sent": 0, "missed": 0, "queued": 0, "queuedBytes": 0, "lag": 0.0,
        });
        let with = |more: Value| {
            let mut expected = none.as_object().unwrap().clone();
            expected.extend(more.as_object().unwrap().clone());
            Value::Object(expected)
        };
        let filter = "level=WARN&follow=span within account=alice&follow=span";
        let expected = [
            with(json!({"id": 1, "name": "alice", "signal": "traces", "filter": filter})),
            with(json!({
                "id": 2, "name": "bob", "signal": "metrics",
                "filter": "interval=30&metrics=server",
                "matched": 1, "sent": 1, "queuedBytes": null,
            })),
        ];
        assert_eq!(subscribers, expected, "{version}");
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_is_ended_says_so_and_is_gone() {
    for (version, client) in clients() {
        let server = with_four(json!({})).await;
        let traces = open(&client, &server, TRACES, "alice").await;
        let metrics = open(&client, &server, METRICS, "bob").await;
        for (id, stream) in [(1, traces), (2, metrics)] {
            let path = format!("{SUBSCRIBERS}/{id}");
            let answer = request(&server, Method::GET, &path, "admin").send().await.unwrap();
            let subscriber: Value = answer.json().await.unwrap();
            assert_eq!((&subscriber["id"], &subscriber["state"]), (&json!(id), &json!("live")));
            let answer = request(&server, Method::DELETE, &path, "admin").send().await.unwrap();
            assert_eq!(answer.status(), 204, "{version}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
            assert!(answer.bytes().await.unwrap().is_empty());
            let frames = stream.rest().await;
            let last = frames.last().unwrap();
            assert_eq!(last.event, "bye", "{version}");
            assert!(
                last.data.starts_with("{\"reason\":\"closed-by-admin\",\"retry\":"),
                "{last:?}"
            );
        }
        assert!(eventually_listed(&server, <[Value]>::is_empty).await.is_empty());
        for id in ["1", "3", "18446744073709551616", "one", "%20"] {
            for method in [Method::GET, Method::DELETE] {
                let path = format!("{SUBSCRIBERS}/{id}");
                problem(request(&server, method, &path, "admin").send().await.unwrap(), 404).await;
            }
        }
        assert_eq!(server.hub.stats().subscribers_ended, 2);
        server.stop().await.unwrap();
    }
}

/// A client of HTTP/2 whose streams get so many bytes ahead of what it has read.
fn with_window(bytes: u32) -> Client {
    let client = Client::builder().http2_prior_knowledge();
    client.http2_initial_stream_window_size(bytes).build().unwrap()
}

#[tokio::test]
async fn a_client_that_grants_no_window_keeps_no_place_once_it_is_to_end() {
    let server = with_four(json!({"write_timeout": "2s"})).await;
    let client = with_window(0);
    let _traces = open(&client, &server, TRACES, "alice").await;
    let _metrics = open(&client, &server, METRICS, "bob").await;
    for id in [1, 2] {
        let path = format!("{SUBSCRIBERS}/{id}");
        let answer = request(&server, Method::DELETE, &path, "admin").send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }
    eventually_listed(&server, <[Value]>::is_empty).await;
    // Its connection is still there, and in nobody's way.
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_of_http2_that_is_not_read_is_reset_and_the_others_of_its_connection_go_on() {
    let server = with_four(json!({"write_timeout": "2s"})).await;
    let client = with_window(30_000);
    let unread = client.get(format!("{}{TRACES}", server.base)).bearer_auth("alice");
    let unread = unread.send().await.unwrap();
    let mut read = open(&client, &server, TRACES, "alice").await;
    // As much in one event as the window takes several times over: it goes out piece by piece.
    let event = json!({"type": "t", "text": "x".repeat(100_000)});
    for _ in 0..3 {
        post(&server, &event).await;
        read.events(1).await;
    }
    eventually_listed(&server, |all| all.len() == 1).await;
    assert_eq!(server.hub.stats().stalled, 1);
    let error = unread.bytes().await.unwrap_err();
    assert!(!error.is_connect(), "{error:?}");
    post(&server, &event).await;
    read.events(1).await;
    assert_eq!(list(&server).await[0]["id"], 2);
    drop(read);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn other_methods_are_told_which_are_allowed_and_a_head_has_no_body() {
    let server = TestServer::start().await;
    let _live = server.watch("").await;
    let one = format!("{SUBSCRIBERS}/1");
    for (path, allow) in [(SUBSCRIBERS, "GET, HEAD"), (&one, "GET, HEAD, DELETE")] {
        let url = format!("{}{path}", server.base);
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::OPTIONS] {
            let answer = server.client.request(method, &url).send().await.unwrap();
            assert_eq!(answer.headers()["allow"], allow, "{path}");
            problem(answer, 405).await;
        }
        let head = server.client.head(&url).send().await.unwrap();
        assert_eq!(
            (head.status().as_u16(), &head.headers()["cache-control"]),
            (200, &"no-store".parse().unwrap())
        );
        assert!(head.bytes().await.unwrap().is_empty());
    }
    problem(
        server.client.delete(format!("{}{SUBSCRIBERS}", server.base)).send().await.unwrap(),
        405,
    )
    .await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let server = TestServer::start().await;
    let mut streams = Vec::new();
    for _ in 0..25 {
        streams.push(server.watch("").await);
    }
    let (mut ids, mut sizes, mut after) = (Vec::new(), Vec::new(), String::new());
    loop {
        let answer = server.get(&format!("{SUBSCRIBERS}?limit=10{after}")).await;
        let page: Value = answer.json().await.unwrap();
        assert_eq!(page["total"], 25);
        let subscribers = page["subscribers"].as_array().unwrap();
        sizes.push(subscribers.len());
        ids.extend(subscribers.iter().map(|subscriber| subscriber["id"].as_u64().unwrap()));
        if page["next"].is_null() {
            break;
        }
        after = format!("&after={}", page["next"]);
    }
    assert_eq!((sizes, ids), (vec![10, 10, 5], (1..=25).collect()));
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=all", "limit"),
        ("after=x", "after"),
        ("after=1&after=2", "after"),
        ("page=2", "page"),
    ] {
        let answer = server.get(&format!("{SUBSCRIBERS}?{query}")).await;
        assert_eq!(problem(answer, 400).await["parameter"], parameter, "{query}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn one_token_has_so_many_streams_and_no_more_until_one_ends() {
    for (version, client) in clients() {
        let server = with_four(json!({"max_subscribers_per_token": 2})).await;
        let first = open(&client, &server, TRACES, "alice").await;
        let _second = open(&client, &server, TRACES, "alice").await;
        let url = format!("{}{TRACES}", server.base);
        let answer = client.get(&url).bearer_auth("alice").send().await.unwrap();
        let retry_after = answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
        assert!((5..15).contains(&retry_after));
        let detail = problem(answer, 429).await["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("2 subscribers"), "{version}: {detail}");
        let _other = open(&client, &server, METRICS, "bob").await;
        drop(first);
        eventually_listed(&server, |all| all.len() == 2).await;
        let _third = open(&client, &server, TRACES, "alice").await;
        let stats = server.hub.stats();
        assert_eq!((stats.subscribers_refused, stats.subscribers_over_limit), (1, 1), "{version}");
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_host_says_where_its_requests_come_from_and_no_header_does() {
    let config = HubConfig { max_subscribers_per_address: 1, ..HubConfig::default() };
    let hub = HubHandle::start(config).await.unwrap();
    let mut service = HubService::new(&hub);
    let mut ask = async |path: &str, peer: Option<&str>| {
        let mut request = hyper::Request::get(path).header("x-forwarded-for", "192.0.2.9");
        if let Some(peer) = peer {
            request = request.extension(PeerAddress(peer.parse().unwrap()));
        }
        service.call(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
    };
    let mut streams = Vec::new();
    for (peer, status) in [
        (Some("2001:db8::1"), 200),
        (Some("2001:db8::2"), 429),
        (Some("::ffff:192.0.2.1"), 200),
        (Some("192.0.2.1"), 429),
        (None, 200),
        (None, 200),
    ] {
        let answer = ask(TRACES, peer).await;
        assert_eq!(answer.status(), status, "{peer:?}");
        streams.push(answer);
    }
    let page = ask(SUBSCRIBERS, None).await.into_body().collect().await.unwrap().to_bytes();
    let page: Value = serde_json::from_slice(&page).unwrap();
    let subscribers = page["subscribers"].as_array().unwrap().iter();
    let addresses: Vec<_> = subscribers.map(|subscriber| &subscriber["address"]).collect();
    assert_eq!(json!(addresses), json!(["2001:db8::1", "192.0.2.1", null, null]));
}
