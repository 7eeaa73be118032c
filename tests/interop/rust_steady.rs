//! The OpenTelemetry SDK for Rust as a steady sender: the counterpart of `send.py steadily`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider};
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLoggerProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::sender::Export;
use crate::{rust_exporters, rust_sender};

/// Sends until `stopped`, and returns what became of each export; `retry` counts those that had to be tried again.
pub(crate) fn send(
    export: &Export,
    stopped: &CancellationToken,
    retry: &watch::Sender<u32>,
) -> serde_json::Value {
    let outcomes = Outcomes::default();
    let sender = Sender { export, stopped, retry, outcomes: &outcomes, runtime: Handle::current() };
    thread::scope(|scope| {
        scope.spawn(|| sender.noticing_retries(|| sender.send_logs()));
        scope.spawn(|| sender.noticing_retries(|| sender.send_spans()));
    });
    json!({"sdk": "Rust", "outcomes": *outcomes.lock().unwrap(), "resent": []})
}

/// Whether the exporter said that it has delivered the record of a name.
type Outcomes = Arc<Mutex<BTreeMap<String, bool>>>;

struct Sender<'a> {
    export: &'a Export,
    stopped: &'a CancellationToken,
    retry: &'a watch::Sender<u32>,
    outcomes: &'a Outcomes,
    runtime: Handle,
}

impl Sender<'_> {
    /// Exporters tell of their retries in a log of the SDK's own, on the thread that exports.
    fn noticing_retries(&self, send: impl FnOnce()) {
        let subscriber = Registry::default().with(TellRetries(self.retry.clone()));
        let _in_runtime = self.runtime.enter();
        tracing::subscriber::with_default(subscriber, send);
    }

    fn send_logs(&self) {
        let inner = rust_exporters::logs(self.export);
        let provider = SdkLoggerProvider::builder()
            .with_resource(rust_sender::resource())
            .with_simple_exporter(Noting { inner, outcomes: Arc::clone(self.outcomes) })
            .build();
        let logger = provider.logger("interop");
        self.number_until_stopped(|number| {
            let mut record = logger.create_log_record();
            record.set_body("steadily".into());
            record.add_attribute("name", format!("log {number}"));
            logger.emit(record);
        });
        provider.shutdown().unwrap();
    }

    fn send_spans(&self) {
        let inner = rust_exporters::spans(self.export);
        let provider = SdkTracerProvider::builder()
            .with_resource(rust_sender::resource())
            .with_simple_exporter(Noting { inner, outcomes: Arc::clone(self.outcomes) })
            .build();
        let tracer = provider.tracer("interop");
        self.number_until_stopped(|number| {
            let name = KeyValue::new("name", format!("span {number}"));
            tracer.span_builder("steadily").with_attributes([name]).start(&tracer).end();
        });
        provider.shutdown().unwrap();
    }

    fn number_until_stopped(&self, send: impl Fn(u32)) {
        for number in (0..).take_while(|_| !self.stopped.is_cancelled()) {
            send(number);
        }
    }
}

/// Notes what the SDK's exporter said of each record, retries and all.
#[derive(Debug)]
struct Noting<E> {
    inner: E,
    outcomes: Outcomes,
}

impl<E> Noting<E> {
    fn note(&self, names: Vec<String>, result: &OTelSdkResult) {
        let outcomes = names.into_iter().map(|name| (name, result.is_ok()));
        self.outcomes.lock().unwrap().extend(outcomes);
    }
}

impl<E: LogExporter> LogExporter for Noting<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let mut names = Vec::new();
        for (record, _) in batch.iter() {
            for (key, value) in record.attributes_iter() {
                if let ("name", AnyValue::String(name)) = (key.as_str(), value) {
                    names.push(name.to_string());
                }
            }
        }
        let result = self.inner.export(batch).await;
        self.note(names, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Noting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let attributes = batch.iter().flat_map(|span| &span.attributes);
        let names = attributes.filter_map(|attribute| match &attribute.value {
            Value::String(name) if attribute.key.as_str() == "name" => Some(name.to_string()),
            _ => None,
        });
        let names = names.collect();
        let result = self.inner.export(batch).await;
        self.note(names, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

struct TellRetries(watch::Sender<u32>);

impl<S: Subscriber> Layer<S> for TellRetries {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let name = event.metadata().name();
        if matches!(name, "Export.InProgress.Retrying" | "Export.InProgress.Throttled") {
            self.0.send_modify(|retries| *retries += 1);
        }
    }
}
