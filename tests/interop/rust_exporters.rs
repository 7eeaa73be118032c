//! Exporters of the OpenTelemetry SDK for Rust, set up as the tests want them.

use std::time::Duration;

use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, RetryPolicy, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::metrics::Temporality;

use crate::sender::{Export, Protocol, TIMEOUT};

pub(crate) fn logs(export: &Export) -> LogExporter {
    let builder = LogExporter::builder();
    match export.http() {
        Some(protocol) => http(builder.with_http(), protocol, "logs", export).build(),
        None => grpc(builder.with_tonic(), export).build(),
    }
    .unwrap()
}

pub(crate) fn spans(export: &Export) -> SpanExporter {
    let builder = SpanExporter::builder();
    match export.http() {
        Some(protocol) => http(builder.with_http(), protocol, "traces", export).build(),
        None => grpc(builder.with_tonic(), export).build(),
    }
    .unwrap()
}

pub(crate) fn metrics(export: &Export) -> MetricExporter {
    let temporality = if export.delta { Temporality::Delta } else { Temporality::Cumulative };
    let builder = MetricExporter::builder().with_temporality(temporality);
    match export.http() {
        Some(protocol) => http(builder.with_http(), protocol, "metrics", export).build(),
        None => grpc(builder.with_tonic(), export).build(),
    }
    .unwrap()
}

impl Export {
    /// Over HTTP, which form; none for gRPC.
    fn http(&self) -> Option<opentelemetry_otlp::Protocol> {
        match self.protocol {
            Protocol::HttpProtobuf => Some(opentelemetry_otlp::Protocol::HttpBinary),
            Protocol::HttpJson => Some(opentelemetry_otlp::Protocol::HttpJson),
            Protocol::Grpc => None,
        }
    }
}

fn http<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    protocol: opentelemetry_otlp::Protocol,
    signal: &str,
    export: &Export,
) -> B {
    let builder = builder.with_endpoint(export.url(signal));
    let builder =
        builder.with_protocol(protocol).with_retry_policy(patient()).with_timeout(TIMEOUT);
    if export.gzip { builder.with_compression(Compression::Gzip) } else { builder }
}

fn grpc<B: WithExportConfig + WithTonicConfig>(builder: B, export: &Export) -> B {
    let builder =
        builder.with_endpoint(&export.endpoint).with_retry_policy(patient()).with_timeout(TIMEOUT);
    if export.gzip { builder.with_compression(Compression::Gzip) } else { builder }
}

/// The SDK's own policy gives up after three more attempts, within a second: an outage may last longer than that.
fn patient() -> RetryPolicy {
    RetryPolicy::default().with_max_retries(20).with_max_delay(Duration::from_millis(400))
}
