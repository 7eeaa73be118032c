//! A small disk, which is full when the test wants it to be: a file system in memory, seen only by who is started on it.
//!
//! Root may mount it; others may in a user namespace of their own, where the system allows these.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) struct Disk {
    /// The process whose mount namespace it is. It waits for the end of its input.
    holder: Child,
    folder: PathBuf,
    is_root: bool,
}

impl Disk {
    /// An empty disk at this folder, with a file on it that can be taken away to make room. No two are full at the same time.
    pub(crate) async fn new(folder: &Path, index: usize) -> Self {
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let size = 36 + 2 * index;
        let script = format!(
            "mount -t tmpfs -o size={size}m tmpfs \"$0\" && head -c 24m /dev/zero >\"$0/ballast\" && \
             echo mounted && exec cat"
        );
        let mut command = Command::new("unshare");
        command.arg("--mount").args(if is_root { &[][..] } else { &["--user", "--map-root-user"] });
        command.args(["sh", "-c", &script]).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut holder = command.spawn().unwrap();
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap();
        assert_eq!(line.as_deref(), Some("mounted"), "this system lets nobody mount a small disk");
        Self { holder, folder: folder.to_owned(), is_root }
    }

    /// Starts a program where the disk is seen.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().unwrap().to_string(), "--mount"]);
        command.args(if self.is_root { &[][..] } else { &["--user", "--preserve-credentials"] });
        command.arg(program);
        command
    }

    /// Takes the file away that filled it.
    pub(crate) async fn make_room(&self) {
        let rm = self.command("rm").arg(self.folder.join("ballast")).status().await.unwrap();
        assert!(rm.success());
    }
}
