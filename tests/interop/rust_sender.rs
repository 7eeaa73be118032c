//! The OpenTelemetry SDK for Rust as a sender: the counterpart of `send.py` and `send.mjs`.

use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::{
    Link, Span, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, SpanId, TraceId, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{InMemoryLogExporter, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{
    Aggregation, InMemoryMetricExporter, Instrument, SdkMeterProvider, Stream,
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use serde_json::json;

use crate::sender::{Export, Protocol};
use crate::{rust_exporters, rust_truth};

/// Sends everything, and returns what that was.
pub(crate) fn everything(export: &Export) -> serde_json::Value {
    let (logs, spans) = (InMemoryLogExporter::default(), InMemorySpanExporter::default());
    // Keeps totals since the start, whatever the temporality on the wire.
    let metrics = InMemoryMetricExporter::default();
    let loggers = SdkLoggerProvider::builder()
        .with_resource(resource())
        .with_simple_exporter(logs.clone())
        .with_batch_exporter(rust_exporters::logs(export))
        .build();
    let tracers = SdkTracerProvider::builder()
        .with_resource(resource())
        .with_simple_exporter(spans.clone())
        .with_batch_exporter(rust_exporters::spans(export))
        .build();
    let meters = SdkMeterProvider::builder()
        .with_resource(resource())
        .with_periodic_exporter(metrics.clone())
        .with_periodic_exporter(rust_exporters::metrics(export))
        .with_view(exponential)
        .build();
    emit_logs(&loggers, &tracers);
    if export.protocol != Protocol::HttpJson {
        // Over JSON, this SDK puts null in their place.
        emit(&loggers.logger("interop.rust.numbers"), |record| {
            record.set_body("numbers that JSON lacks".into());
            record.add_attribute("not.a.number", f64::NAN);
            record.add_attribute("infinite", f64::NEG_INFINITY);
        });
    }
    emit_spans(&tracers);
    record_metrics(&meters);
    loggers.force_flush().unwrap();
    tracers.force_flush().unwrap();
    let metrics = metrics.get_finished_metrics().unwrap();
    let truth = json!({
        "sdk": format!("Rust {}", resource().get(&"telemetry.sdk.version".into()).unwrap()),
        "resource": rust_truth::attributes(resource().iter()),
        "logs": rust_truth::logs(&logs.get_emitted_logs().unwrap()),
        "spans": rust_truth::spans(&spans.get_finished_spans().unwrap()),
        "metrics": rust_truth::metrics(metrics.last().unwrap()),
    });
    loggers.shutdown().unwrap();
    tracers.shutdown().unwrap();
    meters.shutdown().unwrap();
    truth
}

pub(crate) fn resource() -> Resource {
    let zones: [&'static str; 2] = ["a", "b"];
    Resource::builder()
        .with_service_name("interop-rust")
        .with_attributes([
            KeyValue::new("service.namespace", "interop"),
            KeyValue::new("service.instance.id", "rust-1"),
            KeyValue::new("host.name", "host.example"),
            KeyValue::new("deployment.replicas", 3),
            KeyValue::new("deployment.zones", texts(&zones)),
            KeyValue::new("shadowed", "by the resource"),
        ])
        .build()
}

fn exponential(instrument: &Instrument) -> Option<Stream> {
    let aggregation = Aggregation::Base2ExponentialHistogram {
        max_size: 160,
        max_scale: 20,
        record_min_max: true,
    };
    let is_it = instrument.name() == "interop.exponential";
    is_it.then(|| Stream::builder().with_aggregation(aggregation).build().unwrap())
}

fn texts(texts: &[&'static str]) -> Value {
    Value::Array(Array::String(texts.iter().map(|text| (*text).into()).collect()))
}

fn every_type() -> Vec<KeyValue> {
    vec![
        KeyValue::new("string", "text"),
        KeyValue::new("string.empty", ""),
        KeyValue::new("string.unicode", "Grüße, 世界 🦀 \u{202e}right to left\u{202c}"),
        KeyValue::new(
            "string.control",
            "a\r\nevent: trace\ndata: \"forged\"\\ \u{0}\u{7f}\u{2028}",
        ),
        KeyValue::new("string.long", "x".repeat(8192)),
        KeyValue::new("bool", true),
        KeyValue::new("int", 42),
        KeyValue::new("int.negative", -1),
        KeyValue::new("int.greatest", i64::MAX),
        KeyValue::new("int.least", i64::MIN),
        KeyValue::new("int.beyond.javascript", (1_i64 << 53) + 1),
        KeyValue::new("double", 0.1),
        KeyValue::new("double.whole", 3.0),
        KeyValue::new("double.tiny", 5e-324),
        KeyValue::new("double.great", f64::MAX),
        KeyValue::new("array.string", texts(&["a", "b", ""])),
        KeyValue::new("array.int", Value::Array(vec![1, i64::MAX, -1].into())),
        KeyValue::new("array.double", Value::Array(vec![0.5, 1.0].into())),
        KeyValue::new("array.bool", Value::Array(vec![true, false].into())),
        KeyValue::new("array.empty", texts(&[])),
        KeyValue::new("Mixed_Case-Name.dotted", "names are left as they are"),
        KeyValue::new("schlüssel", "a name with an umlaut"),
        KeyValue::new("shadowed", "by the record"),
    ]
}

const START: Duration = Duration::from_secs(1_795_342_367);

fn at(after: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + START + after
}

const SEVERITIES: [Severity; 24] = {
    use Severity::*;
    [
        Trace, Trace2, Trace3, Trace4, Debug, Debug2, Debug3, Debug4, Info, Info2, Info3, Info4,
        Warn, Warn2, Warn3, Warn4, Error, Error2, Error3, Error4, Fatal, Fatal2, Fatal3, Fatal4,
    ]
};

/// Emits a record that `fill` fills in.
fn emit<L: Logger>(logger: &L, fill: impl FnOnce(&mut L::LogRecord)) {
    let mut record = logger.create_log_record();
    fill(&mut record);
    logger.emit(record);
}

/// Logs of every severity and every kind of body, in and outside of spans.
fn emit_logs(loggers: &SdkLoggerProvider, tracers: &SdkTracerProvider) {
    let scope =
        InstrumentationScope::builder("interop.rust.logs").with_version("1.2.3").with_attributes([
            KeyValue::new("scope.of", "logs"),
            KeyValue::new("shadowed", "by the scope"),
        ]);
    let logger = loggers.logger_with_scope(scope.build());
    for severity in SEVERITIES {
        emit(&logger, |record| {
            record.set_timestamp(at(Duration::from_millis(severity as u64)));
            record.set_severity_number(severity);
            record.set_severity_text(severity.name());
            record.set_body(format!("severity {}", severity as i64).into());
            record.add_attribute("number", severity as i64);
        });
    }
    emit_bodies(&logger);
    emit_names_and_attributes(&logger);
    emit(&loggers.logger(""), |record| {
        record.set_timestamp(at(Duration::from_nanos(999_999_999)));
        record.set_body("no scope, no name, no severity".into());
    });
    let tracer = tracers.tracer("interop.rust.around");
    tracer.in_span("around logs", |_| {
        emit(&logger, |record| {
            record.set_severity_number(Severity::Warn);
            record.set_body("in a span".into());
        });
        tracer.in_span("inner", |_| {
            emit(&logger, |record| {
                record.set_severity_number(Severity::Error);
                record.set_body("in the inner span".into());
            });
        });
    });
}

fn map<const N: usize>(members: [(&'static str, AnyValue); N]) -> AnyValue {
    members.into_iter().collect()
}

fn list<const N: usize>(items: [AnyValue; N]) -> AnyValue {
    items.into_iter().collect()
}

fn emit_bodies(logger: &impl Logger) {
    let bodies: [AnyValue; 9] = [
        "".into(),
        "one\ntwo".into(),
        42.into(),
        i64::MAX.into(),
        0.25.into(),
        true.into(),
        [0_u8, 255].as_slice().into(),
        list(["a".into(), 1.into(), map([("deep", list([false.into(), 2.5.into()]))])]),
        map([
            ("in.body", "joins data".into()),
            ("number", 7.into()),
            ("nested", map([("map", map([("deep", 1.into())]))])),
            ("list", list([1.into(), "two".into()])),
        ]),
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        emit(logger, |record| {
            record.set_timestamp(at(Duration::ZERO));
            record.set_body(body);
            record.add_attribute("kind.of.body", number as i64);
        });
    }
    emit(logger, |record| record.add_attribute("kind.of.body", "none"));
    emit(logger, |record| {
        record.set_body(map([("taken", "by the body".into())]));
        record.add_attribute("taken", "by the attribute");
    });
}

fn emit_names_and_attributes(logger: &impl Logger) {
    emit(logger, |record| {
        record.set_severity_number(Severity::Info);
        record.set_body("every type".into());
        let values = every_type().into_iter();
        record.add_attributes(values.map(|KeyValue { key, value, .. }| (key, any(value))));
    });
    emit(logger, |record| {
        record.set_event_name("interop.named");
        record.set_body("an event with a name".into());
        record.add_attribute("event.name", "not.this");
    });
    emit(logger, |record| {
        record.set_target("interop.target");
        record.set_body("a target in place of the scope".into());
    });
    emit(logger, |record| {
        record.set_body("named by an attribute".into());
        record.add_attribute("event.name", "interop.named.by.attribute");
    });
    emit(logger, |record| {
        record.set_body("nested attributes".into());
        record.add_attribute("bytes", [1_u8, 2].as_slice());
        record.add_attribute("map", map([("inner", map([("n", 1.into())]))]));
    });
    emit(logger, |record| {
        record.set_body("a span as an attribute".into());
        record.add_attribute("spanId", 341_966_511_470_027_318_i64);
        record.add_attribute("accountName", "alice");
    });
}

/// The value of a span's attribute as that of a log record's.
fn any(value: Value) -> AnyValue {
    match value {
        Value::Bool(value) => value.into(),
        Value::I64(value) => value.into(),
        Value::F64(value) => value.into(),
        Value::String(value) => value.into(),
        Value::Array(Array::Bool(values)) => values.into_iter().collect(),
        Value::Array(Array::I64(values)) => values.into_iter().collect(),
        Value::Array(Array::F64(values)) => values.into_iter().collect(),
        Value::Array(Array::String(values)) => values.into_iter().collect(),
        other => unreachable!("{other:?}"),
    }
}

/// Spans of every kind and status, with attributes, events, links and parents.
fn emit_spans(tracers: &SdkTracerProvider) {
    let scope = InstrumentationScope::builder("interop.rust.spans")
        .with_attributes([KeyValue::new("scope.of", "spans")]);
    let tracer = tracers.tracer_with_scope(scope.build());
    for kind in [
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ] {
        let parent = tracer.span_builder(format!("kind {kind:?}")).with_kind(kind).start(&tracer);
        let parent = Context::current_with_span(parent);
        tracer.start_with_context("child", &parent).end();
        parent.span().end();
    }
    let mut span = tracer.span_builder("every type").with_attributes(every_type()).start(&tracer);
    span.set_status(Status::Ok);
    span.add_event("bare", Vec::new());
    let attributes =
        vec![KeyValue::new("n", (1_i64 << 53) + 1), KeyValue::new("list", texts(&["a", "b"]))];
    span.add_event_with_timestamp(
        "with attributes",
        at(Duration::from_nanos(123_456_789)),
        attributes,
    );
    span.record_error(&std::io::Error::other("an error with “quotes”\nand two lines"));
    span.end();
    let mut failed = tracer.start("failed");
    failed.set_status(Status::error("what went wrong"));
    failed.end();
    emit_linked(&tracer, failed.span_context().clone());
    for (name, nanoseconds) in [("given times", 1_500_000_000), ("no time at all", 0)] {
        let mut span = tracer.span_builder(name).with_start_time(at(Duration::ZERO)).start(&tracer);
        span.end_with_timestamp(at(Duration::from_nanos(nanoseconds)));
    }
    let names = ["startTime", "duration", "kind", "status"];
    let attributes = names.map(|name| KeyValue::new(name, "an attribute"));
    tracer.span_builder("names of its own").with_attributes(attributes).start(&tracer).end();
}

fn emit_linked(tracer: &impl Tracer, failed: SpanContext) {
    let remote = SpanContext::new(
        TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap(),
        SpanId::from_hex("00f067aa0ba902b7").unwrap(),
        TraceFlags::SAMPLED,
        true,
        TraceState::from_key_value([("vendor", "value")]).unwrap(),
    );
    let attributes = vec![KeyValue::new("why", "retry"), KeyValue::new("n", 1)];
    let links = vec![Link::with_context(remote.clone()), Link::new(failed, attributes, 0)];
    let builder = tracer.span_builder("linked, with a remote parent").with_links(links);
    builder.start_with_context(tracer, &Context::new().with_remote_span_context(remote)).end();
}

/// Every instrument, in two parts with an export in between.
fn record_metrics(meters: &SdkMeterProvider) {
    let meter = meters.meter("interop.rust.metrics");
    let counter = meter.u64_counter("interop.counter").with_unit("{request}").build();
    let floats = meter.f64_counter("interop.counter.float").with_unit("s").build();
    let up_down = meter.i64_up_down_counter("interop.up.down").with_unit("{item}").build();
    let gauge = meter.f64_gauge("interop.gauge").with_unit("Cel").build();
    let histogram = meter.f64_histogram("interop.histogram").with_unit("ms").build();
    let exponential = meter.u64_histogram("interop.exponential").with_unit("By").build();
    observe(&meter);
    for part in [1, 2] {
        let get = [KeyValue::new("method", "GET"), KeyValue::new("status", 200)];
        counter.add(3 * part, &get);
        let put = [
            KeyValue::new("method", "PUT"),
            KeyValue::new("ok", true),
            KeyValue::new("ratio", 0.5),
            KeyValue::new("list", texts(&["x", "y"])),
        ];
        counter.add((1 << 40) * part, &put);
        counter.add(part, &[]);
        floats.add(0.25 * part as f64, &[KeyValue::new("größe", "klein")]);
        up_down.add(if part == 1 { 10 } else { -25 }, &[]);
        gauge.record(-3.75 * part as f64, &[KeyValue::new("room", "attic")]);
        for value in [0.5, 7.0, 12.0, 480.0, 20_000.0] {
            histogram.record(value * part as f64, &[KeyValue::new("route", "/a")]);
        }
        histogram.record(part as f64, &[]);
        for value in [1, 3, 9, 27, 81, 1_000_000_000] {
            exponential.record(value * part, &[]);
        }
        meters.force_flush().unwrap();
    }
}

/// Instruments that are asked for their values at each export. They stay with their meter.
fn observe(meter: &Meter) {
    meter
        .u64_observable_counter("interop.observable.counter")
        .with_unit("1")
        .with_callback(|observer| observer.observe(77, &[KeyValue::new("cpu", 0)]))
        .build();
    meter
        .i64_observable_up_down_counter("interop.observable.up.down")
        .with_callback(|observer| observer.observe(-7, &[]))
        .build();
    meter
        .f64_observable_gauge("interop.observable.gauge")
        .with_unit("By")
        .with_callback(|observer| observer.observe(2.5, &[KeyValue::new("core", "a")]))
        .build();
}
