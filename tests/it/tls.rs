//! TLS: which versions, which certificates, and what becomes of streams when a certificate is replaced.

use reqwest::tls::Version;
use serde_json::{Value, json};
use telemetry_hub::{Server, ServerError, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Certificates, TestServer, Transport, types, within_patience};

/// A server with a certificate, and what a client must trust.
async fn serve(mut settings: Value) -> (TestServer, Certificates) {
    let certificates = Certificates::for_localhost();
    certificates.add_to(&mut settings);
    let mut server = TestServer::with(settings).await;
    server.base = server.base.replace("http://127.0.0.1", "https://localhost");
    server.client = Transport::Http2Tls.client(&certificates).build().unwrap();
    (server, certificates)
}

#[tokio::test]
async fn versions_1_2_and_1_3_are_spoken() {
    let (server, certificates) = serve(json!({})).await;
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        for transport in [Transport::Http1Tls, Transport::Http2Tls] {
            let client = transport.client(&certificates);
            let client = client.tls_version_min(version).tls_version_max(version).build().unwrap();
            let answer = client.get(format!("{}/readyz", server.base)).send().await.unwrap();
            assert_eq!(answer.version(), transport.version());
        }
    }
    // A client that knows other certificates does not go on.
    let stranger = Transport::Http1Tls.client(&Certificates::for_localhost()).build().unwrap();
    assert!(stranger.get(format!("{}/readyz", server.base)).send().await.is_err());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_replaced_and_no_stream_notices() {
    let (server, certificates) = serve(json!({})).await;
    let mut stream = server.watch("").await;
    certificates.renew();
    let renewed = async || {
        let client = Transport::Http1Tls.client(&certificates).build().unwrap();
        client.get(format!("{}/readyz", server.base)).send().await.is_ok()
    };
    within_patience(async { while !renewed().await {} }).await;
    // Who knows the old one alone comes no more, but stays as long as they like.
    server.accept(&json!({"type": "by the old connection"})).await;
    assert_eq!(types(&stream.events(1).await), ["by the old connection"]);
    // What is no certificate takes the place of none.
    std::fs::write(&certificates.certificate, "no certificate").unwrap();
    let failed = async || {
        let metrics = server.get("/metrics").await.text().await.unwrap();
        metrics.contains("server_files_failed_total 1")
    };
    within_patience(async { while !failed().await {} }).await;
    server.accept(&json!({"type": "after all"})).await;
    assert_eq!(types(&stream.events(1).await), ["after all"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn clients_show_a_certificate_if_they_must() {
    let (friend, stranger) = (Certificates::for_localhost(), Certificates::for_localhost());
    let (server, certificates) = serve(json!({ "tls_client_ca": friend.certificate })).await;
    for (identity, is_good) in
        [(Some(friend.identity()), true), (Some(stranger.identity()), false), (None, false)]
    {
        for transport in [Transport::Http1Tls, Transport::Http2Tls] {
            let client = transport.client(&certificates);
            let client = identity.iter().cloned().fold(client, reqwest::ClientBuilder::identity);
            let client = client.build().unwrap();
            let answer = client.get(format!("{}/readyz", server.base)).send().await;
            assert_eq!(answer.is_ok(), is_good, "{answer:?}");
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_so() {
    let (server, _) = serve(json!({"head_timeout": "300ms"})).await;
    let address = server.base.replace("https://localhost", "127.0.0.1");
    for request in ["GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within_patience(socket.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https"), "{answer}");
    }
    // Who begins and does not go on has no longer than for a head.
    for begun in [&b""[..], &[22], &[22, 3, 1, 2, 0, 1], &[22; 2000]] {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(begun).await.unwrap();
        within_patience(socket.read_to_end(&mut Vec::new())).await.ok();
    }
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("server_connections_failed_total 6\n"), "{metrics}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn lines_are_sent_over_tls_to_a_server_that_is_known() {
    use std::process::Stdio;
    let (server, certificates) = serve(json!({})).await;
    let send = async |known: &std::path::Path| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
        command.args(["send", "--quiet", "--url", &server.base, "-"]).stdin(Stdio::piped());
        command.env("SSL_CERT_FILE", known).env_remove("SSL_CERT_DIR").kill_on_drop(true);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"hello\n").await.unwrap();
        child
    };
    let mut stream = server.watch("").await;
    let mut child = send(&certificates.certificate).await;
    assert!(within_patience(child.wait()).await.unwrap().success());
    assert_eq!(stream.events(1).await[0]["text"], "hello");
    let mut child = send(&Certificates::for_localhost().certificate).await;
    let gone = tokio::time::timeout(std::time::Duration::from_secs(1), child.wait()).await;
    assert!(gone.is_err() || !gone.unwrap().unwrap().success(), "nothing is sent to a stranger");
    assert_eq!(server.hub.stats().received, 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_hub_does_not_start_with_half_of_what_tls_needs() {
    let (one, other) = (Certificates::for_localhost(), Certificates::for_localhost());
    let settings = |files: Value| {
        let mut settings = json!({"listen": "127.0.0.1:0", "otlp_http": "off", "otlp_grpc": "off"});
        settings.as_object_mut().unwrap().extend(files.as_object().unwrap().clone());
        Settings::load(None, &settings)
    };
    let (certificate, key) = (&one.certificate, &one.key);
    for half in [
        json!({ "tls_certificate": certificate }),
        json!({ "tls_key": key }),
        json!({ "tls_client_ca": certificate }),
    ] {
        let error = settings(half).unwrap_err().to_string();
        assert!(error.contains("needs both"), "{error}");
    }
    for bad in [
        json!({"tls_certificate": certificate, "tls_key": other.key}),
        json!({"tls_certificate": key, "tls_key": key}),
        json!({"tls_certificate": certificate, "tls_key": certificate}),
        json!({"tls_certificate": "nowhere", "tls_key": key}),
        json!({"tls_certificate": certificate, "tls_key": key, "tls_client_ca": key}),
    ] {
        let outcome = Server::bind(settings(bad.clone()).unwrap()).await;
        assert!(matches!(outcome, Err(ServerError::File(_))), "{bad}: {outcome:?}");
    }
}
