//! What systemd and the hub tell each other (sd_notify(3), sd_listen_fds(3)): sockets that were open before it, that it is ready, that
//! it ends, and that it is not stuck. Started by anything else, none of this happens.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use telemetry_hub_actors::HubHandle;

/// The sockets that systemd listens on for the hub, in the order of its unit.
pub(super) fn sockets() -> io::Result<Vec<TcpListener>> {
    let mut inherited = ListenFd::from_env();
    (0..inherited.len())
        .filter_map(|index| inherited.take_tcp_listener(index).transpose())
        .collect()
}

/// Connections are accepted from now on.
pub(super) fn tell_ready(address: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving on {address}"))]);
}

/// The drain has begun.
pub(super) fn tell_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Tells again and again that the hub is not stuck, as often as the unit wants to hear it. A hub that is, is killed and started
/// anew. Never returns.
pub(super) async fn keep_telling_health(hub: &HubHandle) -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let period = (patience / 3).max(Duration::from_millis(10));
    let mut tick = tokio::time::interval(period);
    loop {
        tick.tick().await;
        if hub.check_health(period).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told how it stands");
    }
}
