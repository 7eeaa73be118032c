//! Standard output and standard error of the commands that run on: neither may be read any more, at any time.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::pipe;

use super::harmless::harmless;

/// As shells have it: ended by SIGINT.
pub(super) const INTERRUPTED: u8 = 130;

/// Whether somebody reads what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    Gone,
}

/// Writes to standard output. Not on this thread: a reader that does not read must not keep a signal from ending the program.
pub(super) async fn write(text: &str) -> io::Result<Reader> {
    let mut stdout = tokio::io::stdout();
    let written = match stdout.write_all(text.as_bytes()).await {
        Ok(()) => stdout.flush().await,
        Err(error) => Err(error),
    };
    match written {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error),
    }
}

/// Returns when nobody reads standard output any more, as far as the system tells before something is written.
pub(super) async fn reader_gone() {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    // Of a file nobody can wait for anything.
    if let Ok(stdout) = stdout.and_then(pipe::Sender::from_owned_fd_unchecked)
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Says something on standard error. That nobody reads it must not end anything.
pub(super) fn say(message: impl fmt::Display) {
    let message = message.to_string();
    writeln!(io::stderr(), "telemetry-hub: {}", harmless(&message)).ok();
}
