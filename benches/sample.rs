//! The events that all benches work on: of the kind and size that a mail server sends, some 330 bytes each.

use std::sync::Arc;

use async_compression::tokio::bufread::ZstdDecoder;
use telemetry_hub_actors::{Delivered, Event, HubConfig, HubHandle, TraceQuery, event::json};
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;

/// A line of NDJSON.
pub(crate) fn line(number: usize) -> String {
    format!(
        r#"{{"type":"smtp.rcpt-to","createdAt":"2026-11-22T10:12:47Z","level":"INFO","text":"recipient accepted","spanId":{},"data":{{"listenerId":"smtp","localPort":2525,"remoteIp":"10.{}.{}.{}","remotePort":43623,"to":"user{number}@example.org","size":2923,"elapsed":0.25,"strict":false}}}}"#,
        341_966_570_238_591_030_u64 + (number / 10) as u64,
        number / 65_536 % 256,
        number / 256 % 256,
        number % 256,
    )
}

/// The first `count` lines.
pub(crate) fn lines(count: usize) -> Vec<String> {
    (0..count).map(line).collect()
}

/// What zstd has compressed.
pub(crate) async fn decompress(bytes: &[u8]) -> String {
    let mut text = String::new();
    let read = ZstdDecoder::new(bytes).read_to_string(&mut text).await;
    read.map(|_| text).expect("it is compressed text")
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts")
}

/// The first `count` events as a hub delivers them.
pub(crate) fn events(count: usize) -> Vec<Arc<Event>> {
    runtime().block_on(async {
        let hub = HubHandle::start(HubConfig::default()).await.expect("a hub starts");
        let mut subscription =
            hub.subscribe(TraceQuery::everything()).await.expect("a new hub has room");
        let read = |line: String| json::read(line.as_bytes(), usize::MAX).expect("it is an event");
        hub.ingest(lines(count).into_iter().map(read).collect()).await.expect("there is room");
        let mut events = Vec::new();
        while events.len() < count {
            if let Some(Delivered::Events(batch)) = subscription.next().await {
                events.extend(batch);
            }
        }
        events
    })
}
