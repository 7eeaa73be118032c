//! A small shop on axum, with the hub on its port: `cargo run --example axum_host 8080`.
//!
//! It sells, takes payments that sometimes fail, and has customers of its own who never rest. It says what it does with
//! `tracing` and measures it with `metrics`; all of that is seen live below `/telemetry`, and only `main` knows of it.

use std::convert::Infallible;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use serde_json::json;
use telemetry_hub::HubService;
use telemetry_hub::actors::{HubConfig, HubHandle, HubLayer, HubRecorder};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let hub = HubHandle::start(HubConfig::default()).await?;
    tracing_subscriber::registry().with(HubLayer::new(&hub).with_filter(LevelFilter::INFO)).init();
    HubRecorder::new(&hub).install()?;

    let app = Router::new().merge(shop::routes()).nest_service("/telemetry", HubService::new(&hub));

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
    use metrics::Unit;
    use serde::{Deserialize, Serialize};
    use tokio::time::{Instant, timeout};
    use tracing::Instrument;

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

    #[derive(Default)]
    struct Shop {
        payments: AtomicU64,
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

    pub(crate) fn routes() -> Router {
        metrics::describe_histogram!("shop.payments", Unit::Milliseconds, "how long the bank took");
        Router::new()
            .route("/products", get(async || Json(PRODUCTS)))
            .route("/products/{id}", get(async |Path(id): Path<u64>| product(id).map(Json)))
            .route("/orders", post(order))
            .layer(from_fn(watched))
            .with_state(Arc::new(Shop::default()))
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
        metrics::counter!("shop.orders", "product" => product.name).increment(1);
        metrics::gauge!("shop.revenue").increment(amount);
        Ok((StatusCode::CREATED, Json(product)))
    }

    impl Shop {
        async fn pay(&self, amount: f64) -> Result<(), ShopError> {
            let (start, number) =
                (Instant::now(), self.payments.fetch_add(1, Ordering::Relaxed) + 1);
            // Banks take their time.
            let answer = Duration::from_millis(rand::random_range(5..30));
            timeout(answer, pending::<()>()).await.ok();
            metrics::histogram!("shop.payments").record(start.elapsed().as_secs_f64() * 1000.0);
            if number.is_multiple_of(FAILING_PAYMENT) {
                let error = ShopError::NoAnswerFromBank;
                tracing::error!(name: "payment.failed", payment = number, amount, "{error}");
                return Err(error);
            }
            Ok(())
        }
    }
}
