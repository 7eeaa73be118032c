//! What a browser and the hub say to one another about who asks for what reaches them through a proxy as it was said.

use serde_json::Value;

use crate::harness::{Transport, problem};
use crate::hubs::{Hub, token};
use crate::proxy::{KINDS, Proxy, TRANSPORTS};

const STREAM: &str = "/api/telemetry/traces/live";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn origins_are_compared_with_the_host_that_the_browser_named() {
    let hub = Hub::start(&[]).await;
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        for transport in TRANSPORTS {
            let client = proxy.client(transport);
            for (origin, status) in [
                (proxy.base.as_str(), 200),
                ("https://localhost", 403),
                ("https://evil.example", 403),
            ] {
                let answer =
                    client.get(proxy.url(STREAM)).header("origin", origin).send().await.unwrap();
                assert_eq!(answer.status(), status, "{proxy} {transport:?} {origin}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn tickets_open_streams_and_stand_in_no_log() {
    let (token, file) = token().await;
    let hub = Hub::start(&[("CONFIG", file.to_str().unwrap())]).await;
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        let client = proxy.client(Transport::Http2Tls);
        problem(proxy.get(&client, STREAM).await, 401).await;
        let asked = client.get(proxy.url("/api/telemetry/live/tracing-token")).bearer_auth(&token);
        let answer: Value = asked.send().await.unwrap().json().await.unwrap();
        let ticket = answer["data"].as_str().unwrap();
        let stream = proxy.get(&client, &format!("{STREAM}?token={ticket}")).await;
        assert_eq!(stream.status(), 200);
        let cookie = stream.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.to_ascii_lowercase().contains("; secure"), "{cookie}");
        // Cookies come back unharmed, too.
        let cookie = cookie.split(';').next().unwrap();
        let again = client.get(proxy.url(STREAM)).header("cookie", cookie).send().await.unwrap();
        assert_eq!(again.status(), 200);
        drop((stream, again, client));
        let log = proxy.log_with(STREAM).await;
        assert!(!log.contains(ticket) && !log.contains("token="), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn everybody_has_the_address_of_the_proxy() {
    let hub = Hub::start(&[]).await;
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        let client = proxy.client(Transport::Http1Tls);
        let request = client.get(proxy.url(STREAM)).header("x-forwarded-for", "203.0.113.7");
        let stream = request.header("forwarded", "for=203.0.113.7").send().await.unwrap();
        assert_eq!(stream.status(), 200);
        hub.has_subscribers(1).await;
        assert_eq!(hub.subscribers().await[0]["address"], "127.0.0.1");
        drop(stream);
        hub.has_subscribers(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
async fn numbers_of_subscribers_mean_nothing_here() {
    let hub = Hub::start(&[]).await;
    for kind in KINDS {
        let proxy = Proxy::start(kind, &[hub.address]).await;
        let client = proxy.client(Transport::Http2Tls);
        let stream = proxy.watch(&client).await;
        hub.has_subscribers(1).await;
        let id = hub.subscribers().await[0]["id"].to_string();
        let url = proxy.url(&format!("/api/telemetry/subscribers/{id}"));
        problem(client.delete(url).send().await.unwrap(), 403).await;
        assert_eq!(hub.subscribers().await.len(), 1);
        assert_eq!(proxy.get(&client, "/api/telemetry/subscribers").await.status(), 200);
        drop(stream);
        hub.has_subscribers(0).await;
    }
}
