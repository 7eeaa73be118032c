//! Looks at the files that may be replaced while the server runs, every few seconds, and at once when it is sent SIGHUP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::intake::Intake;
use crate::watched_file::{Reload, Reloaded};

/// How soon a new key or certificate is noticed. Not so soon that reading a few small files would be seen anywhere.
const PERIOD: Duration = Duration::from_secs(2);

/// The files, and the signal, which is listened for from the beginning: before that it would end the process.
pub(super) struct Reloads {
    files: Vec<Arc<dyn Reload>>,
    /// Taken even if there are no files: nobody means to end a server by asking it to read its files.
    asked: Option<Signal>,
}

impl Reloads {
    pub(super) fn of(files: Vec<Arc<dyn Reload>>) -> Self {
        Self { files, asked: signal(SignalKind::hangup()).ok() }
    }

    /// Never returns; what is found is counted.
    pub(super) async fn watch(mut self, intake: &Intake) -> Infallible {
        let mut tick = interval(PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick(), if !self.files.is_empty() => {}
                Some(()) = async { self.asked.as_mut()?.recv().await } => {}
                else => return std::future::pending().await,
            }
            for file in &self.files {
                let file = Arc::clone(file);
                let outcome = tokio::task::spawn_blocking(move || file.reload()).await;
                intake.count_reload(outcome.unwrap_or(Reloaded::Failed));
            }
        }
    }
}
