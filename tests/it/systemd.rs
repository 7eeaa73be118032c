//! What systemd hears of the program, and what it is handed by it: with a manager of the test's own.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use crate::harness::within_patience;

/// The program, under whatever a shell does before it.
fn start(script: &str, environment: &[(&str, &str)], stdin: Stdio) -> Child {
    let program = env!("CARGO_BIN_EXE_telemetry-hub");
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("HUB", program).envs(environment.iter().copied());
    command.stdin(stdin).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

async fn terminate(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").arg(pid).status().await.unwrap().success());
}

#[tokio::test]
async fn it_is_told_when_the_hub_is_ready_lives_and_ends() {
    // Not in the folder for temporary files of the build, whose path may be too long for a socket.
    let path = std::env::temp_dir().join(format!("hub-notify-{}", std::process::id()));
    let socket = UnixDatagram::bind(&path).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let mut child = start(
        "exec \"$HUB\" --listen 127.0.0.1:0 --otlp-http off --otlp-grpc off",
        &environment,
        Stdio::null(),
    );
    let next = async || {
        let mut message = [0; 1024];
        let length = within_patience(socket.recv(&mut message)).await.unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let ready = next().await;
    assert!(ready.contains("READY=1") && ready.contains("STATUS=serving on 127.0.0.1:"), "{ready}");
    for _ in 0..3 {
        assert_eq!(next().await.trim_end(), "WATCHDOG=1");
    }
    terminate(&child).await;
    let mut said = next().await;
    while said.contains("WATCHDOG=1") {
        said = next().await;
    }
    assert!(said.contains("STOPPING=1"), "{said}");
    assert!(within_patience(child.wait()).await.unwrap().success());
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn sockets_that_it_listens_on_are_taken() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/telemetry/events", listener.local_addr().unwrap());
    // A connection that comes before the hub waits for it.
    let early = tokio::spawn(reqwest::Client::new().post(&url).json(&json!({"type": "t"})).send());
    let script = "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$HUB\" --listen 192.0.2.1:1";
    let mut child = start(script, &[], OwnedFd::from(listener).into());
    assert_eq!(within_patience(early).await.unwrap().unwrap().status(), 200);
    terminate(&child).await;
    assert!(within_patience(child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_socket_that_others_could_reach_needs_tokens_as_any_address() {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let script =
        "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$HUB\" 2>/dev/null";
    let mut child = start(script, &[], OwnedFd::from(listener).into());
    assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(2));
}

#[tokio::test]
async fn asked_to_read_its_files_it_goes_on() {
    let (ready, log) = (temporary("reload-ready"), temporary("reload-log"));
    std::fs::remove_file(&ready).ok();
    let script =
        "exec \"$HUB\" --listen 127.0.0.1:0 --otlp-http off --otlp-grpc off >\"$OUT\" 2>\"$LOG\"";
    let environment = [("OUT", ready.to_str().unwrap()), ("LOG", log.to_str().unwrap())];
    let mut child = start(script, &environment, Stdio::null());
    let greeted =
        || std::fs::read_to_string(&ready).is_ok_and(|text| text.contains("telemetry-hub"));
    crate::harness::eventually(greeted).await;
    let greeting = std::fs::read_to_string(&ready).unwrap();
    let base = greeting.lines().next().unwrap().split_once(" on ").unwrap().1.to_owned();
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().await.unwrap().success());
    let answer = reqwest::get(format!("{base}/readyz")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(child.try_wait().unwrap().is_none());
    terminate(&child).await;
    assert!(within_patience(child.wait()).await.unwrap().success());
}
