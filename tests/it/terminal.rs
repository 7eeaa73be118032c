//! A terminal for the program to run in: a real pty, and a screen that tells what a person would see on it.

use std::num::NonZeroU16;
use std::process::{ExitStatus, Stdio};

use pty_process::{Command, Pty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use crate::harness::within_patience;

/// The hub as a program, which asks its clients to come again soon.
pub(crate) fn hub_program(address: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.args(["--listen", address, "--otlp-http", "off", "--otlp-grpc", "off"]);
    command.env("TELEMETRY_HUB_RETRY", "300ms").kill_on_drop(true);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// The program in a terminal.
pub(crate) struct Terminal {
    pty: Pty,
    parser: vt100::Parser<Title>,
    child: Child,
}

/// What the program has made of the window's title.
#[derive(Debug, Default)]
struct Title(Option<String>);

impl vt100::Callbacks for Title {
    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        self.0 = Some(String::from_utf8_lossy(title).into_owned());
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

impl Terminal {
    pub(crate) fn start(arguments: &[&str], rows: u16, columns: u16) -> Self {
        let (pty, pts) = pty_process::open().unwrap();
        pty.resize(Size::new(rows, columns)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
        for variable in ["TELEMETRY_HUB_TOKEN", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command = command.env_remove(variable);
        }
        let command = command.args(arguments).env("TERM", "xterm-256color").kill_on_drop(true);
        let child = command.spawn(pts).unwrap();
        let parser =
            vt100::Parser::new_with_callbacks(cells(rows), cells(columns), 0, Title::default());
        Self { pty, parser, child }
    }

    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// What the program has called its window.
    pub(crate) fn title(&self) -> Option<&str> {
        self.parser.callbacks().0.as_deref()
    }

    /// Waits until the screen is as it should be.
    pub(crate) async fn shows(&mut self, what: impl Fn(&str) -> bool) {
        within_patience(async {
            while !what(&self.screen().contents()) {
                assert!(self.read().await, "it ended, showing\n{}", self.screen().contents());
            }
        })
        .await;
    }

    pub(crate) async fn types(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).await.unwrap();
    }

    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        self.pty.resize(Size::new(rows, columns)).unwrap();
        self.parser.set_size(cells(rows), cells(columns));
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().unwrap().to_string()
    }

    /// Waits for the end of the program.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        within_patience(async { while self.read().await {} }).await;
        within_patience(self.child.wait()).await.unwrap()
    }

    /// Shows what comes next; `false` if nothing will.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // A terminal whose program has gone is an error to read from.
        let Ok(count @ 1..) = self.pty.read(&mut bytes).await else { return false };
        self.parser.process(&bytes[..count]);
        true
    }
}
