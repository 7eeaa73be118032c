//! A small shop on axum, with the hub on its port: `cargo run --example axum_host 8080`.
//!
//! It sells, takes payments that sometimes fail, and has customers of its own who never rest. It says what it does with
//! `tracing`; all of that, and what it measures, is seen live below `/telemetry`. Only `recording` knows how it gets there.

use std::convert::Infallible;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use recording::Recording;
use serde_json::json;
use telemetry_hub::HubService;
use telemetry_hub::actors::{HubConfig, HubHandle};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let hub = HubHandle::start(HubConfig::default()).await?;
    let recording = Recording::start(&hub);

    let app = Router::new()
        .merge(shop::routes(recording))
        .nest_service("/telemetry", HubService::new(&hub));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    let asked_to_stop = asked_to_stop()?;
    println!("{}", welcome(address));

    let stopping = hub.clone();
    let stop = async move {
        asked_to_stop.await;
        // The hub first: its streams would keep the server from its end.
        if let Err(error) = stopping.shutdown(Duration::from_secs(10)).await {
            eprintln!("axum_host: {error}");
        }
    };
    // Frames are small, and must leave at once.
    let listener = listener.tap_io(|socket| {
        // A socket that cannot do that is broken, and will say so.
        socket.set_nodelay(true).ok();
    });
    let serving = axum::serve(listener, app).with_graceful_shutdown(stop);
    tokio::select! {
        served = async { serving.await } => served?,
        never = customers(address) => match never {},
        () = overdue(&hub) => eprintln!("axum_host: a client that does not read was cut"),
    }
    Ok(())
}

fn welcome(address: SocketAddr) -> String {
    let host = format!("http://{address}");
    format!(
        "listening on {host}
  requests  curl -N '{host}/telemetry/api/telemetry/traces/live?type=http.request'
  errors    curl -N '{host}/telemetry/api/telemetry/traces/live?level=error'
  metrics   curl -N '{host}/telemetry/api/telemetry/metrics/live?metrics=shop&interval=1'
  shop      curl {host}/orders --json '{{\"product\":1,\"quantity\":2}}'"
    )
}

/// Resolves when the hub has ended, and even then some client keeps its connection for a while.
async fn overdue(hub: &HubHandle) {
    hub.ended().await;
    timeout(Duration::from_secs(5), pending::<()>()).await.ok();
}

/// Customers who look around and buy, five times a second.
async fn customers(shop: SocketAddr) -> Infallible {
    let client = reqwest::Client::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let product = rand::random_range(1..=4);
        let request = match rand::random_range(0..4) {
            0 => client.get(format!("http://{shop}/products")),
            1 => client.get(format!("http://{shop}/products/{product}")),
            _ => client.post(format!("http://{shop}/orders")).json(&json!({"product": product})),
        };
        // What goes wrong is for those who watch.
        request.send().await.ok();
    }
}

/// Resolves at SIGTERM or Ctrl-C; listens for them from now on.
fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The shop itself. It does not know that there is a hub.
mod shop {
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use axum::extract::{Path, Request, State};
    use axum::http::StatusCode;
    use axum::middleware::{Next, from_fn};
    use axum::response::{IntoResponse, Response};
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use serde::{Deserialize, Serialize};
    use tokio::time::{Instant, timeout};
    use tracing::Instrument;

    use crate::recording::Recording;

    #[derive(Debug, Clone, Copy, Serialize)]
    struct Product {
        id: u64,
        name: &'static str,
        price: f64,
    }

    const PRODUCTS: [Product; 3] = [
        Product { id: 1, name: "tea", price: 4.5 },
        Product { id: 2, name: "teapot", price: 39.0 },
        Product { id: 3, name: "cup", price: 9.9 },
    ];

    /// Every seventh payment fails.
    const FAILING_PAYMENT: u64 = 7;

    #[derive(Debug, Deserialize)]
    struct Order {
        product: u64,
        #[serde(default = "one")]
        quantity: u32,
    }

    fn one() -> u32 {
        1
    }

    struct Shop {
        payments: AtomicU64,
        recording: Recording,
    }

    #[derive(Debug, thiserror::Error)]
    enum ShopError {
        #[error("there is no such product")]
        NoSuchProduct,
        #[error("the bank does not answer")]
        NoAnswerFromBank,
    }

    impl IntoResponse for ShopError {
        fn into_response(self) -> Response {
            let status = match self {
                Self::NoSuchProduct => StatusCode::NOT_FOUND,
                Self::NoAnswerFromBank => StatusCode::BAD_GATEWAY,
            };
            (status, self.to_string()).into_response()
        }
    }

    pub(crate) fn routes(recording: Recording) -> Router {
        let shop = Arc::new(Shop { payments: AtomicU64::new(0), recording });
        Router::new()
            .route("/products", get(async || Json(PRODUCTS)))
            .route("/products/{id}", get(async |Path(id): Path<u64>| product(id).map(Json)))
            .route("/orders", post(order))
            .layer(from_fn(watched))
            .with_state(shop)
    }

    /// Each request is a span, and says at its end what came of it.
    async fn watched(request: Request, next: Next) -> Response {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let span = tracing::info_span!("request", method, path);
        let answer = async {
            let start = Instant::now();
            let response = next.run(request).await;
            let (status, duration) =
                (response.status().as_u16(), start.elapsed().as_secs_f64() * 1000.0);
            if status < 400 {
                tracing::info!(name: "http.request", method, path, status, duration);
            } else {
                tracing::warn!(name: "http.request", method, path, status, duration);
            }
            response
        };
        answer.instrument(span).await
    }

    fn product(id: u64) -> Result<Product, ShopError> {
        PRODUCTS.into_iter().find(|product| product.id == id).ok_or(ShopError::NoSuchProduct)
    }

    async fn order(
        State(shop): State<Arc<Shop>>,
        Json(order): Json<Order>,
    ) -> Result<(StatusCode, Json<Product>), ShopError> {
        let product = product(order.product)?;
        let amount = product.price * f64::from(order.quantity);
        shop.pay(amount).await?;
        tracing::info!(name: "order.placed", product = product.name, quantity = order.quantity, amount);
        shop.recording.count("shop.orders", 1.0);
        shop.recording.count("shop.revenue", amount);
        Ok((StatusCode::CREATED, Json(product)))
    }

    impl Shop {
        async fn pay(&self, amount: f64) -> Result<(), ShopError> {
            let (start, number) =
                (Instant::now(), self.payments.fetch_add(1, Ordering::Relaxed) + 1);
            // Banks take their time.
            let answer = Duration::from_millis(rand::random_range(5..30));
            timeout(answer, pending::<()>()).await.ok();
            self.recording.time("shop.payments", start.elapsed());
            if number.is_multiple_of(FAILING_PAYMENT) {
                let error = ShopError::NoAnswerFromBank;
                tracing::error!(name: "payment.failed", payment = number, amount, "{error}");
                return Err(error);
            }
            Ok(())
        }
    }
}

/// How what the shop says and measures reaches the hub.
mod recording {
    use std::fmt::Debug;
    use std::time::Duration;

    use telemetry_hub::actors::{HubHandle, Level, Measurement, NewEvent};
    use tracing::field::{Field, Visit};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::Targets;
    use tracing_subscriber::layer::{Context, SubscriberExt};
    use tracing_subscriber::registry::LookupSpan;
    use tracing_subscriber::util::SubscriberInitExt;

    /// Takes what is recorded to the hub.
    #[derive(Debug, Clone)]
    pub(crate) struct Recording(HubHandle);

    impl Recording {
        /// From now on what this program says with `tracing` is recorded: its own words only, since a hub that heard itself
        /// would never come to rest.
        pub(crate) fn start(hub: &HubHandle) -> Self {
            let recording = Self(hub.clone());
            let own = Targets::new().with_target(env!("CARGO_CRATE_NAME"), tracing::Level::INFO);
            tracing_subscriber::registry().with(recording.clone().with_filter(own)).init();
            recording
        }

        pub(crate) fn count(&self, name: &str, amount: f64) {
            self.record(Measurement::counter(name, amount));
        }

        pub(crate) fn time(&self, name: &str, duration: Duration) {
            let milliseconds = vec![duration.as_secs_f64() * 1000.0];
            self.record(Measurement::histogram(name, milliseconds).unit("ms"));
        }

        fn record(&self, measurement: Measurement) {
            self.0.record(measurement).expect("the shop's names are good");
        }
    }

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recording {
        fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
            let (name, level) = (event.metadata().name(), *event.metadata().level());
            let mut fields = Fields(NewEvent::new(name).level(hub_level(level)));
            event.record(&mut fields);
            let mut new = fields.0;
            if let Some(span) = context.event_span(event) {
                new = new.span(&span.id().into_u64().to_string());
            }
            // A hub that has no room counts what it refuses. The shop goes on.
            self.0.try_ingest(vec![new]).ok();
        }
    }

    fn hub_level(level: tracing::Level) -> Level {
        match level {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        }
    }

    struct Fields(NewEvent);

    impl Visit for Fields {
        fn record_u64(&mut self, field: &Field, value: u64) {
            self.0.data.push(field.name(), value);
        }

        fn record_f64(&mut self, field: &Field, value: f64) {
            self.0.data.push(field.name(), value);
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.data.push(field.name(), value);
        }

        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let text = format!("{value:?}");
            if field.name() == "message" {
                self.0.text = Some(text.into());
            } else {
                self.0.data.push(field.name(), text);
            }
        }
    }
}
