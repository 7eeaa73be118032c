//! Metrics by OTLP: sums, gauges, all kinds of histograms; deltas and totals, restarts and late points.

use serde_json::{Value, json};

use crate::harness::TestServer;

const DELTA: &str = "AGGREGATION_TEMPORALITY_DELTA";
const CUMULATIVE: &str = "AGGREGATION_TEMPORALITY_CUMULATIVE";

async fn send_as(server: &TestServer, instance: &str, metric: Value) -> Value {
    let resource = json!({"attributes": [
        {"key": "service.name", "value": {"stringValue": "shop"}},
        {"key": "process.pid", "value": {"stringValue": instance}},
    ]});
    let body = json!({"resourceMetrics": [{
        "resource": resource,
        "scopeMetrics": [{"scope": {"name": "s"}, "metrics": [metric]}],
    }]});
    let body = body.to_string();
    server.post_to("/v1/metrics", "application/json", body).await.json().await.unwrap()
}

async fn send(server: &TestServer, metric: Value) {
    assert_eq!(send_as(server, "1", metric).await, json!({}));
}

/// The only series of a name, without its attributes, which must be these.
#[track_caller]
fn read(server: &TestServer, id: &str) -> Value {
    let samples = server.hub.metrics();
    let found: Vec<Value> =
        samples.iter().filter(|sample| sample.id() == id).map(|sample| json!(sample)).collect();
    let [sample] = found.as_slice() else { panic!("{found:?}") };
    let mut sample = sample.clone();
    let members = sample.as_object_mut().unwrap();
    assert_eq!(members.remove("attributes"), Some(json!({"service.name": "shop"})));
    members.remove("id");
    sample
}

fn sum(monotonic: bool, temporality: &str, point: Value) -> Value {
    json!({"name": "m", "unit": "{order}", "sum": {
        "isMonotonic": monotonic, "aggregationTemporality": temporality, "dataPoints": [point],
    }})
}

fn point(started: u64, at: u64, value: i64) -> Value {
    json!({"startTimeUnixNano": started, "timeUnixNano": at, "asInt": value.to_string()})
}

#[tokio::test]
async fn deltas_of_a_counter_are_added_up() {
    let server = TestServer::start().await;
    for (at, value) in [(2, 5), (3, 7), (3, 0)] {
        send(&server, sum(true, DELTA, point(1, at, value))).await;
    }
    assert_eq!(read(&server, "m"), json!({"type": "counter", "value": 12, "unit": "{order}"}));
}

#[tokio::test]
async fn totals_of_a_counter_survive_restarts_repeats_and_late_points() {
    let server = TestServer::start().await;
    for (started, at, value, shown) in [
        (1, 10, 5, 5),
        (1, 20, 8, 8),
        // The exporter tried again.
        (1, 20, 8, 8),
        // Overtaken on its way.
        (1, 15, 6, 8),
        // The process restarted.
        (30, 40, 2, 10),
        (30, 50, 3, 11),
        // A straggler of the old one: what it had counted by then was not known.
        (1, 25, 9, 12),
        // A source that does not tell of its restart.
        (30, 60, 1, 13),
        // Restarted, and has counted more already.
        (70, 80, 5, 18),
    ] {
        send(&server, sum(true, CUMULATIVE, point(started, at, value))).await;
        let expected = json!({"type": "counter", "value": shown, "unit": "{order}"});
        assert_eq!(read(&server, "m"), expected, "{started} {at}");
    }
}

#[tokio::test]
async fn a_source_is_known_by_its_attributes_in_any_order() {
    let server = TestServer::start().await;
    let attribute = |name: &str| json!({"key": name, "value": {"stringValue": name}});
    for (names, value) in [(["a", "b"], 5), (["b", "a"], 6)] {
        let metric = sum(true, CUMULATIVE, point(1, value, value as i64));
        let body = json!({"resourceMetrics": [{
            "resource": {"attributes": names.map(attribute)},
            "scopeMetrics": [{"metrics": [metric]}],
        }]});
        let body = body.to_string();
        let answer = server.post_to("/v1/metrics", "application/json", body).await;
        assert_eq!(answer.text().await.unwrap(), "{}");
    }
    let samples = server.hub.metrics();
    let sample = samples.iter().find(|sample| sample.id() == "m").unwrap();
    assert_eq!(json!(sample)["value"], 6);
}

#[tokio::test]
async fn a_request_that_cannot_be_read_to_its_end_changes_nothing() {
    let server = TestServer::start().await;
    let metric = sum(true, DELTA, point(1, 2, 3));
    let good = json!({"scopeMetrics": [{"metrics": [metric]}]});
    for bad in [json!({"scopeMetrics": [{"metrics": {}}]}), json!({"scopeMetrics": [1]}), json!(1)]
    {
        let body = json!({"resourceMetrics": [good, bad]}).to_string();
        let answer = server.post_to("/v1/metrics", "application/json", body).await;
        assert_eq!(answer.status(), 400, "{bad}");
    }
    assert!(server.hub.metrics().iter().all(|sample| sample.id() != "m"));
    // One whose resource cannot be read is rejected with what is below it, and the rest is taken.
    let metric = sum(true, DELTA, point(1, 2, 3));
    let bad = json!({"resource": {"attributes": 5}, "scopeMetrics": [{"metrics": [metric]}]});
    let body = json!({"resourceMetrics": [good, bad]}).to_string();
    let answer = server.post_to("/v1/metrics", "application/json", body).await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1");
    let samples = server.hub.metrics();
    let sample = samples.iter().find(|sample| sample.id() == "m").unwrap();
    assert_eq!(json!(sample)["value"], 3);
}

#[tokio::test]
async fn a_name_of_two_megabytes_is_not_copied_for_every_point() {
    let server = TestServer::start().await;
    let name = json!([{"key": "service.name", "value": {"stringValue": "x".repeat(1_000_000)}}]);
    let points = vec![json!({"asInt": 1}); 20_000];
    let body = json!({"resourceMetrics": [{
        "resource": {"attributes": name},
        "scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": points}}]}],
    }]});
    let answer = server.post_to("/v1/metrics", "application/json", body.to_string()).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(server.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn processes_that_look_alike_are_added_up() {
    let server = TestServer::start().await;
    for (instance, at, value, shown) in
        [("1", 10, 5, 5), ("2", 10, 100, 105), ("1", 20, 6, 106), ("2", 20, 101, 107)]
    {
        send_as(&server, instance, sum(true, CUMULATIVE, point(1, at, value))).await;
        assert_eq!(read(&server, "m")["value"], shown);
    }
}

#[tokio::test]
async fn sums_that_go_up_and_down_are_gauges() {
    let server = TestServer::start().await;
    for (temporality, value, shown) in
        [(CUMULATIVE, 5, 5), (CUMULATIVE, 3, 3), (DELTA, -4, -1), (DELTA, 2, 1)]
    {
        send(&server, sum(false, temporality, point(1, 2, value))).await;
        assert_eq!(read(&server, "m")["value"], shown);
        assert_eq!(read(&server, "m")["type"], "gauge");
    }
    send(&server, json!({"name": "g", "gauge": {"dataPoints": [{"asDouble": -0.25}]}})).await;
    assert_eq!(read(&server, "g"), json!({"type": "gauge", "value": -0.25}));
}

#[tokio::test]
async fn gauges_of_several_processes_are_added_up_if_they_are_sums_and_the_newest_counts() {
    let server = TestServer::start().await;
    for (instance, at, value, shown) in
        [("1", 10, 5, 5), ("2", 10, 7, 12), ("1", 20, 4, 11), ("1", 15, 9, 11), ("2", 20, 0, 4)]
    {
        send_as(&server, instance, sum(false, CUMULATIVE, point(1, at, value))).await;
        assert_eq!(read(&server, "m")["value"], shown);
    }
    for (at, value, shown) in [(20, 1, 1), (10, 99, 1), (30, 2, 2)] {
        let gauge = json!({"name": "g", "gauge": {"dataPoints": [point(1, at, value)]}});
        send(&server, gauge).await;
        assert_eq!(read(&server, "g")["value"], shown);
    }
    let samples = server.hub.metrics();
    let late = samples.iter().find(|sample| sample.id() == "hub.metrics.late").unwrap();
    assert_eq!(json!(late)["value"], 2);
}

#[tokio::test]
async fn what_is_no_number_is_rejected_and_a_point_without_a_value_says_nothing() {
    let server = TestServer::start().await;
    for value in ["NaN", "Infinity", "-Infinity"] {
        let gauge =
            json!({"name": "g", "gauge": {"dataPoints": [{"asDouble": value}, {"asInt": 7}]}});
        let answer = send_as(&server, "1", gauge).await;
        assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1", "{value}");
    }
    let stale = json!({"name": "g", "gauge": {"dataPoints": [{"flags": 1}]}});
    send(&server, stale).await;
    assert_eq!(read(&server, "g")["value"], 7);
    let answer = send_as(&server, "1", sum(true, DELTA, point(1, 2, -3))).await;
    assert!(answer["message"].as_str().unwrap().contains("from 0 up"), "{answer}");
}

fn histogram(temporality: &str, started: u64, at: u64, counts: [u64; 3], sum: Value) -> Value {
    json!({"name": "h", "unit": "ms", "histogram": {"aggregationTemporality": temporality, "dataPoints": [{
        "startTimeUnixNano": started, "timeUnixNano": at,
        "count": counts.iter().sum::<u64>().to_string(), "sum": sum, "min": 1, "max": 40,
        "bucketCounts": counts.map(|count| count.to_string()), "explicitBounds": [10, 20],
    }]}})
}

#[tokio::test]
async fn explicit_buckets_show_their_percentiles() {
    let server = TestServer::start().await;
    send(&server, histogram(CUMULATIVE, 1, 2, [5, 4, 1], json!(100))).await;
    let mut shown = read(&server, "h");
    let p99 = shown.as_object_mut().unwrap().remove("p99").unwrap().as_f64().unwrap();
    // Nine tenths of the way through the last bucket, from 20 to the maximum.
    assert!((p99 - 38.0).abs() < 1e-9, "{p99}");
    let expected = json!({
        "type": "histogram", "count": 10, "sum": 100, "min": 1, "max": 40,
        "p50": 10, "p90": 20, "unit": "ms",
    });
    assert_eq!(shown, expected);
    send(&server, histogram(CUMULATIVE, 1, 3, [5, 4, 2], json!(130))).await;
    assert_eq!(read(&server, "h")["count"], 11);
    // Restarted.
    send(&server, histogram(CUMULATIVE, 4, 5, [1, 0, 0], json!(3))).await;
    assert_eq!(
        (&read(&server, "h")["count"], &read(&server, "h")["sum"]),
        (&json!(12), &json!(133))
    );
    send(&server, histogram(DELTA, 5, 6, [1, 1, 1], json!(50))).await;
    assert_eq!(
        (&read(&server, "h")["count"], &read(&server, "h")["sum"]),
        (&json!(15), &json!(183))
    );
}

#[tokio::test]
async fn a_histogram_may_leave_out_its_buckets_and_its_sum() {
    let server = TestServer::start().await;
    for (at, sum) in [(2, json!(null)), (3, json!("NaN"))] {
        let bare = json!({"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            {"startTimeUnixNano": 1, "timeUnixNano": at, "count": 7, "sum": sum}]}});
        send(&server, bare).await;
        assert_eq!(read(&server, "h"), json!({"type": "histogram", "count": 7}));
    }
    for (counts, bounds) in
        [(vec![1, 2], vec![]), (vec![1], vec![1.0]), (vec![1, 2, 3], vec![2.0, 1.0])]
    {
        let bad = json!({"name": "bad", "histogram": {"aggregationTemporality": 2, "dataPoints": [
            {"count": counts.iter().sum::<i32>(), "bucketCounts": counts, "explicitBounds": bounds}]}});
        let answer = send_as(&server, "1", bad).await;
        assert_eq!(answer["code"], 3, "{answer}");
    }
}

#[tokio::test]
async fn exponential_buckets_are_understood_on_every_scale() {
    let server = TestServer::start().await;
    let exponential = |temporality, scale: i32, offset: i32, counts: Vec<u64>, zero: u64| {
        let count = counts.iter().sum::<u64>() + zero;
        json!({"name": "e", "exponentialHistogram": {"aggregationTemporality": temporality, "dataPoints": [{
            "startTimeUnixNano": 1, "timeUnixNano": 2, "count": count, "sum": 12, "scale": scale,
            "zeroCount": zero, "positive": {"offset": offset, "bucketCounts": counts},
        }]}})
    };
    // Scale 0: (1, 2], (2, 4], (4, 8].
    send(&server, exponential(DELTA, 0, 0, vec![0, 10, 0], 0)).await;
    let shown = read(&server, "e");
    assert_eq!(
        (&shown["count"], &shown["sum"], &shown["p50"]),
        (&json!(10), &json!(12), &json!(3))
    );
    // Scale 1: bounds are powers of the root of 2. All in (8, 11.3].
    send(&server, exponential(DELTA, 1, 6, vec![90], 0)).await;
    let p99 = read(&server, "e")["p99"].as_f64().unwrap();
    assert!((8.0..11.32).contains(&p99), "{p99}");
    let negative = json!({"name": "n", "exponentialHistogram": {"aggregationTemporality": CUMULATIVE, "dataPoints": [{
        "timeUnixNano": 2, "count": "7", "scale": 0, "zeroCount": 2,
        "negative": {"offset": 1, "bucketCounts": ["5"]},
    }]}});
    send(&server, negative).await;
    let shown = read(&server, "n");
    assert!((-4.0..=-2.0).contains(&shown["p50"].as_f64().unwrap()), "{shown}");
    assert_eq!(shown["p99"], 0);
}

#[tokio::test]
async fn a_summary_shows_the_quantiles_that_it_has() {
    let server = TestServer::start().await;
    let summary = json!({"name": "s", "summary": {"dataPoints": [{
        "startTimeUnixNano": 1, "timeUnixNano": 2, "count": "20", "sum": 61.5,
        "quantileValues": [
            {"quantile": 0, "value": 0.5}, {"quantile": 0.5, "value": 2},
            {"quantile": 0.95, "value": 8}, {"quantile": 1, "value": 9.5},
        ],
    }]}});
    send(&server, summary).await;
    let shown =
        json!({"type": "histogram", "count": 20, "sum": 61.5, "min": 0.5, "max": 9.5, "p50": 2});
    assert_eq!(read(&server, "s"), shown);
}

#[tokio::test]
async fn attributes_tell_series_apart() {
    let server = TestServer::start().await;
    let at = |route: &str, value: i64| json!({"asInt": value, "attributes": [{"key": "route", "value": {"stringValue": route}}]});
    let metric = json!({"name": "m", "sum": {
        "isMonotonic": true, "aggregationTemporality": 1, "dataPoints": [at("/a", 1), at("/b", 2), at("/a", 4)],
    }});
    send(&server, metric).await;
    let samples = server.hub.metrics();
    let found: Vec<Value> =
        samples.iter().filter(|sample| sample.id() == "m").map(|sample| json!(sample)).collect();
    let expected = |route: &str, value: i64| {
        json!({"id": "m", "type": "counter", "value": value,
               "attributes": {"route": route, "service.name": "shop"}})
    };
    assert_eq!(found, [expected("/a", 5), expected("/b", 2)]);
}

#[tokio::test]
async fn no_data_point_is_lost() {
    let server = TestServer::start().await;
    let kinds = ["gauge", "sum", "histogram", "exponentialHistogram", "summary"];
    let mut metrics = Vec::new();
    for metric in 0..100 {
        let points: Vec<Value> = (0..=metric % 7)
            .map(|point| {
                let attributes =
                    json!([{"key": "point", "value": {"intValue": point.to_string()}}]);
                json!({"attributes": attributes, "asInt": "1", "count": "1"})
            })
            .collect();
        let data = json!({
            "dataPoints": points, "aggregationTemporality": 1 + metric % 2, "isMonotonic": metric % 3 == 0,
        });
        metrics.push(json!({"name": format!("m{metric}"), kinds[metric % 5]: data}));
    }
    let sent: usize = (0..100).map(|metric| metric % 7 + 1).sum();
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).to_string();
    let answer = server.post_to("/v1/metrics", "application/json", body).await;
    assert_eq!(answer.text().await.unwrap(), "{}");
    let samples = server.hub.metrics();
    let named = |id: &str| id.strip_prefix('m').is_some_and(|n| n.parse::<u8>().is_ok());
    assert_eq!(samples.iter().filter(|sample| named(sample.id())).count(), sent);
}
