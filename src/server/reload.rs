//! Looks at the files that may be replaced while the server runs, every few seconds, and at once when it is sent SIGHUP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::intake::Intake;
use crate::watched_file::{Reload, Reloaded};

/// How soon a new key or certificate is noticed. Not so soon that reading a few small files would be seen anywhere.
const PERIOD: Duration = Duration::from_secs(2);

/// Never returns; what is found is counted.
pub(super) async fn watch(files: &[Arc<dyn Reload>], intake: &Intake) -> Infallible {
    // Taken even if there are no files: nobody means to end a server by asking it to read its files.
    let mut asked = signal(SignalKind::hangup()).ok();
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick(), if !files.is_empty() => {}
            Some(()) = async { asked.as_mut()?.recv().await } => {}
            else => return std::future::pending().await,
        }
        for file in files {
            let file = Arc::clone(file);
            let outcome = tokio::task::spawn_blocking(move || file.reload()).await;
            intake.count_reload(outcome.unwrap_or(Reloaded::Failed));
        }
    }
}
