//! `GET /api/telemetry/traces/live`, frame by frame.

use serde_json::{Value, json};

use crate::harness::{LiveStream, TestServer, eventually, problem, types};

const PATH: &str = "/api/telemetry/traces/live";

#[tokio::test]
async fn an_event_has_the_documented_shape() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    server
        .accept(&json!({
            "type": "auth.failed", "level": "warning", "text": "no", "createdAt": "2026-11-22T10:12:19Z",
            "spanId": 341966511470027318_u64, "traceId": "t", "parentSpanId": "p",
            "data": {"remoteIp": "127.0.0.1", "accountName": "alice"}
        }))
        .await;
    let (data, id) = stream.expect("trace").await;
    assert_eq!(
        data,
        json!([{
            "id": id, "createdAt": "2026-11-22T10:12:19Z", "signal": "log", "type": "auth.failed",
            "level": "WARN", "text": "no", "traceId": "t", "spanId": "341966511470027318",
            "parentSpanId": "p", "data": {"remoteIp": "127.0.0.1", "accountName": "alice"}
        }])
    );
    assert_eq!(id.as_bytes()[14], b'7', "{id} is a UUIDv7");
}

#[tokio::test]
async fn silence_is_filled_with_pings() {
    let server = TestServer::with(json!({"ping_interval": "50ms"})).await;
    let mut stream = server.watch("").await;
    for _ in 0..3 {
        let frame = stream.frame().await.unwrap();
        assert_eq!((frame.event.as_str(), frame.data.as_str()), ("ping", "{\"interval\":50}"));
    }
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_id() {
    let server = TestServer::start().await;
    let mut first = server.watch("type=n").await;
    for number in 0..10 {
        server.accept(&json!({"type": format!("n{number}")})).await;
    }
    let seen = first.events(10).await;
    let id = seen[3]["id"].as_str().unwrap();
    for (query, header) in
        [("", Some(id)), (&*format!("last-event-id={id}"), None), (&*format!("since={id}"), None)]
    {
        let mut request = server.client.get(format!("{}{PATH}?type=n&{query}", server.base));
        if let Some(id) = header {
            request = request.header("last-event-id", id);
        }
        let mut stream = LiveStream::open(request.send().await.unwrap());
        assert_eq!(types(&stream.events(6).await), ["n4", "n5", "n6", "n7", "n8", "n9"]);
        assert_eq!(stream.expect("caught-up").await.0, json!({"replayed": 6}));
    }
}

#[tokio::test]
async fn who_has_had_no_event_resumes_after_the_place_where_the_stream_began() {
    let server = TestServer::start().await;
    server.accept(&json!({"type": "before"})).await;
    // By the first ping of one that begins live, and by the end of a replay.
    for (query, kind) in [("", "ping"), ("type=nothing&replay=5", "caught-up")] {
        let mut stream = server.watch(query).await;
        let place = loop {
            let frame = stream.frame().await.unwrap();
            if frame.event == kind {
                break frame.id;
            }
            assert_eq!(frame.id, "", "a replay that breaks begins again");
        };
        drop(stream);
        server.accept(&json!([{"type": "a"}, {"type": "b"}])).await;
        let mut stream = server.watch(&format!("last-event-id={place}")).await;
        assert_eq!(types(&stream.events(2).await), ["a", "b"]);
        let (caught_up, place) = stream.expect("caught-up").await;
        assert_eq!(caught_up, json!({"replayed": 2}));
        // Nor does who has had them get them again.
        let mut stream = server.watch(&format!("last-event-id={place}")).await;
        assert_eq!(stream.expect("caught-up").await.0, json!({"replayed": 0}));
    }
}

#[tokio::test]
async fn who_has_had_no_event_of_a_hub_that_is_gone_is_told_so_by_the_next() {
    let server = TestServer::start().await;
    let place = server.watch("").await.frame().await.unwrap().id;
    server.stop().await.unwrap();
    let next = TestServer::start().await;
    let mut stream = next.watch(&format!("last-event-id={place}")).await;
    let (gap, _) = stream.expect("gap").await;
    assert_eq!(gap, json!({"reason": "expired", "missed": null, "from": place, "to": null}));
}

#[tokio::test]
async fn an_id_that_the_buffer_does_not_reach_is_told_as_expired() {
    let server = TestServer::start().await;
    let old = "00000000-0000-7000-8000-000000000000";
    let mut stream = server.watch(&format!("last-event-id={old}")).await;
    let (gap, _) = stream.expect("gap").await;
    assert_eq!(gap, json!({"reason": "expired", "missed": null, "from": old, "to": null}));
    assert_eq!(stream.expect("caught-up").await.0, json!({"replayed": 0}));
    assert_eq!(server.hub.stats().replays_expired, 1);
}

#[tokio::test]
async fn replay_brings_the_last_ones() {
    let server = TestServer::start().await;
    server.accept(&json!([{"type": "a"}, {"type": "b"}, {"type": "a"}, {"type": "c"}])).await;
    let mut stream = server.watch("replay=2").await;
    assert_eq!(types(&stream.events(2).await), ["a", "c"]);
    assert_eq!(stream.expect("caught-up").await.0, json!({"replayed": 2}));
    server.accept(&json!({"type": "live"})).await;
    assert_eq!(types(&stream.events(1).await), ["live"]);
}

#[tokio::test]
async fn levels_are_a_threshold_and_none_counts_as_info() {
    let server = TestServer::start().await;
    let mut warnings = server.watch("level=warn").await;
    let mut infos = server.watch("level=INFO").await;
    for level in ["trace", "debug", "info", "warn", "error", "fatal"] {
        server.accept(&json!({"type": level, "level": level})).await;
    }
    server.accept(&json!({"type": "none"})).await;
    server.accept(&json!({"type": "end", "level": "fatal"})).await;
    assert_eq!(types(&warnings.events(4).await), ["warn", "error", "fatal", "end"]);
    assert_eq!(types(&infos.events(6).await), ["info", "warn", "error", "fatal", "none", "end"]);
}

#[tokio::test]
async fn a_query_of_control_characters_is_only_a_query() {
    let server = TestServer::start().await;
    let mut stream = server.watch("filter=%0D%0Aevent:%20bye%0A%0A%00&follow=none").await;
    server.accept(&json!({"type": "a"})).await;
    server.accept(&json!({"text": "\r\nevent: bye\n\n\u{0}", "type": "b"})).await;
    assert_eq!(types(&stream.events(1).await), ["b"]);
}

#[tokio::test]
async fn bad_parameters_get_400_with_their_name() {
    let server = TestServer::start().await;
    let many: Vec<String> = (0..33).map(|number| format!("k{number}=1")).collect();
    for (query, parameter) in [
        ("level=loud", "level"),
        ("follow=x", "follow"),
        ("since=soon", "since"),
        ("replay=many", "replay"),
        ("=x", ""),
        ("a%0Ab=x", "a\nb"),
        ("k=%FF", "k"),
        ("last-event-id=x", "last-event-id"),
        (&many.join("&"), "k32"),
        (&format!("k={}", "x".repeat(1025)), "k"),
        ("where=data.x%20=%205", "where"),
        ("where=nowhere", "where"),
        (&format!("where={}", "(".repeat(1024)), "where"),
        (&format!("where={}", "[1].all(a,".repeat(100)), "where"),
    ] {
        let problem = problem(server.get(&format!("{PATH}?{query}")).await, 400).await;
        assert_eq!(problem["parameter"], parameter, "{query}");
    }
    let request = server.client.get(format!("{}{PATH}", server.base));
    let response = request.header("last-event-id", "x").send().await.unwrap();
    assert_eq!(problem(response, 400).await["parameter"], "Last-Event-ID");
    assert_eq!(server.hub.stats().subscribers, 0);
}

#[tokio::test]
async fn nothing_can_begin_a_new_field() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let evil = "x\r\nevent: bye\r\rdata: {}\n\nid: 5\u{0}\u{2028}";
    let event = json!({
        "type": evil, "text": evil, "spanId": evil, "traceId": evil, "parentSpanId": evil,
        "data": {evil: evil, "nested": {evil: [evil]}}, evil: evil,
    });
    server.accept(&event).await;
    server.accept(&json!({"type": "end"})).await;
    let events = stream.events(2).await;
    for member in ["type", "text", "spanId", "traceId", "parentSpanId"] {
        assert_eq!(events[0][member], evil, "{member}");
    }
    assert_eq!(events[0]["data"][evil], evil);
    assert_eq!(events[0]["data"]["nested"][evil], json!([evil]));
    assert_eq!(types(&events[1..]), ["end"]);
}

#[tokio::test]
async fn hanging_up_ends_the_subscriber() {
    let server = TestServer::start().await;
    let stream = server.watch("type=a").await;
    let hub = server.hub.clone();
    assert_eq!((hub.stats().subscribers, hub.stats().filters), (1, 1));
    drop(stream);
    eventually(|| hub.stats().subscribers == 0 && hub.stats().filters == 0).await;
}

#[tokio::test]
async fn many_streams_share_one_connection_over_http_2() {
    let server = TestServer::start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let mut streams = Vec::new();
    for number in 0..50 {
        let url = format!("{}{PATH}?n={number}", server.base);
        let response = client.get(url).send().await.unwrap();
        assert_eq!(response.version(), reqwest::Version::HTTP_2);
        streams.push(LiveStream::open(response));
    }
    let events: Vec<Value> = (0..50).map(|n| json!({"type": "t", "data": {"n": n}})).collect();
    server.accept(&json!(events)).await;
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(stream.events(1).await[0]["data"]["n"], number);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_the_others_notice_nothing() {
    let settings = json!({"write_timeout": "200ms", "subscriber_queue_bytes": "64 KiB"});
    let server = TestServer::with(settings).await;
    let hub = server.hub.clone();
    let stalled = crate::hostile::raw_request(
        &server,
        &format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    )
    .await;
    let mut healthy = server.watch("").await;
    eventually(|| hub.stats().subscribers == 2).await;
    let text = "x".repeat(100_000);
    let mut sent = 0;
    while hub.stats().subscribers == 2 {
        server.accept(&json!({"type": "t", "text": text, "data": {"n": sent}})).await;
        assert_eq!(healthy.events(1).await[0]["data"]["n"], sent);
        sent += 1;
    }
    drop(stalled);
}

#[tokio::test]
async fn a_stream_with_a_rate_gets_a_sample_and_is_told_of_the_rest() {
    let server = TestServer::start().await;
    let mut stream = server.watch("max-rate=10").await;
    let events: Vec<Value> = (0..200).map(|n| json!({"type": format!("n{n}")})).collect();
    server.accept(&json!(events)).await;
    assert_eq!(stream.events(10).await.len(), 10);
    let (gap, _) = stream.expect("gap").await;
    assert_eq!((&gap["reason"], &gap["missed"]), (&json!("sampled"), &json!(190)));
    for rate in ["0", "-5", "fast", "1000001"] {
        let response = server.get(&format!("{PATH}?max-rate={rate}")).await;
        let problem = problem(response, 400).await;
        assert_eq!(problem["parameter"], "max-rate", "{rate}");
    }
}

#[tokio::test]
async fn an_expression_decides_with_the_other_parameters() {
    let server = TestServer::start().await;
    let expression = "data.ms%20%3E%20250%20%26%26%20!has(data.test)";
    let mut stream = server.watch(&format!("type=slow&follow=none&where={expression}")).await;
    for event in [
        json!({"type": "slow.a", "data": {"ms": 251}}),
        json!({"type": "slow.b", "data": {"ms": 250}}),
        json!({"type": "slow.c", "data": {"ms": 300, "test": true}}),
        json!({"type": "slow.d", "data": {"ms": "long"}}),
        json!({"type": "fast.e", "data": {"ms": 300}}),
        json!({"type": "slow.f"}),
        json!({"type": "slow.g", "data": {"ms": 250.5}}),
    ] {
        server.accept(&event).await;
    }
    assert_eq!(types(&stream.events(2).await), ["slow.a", "slow.g"]);
    let refused = problem(server.get(&format!("{PATH}?where=data.x%20=%205")).await, 400).await;
    assert!(refused["detail"].as_str().unwrap().contains("at its character 8"), "{refused}");
}

#[tokio::test]
async fn a_costly_expression_leaves_the_other_streams_going() {
    let server = TestServer::start().await;
    let mut healthy = server.watch("").await;
    let mut streams = Vec::new();
    for expression in [
        "data.list.all(a,data.list.exists(b,a==b))",
        "data.list.all(a,a==1%26%26text.contains('b'))",
        "data.list.all(a,text.matches('([ab]*a[ab]{12})'))",
        "[text,text].map(a,a%2Ba%2Ba%2Ba).size()>0",
    ] {
        let response = server.get(&format!("{PATH}?follow=none&where={expression}")).await;
        if response.status() == 200 {
            streams.push(LiveStream::open(response));
        }
    }
    assert_eq!(streams.len(), 3, "one loop in another is refused");
    let (text, list) = ("ab".repeat(100_000), vec![1; 200_000]);
    for number in 0..5 {
        let data = json!({"n": number, "list": list});
        server.accept(&json!({"type": "t", "text": text, "data": data})).await;
        assert_eq!(healthy.events(1).await[0]["data"]["n"], number);
    }
    server.accept(&json!({"type": "t", "text": "b", "data": {"n": 5, "list": [1]}})).await;
    for stream in &mut streams[..1] {
        assert_eq!(stream.events(1).await[0]["data"]["n"], 5);
    }
}
