//! Ports of one's own.

use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::TcpListener;

/// A port that nobody has, below those that the system gives to connections of its own accord: it must still be free when what
/// listens there has been killed and comes back.
pub(crate) async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 800) as u16 * 20;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
}
