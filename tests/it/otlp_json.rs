//! OTLP in JSON, in all the spellings that exporters use: each is read to the last member, or rejected and counted.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::harness::TestServer;

fn logs(record: &Value) -> String {
    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).to_string()
}

async fn post(server: &TestServer, path: &str, body: String) -> Value {
    server.post_to(path, "application/json", body).await.json().await.unwrap()
}

/// What becomes of one log record.
async fn event(server: &TestServer, record: Value) -> Value {
    let mut stream = server.watch("").await;
    assert_eq!(post(server, "/v1/logs", logs(&record)).await, json!({}), "{record}");
    let mut event = stream.events(1).await.remove(0);
    let members = event.as_object_mut().unwrap();
    members.remove("id");
    members.remove("createdAt");
    event
}

#[tokio::test]
async fn every_spelling_of_a_record_is_read() {
    let server = TestServer::start().await;
    let id = "5b8efff798038103d269b633813fc60c";
    let expected = json!({
        "signal": "log", "type": "t", "level": "WARN", "text": "body",
        "traceId": id, "spanId": "eee19b7ec3c1b174",
        "data": {"int": i64::MIN, "nothing": null, "list": [1, "a", {"k": true}], "bytes": "AAE="},
    });
    let attributes = |int: Value| {
        json!([
            {"key": "int", "value": {"intValue": int}},
            {"key": "nothing", "value": {}},
            {"key": "list", "value": {"arrayValue": {"values": [
                {"intValue": 1}, {"stringValue": "a"},
                {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": true}}]}},
            ]}}},
            {"key": "bytes", "value": {"bytesValue": "AAE="}},
        ])
    };
    let record = |time: Value, severity: Value, int: Value, id: &str| {
        json!({
            "timeUnixNano": time, "severityNumber": severity, "eventName": "t",
            "body": {"stringValue": "body"}, "attributes": attributes(int),
            "traceId": id, "spanId": "eEe19b7eC3C1B174",
        })
    };
    let (as_text, upper) = (i64::MIN.to_string(), id.to_uppercase());
    for record in [
        record(json!("1544712660300000000"), json!(13), json!(as_text), id),
        record(
            json!(1_544_712_660_300_000_000_u64),
            json!("SEVERITY_NUMBER_WARN"),
            json!(i64::MIN),
            &upper,
        ),
        json!({
            "time_unix_nano": 5, "severity_number": "SEVERITY_NUMBER_WARN4", "event_name": "t",
            "body": {"string_value": "body"}, "attributes": attributes(json!(i64::MIN)),
            "trace_id": id, "span_id": "eee19b7ec3c1b174",
            "observedTimeUnixNano": null, "flags": null, "severityText": null,
            "someday": {"another": ["member"]},
        }),
    ] {
        assert_eq!(event(&server, record).await, expected);
    }
}

#[tokio::test]
async fn what_a_record_leaves_out_is_left_out() {
    let server = TestServer::start().await;
    let nothing = json!({"signal": "log", "type": "log", "data": {}});
    assert_eq!(event(&server, json!({})).await, nothing);
    let zero = json!({"traceId": "0".repeat(32), "spanId": "", "severityNumber": 0, "body": {}});
    assert_eq!(event(&server, zero).await, nothing);
    assert_eq!(event(&server, json!({"severityText": "Error"})).await["level"], "ERROR");
}

#[tokio::test]
async fn types_bodies_and_spans_are_found_where_sources_put_them() {
    let server = TestServer::start().await;
    let attribute = |key: &str, value: Value| json!({"key": key, "value": value});
    let named = attribute("event.name", json!({"stringValue": "by.attribute"}));
    let record = json!({"attributes": [named]});
    assert_eq!(event(&server, record).await["type"], "by.attribute");
    let map = json!({"kvlistValue": {"values": [
        attribute("a", json!({"intValue": 1})), attribute("b", json!({"doubleValue": "NaN"})),
    ]}});
    let record =
        json!({"body": map, "attributes": [attribute("a", json!({"stringValue": "first"}))]});
    let data = json!({"a": "first", "body.a": 1, "b": "NaN"});
    assert_eq!(event(&server, record).await["data"], data);
    assert_eq!(
        event(&server, json!({"body": {"intValue": "7"}})).await["data"],
        json!({"body": 7})
    );
    for (value, expected) in [
        (json!({"intValue": "341966570238591030"}), "341966570238591030"),
        (json!({"stringValue": "abc"}), "abc"),
    ] {
        let event = event(&server, json!({"attributes": [attribute("spanId", value)]})).await;
        assert_eq!((&event["spanId"], &event["data"]), (&json!(expected), &json!({})));
    }
    let own = json!({"spanId": "eee19b7ec3c1b174", "attributes": [attribute("spanId", json!({"intValue": 1}))]});
    let event = event(&server, own).await;
    assert_eq!(
        (&event["spanId"], &event["data"]),
        (&json!("eee19b7ec3c1b174"), &json!({"spanId": 1}))
    );
}

fn attributes(names: &[&str], value: &str) -> Value {
    names.iter().map(|name| json!({"key": name, "value": {"stringValue": value}})).collect()
}

/// Sends one record, and gives the frame in which it comes.
async fn frame_of(path: &str, body: Value) -> String {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    assert_eq!(post(&server, path, body.to_string()).await, json!({}));
    loop {
        let frame = stream.frame().await.unwrap();
        if frame.event == "trace" {
            return frame.data;
        }
    }
}

#[tokio::test]
async fn attributes_of_record_scope_and_resource_come_in_this_order_and_the_first_of_a_name_wins() {
    let resource = attributes(&["a", "b", "c", "service.name"], "resource");
    for (scope, record, expected) in [
        (
            &["a", "b"][..],
            &["a"][..],
            r#"{"a":"record","b":"scope","c":"resource","service.name":"resource"}"#,
        ),
        (
            &["a", "b"],
            &["z"],
            r#"{"z":"record","a":"scope","b":"scope","c":"resource","service.name":"resource"}"#,
        ),
        (
            &[],
            &["z"],
            r#"{"z":"record","a":"resource","b":"resource","c":"resource","service.name":"resource"}"#,
        ),
        (&[], &["c"], r#"{"c":"record","a":"resource","b":"resource","service.name":"resource"}"#),
    ] {
        let body = json!({"resourceLogs": [{
            "resource": {"attributes": resource},
            "scopeLogs": [{
                "scope": {"name": "the.scope", "attributes": attributes(scope, "scope")},
                "logRecords": [{"attributes": attributes(record, "record")}],
            }],
        }]});
        let frame = frame_of("/v1/logs", body).await;
        assert!(frame.contains(&format!(r#""data":{expected}"#)), "{frame}");
        assert!(frame.contains(r#""type":"the.scope""#), "{frame}");
    }
}

#[tokio::test]
async fn what_a_span_says_comes_after_all_attributes_and_takes_no_name_of_theirs() {
    let span = json!({"traceId": "1".repeat(32), "spanId": "2".repeat(16), "name": "s", "kind": 2,
                      "attributes": attributes(&["status"], "span")});
    let frame = frame_of(
        "/v1/traces",
        json!({"resourceSpans": [{
            "resource": {"attributes": attributes(&["kind"], "resource")},
            "scopeSpans": [{"spans": [span]}],
        }]}),
    )
    .await;
    let data = r#""data":{"status":"span","kind":"resource","span.kind":"server","span.status":{"code":"unset"}}"#;
    assert!(frame.contains(data), "{frame}");
}

#[tokio::test]
async fn many_attributes_are_all_there_once() {
    let server = TestServer::start().await;
    let attribute = |n: usize| json!({"key": format!("k{}", n % 600), "value": {"intValue": n}});
    let attributes: Vec<Value> = (0..1200).map(attribute).collect();
    let event = event(&server, json!({"attributes": attributes})).await;
    let expected: Map<String, Value> = (0..600).map(|n| (format!("k{n}"), json!(n))).collect();
    assert_eq!(event["data"], Value::Object(expected));
}

/// Each of these hides a mistake deep inside, which a reader that skips what it cannot read would never see.
#[tokio::test]
async fn whatever_cannot_be_read_is_rejected_and_counted_never_half_read() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let with_attribute =
        |value: Value| json!({"eventName": "bad", "attributes": [{"key": "k", "value": value}]});
    let bad_logs = [
        with_attribute(json!({"intValue": "12x"})),
        with_attribute(json!({"intValue": 1.5})),
        with_attribute(json!({"intValue": "9223372036854775808"})),
        with_attribute(json!({"boolValue": "yes"})),
        with_attribute(json!({"stringValue": 5})),
        with_attribute(json!({"bytesValue": "***"})),
        with_attribute(json!({"stringValue": "a", "intValue": 1})),
        with_attribute(json!({"arrayValue": {"values": [{"intValue": []}]}})),
        with_attribute(
            json!({"kvlistValue": {"values": [{"key": "n", "value": {"doubleValue": "x"}}]}}),
        ),
        with_attribute(json!("text")),
        json!({"attributes": {"k": "v"}}),
        json!({"traceId": "5b8efff798038103d269b633813fc6"}),
        json!({"traceId": "5b8efff798038103d269b633813fc60g"}),
        json!({"spanId": "odd"}),
        json!({"timeUnixNano": "-1"}),
        json!({"severityNumber": "LOUD"}),
        json!("record"),
    ];
    for bad in &bad_logs {
        let good = json!({"eventName": "good"});
        let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [bad, good]}]}]});
        let answer = post(&server, "/v1/logs", body.to_string()).await;
        assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], "1", "{bad} {answer}");
        assert_ne!(answer["partialSuccess"]["errorMessage"], "", "{bad}");
    }
    let events = stream.events(bad_logs.len()).await;
    assert!(crate::harness::types(&events).iter().all(|kind| *kind == "good"));
    let point = |point: Value| json!({"name": "m", "gauge": {"dataPoints": [point, {"asInt": 1}]}});
    let good = json!({"name": "good", "gauge": {"dataPoints": [{"asDouble": 1.5}]}});
    for (bad, rejected) in [
        (point(json!({"asInt": "12x"})), "2"),
        (point(json!({"asDouble": {}})), "2"),
        (point(json!({})), "1"),
        (point(json!({"asDouble": "NaN"})), "1"),
        (
            point(json!({"asInt": "1", "attributes": [{"key": "k", "value": {"intValue": "x"}}]})),
            "2",
        ),
        (
            json!({"name": "m", "sum": {"dataPoints": [{"asInt": 1}], "aggregationTemporality": "SIDEWAYS"}}),
            "1",
        ),
        (json!({"name": "m", "sum": {"dataPoints": [{"asInt": 1}], "isMonotonic": true}}), "1"),
        (json!({"name": "m"}), "1"),
        (json!({"name": "m", "gauge": {}, "sum": {}}), "1"),
    ] {
        let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [bad, good]}]}]});
        let answer = post(&server, "/v1/metrics", body.to_string()).await;
        assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], rejected, "{bad} {answer}");
    }
    let span = |members: Value| {
        let mut span = json!({"traceId": "1".repeat(32), "spanId": "2".repeat(16), "name": "s"});
        span.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        span
    };
    for bad in [
        span(json!({"traceId": ""})),
        span(json!({"spanId": "2222"})),
        span(json!({"events": [{"attributes": [{"key": "k", "value": {"intValue": "x"}}]}]})),
        span(json!({"links": [{"traceId": "xyz"}]})),
        span(json!({"status": {"code": "BROKEN"}})),
    ] {
        let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [bad, span(json!({}))]}]}]});
        let answer = post(&server, "/v1/traces", body.to_string()).await;
        assert_eq!(answer["partialSuccess"]["rejectedSpans"], "1", "{bad} {answer}");
    }
    for body in ["", "[]", "{", r#"{"resourceLogs":{}}"#, r#"{"resourceLogs":[{"scopeLogs":[5]}]}"#]
    {
        let answer = server.post_to("/v1/logs", "application/json", body).await;
        assert_eq!(answer.status(), 400, "{body}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], 3, "{body}");
    }
}

#[tokio::test]
async fn the_combined_path_tells_json_by_its_outermost_name() {
    let server = TestServer::start().await;
    let mut stream = server.watch("").await;
    let span = json!({"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": "1".repeat(32), "spanId": "2".repeat(16), "name": "s"}]}]}]});
    let metric = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "m", "sum": {"isMonotonic": true, "aggregationTemporality": "AGGREGATION_TEMPORALITY_DELTA",
                              "dataPoints": [{"asInt": "3"}]}}]}]}]});
    for body in
        [logs(&json!({"eventName": "l"})), span.to_string(), metric.to_string(), "{}".into()]
    {
        assert_eq!(post(&server, "/v1/otel", body).await, json!({}));
    }
    assert_eq!(crate::harness::types(&stream.events(2).await), ["l", "s"]);
    let samples = server.hub.metrics();
    let sample = samples.iter().find(|sample| sample.id() == "m").unwrap();
    assert_eq!(json!(sample), json!({"id": "m", "type": "counter", "value": 3}));
}

/// An attribute's value as OTLP has it, and as the hub must show it.
fn any_value() -> impl Strategy<Value = (Value, Value)> {
    let leaf = prop_oneof![
        any::<String>().prop_map(|text| (json!({"stringValue": text}), json!(text))),
        any::<i64>().prop_map(|int| (json!({"intValue": int.to_string()}), json!(int))),
        any::<i64>().prop_map(|int| (json!({"intValue": int}), json!(int))),
        any::<bool>().prop_map(|bool| (json!({"boolValue": bool}), json!(bool))),
        (-1e300..1e300).prop_map(|double: f64| (json!({"doubleValue": double}), json!(double))),
        Just((json!({}), Value::Null)),
        Just((json!({"doubleValue": "-Infinity"}), json!("-Infinity"))),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5).prop_map(|items| {
            let (sent, shown): (Vec<_>, Vec<_>) = items.into_iter().unzip();
            (json!({"arrayValue": {"values": sent}}), json!(shown))
        });
        let map = prop::collection::btree_map("[a-zA-Z.é]{1,8}", inner, 0..5).prop_map(|members| {
            let sent: Vec<Value> =
                members.iter().map(|(key, (sent, _))| json!({"key": key, "value": sent})).collect();
            let shown: Map<String, Value> =
                members.into_iter().map(|(key, (_, shown))| (key, shown)).collect();
            (json!({"kvlistValue": {"values": sent}}), Value::Object(shown))
        });
        prop_oneof![list, map]
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attribute_is_lost_or_changed() {
    let server = TestServer::start().await;
    let stream = tokio::sync::Mutex::new(server.watch("").await);
    let config = Config { failure_persistence: None, ..Config::with_cases(200) };
    let mut runner = TestRunner::new(config);
    let strategy = prop::collection::vec(any_value(), 0..8);
    let handle = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&strategy, |values| {
            let attributes: Vec<Value> = values
                .iter()
                .enumerate()
                .map(|(index, (sent, _))| json!({"key": format!("k{index}"), "value": sent}))
                .collect();
            let expected: Map<String, Value> = values
                .iter()
                .enumerate()
                .map(|(index, (_, shown))| (format!("k{index}"), shown.clone()))
                .collect();
            let event = handle.block_on(async {
                let record = json!({"attributes": attributes});
                assert_eq!(post(&server, "/v1/logs", logs(&record)).await, json!({}));
                stream.lock().await.events(1).await.remove(0)
            });
            prop_assert_eq!(&event["data"], &Value::Object(expected));
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn what_is_given_twice_is_a_mistake_wherever_it_stands() {
    let server = TestServer::start().await;
    let logs = |members: &str| format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{{members}}}]}}]}}"#);
    let record = r#"{"eventName":"a"}"#;
    for (body, status) in [
        (r#"{"resourceLogs":[],"resourceLogs":[]}"#.to_owned(), 400),
        (r#"{"resourceLogs":[],"resource_logs":[]}"#.to_owned(), 400),
        (logs(&format!(r#""logRecords":[{record}],"log_records":[{record}]"#)), 400),
        (logs(&format!(r#""scope":{{}},"scope":{{}},"logRecords":[{record}]"#)), 400),
        (logs(r#""logRecords":[{"attributes":[],"attributes":[]}]"#), 400),
        (logs(r#""logRecords":[{"eventName":"a","event_name":"b"}]"#), 400),
        (logs(r#""logRecords":[{"unknown":1,"unknown":2}],"unknown":1,"unknown":2"#), 200),
    ] {
        let answer = server.post_to("/v1/logs", "application/json", body.clone()).await;
        assert_eq!(answer.status(), status, "{body}");
    }
    let many = vec!["0"; 300_000].join(",");
    let body = format!(r#"{{"resourceLogs":[{many}]}}"#);
    let answer = server.post_to("/v1/logs", "application/json", body).await;
    assert!(answer.text().await.unwrap().contains("send smaller batches"));
}

#[tokio::test]
async fn a_bad_resource_or_scope_rejects_what_is_below_it_and_nothing_else() {
    let server = TestServer::with(json!({"max_event_bytes": "100 kB"})).await;
    let mut stream = server.watch("").await;
    let record = |name: &str| json!({"eventName": name});
    let good = json!({"scopeLogs": [{"logRecords": [record("good")]}]});
    let large: Vec<Value> = (0..1000)
        .map(|n| json!({"key": format!("k{n}"), "value": {"stringValue": "x".repeat(100)}}))
        .collect();
    for (bad, rejected) in [
        (
            json!({"resource": {"attributes": 5}, "scopeLogs": [{"logRecords": [record("b"), record("b")]}]}),
            "2",
        ),
        (
            json!({"resource": {"attributes": large}, "scopeLogs": [{"logRecords": [record("b")]}]}),
            "1",
        ),
        (json!({"scopeLogs": [{"scope": 5, "logRecords": [record("b")]}]}), "1"),
    ] {
        let body = json!({"resourceLogs": [good, bad, good]}).to_string();
        let answer = post(&server, "/v1/logs", body).await;
        assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], rejected, "{answer}");
    }
    assert!(crate::harness::types(&stream.events(6).await).iter().all(|kind| *kind == "good"));
}

#[tokio::test]
async fn no_member_of_a_body_is_lost_to_an_attribute_of_its_name() {
    let server = TestServer::start().await;
    let attribute = |key: &str| json!({"key": key, "value": {"stringValue": key}});
    let body = json!({"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1}}]}});
    let record = json!({"attributes": [attribute("a"), attribute("body.a")], "body": body});
    let data = json!({"a": "a", "body.a": "body.a", "body.body.a": 1});
    assert_eq!(event(&server, record).await["data"], data);
    let own_name = json!({"severityText": "odd", "droppedAttributesCount": 3});
    let event = event(&server, own_name).await;
    assert_eq!(event["level"], Value::Null);
    assert_eq!(event["data"], json!({"severityText": "odd", "droppedAttributesCount": 3}));
}
