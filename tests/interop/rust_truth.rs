//! The objects of the OpenTelemetry SDK for Rust as the truth that [`truth`](crate::truth) compares with.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opentelemetry::logs::AnyValue;
use opentelemetry::trace::{Event, Link, SpanId, Status, TraceId};
use opentelemetry::{Array, InstrumentationScope, Key, KeyValue, Value as Attribute};
use opentelemetry_sdk::logs::in_memory_exporter::LogDataWithResource;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Map, Value, json};

pub(crate) fn logs(logs: &[LogDataWithResource]) -> Vec<Value> {
    logs.iter().map(log).collect()
}

fn log(log: &LogDataWithResource) -> Value {
    let record = &log.record;
    let time = record.timestamp().or(record.observed_timestamp()).unwrap();
    let name = record.target().map_or(log.instrumentation.name(), |target| target);
    let attributes: Map<String, Value> =
        record.attributes_iter().map(|(key, value)| (key.to_string(), any(value))).collect();
    let (text, body) = match record.body() {
        Some(AnyValue::String(text)) => (Some(text.as_str()), None),
        body => (None, body.map(any)),
    };
    let context = record.trace_context();
    json!({
        "time": nanoseconds(time),
        "severity": record.severity_number().map(|severity| severity as u8),
        "eventName": record.event_name(),
        "text": text,
        "body": body,
        "attributes": attributes,
        "scope": {"name": name, "attributes": attributes_of(&log.instrumentation)},
        "traceId": context.map(|context| context.trace_id.to_string()),
        "spanId": context.map(|context| context.span_id.to_string()),
    })
}

fn any(value: &AnyValue) -> Value {
    match value {
        AnyValue::Int(value) => (*value).into(),
        AnyValue::Double(value) if value.is_finite() => (*value).into(),
        AnyValue::Double(value) if value.is_nan() => "NaN".into(),
        AnyValue::Double(value) => if *value > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        AnyValue::String(value) => value.as_str().into(),
        AnyValue::Boolean(value) => (*value).into(),
        AnyValue::Bytes(bytes) => BASE64_STANDARD.encode(bytes.as_slice()).into(),
        AnyValue::ListAny(items) => items.iter().map(any).collect(),
        AnyValue::Map(members) => {
            let member = |(key, value): (&Key, &AnyValue)| (key.to_string(), any(value));
            members.iter().map(member).collect()
        }
        other => unreachable!("{other:?}"),
    }
}

pub(crate) fn spans(spans: &[SpanData]) -> Vec<Value> {
    spans.iter().map(span).collect()
}

fn span(span: &SpanData) -> Value {
    let context = &span.span_context;
    let status = match &span.status {
        Status::Unset => json!({"code": "unset"}),
        Status::Ok => json!({"code": "ok"}),
        Status::Error { description } => json!({"code": "error", "message": description}),
    };
    json!({
        "name": span.name,
        "traceId": trace_id(context.trace_id()),
        "spanId": span_id(context.span_id()),
        "parentSpanId": span_id(span.parent_span_id),
        "traceState": context.trace_state().header(),
        "kind": format!("{:?}", span.span_kind).to_lowercase(),
        "start": nanoseconds(span.start_time),
        "end": nanoseconds(span.end_time),
        "status": status,
        "attributes": attributes(pairs(&span.attributes)),
        "events": span.events.events.iter().map(event).collect::<Vec<_>>(),
        "links": span.links.links.iter().map(link).collect::<Vec<_>>(),
        "scope": {
            "name": span.instrumentation_scope.name(),
            "attributes": attributes_of(&span.instrumentation_scope),
        },
    })
}

fn event(event: &Event) -> Value {
    json!({
        "time": nanoseconds(event.timestamp),
        "name": event.name,
        "attributes": attributes(pairs(&event.attributes)),
    })
}

fn link(link: &Link) -> Value {
    json!({
        "traceId": trace_id(link.span_context.trace_id()),
        "spanId": span_id(link.span_context.span_id()),
        "traceState": link.span_context.trace_state().header(),
        "attributes": attributes(pairs(&link.attributes)),
    })
}

fn trace_id(id: TraceId) -> Option<String> {
    (id != TraceId::INVALID).then(|| id.to_string())
}

fn span_id(id: SpanId) -> Option<String> {
    (id != SpanId::INVALID).then(|| id.to_string())
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap().as_nanos().to_string()
}

fn attributes_of(scope: &InstrumentationScope) -> Value {
    attributes(scope.attributes().map(|pair| (&pair.key, &pair.value)))
}

fn pairs(attributes: &[KeyValue]) -> impl Iterator<Item = (&Key, &Attribute)> {
    attributes.iter().map(|pair| (&pair.key, &pair.value))
}

pub(crate) fn attributes<'a>(attributes: impl Iterator<Item = (&'a Key, &'a Attribute)>) -> Value {
    attributes.map(|(key, value)| (key.to_string(), attribute(value))).collect()
}

fn attribute(value: &Attribute) -> Value {
    match value {
        Attribute::Bool(value) => (*value).into(),
        Attribute::I64(value) => (*value).into(),
        Attribute::F64(value) => (*value).into(),
        Attribute::String(value) => value.as_str().into(),
        Attribute::Array(Array::Bool(values)) => json!(values),
        Attribute::Array(Array::I64(values)) => json!(values),
        Attribute::Array(Array::F64(values)) => json!(values),
        Attribute::Array(Array::String(values)) => {
            values.iter().map(|value| value.as_str()).collect()
        }
        other => unreachable!("{other:?}"),
    }
}

pub(crate) fn metrics(metrics: &ResourceMetrics) -> Vec<Value> {
    let all = metrics.scope_metrics().flat_map(|scope| scope.metrics());
    let series = |metric: &opentelemetry_sdk::metrics::data::Metric| {
        let points = match metric.data() {
            AggregatedMetrics::F64(data) => points(data),
            AggregatedMetrics::U64(data) => points(data),
            AggregatedMetrics::I64(data) => points(data),
        };
        let named = points.into_iter().map(|mut point| {
            point["name"] = metric.name().into();
            point["unit"] = metric.unit().into();
            point
        });
        named.collect::<Vec<_>>()
    };
    all.flat_map(series).collect()
}

fn points<T: Copy + serde::Serialize>(data: &MetricData<T>) -> Vec<Value> {
    fn shared<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Value {
        self::attributes(attributes.map(|pair| (&pair.key, &pair.value)))
    }
    match data {
        MetricData::Gauge(gauge) => gauge
            .data_points()
            .map(|point| {
                json!({"kind": "gauge", "value": point.value(), "attributes": shared(point.attributes())})
            })
            .collect(),
        MetricData::Sum(sum) => {
            let kind = if sum.is_monotonic() { "counter" } else { "gauge" };
            sum.data_points()
                .map(|point| {
                    json!({"kind": kind, "value": point.value(), "attributes": shared(point.attributes())})
                })
                .collect()
        }
        MetricData::Histogram(histogram) => histogram
            .data_points()
            .map(|point| {
                json!({"kind": "histogram", "attributes": shared(point.attributes()), "count": point.count(),
                       "sum": point.sum(), "min": point.min(), "max": point.max()})
            })
            .collect(),
        MetricData::ExponentialHistogram(histogram) => histogram
            .data_points()
            .map(|point| {
                json!({"kind": "histogram", "attributes": shared(point.attributes()), "count": point.count(),
                       "sum": point.sum(), "min": point.min(), "max": point.max()})
            })
            .collect(),
    }
}
