//! A shop whose program watches itself with OpenTelemetry and a hub of its own: `cargo run --example otel_host 8080`.
//!
//! Its traces, logs and metrics go by OTLP to the very port that it serves the hub on; so does what any other program sends
//! there. `telemetry_hub::Server` does all of that. The shop knows only the SDK.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use opentelemetry_otlp::{
    LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::{logs, trace};
use serde_json::json;
use shop::Shop;
use telemetry_hub::{Server, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long records wait for others to be exported with: short, for somebody is watching.
const DELAY: Duration = Duration::from_millis(200);

/// Between two customers.
const PACE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let options = json!({"listen": listen, "otlp_http": "off", "otlp_grpc": "off"});
    let server = Server::bind(Settings::load(None, &options)?).await?;
    let host = format!("http://{}", server.address());
    let asked_to_stop = asked_to_stop()?;
    println!("listening on {host}");
    println!("its traces and logs: curl -N '{host}/api/telemetry/traces/live?replay=10'");
    println!(
        "its metrics:         curl -N '{host}/api/telemetry/metrics/live?interval=1&metrics=shop'"
    );

    let last_words_said = CancellationToken::new();
    let serving = tokio::spawn(server.run(last_words_said.clone().cancelled_owned()));
    let telemetry = Telemetry::to(&host)?;
    let shop = Shop::new(&telemetry.tracers, &telemetry.loggers, &telemetry.meters);
    tokio::select! {
        () = asked_to_stop => {}
        () = sell(&shop) => {}
    }
    // While the server still takes it. The exporters block, which a thread of the runtime must not.
    let flushed = tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    last_words_said.cancel();
    serving.await??;
    Ok(flushed?)
}

/// Resolves at the first SIGTERM or Ctrl-C; listens for them from now on.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// One customer after another, for ever.
async fn sell(shop: &Shop) {
    let mut customers = tokio::time::interval(PACE);
    for order in 1.. {
        customers.tick().await;
        shop.serve(order);
    }
}

/// The SDK's three providers, set up to export to a hub.
struct Telemetry {
    tracers: SdkTracerProvider,
    loggers: SdkLoggerProvider,
    meters: SdkMeterProvider,
}

impl Telemetry {
    fn to(host: &str) -> anyhow::Result<Self> {
        let resource = Resource::builder().with_service_name("otel-host").build();
        let spans = SpanExporter::builder().with_http();
        let spans = trace::BatchSpanProcessor::builder(export(spans, host, "traces").build()?)
            .with_batch_config(
                trace::BatchConfigBuilder::default().with_scheduled_delay(DELAY).build(),
            );
        let records = LogExporter::builder().with_http();
        let records = logs::BatchLogProcessor::builder(export(records, host, "logs").build()?)
            .with_batch_config(
                logs::BatchConfigBuilder::default().with_scheduled_delay(DELAY).build(),
            );
        let points = MetricExporter::builder().with_http();
        let points =
            PeriodicReader::builder(export(points, host, "metrics").build()?).with_interval(DELAY);
        Ok(Self {
            tracers: SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_span_processor(spans.build())
                .build(),
            loggers: SdkLoggerProvider::builder()
                .with_resource(resource.clone())
                .with_log_processor(records.build())
                .build(),
            meters: SdkMeterProvider::builder()
                .with_resource(resource)
                .with_reader(points.build())
                .build(),
        })
    }

    /// Exports what is left.
    fn shutdown(self) -> OTelSdkResult {
        let Self { tracers, loggers, meters } = self;
        tracers.shutdown().and(loggers.shutdown()).and(meters.shutdown())
    }
}

fn export<B: WithExportConfig + WithHttpConfig>(exporter: B, host: &str, signal: &str) -> B {
    exporter.with_endpoint(format!("{host}/v1/{signal}")).with_protocol(Protocol::HttpBinary)
}

/// What this program is for. It knows nothing of hubs.
mod shop {
    use opentelemetry::logs::{LogRecord, Logger, LoggerProvider, Severity};
    use opentelemetry::metrics::{Counter, Histogram, MeterProvider};
    use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
    use opentelemetry::{Context, KeyValue};
    use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

    const GOODS: [(&str, f64); 3] = [("coffee", 2.5), ("bread", 4.25), ("bicycle", 640.0)];

    pub(crate) struct Shop {
        tracer: SdkTracer,
        logger: SdkLogger,
        orders: Counter<u64>,
        value: Histogram<f64>,
    }

    impl Shop {
        pub(crate) fn new(
            tracers: &SdkTracerProvider,
            loggers: &SdkLoggerProvider,
            meters: &SdkMeterProvider,
        ) -> Self {
            let meter = meters.meter("shop");
            Self {
                tracer: tracers.tracer("shop"),
                logger: loggers.logger("shop"),
                orders: meter.u64_counter("shop.orders").with_unit("{order}").build(),
                value: meter.f64_histogram("shop.order-value").with_unit("EUR").build(),
            }
        }

        /// Takes an order, and charges a card that one time in five has no money.
        pub(crate) fn serve(&self, order: u64) {
            let (article, price) = GOODS[order as usize % GOODS.len()];
            let attributes =
                [KeyValue::new("article", article), KeyValue::new("order.number", order as i64)];
            let span = self.tracer.span_builder("order").with_kind(SpanKind::Server);
            let span = span.with_attributes(attributes).start(&self.tracer);
            let _in_span = Context::current_with_span(span).attach();
            let paid = self.charge(order, price);
            self.orders.add(1, &[KeyValue::new("article", article), KeyValue::new("paid", paid)]);
            if paid {
                self.value.record(price, &[]);
                self.say(Severity::Info, "order.paid", format!("{article} sold"));
            } else {
                self.say(Severity::Warn, "order.refused", format!("no money for {article}"));
            }
        }

        fn charge(&self, order: u64, price: f64) -> bool {
            self.tracer.in_span("charge card", |context| {
                let span = context.span();
                span.set_attribute(KeyValue::new("price", price));
                let refused = order.is_multiple_of(5);
                if refused {
                    span.set_status(Status::error("card refused"));
                }
                !refused
            })
        }

        /// Logs, within whatever span is open.
        fn say(&self, severity: Severity, event: &'static str, text: String) {
            let mut record = self.logger.create_log_record();
            record.set_severity_number(severity);
            record.set_event_name(event);
            record.set_body(text.into());
            self.logger.emit(record);
        }
    }
}
