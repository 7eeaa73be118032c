//! The program itself, started as a user starts it.

use std::process::{Output, Stdio};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::within_patience;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.args(arguments);
    prepared(command)
}

/// The program under limits of the shell's (`ulimit …`), with settings of the environment's.
pub(crate) fn limited_program(limits: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limits} && exec \"$0\" --listen 127.0.0.1:0")]);
    command.arg(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.envs(settings.iter().map(|(name, value)| (format!("TELEMETRY_HUB_{name}"), value)));
    prepared(command)
}

fn prepared(mut command: Command) -> Command {
    command.kill_on_drop(true);
    // Tests run side by side, and the usual ports are there once.
    command.env("TELEMETRY_HUB_OTLP_HTTP", "off").env("TELEMETRY_HUB_OTLP_GRPC", "off");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(arguments: &[&str]) -> Output {
    within_patience(program(arguments).output()).await.unwrap()
}

/// A running hub, its address, and the rest of what it prints.
async fn start(arguments: &[&str]) -> (Child, String, Lines<BufReader<ChildStdout>>) {
    started(program(arguments)).await
}

/// Starts it.
pub(crate) async fn started(
    mut program: Command,
) -> (Child, String, Lines<BufReader<ChildStdout>>) {
    let mut child = program.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within_patience(lines.next_line()).await.unwrap().unwrap();
    let address = first.rsplit(' ').next().unwrap().to_owned();
    (child, address, lines)
}

pub(crate) async fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}

#[tokio::test]
async fn it_prints_where_to_look_and_ends_cleanly_when_told() {
    for name in ["-TERM", "-INT"] {
        let (mut child, address, mut lines) = start(&["--listen", "127.0.0.1:0"]).await;
        let mut text = String::new();
        while !text.contains("otlp") {
            text.push_str(&within_patience(lines.next_line()).await.unwrap().unwrap());
        }
        assert!(text.contains(&format!("curl -N '{address}/api/telemetry/traces/live'")), "{text}");
        let client = reqwest::Client::new();
        let mut stream =
            client.get(format!("{address}/api/telemetry/traces/live")).send().await.unwrap();
        signal(&child, name).await;
        let mut rest = String::new();
        while let Some(chunk) = within_patience(stream.chunk()).await.unwrap() {
            rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        assert!(rest.contains("event: bye\ndata: {\"reason\":\"shutdown\""), "{rest}");
        assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(0), "{name}");
    }
}

#[tokio::test]
async fn a_drain_that_is_not_clean_ends_with_1() {
    let (mut child, address, _lines) =
        start(&["--listen", "127.0.0.1:0", "--drain-timeout", "200ms"]).await;
    let mut stalled = TcpStream::connect(address.strip_prefix("http://").unwrap()).await.unwrap();
    let request = "GET /api/telemetry/traces/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stalled.write_all(request.as_bytes()).await.unwrap();
    within_patience(stalled.readable()).await.unwrap();
    let text = "x".repeat(1 << 20);
    for _ in 0..12 {
        let request = reqwest::Client::new().post(format!("{address}/api/telemetry/events"));
        let answer = request.json(&json!({"type": "t", "text": text})).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    signal(&child, "-TERM").await;
    assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_taken_port_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["serve", "--listen", &address]).await;
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with(&format!("telemetry-hub: cannot listen on {address}: ")),
        "{stderr}"
    );
    assert_eq!(stderr.matches("in use").count(), 1, "{stderr}");
}

#[tokio::test]
async fn bad_options_and_settings_end_with_2_and_their_name() {
    for (arguments, name) in [
        (vec!["--listne", "x"], "--listne"),
        (vec!["--listen", "nowhere"], "--listen"),
        (vec!["--drain-timeout", "soon"], "'--drain-timeout <DURATION>': expected a duration"),
        (vec!["--drain-timeout", "25h"], "'--drain-timeout <DURATION>': expected a duration"),
        (vec!["--config", "/no/such/file.toml"], "/no/such/file.toml"),
        (vec!["--otlp-http", "sometimes"], "'--otlp-http <WHERE>': expected \"auto\", \"off\" or"),
        (vec!["serve", "--otlp-grpc", ""], "'--otlp-grpc <WHERE>': expected \"auto\", \"off\" or"),
        (vec!["--webhook-key", ""], "'--webhook-key <KEY>': an empty key"),
    ] {
        let output = run(&arguments).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(name), "{stderr}");
        assert!(!stderr.contains("src/"), "{stderr}");
    }
    let output = program(&[]).env("TELEMETRY_HUB_LOG", "=loud").output();
    let output = within_patience(output).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("unknown.toml");
    tokio::fs::write(&file, "replay_bites = 1\n").await.unwrap();
    let output = run(&["--config", file.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("replay_bites"));
    let output = program(&[]).env("TELEMETRY_HUB_REPLAY_BITES", "1").output();
    let output = within_patience(output).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("replay_bites"));
}

#[tokio::test]
async fn settings_come_from_file_and_environment_and_options() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("settings.toml");
    tokio::fs::write(&file, "listen = \"127.0.0.1:1\"\nping_interval = \"10ms\"\n").await.unwrap();
    let mut child = program(&["--listen", "127.0.0.1:0"])
        .env("TELEMETRY_HUB_CONFIG", &file)
        .env("TELEMETRY_HUB_PING_INTERVAL", "20ms")
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within_patience(lines.next_line()).await.unwrap().unwrap();
    let address = first.rsplit(' ').next().unwrap();
    let stream = reqwest::get(format!("{address}/api/telemetry/traces/live")).await.unwrap();
    let mut stream = crate::harness::LiveStream::open(stream);
    assert_eq!(stream.frame().await.unwrap().data, "{\"interval\":20}");
}

#[tokio::test]
async fn help_teaches() {
    let help = run(&["--help"]).await;
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    for word in
        ["curl -N", "Exit codes", "replay_bytes", "TELEMETRY_HUB_", "--drain-timeout", "send"]
    {
        assert!(text.contains(word), "{word} in\n{text}");
    }
}

#[tokio::test]
async fn sending_a_file_brings_its_lines_to_whoever_watches() {
    let (child, address, _lines) = start(&["--listen", "127.0.0.1:0"]).await;
    let stream = reqwest::get(format!("{address}/api/telemetry/traces/live")).await.unwrap();
    let mut stream = crate::harness::LiveStream::open(stream);
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("lines.log");
    let text =
        "{\"type\":\"a\",\"data\":{\"n\":1}}\nlevel=warn msg=\"from logfmt\" n=2\n\nplain text\n";
    tokio::fs::write(&file, text).await.unwrap();
    let output = run(&["send", "--url", &address, file.to_str().unwrap()]).await;
    let summary = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert!(summary.contains("sent 3 events"), "{summary}");
    let events = stream.events(3).await;
    assert_eq!((&events[0]["type"], &events[0]["data"]), (&json!("a"), &json!({"n": 1})));
    assert_eq!((&events[1]["level"], &events[1]["text"]), (&json!("WARN"), &json!("from logfmt")));
    assert_eq!(events[1]["data"], json!({"n": 2}));
    assert_eq!(events[2]["text"], "plain text");
    drop(child);
}

#[tokio::test]
async fn a_hub_with_a_key_takes_only_what_is_signed_with_it() {
    let (child, address, _lines) =
        start(&["--listen", "127.0.0.1:0", "--webhook-key", "old", "--webhook-key", "new"]).await;
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("signed.log");
    tokio::fs::write(&file, "a line\n").await.unwrap();
    for (key, code) in [(None, 1), (Some("wrong"), 1), (Some("old"), 0), (Some("new"), 0)] {
        let mut send = program(&["send", "--url", &address, file.to_str().unwrap()]);
        if let Some(key) = key {
            send.env("TELEMETRY_HUB_WEBHOOK_KEY", key);
        }
        let output = within_patience(send.output()).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{key:?}: {stderr}");
        assert_eq!(stderr.contains("X-Signature"), code == 1, "{stderr}");
    }
    drop(child);
}

#[tokio::test]
async fn the_key_that_send_finds_in_the_environment_binds_the_hub_too() {
    let variable = ("TELEMETRY_HUB_WEBHOOK_KEY", "s3cret, and 1 more");
    for arguments in [&["--listen", "127.0.0.1:0"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let mut child = program(arguments).env(variable.0, variable.1).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = within_patience(lines.next_line()).await.unwrap().unwrap();
        let address = first.rsplit(' ').next().unwrap();
        let post = reqwest::Client::new().post(format!("{address}/api/telemetry/events"));
        let answer = post.json(&json!({"type": "unsigned"})).send().await.unwrap();
        assert_eq!(answer.status(), 401);
        let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("same-key.log");
        tokio::fs::write(&file, "a line\n").await.unwrap();
        let mut send = program(&["send", "--url", address, file.to_str().unwrap()]);
        let output = within_patience(send.env(variable.0, variable.1).output()).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let output = within_patience(program(&[]).env(variable.0, "").output()).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let help = program(&["--help"]).env(variable.0, variable.1).output();
    let help = String::from_utf8(within_patience(help).await.unwrap().stdout).unwrap();
    assert!(help.contains(variable.0) && !help.contains("s3cret"), "{help}");
}

#[tokio::test]
async fn usual_ports_that_are_taken_are_a_warning_and_ports_asked_for_an_error() {
    let taken = TcpListener::bind("127.77.1.1:4317").await.unwrap();
    let hub = ["--listen", "127.77.1.1:0", "--otlp-grpc", "auto", "--otlp-http", "off"];
    let (mut child, _, _) = start(&hub).await;
    signal(&child, "-TERM").await;
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
    assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(0));
    let warning = "WARN telemetry_hub::server::listeners: cannot listen on 127.77.1.1:4317: ";
    assert!(stderr.contains(warning), "{stderr}");
    let output = run(&["--listen", "127.77.1.1:0", "--otlp-grpc", "127.77.1.1:4317"]).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.starts_with("telemetry-hub: cannot listen on 127.77.1.1:4317: "), "{stderr}");
    drop(taken);
}
