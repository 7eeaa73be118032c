//! A program with a hub inside, and without HTTP: what it logs goes to its terminal as ever, and into the hub, where one who
//! asks for errors sees them, each with the rest of its span. It ends by itself.
//!
//! `cargo run -p telemetry-hub-actors --features tracing --example embed`

use std::error::Error;
use std::io;
use std::time::Duration;

use telemetry_hub_actors::{Delivered, HubConfig, HubHandle, HubLayer, Subscription, TraceQuery};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{fmt, registry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubHandle::start(HubConfig::default()).await?;
    registry()
        .with(HubLayer::new(&hub).with_filter(LevelFilter::DEBUG))
        .with(fmt::layer().with_writer(io::stderr).with_filter(LevelFilter::INFO))
        .init();

    let errors = hub.subscribe(TraceQuery::parse("level=error", None)?).await?;
    let reader = tokio::spawn(print(errors));
    for (id, quantity) in ["1", "2", "three", "4"].into_iter().enumerate() {
        take_order(id, quantity);
    }
    hub.shutdown(Duration::from_secs(1)).await?;
    reader.await??;
    Ok(())
}

/// The work that the program is there for. It knows nothing of a hub.
fn take_order(id: usize, quantity: &str) {
    let _order = tracing::info_span!("order", order.id = id).entered();
    tracing::debug!(quantity, "looking at it");
    match quantity.parse::<u32>() {
        Ok(quantity) => tracing::info!(quantity, "taken"),
        Err(error) => tracing::error!(error = &error as &dyn Error, quantity, "refused"),
    }
}

/// Prints what the subscriber gets, as JSON, to the end.
async fn print(mut subscription: Subscription) -> Result<(), serde_json::Error> {
    while let Some(delivered) = subscription.next().await {
        match delivered {
            Delivered::Events(events) => {
                for event in events {
                    println!("{}", serde_json::to_string(&*event)?);
                }
            }
            Delivered::Gap(gap) => println!("missed: {gap:?}"),
            Delivered::Bye(bye) => println!("the hub ends the stream: {:?}", bye.reason),
            Delivered::CaughtUp { .. } => {}
        }
    }
    Ok(())
}
