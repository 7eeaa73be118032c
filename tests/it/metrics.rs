//! Metrics in, live metrics out, and the Prometheus page.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{TestServer, problem};

const LIVE: &str = "/api/telemetry/metrics/live";
const POST: &str = "/api/telemetry/metrics";

/// The samples of a frame by name.
fn by_id(frame: &Value) -> BTreeMap<&str, &Value> {
    let samples = frame.as_array().unwrap().iter();
    samples.map(|sample| (sample["id"].as_str().unwrap(), sample)).collect()
}

#[tokio::test]
async fn the_hubs_own_series_are_real_from_the_first_frame() {
    let server = TestServer::start().await;
    let (frame, _) = server.watch_metrics("interval=1h").await.expect("metrics").await;
    let samples = by_id(&frame);
    assert!(samples["server.memory"]["value"].as_f64().unwrap() > 1e6, "{frame}");
    assert_eq!(samples["server.memory"]["unit"], "By");
    assert!(samples["server.uptime"]["value"].as_f64().unwrap() > 0.0, "{frame}");
    assert!(samples["server.cpu"]["value"].as_f64().is_some(), "{frame}");
    assert_eq!(samples["hub.subscribers"]["value"], 1);
    for name in ["queue.count", "hub.events.received", "hub.events.delivered", "hub.events.missed"]
    {
        assert_eq!(samples[name]["value"], 0, "{name}");
    }
}

#[tokio::test]
async fn events_are_counted_in_all_and_by_type() {
    let server = TestServer::start().await;
    let mut stream = server.watch("type=a").await;
    server.accept(&json!([{"type": "a"}, {"type": "a"}, {"type": "b"}])).await;
    stream.events(2).await;
    let (frame, _) =
        server.watch_metrics("interval=1h&metrics=a,b,hub.events").await.expect("metrics").await;
    let values: Vec<_> =
        by_id(&frame).iter().map(|(id, sample)| (*id, sample["value"].as_i64().unwrap())).collect();
    assert_eq!(
        values,
        [
            ("a", 2),
            ("b", 1),
            ("hub.events.delivered", 2),
            ("hub.events.dropped", 0),
            ("hub.events.missed", 0),
            ("hub.events.received", 3),
            ("hub.events.refused", 0)
        ]
    );
}

#[tokio::test]
async fn what_is_posted_is_streamed_at_each_interval() {
    let server = TestServer::start().await;
    let mut stream = server.watch_metrics("metrics=my&interval=100ms").await;
    assert_eq!(stream.expect("metrics").await.0, json!([]));
    let metrics = json!([
        {"id": "my.count", "type": "counter", "value": 2, "rate": 9},
        {"id": "my.count", "type": "counter", "value": 3},
        {"id": "my.total", "type": "counter", "value": 50, "mode": "total"},
        {"id": "my.level", "type": "gauge", "value": 1.5, "unit": "By", "attributes": {"zone": "b"}},
        {"id": "my.time", "type": "histogram", "values": [2, 9, 40], "unit": "ms"},
    ]);
    let answer = server.post_to(POST, "application/json", metrics.to_string()).await;
    assert_eq!(answer.text().await.unwrap(), "{\"accepted\":5}");
    let frame = loop {
        let (frame, _) = stream.expect("metrics").await;
        if frame != json!([]) {
            break frame;
        }
    };
    let samples = by_id(&frame);
    assert_eq!(samples["my.count"]["value"], 5);
    assert!(samples["my.count"]["rate"].as_f64().unwrap() > 0.0);
    assert_eq!(samples["my.total"]["value"], 50);
    assert_eq!(
        samples["my.level"],
        &json!({"id": "my.level", "type": "gauge", "value": 1.5, "unit": "By", "attributes": {"zone": "b"}})
    );
    assert_eq!(
        samples["my.time"],
        &json!({"id": "my.time", "type": "histogram", "count": 3, "sum": 51, "min": 2, "max": 40, "p50": 9, "p90": 9, "p99": 9, "unit": "ms"})
    );
}

#[tokio::test]
async fn bad_metrics_are_rejected_one_by_one() {
    let server = TestServer::start().await;
    let metrics = json!([
        {"id": "a", "type": "gauge", "value": 1}, {"id": "a", "type": "dial", "value": 1},
        {"id": "server.memory", "type": "gauge", "value": 1}, {"id": "c", "type": "counter", "value": -1}
    ]);
    let answer = server.post_to(POST, "application/json", metrics.to_string()).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(3)));
    let told: Vec<_> =
        answer["errors"].as_array().unwrap().iter().map(|e| e["index"].as_u64().unwrap()).collect();
    assert_eq!(told, [1, 2, 3]);
    let answer = server.post_to(POST, "application/json", "{\"id\":\"a\"}").await;
    assert_eq!(problem(answer, 400).await["index"], 0);
    problem(server.post_to(POST, "application/json", "[").await, 400).await;
}

#[tokio::test]
async fn nobody_writes_to_the_servers_own_counters() {
    let server = TestServer::start().await;
    problem(server.post_to(POST, "application/json", "[").await, 400).await;
    for (reset, counted) in [
        (json!({"id": "server.responses.400", "type": "counter", "mode": "total", "value": 0}), 2),
        (json!({"id": "server.responses.400", "type": "gauge", "value": 0}), 3),
        (json!({"id": "server.responses.499", "type": "counter", "value": 1}), 4),
    ] {
        let answer =
            problem(server.post_to(POST, "application/json", reset.to_string()).await, 400);
        let detail = answer.await["detail"].to_string();
        assert!(detail.contains("is a series of the hub itself"), "{detail}");
        server.accept(&json!({"type": "server.responses.400"})).await;
        let mut live = server.watch_metrics("interval=1h&metrics=server.responses,other").await;
        let (frame, _) = live.expect("metrics").await;
        let samples = by_id(&frame);
        let all: Vec<_> = samples.keys().collect();
        assert_eq!(all, [&"other", &"server.responses.400"], "{frame}");
        assert_eq!(samples["server.responses.400"]["value"], counted);
    }
}

#[tokio::test]
async fn intervals_that_cannot_be_get_400() {
    let server = TestServer::start().await;
    for interval in
        ["0", "-1", "NaN", "1e99", "inf", "0.09", "3601", "", "x", "99999999999999999999"]
    {
        let response = server.get(&format!("{LIVE}?interval={interval}")).await;
        assert_eq!(problem(response, 400).await["parameter"], "interval", "{interval}");
    }
    for (query, parameter) in [("metric=server.memory", "metric"), ("metrics=", "metrics")] {
        let response = server.get(&format!("{LIVE}?{query}")).await;
        assert_eq!(problem(response, 400).await["parameter"], parameter);
    }
    server
        .watch_metrics("metrics=server&metrics=queue.count,hub.*&interval=1h")
        .await
        .expect("metrics")
        .await;
}

/// Whether a line is one of the Prometheus text format: a name, labels each once, a number.
fn is_sample(line: &str) -> bool {
    let is_name = |text: &str| {
        let mut characters = text.chars();
        characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let Some((series, value)) = line.rsplit_once(' ') else { return false };
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let Some(mut rest) = labels.strip_suffix('}') else { return false };
    let mut seen = std::collections::BTreeSet::new();
    while let Some((label, quoted)) = rest.split_once("=\"") {
        if !is_name(label) || !seen.insert(label) {
            return false;
        }
        let mut escaped = false;
        let end = quoted.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let Some(end) = end else { return false };
        rest = quoted[end + 1..].trim_start_matches(',');
    }
    is_name(name) && rest.is_empty() && value.parse::<f64>().is_ok()
}

#[tokio::test]
async fn no_source_can_break_the_prometheus_page() {
    let server = TestServer::start().await;
    let odd =
        ["", "quantile", "metric_id", "__name__", "é", "a b", "1", "\"", "\\", "\n", "}", "le"];
    let mut metrics = Vec::new();
    for kind in ["counter", "gauge", "histogram"] {
        for name in [
            "a", "a_sum", "a.sum", "a-sum", "a_count", "a_total", "a.total", "\n", "}", "{x=\"",
            "é",
        ] {
            let attributes: serde_json::Map<_, _> =
                odd.iter().map(|key| ((*key).to_owned(), json!(key))).collect();
            let metric = json!({"id": name, "type": kind, "value": 1, "values": [1, 2]});
            let mut with_attributes = metric.clone();
            with_attributes["attributes"] = json!(attributes);
            metrics.extend([metric, with_attributes]);
        }
    }
    let count = metrics.len();
    let answer = server.post_to(POST, "application/json", json!(metrics).to_string()).await;
    assert_eq!(answer.text().await.unwrap(), format!("{{\"accepted\":{count}}}"));
    let text = server.get("/metrics").await.text().await.unwrap();
    let (mut families, mut series) = (Vec::new(), std::collections::BTreeSet::new());
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(!families.contains(&name), "{name} stands once");
            assert!(matches!(kind, "counter" | "gauge" | "summary"), "{line}");
            families.push(name);
        } else {
            assert!(is_sample(line), "{line}");
            assert!(series.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "{line} twice");
            assert!(line.starts_with(families.last().unwrap()), "{line} belongs to its family");
        }
    }
}

#[tokio::test]
async fn prometheus_reads_every_series() {
    let server = TestServer::start().await;
    server.accept(&json!([{"type": "smtp.ehlo"}, {"type": "smtp.ehlo"}])).await;
    let metrics = json!([
        {"id": "a.b", "type": "gauge", "value": 1, "attributes": {"q": "say \"hi\"\n\\", "n": 5}},
        {"id": "a-b", "type": "gauge", "value": 2},
        {"id": "a.b", "type": "histogram", "values": [1, 2, 3], "unit": "ms"},
        {"id": "9lives", "type": "counter", "value": 1.5},
    ]);
    server.post_to(POST, "application/json", metrics.to_string()).await;
    let response = server.get("/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    for line in [
        "# TYPE smtp_ehlo_total counter",
        "smtp_ehlo_total 2",
        "# TYPE server_memory_bytes gauge",
        "hub_events_received_total 2",
        "a_b{metric_id=\"a-b\"} 2",
        "a_b{metric_id=\"a.b\",n=\"5\",q=\"say \\\"hi\\\"\\n\\\\\"} 1",
        "# TYPE a_b_milliseconds summary",
        "a_b_milliseconds{quantile=\"0.5\"} 2",
        "a_b_milliseconds_sum 6",
        "a_b_milliseconds_count 3",
        "_9lives_total 1.5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let mut families: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count, "each family stands once");
}
