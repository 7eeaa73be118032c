//! What must arrive, by what a sender says it has sent; and how the two are compared.
//!
//! A sender's truth is `{"sdk", "resource": {…}, "logs": […], "spans": […], "metrics": […]}`, read from its SDK's own objects.
//! Times are nanoseconds as texts, ids are hex, values are as JSON has them (bytes in base64; `NaN` and the infinities as texts);
//! what is null or absent there is none. A log record's `text` is its body if that is a text, else `body` is. Metrics are totals since the start. Nothing in here knows OTLP.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What tells the series of one resource from those of another.
const IDENTITY: [&str; 4] =
    ["service.name", "service.namespace", "service.instance.id", "host.name"];

/// The events that the logs and spans of a truth must become, without their `id`.
pub(crate) fn events(truth: &Value) -> (Vec<Value>, Vec<Value>) {
    let resource = &truth["resource"];
    let logs = list(&truth["logs"]).iter().map(|log| log_event(log, resource));
    let spans = list(&truth["spans"]).iter().map(|span| span_event(span, resource));
    (logs.collect(), spans.collect())
}

/// The series that the metrics of a truth must become, without `rate` and percentiles.
pub(crate) fn series(truth: &Value) -> Vec<Value> {
    let one = |metric: &Value| {
        let mut attributes = object(&metric["attributes"]);
        for name in IDENTITY {
            if let Some(value) = truth["resource"].get(name) {
                attributes.entry(name).or_insert(value.clone());
            }
        }
        let mut series =
            json!({"id": metric["name"], "type": metric["kind"], "attributes": attributes});
        for member in ["value", "count", "sum", "min", "max"] {
            put(&mut series, member, metric[member].as_f64().map(Value::from));
        }
        put(&mut series, "unit", text(&metric["unit"]));
        series
    };
    list(&truth["metrics"]).iter().map(one).collect()
}

/// A series as it arrived, without `rate` and percentiles, which must be in order.
pub(crate) fn arrived_series(sample: &Value) -> Value {
    let mut series = sample.clone();
    for member in ["value", "count", "sum", "min", "max"] {
        put(&mut series, member, sample[member].as_f64().map(Value::from));
    }
    let order = ["min", "p50", "p90", "p99", "max"].map(|member| sample[member].as_f64());
    assert!(sample["type"] != "histogram" || order.is_sorted(), "{sample}");
    for member in ["rate", "p50", "p90", "p99"] {
        series.as_object_mut().unwrap().remove(member);
    }
    series
}

fn log_event(log: &Value, resource: &Value) -> Value {
    let mut attributes = object(&log["attributes"]);
    // A source without trace context may give the span as an attribute.
    let own_span = log["spanId"].as_str().map(Value::from);
    let span_id = own_span.or_else(|| attributes.remove("spanId").map(as_text));
    let name = [&log["eventName"], &log["attributes"]["event.name"], &log["scope"]["name"]];
    let kind = name.into_iter().find_map(text).unwrap_or_else(|| "log".into());
    let (body, mut data) = (&log["body"], attributes);
    match body {
        Value::Object(body) => add(&mut data, "body", body.clone()),
        Value::Null => {}
        body => add(&mut data, "record", Map::from_iter([("body".to_owned(), body.clone())])),
    }
    join(&mut data, &log["scope"]["attributes"]);
    join(&mut data, resource);
    let mut event =
        json!({"createdAt": time(&log["time"]), "signal": "log", "type": kind, "data": data});
    put(&mut event, "level", log["severity"].as_u64().map(level));
    put(&mut event, "text", text(&log["text"]));
    put(&mut event, "traceId", text(&log["traceId"]));
    put(&mut event, "spanId", span_id);
    event
}

fn span_event(span: &Value, resource: &Value) -> Value {
    let mut data = object(&span["attributes"]);
    join(&mut data, &span["scope"]["attributes"]);
    join(&mut data, resource);
    let status = &span["status"];
    let mut shown_status = json!({"code": status["code"]});
    put(&mut shown_status, "message", text(&status["message"]));
    let duration = nanoseconds(&span["end"]) - nanoseconds(&span["start"]);
    let mut own = json!({
        "startTime": time(&span["start"]),
        "duration": duration as f64 / 1e6,
        "kind": span["kind"],
        "status": shown_status,
    });
    put(&mut own, "events", some_of(list(&span["events"]).iter().map(span_event_member)));
    put(&mut own, "links", some_of(list(&span["links"]).iter().map(link_member)));
    put(&mut own, "traceState", text(&span["traceState"]));
    add(&mut data, "span", object(&own));
    let is_error = status["code"] == "error";
    let mut event = json!({
        "createdAt": time(&span["end"]),
        "signal": "span",
        "type": span["name"],
        "level": if is_error { "ERROR" } else { "INFO" },
        "traceId": span["traceId"],
        "spanId": span["spanId"],
        "data": data,
    });
    put(&mut event, "parentSpanId", text(&span["parentSpanId"]));
    event
}

fn span_event_member(event: &Value) -> Value {
    let mut shown = json!({"time": time(&event["time"]), "name": event["name"]});
    put(&mut shown, "attributes", some_attributes(event));
    shown
}

fn link_member(link: &Value) -> Value {
    let mut shown = json!({"traceId": link["traceId"], "spanId": link["spanId"]});
    put(&mut shown, "traceState", text(&link["traceState"]));
    put(&mut shown, "attributes", some_attributes(link));
    shown
}

fn some_attributes(item: &Value) -> Option<Value> {
    Some(object(&item["attributes"])).filter(|attributes| !attributes.is_empty()).map(Value::from)
}

fn some_of(items: impl Iterator<Item = Value>) -> Option<Value> {
    let items: Vec<Value> = items.collect();
    (!items.is_empty()).then(|| items.into())
}

/// Adds members; one whose name is taken gets a prefix.
fn add(data: &mut Map<String, Value>, prefix: &str, members: Map<String, Value>) {
    for (name, value) in members {
        let name = if data.contains_key(&name) { format!("{prefix}.{name}") } else { name };
        data.insert(name, value);
    }
}

/// Adds members; one whose name is taken is left out.
fn join(data: &mut Map<String, Value>, members: &Value) {
    for (name, value) in object(members) {
        data.entry(name).or_insert(value);
    }
}

fn put(object: &mut Value, member: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[member] = value;
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> Option<Value> {
    value.as_str().filter(|text| !text.is_empty()).map(Value::from)
}

fn as_text(value: Value) -> Value {
    if value.is_string() { value } else { value.to_string().into() }
}

fn level(severity: u64) -> Value {
    ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"][(severity as usize - 1) / 4].into()
}

fn nanoseconds(value: &Value) -> i128 {
    value.as_str().unwrap().parse().unwrap()
}

/// RFC 3339 with as many decimals, of none, 3, 6 or 9, as are needed.
fn time(value: &Value) -> String {
    let nanoseconds = nanoseconds(value);
    let timestamp = Timestamp::from_nanosecond(nanoseconds).unwrap();
    let decimals = [(0, 1_000_000_000), (3, 1_000_000), (6, 1000), (9, 1)];
    let (decimals, _) = decimals.into_iter().find(|(_, unit)| nanoseconds % unit == 0).unwrap();
    format!("{timestamp:.decimals$}")
}

/// How many of what was expected have arrived, and what else there is to say: what is missing, and what nobody sent.
pub(crate) fn compare(expected: Vec<Value>, mut arrived: Vec<Value>) -> (usize, Vec<String>) {
    let sent = expected.len();
    let mut missing = expected;
    missing.retain(|item| match arrived.iter().position(|candidate| candidate == item) {
        Some(position) => {
            arrived.swap_remove(position);
            false
        }
        None => true,
    });
    let found = sent - missing.len();
    let mut problems = Vec::new();
    for item in missing {
        let nearest =
            (0..arrived.len()).min_by_key(|at| differences("", &item, &arrived[*at]).len());
        let problem = match nearest.map(|at| arrived.swap_remove(at)) {
            Some(nearest) => {
                format!("arrived otherwise: {}", differences("", &item, &nearest).join("; "))
            }
            None => "did not arrive".to_owned(),
        };
        problems.push(format!("{problem}\n    sent {item}"));
    }
    problems.extend(arrived.iter().map(|item| format!("nobody sent {item}")));
    (found, problems)
}

/// Where two values differ, and how.
fn differences(path: &str, sent: &Value, arrived: &Value) -> Vec<String> {
    let (Value::Object(sent), Value::Object(arrived)) = (sent, arrived) else {
        let differ = (sent != arrived).then(|| format!("{path}: sent {sent}, arrived {arrived}"));
        return differ.into_iter().collect();
    };
    let mut names: Vec<&String> = sent.keys().chain(arrived.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let member =
        |object: &Map<String, Value>, name: &str| object.get(name).cloned().unwrap_or_default();
    let differ = |name: &String| {
        differences(&format!("{path}/{name}"), &member(sent, name), &member(arrived, name))
    };
    names.into_iter().flat_map(differ).collect()
}

#[test]
fn times_have_the_decimals_that_they_need() {
    for (given, written) in [
        ("1795342367000000000", "2026-11-22T10:12:47Z"),
        ("1795342367100000000", "2026-11-22T10:12:47.100Z"),
        ("1795342367000001000", "2026-11-22T10:12:47.000001Z"),
        ("1795342367000000001", "2026-11-22T10:12:47.000000001Z"),
    ] {
        assert_eq!(time(&given.into()), written);
    }
}

#[test]
fn one_changed_value_is_found() {
    let sent =
        vec![json!({"type": "a", "data": {"n": 9_007_199_254_740_993_i64}}), json!({"type": "b"})];
    assert_eq!(compare(sent.clone(), sent.clone()), (2, Vec::new()));
    let mut arrived = sent.clone();
    arrived[0]["data"]["n"] = 9_007_199_254_740_992_i64.into();
    let (found, problems) = compare(sent.clone(), arrived);
    assert_eq!(found, 1);
    assert!(problems[0].contains("/data/n: sent 9007199254740993, arrived 9007199254740992"));
    let (found, problems) = compare(sent[..1].to_vec(), sent);
    assert_eq!((found, problems), (1, vec!["nobody sent {\"type\":\"b\"}".to_owned()]));
}
