//! Who brings something: `GET /api/telemetry/sources`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::access::{guarded, known, post, request};
use crate::harness::{TestServer, problem};

const SOURCES: &str = "/api/telemetry/sources";

async fn sources(server: &TestServer) -> Vec<Value> {
    let list: Value = server.get(SOURCES).await.json().await.unwrap();
    list["sources"].as_array().unwrap().clone()
}

#[tokio::test]
async fn who_brings_something_is_listed_with_what_came_of_it() {
    let server = TestServer::start().await;
    assert_eq!(sources(&server).await, Vec::<Value>::new());
    let post = async |path: &str, agent: &str, body: Value| {
        let request = server.client.post(format!("{}{path}", server.base)).json(&body);
        request.header("user-agent", agent).send().await.unwrap()
    };
    let events = json!([{"type": "a"}, {"type": 1}]);
    for _ in 0..2 {
        assert_eq!(post("/api/telemetry/events", "logger/1", events.clone()).await.status(), 200);
    }
    let metrics = json!([{"id": "m", "type": "counter", "value": 1}]);
    assert_eq!(post("/api/telemetry/metrics", "logger/1", metrics).await.status(), 200);
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}]}]}]});
    assert_eq!(post("/v1/logs", "sdk/2", logs).await.status(), 200);
    // What could not even be read is nobody's.
    assert_eq!(post("/nope", "stranger", json!({})).await.status(), 404);

    let list = sources(&server).await;
    let told = |source: &Value| {
        let number = |name: &str| source[name].as_u64().unwrap();
        let text = |name: &str| source[name].as_str().unwrap().to_owned();
        assert_eq!(source["address"], "127.0.0.1");
        assert!(text("since") <= text("lastSeen"));
        let counts = [number("requests"), number("items"), number("rejected")];
        (text("via"), text("agent"), counts, number("bytes"))
    };
    let told: Vec<_> = list.iter().map(told).collect();
    let size = |value: &Value| value.to_string().len() as u64;
    assert_eq!(told.len(), 3);
    assert_eq!((&*told[0].0, &*told[0].1, told[0].2), ("otlp", "sdk/2", [1, 1, 0]));
    assert_eq!((&*told[1].0, &*told[1].1, told[1].2), ("metrics", "logger/1", [1, 1, 0]));
    let both = ("events".to_owned(), "logger/1".to_owned(), [2, 2, 2], 2 * size(&events));
    assert_eq!(told[2], both);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_source_has_the_name_of_its_token_and_only_an_admin_sees_it() {
    let known = |token: &str, scope: &str| known(token, &[scope], &json!({}));
    let server = guarded(vec![known("sender", "ingest"), known("boss", "admin")]).await;
    post(&server, "sender", &json!({"type": "a"})).await;
    let ask = |token| request(&server, Method::GET, SOURCES, token).send();
    problem(ask("sender").await.unwrap(), 403).await;
    let list: Value = ask("boss").await.unwrap().json().await.unwrap();
    assert_eq!(list["sources"][0]["name"], "sender");
    server.stop().await.unwrap();
}
