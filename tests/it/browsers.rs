//! What a browser needs that cannot send headers: tickets, sessions, and leave for pages of other origins.

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::access::{EVENTS, METRICS, TRACES, known, numbers, post, request};
use crate::harness::{LiveStream, TestServer};

const TRACING_TOKEN: &str = "/api/telemetry/live/tracing-token";
const METRICS_TOKEN: &str = "/api/telemetry/live/metrics-token";

async fn hub() -> TestServer {
    let tokens = [
        known("all", &["ingest", "traces", "metrics"], &json!({})),
        known(
            "alice",
            &["traces", "metrics"],
            &json!({
                "filter": "account=alice&text=a%26b", "metrics": "hub.events.received,queue.*",
            }),
        ),
        known("in", &["ingest"], &json!({})),
    ];
    TestServer::with(json!({ "tokens": tokens })).await
}

async fn ticket(server: &TestServer, path: &str, token: &str) -> String {
    let answer = request(server, Method::GET, path, token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer.as_object().unwrap().len(), 1);
    answer["data"].as_str().unwrap().to_owned()
}

/// As an `EventSource` asks: with no headers but the browser's own.
async fn open(server: &TestServer, path: &str, query: &str, headers: &[(&str, &str)]) -> Response {
    let request = server.client.get(format!("{}{path}?{query}", server.base));
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

/// The name and the value of the one cookie, and what else is said of it.
fn cookie(headers: &HeaderMap) -> (String, String) {
    let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
    let [cookie] = cookies[..] else { panic!("{cookies:?}") };
    let (pair, rest) = cookie.to_str().unwrap().split_once("; ").unwrap();
    (pair.to_owned(), rest.to_owned())
}

#[tokio::test]
async fn a_ticket_opens_the_streams_of_its_signal_and_nothing_else() {
    let server = hub().await;
    let (traces, metrics) =
        (ticket(&server, TRACING_TOKEN, "all").await, ticket(&server, METRICS_TOKEN, "all").await);
    for (path, ticket, expected) in [
        (TRACES, &traces, 200),
        (METRICS, &metrics, 200),
        (METRICS, &traces, 403),
        (TRACES, &metrics, 403),
        ("/metrics", &metrics, 401),
        (TRACING_TOKEN, &traces, 401),
    ] {
        let answer = open(&server, path, &format!("token={ticket}"), &[]).await;
        assert_eq!(answer.status(), expected, "{path}");
    }
    // Nor is it a token, nor a token a ticket.
    for (path, ticket) in [(TRACES, &traces), (METRICS, &metrics)] {
        let answer = request(&server, Method::GET, path, ticket).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    for bad in ["token=all", "token=", "token", "", &format!("token={traces}x")] {
        assert_eq!(open(&server, TRACES, bad, &[]).await.status(), 401, "{bad}");
    }
    // Who sends a token is asked for that alone.
    let bad = [("authorization", "Bearer nobody")];
    let answer = open(&server, TRACES, &format!("token={traces}"), &bad).await;
    assert_eq!(answer.status(), 401);
    for token in ["in", "nobody"] {
        for path in [TRACING_TOKEN, METRICS_TOKEN] {
            let answer = request(&server, Method::GET, path, token).send().await.unwrap();
            assert!([401, 403].contains(&answer.status().as_u16()));
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_ticket_grants_no_more_than_the_token_did_nor_does_the_session() {
    let server = hub().await;
    let ticket_of_alice = ticket(&server, TRACING_TOKEN, "alice").await;
    let answer = open(&server, TRACES, &format!("token={ticket_of_alice}"), &[]).await;
    let (session, _) = cookie(answer.headers());
    let mut live = LiveStream::open(answer);
    let mut again = LiveStream::open(open(&server, TRACES, "", &[("cookie", &session)]).await);
    let events = json!([
        {"type": "a", "text": "a&b", "data": {"account": "bob", "n": 1}},
        {"type": "a", "text": "b", "data": {"account": "alice", "n": 2}},
        {"type": "a", "text": "a&b", "data": {"account": "alice", "n": 3}},
    ]);
    post(&server, "in", &events).await;
    for live in [&mut live, &mut again] {
        assert_eq!(numbers(&live.events(1).await), [3]);
    }
    let ticket_of_alice = ticket(&server, METRICS_TOKEN, "alice").await;
    let answer = open(&server, METRICS, &format!("token={ticket_of_alice}"), &[]).await;
    let (samples, _) = LiveStream::open(answer).expect("metrics").await;
    let ids: Vec<_> = samples.as_array().unwrap().iter().map(|sample| &sample["id"]).collect();
    assert_eq!(ids, ["hub.events.received", "queue.count"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_session_outlives_the_ticket_for_the_page_that_had_it() {
    let server = hub().await;
    // The first request of a connection, whose stream leaves HTTP's machinery, and one over HTTP/2.
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for client in [reqwest::Client::new(), http2] {
        let good = ticket(&server, TRACING_TOKEN, "all").await;
        let url = format!("{}{TRACES}?token={good}", server.base);
        // What is not granted does not use it up.
        let refused = client.get(format!("{url}&level=loud")).send().await.unwrap();
        assert_eq!((refused.status().as_u16(), refused.headers().get(SET_COOKIE)), (400, None));
        let answer = client.get(&url).send().await.unwrap();
        let (session, said) = cookie(answer.headers());
        assert_eq!(said, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
        // Who finds the ticket in a log gets a stream as long as it is good, and no session.
        let again = client.get(&url).send().await.unwrap();
        assert_eq!((again.status().as_u16(), again.headers().get(SET_COOKIE)), (200, None));
        // Another site of the same domain may have set one of that name.
        let session = format!("theme=dark; telemetry-hub-traces=x; {session}; other=1");
        let host = server.base.strip_prefix("http://").unwrap();
        for (headers, expected) in [
            (&[][..], 200),
            (&[("sec-fetch-site", "same-origin")], 200),
            (&[("origin", &server.base)], 200),
            (&[("sec-fetch-site", "cross-site")], 403),
            (&[("sec-fetch-site", "same-site")], 403),
            (&[("origin", "https://evil.example")], 403),
            (&[("origin", "null")], 403),
        ] {
            let headers = [headers, &[("cookie", &*session), ("host", host)]].concat();
            // With the ticket that was good once, as a browser repeats its URL.
            let answer = open(&server, TRACES, "token=old", &headers).await;
            assert_eq!(answer.status(), expected, "{headers:?}");
            assert!(!answer.headers().contains_key(SET_COOKIE));
        }
        // It is good for the streams of its signal alone, and to read.
        let cookie = [("cookie", &*session)];
        for path in [METRICS, "/metrics", TRACING_TOKEN] {
            assert_eq!(open(&server, path, "", &cookie).await.status(), 401, "{path}");
        }
        let send = server.client.post(format!("{}{EVENTS}", server.base)).header(COOKIE, &session);
        assert_eq!(send.json(&json!({})).send().await.unwrap().status(), 401);
        let forged = [("cookie", "telemetry-hub-traces=e30.e30.e30")];
        assert_eq!(open(&server, TRACES, "", &forged).await.status(), 401);
        // A ticket is no session.
        let ticket = format!("telemetry-hub-traces={good}");
        assert_eq!(open(&server, TRACES, "", &[("cookie", &ticket)]).await.status(), 401);
    }
    server.stop().await.unwrap();
}

/// Several hubs behind one address: the next request may come to another.
#[tokio::test]
async fn hubs_with_one_key_take_one_anothers_tickets_and_sessions() {
    let hub = async |key: &str| {
        let tokens = [known("all", &["traces", "metrics"], &json!({}))];
        TestServer::with(json!({"tokens": tokens, "ticket_key": key})).await
    };
    let key = "one key for all of these hubs, which nobody else has";
    let (one, two) = (hub(key).await, hub(key).await);
    let stranger = hub("another key, as long as that of these hubs is").await;
    let good = ticket(&one, TRACING_TOKEN, "all").await;
    let query = format!("token={good}");
    let answer = open(&two, TRACES, &query, &[]).await;
    assert_eq!(answer.status(), 200);
    let (session, _) = cookie(answer.headers());
    for (server, expected) in [(&one, 200), (&two, 200), (&stranger, 401)] {
        assert_eq!(open(server, TRACES, &query, &[]).await.status(), expected);
        let again = open(server, TRACES, "", &[("cookie", &session)]).await;
        assert_eq!(again.status(), expected);
    }
    // What is made for one purpose or signal is good for no other there, either.
    assert_eq!(open(&one, METRICS, &query, &[]).await.status(), 403);
    let as_session = format!("telemetry-hub-traces={good}");
    assert_eq!(open(&one, TRACES, "", &[("cookie", &as_session)]).await.status(), 401);
}

#[tokio::test]
async fn a_ticket_can_be_asked_for_that_begins_no_session() {
    let server = hub().await;
    for (path, token) in [(TRACES, TRACING_TOKEN), (METRICS, METRICS_TOKEN)] {
        let alone = ticket(&server, &format!("{token}?session=none"), "all").await;
        let answer = open(&server, path, &format!("token={alone}"), &[]).await;
        assert_eq!((answer.status().as_u16(), answer.headers().get(SET_COOKIE)), (200, None));
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stream_by_ticket_ends_with_the_token_and_not_with_the_ticket() {
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let soon = known("soon", &["traces"], &json!({ "expires": expires.to_string() }));
    let server = TestServer::with(json!({ "tokens": [soon] })).await;
    let good = ticket(&server, TRACING_TOKEN, "soon").await;
    let answer = open(&server, TRACES, &format!("token={good}"), &[]).await;
    let (session, _) = cookie(answer.headers());
    assert_eq!(LiveStream::open(answer).expect("bye").await.0["reason"], "expired-token");
    for query in ["token=old", &format!("token={good}")] {
        assert_eq!(open(&server, TRACES, query, &[("cookie", &session)]).await.status(), 401);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn without_tokens_tickets_are_given_and_not_asked_for() {
    let server = TestServer::start().await;
    let answer: Value = server.get(TRACING_TOKEN).await.json().await.unwrap();
    let ticket = answer["data"].as_str().unwrap();
    for query in [format!("token={ticket}"), "token=x".to_owned()] {
        let answer = open(&server, TRACES, &query, &[]).await;
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key(SET_COOKIE));
    }
    server.stop().await.unwrap();
}

/// What an answer says of other origins.
fn cors(answer: &Response) -> Vec<(String, String)> {
    let headers = answer.headers().iter();
    let headers = headers.filter(|(name, _)| {
        name.as_str().starts_with("access-control-") || *name == "vary" || *name == LOCATION
    });
    headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn pages_of_the_origins_named_may_read_and_no_others() {
    const GOOD: &str = "https://status.example";
    for tokens in [json!([]), json!([known("all", &["ingest", "traces", "metrics"], &json!({}))])] {
        let server = TestServer::with(json!({"tokens": tokens, "cors_origins": [GOOD]})).await;
        let has_tokens = tokens != json!([]);
        for path in [TRACES, METRICS, "/metrics", "/nowhere", "/api/telemetry/traces/live?level=x"]
        {
            for (origin, is_good) in [
                (GOOD, true),
                ("https://status.example:8443", false),
                ("http://status.example", false),
                ("https://evil.example", false),
                ("https://status.example.evil.example", false),
                ("null", false),
            ] {
                // Once as the first of a connection, once later.
                for client in [&reqwest::Client::new(), &server.client] {
                    let request = client.get(format!("{}{path}", server.base)).bearer_auth("all");
                    let request = request.header("origin", origin);
                    let answer =
                        request.header("sec-fetch-site", "cross-site").send().await.unwrap();
                    let said = cors(&answer);
                    let allowed = ("access-control-allow-origin".to_owned(), GOOD.to_owned());
                    assert_eq!(said.contains(&allowed), is_good, "{path} {origin}: {said:?}");
                    assert!(said.contains(&("vary".to_owned(), "origin".to_owned())), "{said:?}");
                    let is_known_path = path != "/nowhere";
                    if !is_good && !has_tokens && is_known_path {
                        assert_eq!(answer.status(), 403, "{path} {origin}");
                    }
                    if is_good {
                        assert_ne!(answer.status(), 403, "{path}");
                    }
                }
            }
        }
        let preflight = async |origin: &str| {
            let url = format!("{}{EVENTS}", server.base);
            let request = server.client.request(Method::OPTIONS, url).header("origin", origin);
            request.header("access-control-request-method", "POST").send().await.unwrap()
        };
        let answer = preflight(GOOD).await;
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["access-control-allow-methods"], "GET, HEAD, POST, DELETE");
        let answer = preflight("https://evil.example").await;
        assert_eq!((answer.status().as_u16(), cors(&answer).len()), (405, 1), "{answer:?}");
        server.stop().await.unwrap();
    }
}
