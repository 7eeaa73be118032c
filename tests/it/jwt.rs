//! JSON Web Tokens: those that PyJWT made (`tests/data/jwt`), and more by its secret.

use std::path::{Path, PathBuf};

use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use telemetry_hub::{Server, ServerError, Settings};

use crate::access::{TRACES, known, numbers, post, request, watch};
use crate::harness::{TestServer, within_patience};

const SECRET: &[u8] = b"correct horse battery staple, 32 bytes at least";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/jwt").join(name)
}

fn tokens() -> Value {
    serde_json::from_slice(&std::fs::read(data("tokens.json")).unwrap()).unwrap()
}

fn key(algorithm: &str, file: &Path) -> Value {
    json!({
        "algorithm": algorithm,
        "file": file,
        "issuer": "https://idp.example",
        "audience": "telemetry-hub",
    })
}

/// A hub that knows these keys, and a token for those who send.
async fn with_keys(keys: &[Value]) -> TestServer {
    let tokens = [known("in", &["ingest"], &json!({}))];
    TestServer::with(json!({"jwt_keys": keys, "tokens": tokens})).await
}

fn all_keys() -> Vec<Value> {
    let public = ["ES256", "EdDSA", "RS256"].map(|name| key(name, &data(&format!("{name}.pem"))));
    public.into_iter().chain([key("HS256", &data("HS256.secret"))]).collect()
}

/// Claims that are good for everything, changed.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://idp.example",
        "aud": "telemetry-hub",
        "exp": 4_102_444_800_u64,
        "scope": "ingest traces metrics admin",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    // Null takes a claim away, unless it is to be there as null.
    let nulls = claims["nulls"].clone();
    let stays = |name: &String| nulls.as_array().is_some_and(|nulls| nulls.contains(&json!(name)));
    claims.as_object_mut().unwrap().retain(|name, value| !value.is_null() || stays(name));
    claims
}

fn signed(claims: &Value, header: &Header) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

async fn status(server: &TestServer, token: &str) -> (StatusCode, String) {
    let answer = request(server, Method::HEAD, TRACES, token).send().await.unwrap();
    let status = answer.status();
    let refusal = request(server, Method::GET, "/api/telemetry/live/tracing-token", token);
    (status, refusal.send().await.unwrap().text().await.unwrap())
}

#[tokio::test]
async fn each_algorithm_is_good_by_its_key_and_by_no_other() {
    let (keys, tokens) = (all_keys(), tokens());
    for key in &keys {
        let server = with_keys(std::slice::from_ref(key)).await;
        for (algorithm, token) in tokens["good"].as_object().unwrap() {
            let expected = if key["algorithm"] == **algorithm { 200 } else { 401 };
            let (status, told) = status(&server, token.as_str().unwrap()).await;
            assert_eq!(status, expected, "{algorithm} by {key}: {told}");
        }
        server.stop().await.unwrap();
    }
    let server = with_keys(&keys).await;
    for (name, token) in tokens["bad"].as_object().unwrap() {
        let token = token.as_str().unwrap();
        let (status, told) = status(&server, token).await;
        assert_eq!(status, 401, "{name}");
        assert!(told.contains("not known here") && !told.contains(token), "{name}: {told}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn claims_say_what_may_be_seen() {
    let server = with_keys(&all_keys()).await;
    let good = tokens()["good"].clone();
    let alice = good["EdDSA"].as_str().unwrap();
    let mut live = watch(&server, TRACES, alice).await;
    let events = json!([
        {"type": "a", "data": {"account": "bob", "n": 1}},
        {"type": "a", "data": {"account": "alice", "n": 2}},
    ]);
    post(&server, "in", &events).await;
    assert_eq!(numbers(&live.events(1).await), [2]);
    let answer = request(&server, Method::GET, "/metrics", alice).send().await.unwrap();
    assert_eq!(answer.status(), 403);

    // Who may see some events only is not told by metrics how many others there are.
    let limited = signed(&claims(&json!({"filter": "account=alice"})), &Header::default());
    for (path, expected) in [("/metrics", 403), ("/api/telemetry/live/tracing-token", 200)] {
        let answer = request(&server, Method::GET, path, &limited).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
    }

    let few = signed(&claims(&json!({"metrics": "hub.events.received"})), &Header::default());
    let answer = request(&server, Method::GET, "/metrics", &few).send().await.unwrap();
    let text = answer.text().await.unwrap();
    let names = text.lines().filter(|line| !line.starts_with('#'));
    assert!(names.clone().all(|line| line.starts_with("hub_events_received")), "{text}");
    assert_eq!(names.count(), 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn bad_claims_let_nobody_in() {
    let server = with_keys(&all_keys()).await;
    let now = jiff::Timestamp::now().as_second();
    for (changes, expected, told) in [
        (json!({}), 200, "data"),
        (json!({"exp": now + 60}), 200, "data"),
        (json!({"exp": now as f64 + 60.5}), 200, "data"),
        (json!({"aud": ["other", "telemetry-hub"]}), 200, "data"),
        // The clock of who made it may be ahead a little.
        (json!({"nbf": now + 10}), 200, "data"),
        (json!({"filter": "level=warn&follow=trace", "metrics": "a,b*"}), 200, "data"),
        (json!({"exp": now - 1}), 401, "has expired"),
        (json!({"exp": now - 1000}), 401, "has expired"),
        (json!({"exp": null}), 401, "cannot be read"),
        (json!({"exp": "tomorrow"}), 401, "cannot be read"),
        (json!({"exp": -1}), 401, "is missing or"),
        (json!({"exp": 1e300}), 401, "is missing or"),
        (json!({"nbf": now + 1000}), 401, "not good yet"),
        (json!({"nbf": "now"}), 401, "cannot be read"),
        (json!({"iss": "https://evil.example"}), 401, "another issuer"),
        (json!({"iss": null}), 401, "is missing or"),
        (json!({"iss": 7}), 401, "is missing or"),
        (json!({"aud": "other"}), 401, "another audience"),
        (json!({"aud": ["other"]}), 401, "another audience"),
        (json!({"aud": null}), 401, "is missing or"),
        (json!({"filter": "level=loud"}), 401, "`filter` cannot be read"),
        (json!({"filter": "replay=5"}), 401, "`filter` cannot be read"),
        (json!({"filter": 7}), 401, "cannot be read"),
        // A limit that is none was meant to be one.
        (json!({"filter": ""}), 401, "is no limit"),
        (json!({"filter": "follow=none"}), 401, "is no limit"),
        (json!({"filter": null, "nulls": ["filter"]}), 401, "cannot be read"),
        (json!({"metrics": null, "nulls": ["metrics"]}), 401, "cannot be read"),
        (json!({"metrics": ","}), 401, "`metrics` cannot be read"),
        (json!({"metrics": ["a"]}), 401, "cannot be read"),
        (json!({"scope": null}), 401, "cannot be read"),
        (json!({"scope": ["traces"]}), 401, "cannot be read"),
        (json!({"scope": "openid"}), 403, "has not the scope `traces`"),
        (json!({"scope": "Traces"}), 403, "has not the scope `traces`"),
        // What a ticket of the hub's own says means nothing in another's token.
        (json!({"exp": now - 1, "grant_exp": now + 1000}), 401, "has expired"),
    ] {
        let (status, answer) =
            status(&server, &signed(&claims(&changes), &Header::default())).await;
        assert_eq!(status, expected, "{changes}: {answer}");
        assert!(answer.contains(told), "{changes}: {answer}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_with_exp() {
    let server = with_keys(&all_keys()).await;
    let exp = jiff::Timestamp::now().as_second() + 2;
    let token = signed(&claims(&json!({"exp": exp, "grant_exp": exp + 1000})), &Header::default());
    let mut live = watch(&server, TRACES, &token).await;
    assert_eq!(live.expect("bye").await.0["reason"], "expired-token");
    assert!(jiff::Timestamp::now().as_second() >= exp);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_key_may_have_an_id() {
    let mut keys = [key("HS256", &data("HS256.secret"))];
    keys[0]["key_id"] = json!("2026");
    let server = with_keys(&keys).await;
    for (kid, expected) in [(Some("2026"), 200), (None, 200), (Some("2025"), 401)] {
        let header = Header { kid: kid.map(str::to_owned), ..Header::default() };
        let (status, told) = status(&server, &signed(&claims(&json!({})), &header)).await;
        assert_eq!(status, expected, "{kid:?}: {told}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_replaced_is_good_at_once_and_the_old_one_no_more() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rotated.secret");
    std::fs::write(&file, SECRET).unwrap();
    let server = with_keys(&[key("HS256", &file)]).await;
    let old = signed(&claims(&json!({})), &Header::default());
    let other = EncodingKey::from_secret(&[b'x'; 40]);
    let new = jsonwebtoken::encode(&Header::default(), &claims(&json!({})), &other).unwrap();
    let mut live = watch(&server, TRACES, &old).await;

    let answers = async |token: &str, expected: u16| {
        within_patience(async { while status(&server, token).await.0 != expected {} }).await;
    };
    answers(&new, 401).await;
    std::fs::write(&file, [b'x'; 40]).unwrap();
    answers(&new, 200).await;
    answers(&old, 401).await;
    // What is no key takes the place of none.
    std::fs::write(&file, "too short").unwrap();
    let failed = async || {
        let text = request(&server, Method::GET, "/metrics", &new).send().await.unwrap();
        text.text().await.unwrap().contains("server_files_failed_total 1")
    };
    within_patience(async { while !failed().await {} }).await;
    answers(&new, 200).await;
    // Streams that were opened with the old key go on: their right ends with `exp`.
    post(&server, "in", &json!({"type": "a", "data": {"n": 1}})).await;
    assert_eq!(numbers(&live.events(1).await), [1]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_hub_does_not_start_with_a_bad_key() {
    let short = Path::new(env!("CARGO_TARGET_TMPDIR")).join("short.secret");
    std::fs::write(&short, "x".repeat(31)).unwrap();
    for (algorithm, file, told) in [
        ("HS256", short, "32 bytes"),
        ("ES256", data("nowhere"), "No such file"),
        ("ES256", data("RS256.pem"), "no key for ES256"),
        ("RS256", data("ES256.pem"), "no key for RS256"),
        ("EdDSA", data("HS256.secret"), "no key for EdDsa"),
    ] {
        let settings = json!({
            "listen": "127.0.0.1:0", "otlp_http": "off", "otlp_grpc": "off",
            "jwt_keys": [key(algorithm, &file)],
        });
        let outcome = Server::bind(Settings::load(None, &settings).unwrap()).await;
        let error = outcome.unwrap_err();
        let ServerError::File(error) = error else { panic!("{error}") };
        let told_all = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(
            told_all.contains(told) && told_all.contains(&*file.to_string_lossy()),
            "{told_all}"
        );
    }
    for (name, value) in [("algorithm", json!("HS512")), ("algorithm", json!("none"))] {
        let mut bad = key("HS256", &data("HS256.secret"));
        bad[name] = value;
        assert!(Settings::load(None, &json!({ "jwt_keys": [bad] })).is_err());
    }
}
