//! Work that Ctrl-C ends. The bench `joined` has this file, too.

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};

/// Does it, or fails once somebody wants it to end. What runs then is dropped, and its processes with it.
pub(crate) fn run(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            outcome = work => outcome,
            outcome = interrupted() => outcome,
        }
    })
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome?,
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}
