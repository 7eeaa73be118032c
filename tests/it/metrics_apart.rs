//! Metrics that come to a hub that cannot reach the others: they are refused, so that their source keeps them.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use prost::Message;
use serde_json::json;
use tonic::Code;

use crate::harness::{TestServer, problem};

const POST: &str = "/api/telemetry/metrics";

fn request() -> ExportMetricsServiceRequest {
    let value = Some(Number::AsInt(1));
    let data_points = vec![NumberDataPoint { value, ..NumberDataPoint::default() }];
    let data = Some(Data::Gauge(Gauge { data_points }));
    let metrics = vec![Metric { name: "g".to_owned(), data, ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource = ResourceMetrics { scope_metrics, ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![resource] }
}

#[tokio::test]
async fn measurements_that_the_stream_has_not_are_refused_for_now() {
    // Nobody listens there.
    let nats = json!({"nats": ["nats://127.0.0.1:1"], "nats_patience": "100ms", "hub_name": "a"});
    let server = TestServer::with(nats).await;
    let json = json!([{"id": "g", "type": "gauge", "value": 1}, {"id": "h", "type": "dial"}]);
    for (path, content_type, body) in [
        (POST, "application/json", json.to_string().into_bytes()),
        ("/v1/metrics", "application/x-protobuf", request().encode_to_vec()),
    ] {
        let refused = server.post_to(path, content_type, body).await;
        assert_eq!(refused.status(), 503, "{path}");
        assert!(refused.headers().contains_key("retry-after"), "{path}");
    }
    let mut client = MetricsServiceClient::connect(server.base.clone()).await.unwrap();
    assert_eq!(client.export(request()).await.unwrap_err().code(), Code::Unavailable);
    // What is wrong is wrong all the same.
    let bad = json!({"id": "h", "type": "dial"}).to_string();
    problem(server.post_to(POST, "application/json", bad).await, 400).await;
    let page = server.get("/metrics").await.text().await.unwrap();
    let has = |line: &str| page.lines().any(|found| found == line);
    assert!(has(r#"hub_metrics_refused_total{hub="a"} 3"#), "{page}");
    // The server's own counters are the hub's own, too.
    assert!(has(r#"server_responses_503_total{hub="a"} 3"#), "{page}");
    assert!(!page.lines().any(|line| line.starts_with("g ")), "{page}");
}
