//! A hub that ends or dies: its streams are told, and go on at another hub at their first attempt.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, interval};

use crate::harness::{LiveStream, Transport, within_patience};
use crate::hubs::{Hub, LOOK_AGAIN, event};
use crate::proxy::{KINDS, Kind, Proxy, TRANSPORTS};

const STREAMS: usize = 30;

/// So many streams through it, which are at all hubs alike.
async fn watch(proxy: &Proxy, client: &reqwest::Client, hubs: &[Hub; 3]) -> Vec<LiveStream> {
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(proxy.watch(client).await);
    }
    for hub in hubs {
        hub.has_subscribers(STREAMS / 3).await;
    }
    streams
}

/// Follows a stream that has an event to come, over the end of its hub: how often it had to begin anew, each time at its first attempt.
async fn follow(mut stream: LiveStream, proxy: &Proxy, client: &reqwest::Client) -> Followed {
    let mut followed = Followed::default();
    loop {
        match stream.frame().await {
            Some(frame) if frame.event == "trace" => return followed,
            Some(frame) if frame.event == "bye" => followed.told += 1,
            Some(_) => {}
            None => {
                followed.moved += 1;
                stream = proxy.watch(client).await;
            }
        }
    }
}

#[derive(Debug, Default)]
struct Followed {
    told: usize,
    moved: usize,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn a_hub_that_ends_moves_its_streams() {
    for kind in KINDS {
        for transport in TRANSPORTS {
            let mut hubs = Hub::three(&[]).await;
            let proxy = Proxy::start(kind, &Hub::addresses(&hubs)).await;
            let client = proxy.client(transport);
            let streams = watch(&proxy, &client, &hubs).await;
            let following =
                join_all(streams.into_iter().map(|stream| follow(stream, &proxy, &client)));
            let ending = async {
                let start = Instant::now();
                hubs[0].signal("-TERM").await;
                assert_eq!(hubs[0].ended().await, Some(0));
                while hubs[1].subscribers().await.len() + hubs[2].subscribers().await.len()
                    < STREAMS
                {
                    assert_eq!(proxy.get(&client, "/readyz").await.status(), 200);
                }
                println!("{proxy} {transport:?}: all moved {:.1?} after SIGTERM", start.elapsed());
                for hub in &hubs[1..] {
                    hub.accept(&event(1)).await;
                }
            };
            let (followed, ()) = tokio::join!(within_patience(following), ending);
            for Followed { told, moved } in &followed {
                assert_eq!(told, moved, "{proxy} {transport:?}");
            }
            let moved: usize = followed.iter().map(|one| one.moved).sum();
            assert_eq!(moved, STREAMS / 3, "{proxy} {transport:?}: each once");
        }
    }
}

/// How a stream that has no end breaks is the proxy's to say, so that here only the answers to the next attempts are looked at.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn a_hub_that_dies_is_found_out_at_once() {
    for kind in KINDS {
        for transport in TRANSPORTS {
            let mut hubs = Hub::three(&[]).await;
            let proxy = Proxy::start(kind, &Hub::addresses(&hubs)).await;
            let client = proxy.client(transport);
            let mut streams = Vec::new();
            for _ in 0..STREAMS {
                streams.push(proxy.get(&client, "/api/telemetry/traces/live").await);
            }
            hubs[2].has_subscribers(STREAMS / 3).await;
            hubs[2].signal("-KILL").await;
            let start = Instant::now();
            hubs[2].ended().await;
            let moving = streams.into_iter().map(async |mut stream| {
                // A ping is 15 s away: what still stands then has not broken.
                let broken = async { while let Ok(Some(_)) = stream.chunk().await {} };
                let is_broken = tokio::time::timeout(Duration::from_secs(3), broken).await.is_ok();
                if is_broken {
                    stream = proxy.get(&client, "/api/telemetry/traces/live").await;
                    assert_eq!(stream.status(), 200, "{proxy} {transport:?}");
                }
                (is_broken, stream)
            });
            let moved = join_all(moving).await;
            let count = moved.iter().filter(|(is_broken, _)| *is_broken).count();
            assert_eq!(count, STREAMS / 3, "{proxy} {transport:?}");
            println!("{proxy} {transport:?}: looked at {:.1?} after the kill", start.elapsed());
            assert_eq!(
                hubs[0].subscribers().await.len() + hubs[1].subscribers().await.len(),
                STREAMS
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn a_hub_that_is_back_gets_streams_again() {
    for kind in KINDS {
        let mut hubs = Hub::three(&[]).await;
        let proxy = Proxy::start(kind, &Hub::addresses(&hubs)).await;
        let client = proxy.client(Transport::Http2Tls);
        hubs[0].signal("-KILL").await;
        hubs[0].ended().await;
        let mut streams = Vec::new();
        for _ in 0..8 {
            streams.push(proxy.watch(&client).await);
        }
        let start = Instant::now();
        let back = Hub::start_at(&hubs[0].address.to_string(), &[]).await;
        let mut tick = interval(LOOK_AGAIN * 5);
        let fill = async {
            while back.subscribers().await.is_empty() {
                tick.tick().await;
                streams.push(proxy.watch(&client).await);
            }
        };
        within_patience(fill).await;
        println!("{proxy}: a stream again {:.1?} after it was back", start.elapsed());
        // nginx: fail_timeout. HAProxy: two good answers, and then not more than its share.
        let most = if kind == Kind::Nginx { 8 } else { 15 };
        assert!(start.elapsed() < Duration::from_secs(most), "{proxy}: {:?}", start.elapsed());
    }
}
