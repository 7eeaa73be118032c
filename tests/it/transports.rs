//! Streams are the same by HTTP/1.1 and HTTP/2, by TLS and without: each test here runs over all four.

use futures_util::StreamExt;
use reqwest::header::SET_COOKIE;
use serde_json::{Value, json};

use crate::access::known;
use crate::harness::{LiveStream, Transport, eventually, types, within_patience};

const PATH: &str = "/api/telemetry/traces/live";

/// Runs each test over each transport.
macro_rules! over_every_transport {
    ($($test:ident)*) => {
        over_every_transport! { @ http1 Http1 $($test)* }
        over_every_transport! { @ http2 Http2 $($test)* }
        over_every_transport! { @ http1_tls Http1Tls $($test)* }
        over_every_transport! { @ http2_tls Http2Tls $($test)* }
    };
    (@ $module:ident $transport:ident $($test:ident)*) => {
        mod $module {
            use crate::harness::Transport;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(Transport::$transport).await;
                }
            )*
        }
    };
}

over_every_transport! {
    head_and_first_frames_leave_at_once
    everything_arrives_in_order
    a_stream_resumes
    metrics_come_at_their_interval
    hanging_up_ends_the_subscriber
    a_client_that_does_not_read_is_cut_counted_and_told
    a_drain_says_bye
    a_ticket_opens_a_stream_and_a_session_follows
}

async fn head_and_first_frames_leave_at_once(transport: Transport) {
    let server = transport.serve(json!({})).await;
    // The first request of a connection, and the next.
    for _ in 0..2 {
        let response = server.get(PATH).await;
        assert_eq!((response.status().as_u16(), response.version()), (200, transport.version()));
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store, no-transform"),
            ("x-accel-buffering", "no"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        let mut bytes = response.bytes_stream();
        let mut text = String::new();
        while !text.ends_with("{\"interval\":15000}\n\n") {
            let bytes = within_patience(bytes.next()).await.unwrap().unwrap();
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        let (retry, ping) = text.split_once("\n\n").unwrap();
        assert!(ping.starts_with("event: ping\nid: 01"), "{text}");
        assert!(ping.ends_with("\ndata: {\"interval\":15000}\n\n"), "{text}");
        let retry = retry.strip_prefix("retry: ").unwrap();
        assert!((2400..3600).contains(&retry.parse::<u32>().unwrap()), "{text}");
        assert_eq!(server.get("/readyz").await.status(), 200);
    }
    server.stop().await.unwrap();
}

async fn everything_arrives_in_order(transport: Transport) {
    let server = transport.serve(json!({})).await;
    let mut stream = server.watch("").await;
    let pad = "é\"\\".repeat(30_000);
    let mut expected = Vec::new();
    for round in 0..10 {
        // Many small ones, and one that no buffer takes whole.
        let small = (0..100).map(|number| format!("{round}-{number}"));
        expected.extend(small.clone().chain([format!("{round}-large")]));
        let mut events: Vec<_> = small.map(|kind| json!({ "type": kind })).collect();
        events.push(json!({"type": format!("{round}-large"), "data": {"pad": pad}}));
        server.accept(&json!(events)).await;
    }
    let events = stream.events(expected.len()).await;
    assert_eq!(types(&events), expected);
    assert_eq!(events[100]["data"]["pad"], *pad);
    assert_eq!(server.hub.stats().missed, 0);
    server.stop().await.unwrap();
}

async fn a_stream_resumes(transport: Transport) {
    let server = transport.serve(json!({})).await;
    for number in 0..10 {
        server.accept(&json!({"type": format!("n{number}")})).await;
    }
    let seen = server.watch("replay=10").await.events(10).await;
    let request = server.client.get(format!("{}{PATH}", server.base));
    let request = request.header("last-event-id", seen[3]["id"].as_str().unwrap());
    let mut stream = LiveStream::open(request.send().await.unwrap());
    assert_eq!(types(&stream.events(6).await), ["n4", "n5", "n6", "n7", "n8", "n9"]);
    assert_eq!(stream.expect("caught-up").await.0, json!({"replayed": 6}));
    server.stop().await.unwrap();
}

async fn metrics_come_at_their_interval(transport: Transport) {
    let server = transport.serve(json!({})).await;
    let mut stream = server.watch_metrics("metrics=hub.events.received&interval=0.1").await;
    for _ in 0..3 {
        let (samples, _) = stream.expect("metrics").await;
        assert_eq!(samples.as_array().unwrap().len(), 1, "{samples}");
    }
    server.stop().await.unwrap();
}

async fn hanging_up_ends_the_subscriber(transport: Transport) {
    let server = transport.serve(json!({})).await;
    let (hub, stream) = (server.hub.clone(), server.watch("").await);
    let metrics = server.watch_metrics("").await;
    eventually(|| hub.stats().subscribers == 2).await;
    drop((stream, metrics));
    eventually(|| hub.stats().subscribers == 0).await;
    server.stop().await.unwrap();
}

async fn a_client_that_does_not_read_is_cut_counted_and_told(transport: Transport) {
    // By its queue that is full, however patient the socket is.
    let cramped = json!({"subscriber_queue_bytes": "150KB", "stall_timeout": "100ms"});
    check_cut(transport, cramped).await;
    // By the socket that takes nothing, however much room its queue has. Over HTTP/2 it is others' as well.
    if transport.version() == reqwest::Version::HTTP_11 {
        check_cut(transport, json!({"write_timeout": "2s"})).await;
    }
}

async fn check_cut(transport: Transport, settings: Value) {
    let server = transport.serve(settings).await;
    let stalled = server.client.get(format!("{}{PATH}?type=t", server.base)).send().await.unwrap();
    let hub = server.hub.clone();
    eventually(|| hub.stats().subscribers == 1).await;
    let text = "a".repeat(100_000);
    let mut sent = 0;
    within_patience(async {
        while hub.stats().stalled == 0 {
            server.accept(&json!({"type": "t", "text": text})).await;
            sent += 1;
        }
    })
    .await;
    let (mut read, mut missed, mut last) = (0, 0, None);
    for frame in LiveStream::open(stalled).rest().await {
        let data: Value = serde_json::from_str(&frame.data).unwrap_or_default();
        match &*frame.event {
            "trace" => read += data.as_array().unwrap().len() as u64,
            "gap" => missed += data["missed"].as_u64().unwrap(),
            _ => {}
        }
        last = Some((frame.event, data));
    }
    let (kind, bye) = last.unwrap();
    assert_eq!((&*kind, &bye["reason"]), ("bye", &json!("stalled")));
    // The last events may have come when the client had been cut already.
    assert!(read > 0 && read + missed <= sent, "{read} and {missed} of {sent}");
    let stats = hub.stats();
    assert_eq!((stats.stalled, stats.subscribers), (1, 0));
    assert_eq!((stats.delivered, stats.missed), (read, missed));
    server.stop().await.unwrap();
}

async fn a_drain_says_bye(transport: Transport) {
    let server = transport.serve(json!({})).await;
    let stream = server.watch("type=t").await;
    server.accept(&json!({"type": "t"})).await;
    let (stopped, frames) = tokio::join!(server.stop(), stream.rest());
    stopped.unwrap();
    let kinds: Vec<_> = frames.iter().map(|frame| &*frame.event).collect();
    assert_eq!(kinds, ["ping", "trace", "bye"]);
}

async fn a_ticket_opens_a_stream_and_a_session_follows(transport: Transport) {
    let token = known("all", &["traces"], &json!({}));
    let server = transport.serve(json!({ "tokens": [token] })).await;
    let url = format!("{}/api/telemetry/live/tracing-token", server.base);
    let answer = server.client.get(&url).bearer_auth("all").send().await.unwrap();
    let ticket: Value = answer.json().await.unwrap();
    let query = format!("token={}", ticket["data"].as_str().unwrap());
    let answer = server.get(&format!("{PATH}?{query}")).await;
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert_eq!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), transport.is_tls());
    assert_eq!(cookie.starts_with("__Host-telemetry-hub-traces="), transport.is_tls(), "{cookie}");
    let request = server.client.get(format!("{}{PATH}", server.base));
    let session = cookie.split(';').next().unwrap();
    LiveStream::open(request.header("cookie", session).send().await.unwrap());
    server.stop().await.unwrap();
}
