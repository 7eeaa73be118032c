//! Gets the servers of others from where their users get them: Debian's archive and crates.io. Quick if they are there.
//!
//! Nothing is built or installed from anywhere else, and no service is left running.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::program::{self, target_folder};
use crate::servers::Kind;

pub(crate) const NGINX: &str = "/usr/sbin/nginx";
pub(crate) const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const NCHAN_PACKAGES: [&str; 2] = ["nginx", "libnginx-mod-nchan"];

const DURABLE_STREAMS: &str = "durable-streams";
/// The version that is compared, so that two tables speak of the same.
const DURABLE_STREAMS_VERSION: &str = "0.1.5";

/// Where cargo installs to.
fn root() -> PathBuf {
    target_folder().join("peers")
}

/// The program of durable-streams.
pub(crate) fn durable_streams() -> PathBuf {
    root().join("bin/durable-streams-server")
}

/// Installs one server if it is not there.
pub(crate) fn install(kind: Kind) -> anyhow::Result<()> {
    match kind {
        Kind::Hub | Kind::Floor => Ok(()),
        Kind::Nchan if Path::new(NGINX).exists() && Path::new(NCHAN_MODULE).exists() => Ok(()),
        Kind::Nchan => install_nchan(),
        Kind::DurableStreams if has_durable_streams() => Ok(()),
        Kind::DurableStreams => install_durable_streams(),
    }
}

fn install_nchan() -> anyhow::Result<()> {
    eprintln!("peers: installing Debian's {}", NCHAN_PACKAGES.join(" and "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let had_nginx = Path::new(NGINX).exists();
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    succeed(apt(&["update", "-qq"]))
        .and_then(|()| succeed(apt(&[&install[..], &NCHAN_PACKAGES].concat())))
        .context("nginx with nchan is missing, and only root on Debian gets it by itself")?;
    // The package starts a web server for the whole machine, which nobody has asked for.
    if !had_nginx {
        quietly(Command::new("service").args(["nginx", "stop"])).ok();
    }
    Ok(())
}

/// Whether the version that is compared is there.
fn has_durable_streams() -> bool {
    let root = root().display().to_string();
    let wanted = format!("{DURABLE_STREAMS} v{DURABLE_STREAMS_VERSION}:");
    let installed = output(&cargo(), &["install", "--list", "--root", &root]);
    durable_streams().exists() && installed.is_ok_and(|list| list.contains(&wanted))
}

fn install_durable_streams() -> anyhow::Result<()> {
    let package = format!("{DURABLE_STREAMS}@{DURABLE_STREAMS_VERSION}");
    eprintln!("peers: cargo install {package} (a few minutes)");
    let mut command = Command::new(cargo());
    command.args(["install", "--locked", "--quiet", &package, "--root"]).arg(root());
    succeed(command)
}

/// The cargo that has started this bench.
fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// What a server says of its version.
pub(crate) fn version(kind: Kind) -> String {
    match kind {
        Kind::Hub => program::version(),
        Kind::Nchan => {
            let package = |name| output("dpkg-query", &["--show", "--showformat=${Version}", name]);
            let [nginx, nchan] = NCHAN_PACKAGES
                .map(package)
                .map(|version| version.unwrap_or_else(|_| "of unknown version".to_owned()));
            format!("nchan {nchan} in nginx {nginx}")
        }
        Kind::DurableStreams => format!("{DURABLE_STREAMS} {DURABLE_STREAMS_VERSION}"),
        Kind::Floor => "the floor of this commit".to_owned(),
    }
}

fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{program}: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Standard output belongs to the table.
fn succeed(mut command: Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program}: {status}");
    }
    Ok(())
}

fn quietly(command: &mut Command) -> anyhow::Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    Ok(())
}
