//! What a real mail server sent, and the answers that filters must give on it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use telemetry_hub_actors::{Object, Value};

use crate::harness::{LiveStream, TestServer, data, webhook_bodies};

#[derive(Deserialize)]
struct Case {
    query: String,
    positions: Vec<usize>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    events: Vec<Sent<'a>>,
}

/// An event as the mail server sent it.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(rename = "createdAt")]
    created_at: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// An event as the hub sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    id: String,
    #[serde(rename = "createdAt")]
    created_at: String,
    signal: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "spanId")]
    span_id: Option<String>,
    data: Option<Box<RawValue>>,
}

/// What of an event must arrive as it was sent, byte by byte but for white space.
#[derive(Debug, PartialEq)]
struct Essence {
    created_at: String,
    kind: String,
    span_id: Option<String>,
    data: String,
}

impl Sent<'_> {
    fn essence(&self) -> Essence {
        let members: HashMap<&str, &RawValue> = serde_json::from_str(self.data.get()).unwrap();
        let span_id = members.get("spanId").map(|span_id| span_id.get().to_owned());
        let Value::Object(data) = serde_json::from_str(self.data.get()).unwrap() else {
            panic!("{}", self.data);
        };
        let data: Object = data.into_iter().filter(|(key, _)| &**key != "spanId").collect();
        Essence {
            created_at: self.created_at.to_owned(),
            kind: self.kind.to_owned(),
            span_id,
            data: serde_json::to_string(&data).unwrap(),
        }
    }
}

impl Received {
    fn essence(&self) -> Essence {
        assert_eq!(self.signal, "log");
        Essence {
            created_at: self.created_at.clone(),
            kind: self.kind.clone(),
            span_id: self.span_id.clone(),
            data: self.data.as_ref().map_or("{}", |data| data.get()).to_owned(),
        }
    }
}

async fn cases() -> Vec<Case> {
    serde_json::from_str(&data("stalwart-expected.json.zst").await).unwrap()
}

/// All events that a stream brings until the hub ends it.
async fn collect(stream: LiveStream) -> Vec<Received> {
    let mut events = Vec::new();
    for frame in stream.rest().await {
        match frame.event.as_str() {
            "trace" => {
                let batch: Vec<Received> = serde_json::from_str(&frame.data).unwrap();
                assert_eq!(batch.last().unwrap().id, frame.id);
                events.extend(batch);
            }
            "ping" | "caught-up" => {}
            "bye" => assert!(frame.data.contains("shutdown"), "{frame:?}"),
            other => panic!("{other}: {}", frame.data),
        }
    }
    events
}

#[track_caller]
fn check(case: &Case, received: &[Received], sent: &[Essence]) {
    let query = &case.query;
    assert_eq!(received.len(), case.positions.len(), "{query}");
    for (received, position) in received.iter().zip(&case.positions) {
        assert_eq!(received.essence(), sent[*position], "{query}, position {position}");
    }
    let ids: Vec<_> = received.iter().map(|event| &event.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{query}: ids increase");
}

async fn post_all(server: &TestServer, bodies: &[String]) -> Vec<Essence> {
    let mut sent = Vec::new();
    for body in bodies {
        let events: Body<'_> = serde_json::from_str(body).unwrap();
        sent.extend(events.events.iter().map(Sent::essence));
        let answer = server.post(body.clone()).await.text().await.unwrap();
        assert_eq!(answer, format!("{{\"accepted\":{}}}", events.events.len()));
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn live_streams_carry_exactly_what_their_query_selects() {
    let (server, cases, bodies) =
        (TestServer::start().await, cases().await, webhook_bodies().await);
    let mut streams = Vec::new();
    for case in &cases {
        streams.push(tokio::spawn(collect(server.watch(&case.query).await)));
    }
    let sent = post_all(&server, &bodies).await;
    assert_eq!(sent.len(), 6621);
    server.stop().await.unwrap();
    for (case, stream) in cases.iter().zip(streams) {
        check(case, &stream.await.unwrap(), &sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_carry_exactly_what_their_query_selects() {
    let (server, cases, bodies) =
        (TestServer::start().await, cases().await, webhook_bodies().await);
    let sent = post_all(&server, &bodies).await;
    let mut streams = Vec::new();
    for case in &cases {
        let stream = server.watch(&format!("{}&since=1h", case.query)).await;
        streams.push(tokio::spawn(collect(stream)));
    }
    server.stop().await.unwrap();
    for (case, stream) in cases.iter().zip(streams) {
        check(case, &stream.await.unwrap(), &sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_minute_of_a_newcomer() {
    let server = TestServer::start().await;
    let mut stream = server.watch("remote-ip=127.0.0.7").await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let body = tokio::fs::read(format!("{folder}/stalwart-events.ndjson.zst")).await.unwrap();
    let request = server.client.post(format!("{}/api/telemetry/events", server.base));
    let request = request.header("content-type", "application/x-ndjson");
    let answer = request.header("content-encoding", "zstd").body(body).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "{\"accepted\":6621}");
    for event in stream.events(68).await {
        assert_eq!(event["data"]["remoteIp"], "127.0.0.7");
    }
}

#[tokio::test]
async fn span_ids_above_2_to_the_53rd_are_exact() {
    let server = TestServer::start().await;
    let mut stream = server.watch("type=smtp.ehlo").await;
    let body = &webhook_bodies().await[1];
    assert!(body.contains("341966570238591030"));
    server.post(body.clone()).await;
    let (events, _) = stream.expect("trace").await;
    assert_eq!(events[0]["spanId"], "341966570238591030");
}
