//! What is tried again at another hub, and what never is: to send events twice makes two of each.

use reqwest::StatusCode;

use crate::fakes::{Fake, Fate};
use crate::harness::Transport;
use crate::hubs::event;
use crate::proxy::{KINDS, Kind, Proxy, TRANSPORTS, free_port};

async fn fakes(fates: [Fate; 3]) -> [Fake; 3] {
    let [one, two, three] = fates;
    [Fake::start(one).await, Fake::start(two).await, Fake::start(three).await]
}

async fn before(kind: Kind, fakes: &[Fake; 3]) -> Proxy {
    Proxy::start(kind, &fakes.each_ref().map(|fake| fake.address)).await
}

/// All that has reached any of them, sorted.
fn bodies(fakes: &[Fake; 3]) -> Vec<String> {
    let mut bodies: Vec<_> = fakes.iter().flat_map(Fake::bodies).collect();
    bodies.sort_unstable();
    bodies
}

/// Fails if any of them has come twice, to one or to two.
#[track_caller]
fn none_came_twice(proxy: &Proxy, fakes: &[Fake; 3]) {
    let bodies = bodies(fakes);
    assert!(bodies.len() > 2, "{proxy}: {bodies:?}");
    let is_twice = bodies.windows(2).any(|pair| pair[0] == pair[1]);
    assert!(!is_twice, "{proxy}: {bodies:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn a_post_that_was_sent_is_not_sent_again() {
    for kind in KINDS {
        for transport in TRANSPORTS {
            for (fate, retry_after, expected) in [
                (Fate::Lost, "2", StatusCode::BAD_GATEWAY),
                (Fate::Unavailable, "7", StatusCode::SERVICE_UNAVAILABLE),
            ] {
                let fakes = fakes([fate; 3]).await;
                let proxy = before(kind, &fakes).await;
                let client = proxy.client(transport);
                for number in 0..6 {
                    let answer = proxy.post(&client, &event(number)).await;
                    assert_eq!(answer.status(), expected, "{proxy} {transport:?} {fate:?}");
                    assert_eq!(answer.headers()["retry-after"], retry_after, "{proxy} {fate:?}");
                }
                none_came_twice(&proxy, &fakes);
            }
        }
    }
}

/// A connection that was good for one request may end under the next one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn nor_over_a_connection_that_was_kept() {
    for kind in KINDS {
        for transport in TRANSPORTS {
            let fakes = fakes([Fate::LostIfSecond; 3]).await;
            let proxy = before(kind, &fakes).await;
            let client = proxy.client(transport);
            for number in 0..12 {
                let status = proxy.post(&client, &event(number)).await.status();
                assert!(status == 200 || status == 502, "{proxy} {transport:?}: {status}");
            }
            none_came_twice(&proxy, &fakes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn a_get_goes_on_to_the_next_hub() {
    for kind in KINDS {
        for fate in [Fate::Lost, Fate::Unavailable] {
            let fakes = fakes([fate, fate, Fate::Taken]).await;
            let proxy = before(kind, &fakes).await;
            for _ in 0..9 {
                let client = proxy.client(Transport::Http2Tls);
                for path in ["/api/telemetry/traces/live", "/api/telemetry/sources"] {
                    assert_eq!(proxy.get(&client, path).await.status(), 200, "{proxy} {fate:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn where_nobody_listens_nothing_was_sent_and_all_goes_on() {
    for kind in KINDS {
        let fake = Fake::start(Fate::Taken).await;
        let nobody = || std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        let proxy = Proxy::start(kind, &[nobody(), nobody(), fake.address]).await;
        let client = proxy.client(Transport::Http2Tls);
        for _ in 0..9 {
            assert_eq!(proxy.post(&client, &event(1)).await.status(), 200, "{proxy}");
            let stream = proxy.get(&client, "/api/telemetry/traces/live").await;
            assert_eq!(stream.status(), 200, "{proxy}");
        }
        assert_eq!(fake.bodies().len(), 18, "{proxy}");
    }
}
