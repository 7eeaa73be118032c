//! Streams through a proxy: nothing waits in it, none is cut because it is quiet, and whose client goes is let go.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use crate::harness::{LiveStream, Transport, within_patience};
use crate::hubs::{Hub, event};
use crate::proxy::{KINDS, Kind, Proxy, QUIET, TRANSPORTS};

/// How many events are timed.
const EVENTS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn events_arrive_at_once() {
    let hub = Hub::start(&[]).await;
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        for transport in TRANSPORTS {
            let client = proxy.client(transport);
            let request = client.get(proxy.url("/api/telemetry/traces/live"));
            let request = request.header("accept-encoding", "gzip, br, zstd");
            let answer = within_patience(request.send()).await.unwrap();
            assert_eq!(answer.version(), transport.version());
            assert_eq!(answer.headers().get("content-encoding"), None);
            let mut stream = LiveStream::open(answer);
            let mut times = Vec::new();
            for number in 0..EVENTS {
                let start = Instant::now();
                assert_eq!(proxy.post(&client, &event(number)).await.status(), 200);
                assert_eq!(stream.events(1).await[0]["data"]["number"], number);
                times.push(start.elapsed());
            }
            times.sort_unstable();
            let (median, last) = (times[EVENTS / 2], times[EVENTS - 1]);
            println!("{proxy} {transport:?}: from POST to stream p50 {median:.1?}, max {last:.1?}");
            assert!(median < Duration::from_millis(60), "{proxy} {transport:?}: {times:?}");
        }
    }
}

/// The times of the proxies' files that a stream could run into.
fn short_times(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Nginx => {
            &[("_timeout 75s", "_timeout 2s"), ("proxy_read_timeout 45s", "proxy_read_timeout 2s")]
        }
        Kind::HaProxy => &[
            ("timeout client 75s", "timeout client 2s"),
            ("timeout server 75s", "timeout server 2s"),
            ("timeout server 45s", "timeout server 2s"),
            ("timeout http-keep-alive 75s", "timeout http-keep-alive 2s"),
        ],
    }
}

/// The file has 45 s, and pings come every 15 s; here it is 2 s, and a ping every half second.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn quiet_streams_live_by_their_pings() {
    let hub = Hub::start(&[("PING_INTERVAL", "500ms")]).await;
    let silent = Hub::start(&[]).await;
    let all = KINDS.into_iter().flat_map(|kind| TRANSPORTS.map(|transport| (kind, transport)));
    let streams = join_all(all.map(async |(kind, transport)| {
        let proxy = Proxy::with_times(kind, &[hub.address], short_times(kind)).await;
        let to_silent = Proxy::with_times(kind, &[silent.address], short_times(kind)).await;
        let (stream, ()) = tokio::join!(outlives(&proxy, transport), is_cut(&to_silent, transport));
        (proxy, stream)
    }));
    let streams = streams.await;
    hub.accept(&event(1)).await;
    for (proxy, mut stream) in streams {
        assert_eq!(stream.events(1).await[0]["type"], "deploy.test", "{proxy}");
    }
}

async fn outlives(proxy: &Proxy, transport: Transport) -> LiveStream {
    let mut stream = proxy.watch(&proxy.client(transport)).await;
    let until = Instant::now() + QUIET;
    let mut pings = 0;
    while let Ok(frame) = timeout_at(until, stream.frame()).await {
        let frame =
            frame.unwrap_or_else(|| panic!("{proxy} {transport:?}: cut after {pings} pings"));
        assert_eq!(frame.event, "ping");
        pings += 1;
    }
    assert!(pings > 10, "{pings}");
    stream
}

/// Without pings the same times do end it: they are what the test is about.
async fn is_cut(proxy: &Proxy, transport: Transport) {
    let start = Instant::now();
    let client = proxy.client(transport);
    let mut answer = proxy.get(&client, "/api/telemetry/traces/live").await;
    while let Ok(Some(_)) = within_patience(answer.chunk()).await {}
    let lived = start.elapsed();
    assert!(lived > Duration::from_secs(1) && lived < QUIET, "{proxy} {transport:?}: {lived:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn a_client_that_goes_is_let_go() {
    let hub = Hub::start(&[]).await;
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        for transport in TRANSPORTS {
            let client = proxy.client(transport);
            let streams = [proxy.watch(&client).await, proxy.watch(&client).await];
            hub.has_subscribers(2).await;
            // Another that stays, over the same connection if it is HTTP/2.
            let stays = proxy.watch(&client).await;
            drop(streams);
            let start = Instant::now();
            hub.has_subscribers(1).await;
            assert!(start.elapsed() < Duration::from_secs(5), "{proxy} {transport:?}");
            drop((stays, client));
            hub.has_subscribers(0).await;
        }
    }
}
