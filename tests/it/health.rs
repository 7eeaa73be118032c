//! Whether the hub works, whether it wants work, and what is no route of it.

use serde_json::json;
use telemetry_hub_actors::Fault;

use crate::harness::{Certificates, TestServer, eventually, problem, within_patience};

#[tokio::test]
async fn a_hub_that_works_is_healthy_and_ready() {
    let server = TestServer::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_restarted_collector_is_healthy_again() {
    let server = TestServer::start().await;
    server.hub.inject(Fault::KillCollector).await;
    let hub = server.hub.clone();
    eventually(|| hub.stats().collector_restarts == 1).await;
    assert_eq!(server.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_hub_that_is_stuck_is_not_healthy() {
    let server = TestServer::start().await;
    server.hub.inject(Fault::HangCollector).await;
    problem(server.get("/healthz").await, 503).await;
    server.hub.inject(Fault::KillCollector).await;
    let hub = server.hub.clone();
    eventually(|| hub.stats().collector_restarts == 1).await;
    assert_eq!(server.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_draining_hub_is_healthy_but_not_ready_and_takes_nothing() {
    let server = TestServer::start().await;
    server.hub.refuse_new_work();
    assert_eq!(server.get("/healthz").await.status(), 200);
    problem(server.get("/readyz").await, 503).await;
    let refused = server.post("{\"type\":\"a\"}").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    problem(refused, 503).await;
    problem(server.get("/api/telemetry/traces/live").await, 503).await;
    problem(server.get("/api/telemetry/metrics/live").await, 503).await;
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    let server = TestServer::start().await;
    for path in [
        "/nope",
        "/live/nope.js",
        "/%2e%2e/Cargo.toml",
        "/api/telemetry/traces",
        "/api/telemetry/traces/live/more",
    ] {
        problem(server.get(path).await, 404).await;
    }
    for (path, allow) in [
        ("/api/telemetry/traces/live", "GET, HEAD"),
        ("/api/telemetry/metrics/live", "GET, HEAD"),
        ("/", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/api/telemetry/sources", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/api/telemetry/events", "POST"),
        ("/api/telemetry/metrics", "POST"),
    ] {
        let response = server.client.delete(format!("{}{path}", server.base)).send().await.unwrap();
        assert_eq!(response.headers()["allow"], allow, "{path}");
        problem(response, 405).await;
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = TestServer::start().await;
    for path in ["/healthz", "/metrics", "/api/telemetry/traces/live"] {
        let response = server.client.head(format!("{}{path}", server.base)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.bytes().await.unwrap().is_empty());
    }
    let hub = server.hub.clone();
    eventually(|| hub.stats().subscribers == 0).await;
}

/// What `telemetry-hub health` says of a hub, and its exit code.
async fn asked(arguments: &[&str]) -> (i32, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.arg("health").args(arguments).env_remove("TELEMETRY_HUB_URL");
    let output = within_patience(command.output()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_asks_how_a_hub_is() {
    let server = TestServer::start().await;
    assert_eq!(asked(&[&server.base]).await, (0, "ready\n".to_owned()));
    assert_eq!(asked(&["--live", &server.base]).await, (0, "works\n".to_owned()));
    server.hub.refuse_new_work();
    let (code, said) = asked(&[&server.base]).await;
    assert_eq!(
        (code, said.contains("503 Service Unavailable: the hub is shutting down")),
        (1, true),
        "{said}"
    );
    assert_eq!(asked(&["--live", &server.base]).await, (0, "works\n".to_owned()));
    let elsewhere = format!("{}/nope", server.base);
    assert_eq!(asked(&[&elsewhere]).await.0, 1);
    let base = server.base.clone();
    server.stop().await.unwrap();
    let (code, said) = asked(&[&base]).await;
    assert_eq!((code, said.contains("cannot reach http://127.0.0.1")), (1, true), "{said}");
    assert_eq!(asked(&["nowhere"]).await.0, 2);
}

/// A hub is known on its own machine by its address; elsewhere by its certificate.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_asks_under_tls_too() {
    let certificates = Certificates::for_localhost();
    let mut settings = json!({});
    certificates.add_to(&mut settings);
    let server = TestServer::with(settings).await;
    let base = server.base.replace("http:", "https:");
    assert_eq!(asked(&[&base]).await, (0, "ready\n".to_owned()));
    let ca = certificates.certificate.to_str().unwrap();
    let named = base.replace("127.0.0.1", "localhost");
    assert_eq!(asked(&["--ca", ca, &named]).await, (0, "ready\n".to_owned()));
    let stranger = Certificates::for_localhost();
    let ca = stranger.certificate.to_str().unwrap();
    assert_eq!(asked(&["--ca", ca, &named]).await.0, 1);
}
