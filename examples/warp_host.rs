//! A warp server of one's own, with the hub on its port: `cargo run --example warp_host 8080`.
//!
//! `/hello/NAME` greets, and tells the hub. Everything of the hub is below `/telemetry`, and everything else is nobody's.

use std::net::Ipv4Addr;
use std::time::Duration;

use telemetry_hub::actors::{HubConfig, HubHandle, NewEvent};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use warp::Filter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse())?;
    let hub = HubHandle::start(HubConfig::default()).await?;

    let greeter = hub.clone();
    let hello = warp::path!("hello" / String).map(move |name: String| {
        let greeting = NewEvent::new("greeting").with("name", name.as_str());
        // A hub that has no room counts what it refuses. Greetings go on.
        greeter.try_ingest(vec![greeting]).ok();
        format!("Hello, {name}!")
    });
    let routes = hello.or(warp::path("telemetry").and(telemetry_hub::routes(&hub)));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let host = format!("http://{}", listener.local_addr()?);
    let asked_to_stop = asked_to_stop()?;
    println!("listening on {host}");
    println!("watch it: curl -N '{host}/telemetry/api/telemetry/traces/live?replay=10'");
    println!("greet:    curl {host}/hello/you");

    let stop = async move {
        asked_to_stop.await;
        // The hub first: its streams would keep the server from its end.
        if let Err(error) = hub.shutdown(Duration::from_secs(10)).await {
            eprintln!("warp_host: {error}");
        }
    };
    warp::serve(routes).incoming(listener).graceful(stop).run().await;
    Ok(())
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
