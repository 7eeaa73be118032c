//! nats-server with its file of `packaging/`: the accounts and what hubs may do stay, one server stands for the three.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Certificates, within_patience};
use crate::hubs::folder;
use crate::proxy::{File, free_port};

/// A key that is nobody's but these tests': its seed, and what the server knows of it.
const SEED: &str = "SUAJQT5P6W75332QSQMAZOBP6SXKMZAN4QBTPSNCGS77EZI6ELFBUGZNDY";
const PUBLIC: &str = "UBD4SUHNCZUHDWJ6TJYOY64P4TCQQEOZ5NJIWLAVKHGZV5PCBLPSQ7T4";

/// The program that `tests/cluster/install` gets, or another.
pub(crate) fn server() -> Command {
    let installed =
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("nats/bin/nats-server");
    Command::new(std::env::var_os("NATS_SERVER").map_or(installed, PathBuf::from))
}

/// The file as it is, but for the paths of certificates.
pub(crate) fn whole() -> PathBuf {
    let (mut file, folder) = (File::read("nats-server.conf"), folder("nats"));
    let certificates = Certificates::for_localhost();
    for name in ["server", "route"] {
        file.replace(&format!("/etc/nats/{name}.pem"), certificates.certificate.to_str().unwrap());
        file.replace(&format!("/etc/nats/{name}.key"), certificates.key.to_str().unwrap());
    }
    file.replace("/etc/nats/routes-ca.pem", certificates.certificate.to_str().unwrap());
    file.replace("/var/lib/nats", folder.to_str().unwrap());
    let path = folder.join("nats-server.conf");
    file.write(&path);
    path
}

/// A server that runs. It ends with this value.
pub(crate) struct Nats {
    child: Child,
    folder: PathBuf,
    pub(crate) url: String,
    /// The file with the key of the hubs.
    pub(crate) seed: PathBuf,
}

impl Nats {
    pub(crate) async fn start() -> Self {
        let (mut file, folder, port) =
            (File::read("nats-server.conf"), folder("nats"), free_port());
        file.cut("tls {", "accounts {");
        file.cut("# By the name that", "# For `curl");
        file.replace("0.0.0.0:4222", &format!("127.0.0.1:{port}"));
        file.replace("127.0.0.1:8222", &format!("127.0.0.1:{}", free_port()));
        file.replace("/var/lib/nats", folder.join("store").to_str().unwrap());
        file.replace("max_file_store: 48GB", "max_file_store: 1GB");
        file.replace_key(PUBLIC);
        let path = file.write(&folder.join("nats-server.conf"));
        let seed = folder.join("seed");
        std::fs::write(&seed, SEED).unwrap();
        let log = folder.join("log");
        let mut command = server();
        command.args(["-c", &path, "-l", log.to_str().unwrap()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{error}: tests/cluster/install"));
        let nats = Self { child, folder, url: format!("nats://127.0.0.1:{port}"), seed };
        let listens = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        within_patience(async { while !listens().await {} }).await;
        nats
    }

    /// What it has to complain of.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap();
        let is_bad = |line: &&str| line.contains("[ERR]") || line.contains("Violation");
        log.lines().filter(is_bad).map(str::to_owned).collect()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
