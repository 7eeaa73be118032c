//! `telemetry-hub top`: the table that a person sees in a terminal, and the one that a script gets.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::access::{guarded, known};
use crate::harness::{TestServer, within_patience};
use crate::program::{signal, started};
use crate::terminal::{Terminal, hub_program};

fn top(base: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    command.args(["top", "--url", base]).args(arguments).kill_on_drop(true);
    command.env_remove("TELEMETRY_HUB_TOKEN");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(mut command: Command) -> Output {
    within_patience(command.output()).await.unwrap()
}

async fn post(server: &TestServer, metrics: &Value) {
    let path = "/api/telemetry/metrics";
    let answer = server.post_to(path, "application/json", metrics.to_string()).await;
    assert_eq!(answer.status(), 200);
}

async fn measured() -> TestServer {
    let server = TestServer::start().await;
    let metrics = json!([
        {"id": "shop.orders", "type": "counter", "value": 12345, "attributes": {"region": "eu"}},
        {"id": "shop.pages\u{1b}[2J", "type": "gauge", "value": 41373696, "unit": "By"},
        {"id": "shop.wait", "type": "histogram", "values": [9, 9, 9], "unit": "ms"},
    ]);
    post(&server, &metrics).await;
    server
}

#[tokio::test]
async fn scripts_get_one_table() {
    let server = measured().await;
    let output = run(top(&server.base, &["--once", "shop"])).await;
    assert_eq!(output.status.code(), Some(0));
    let table = String::from_utf8(output.stdout).unwrap();
    let expected = "\
NAME                 ATTRIBUTES                         VALUE
shop.orders          region=eu                         12,345
shop.pages\\u001b[2J                                  39.5 MiB
shop.wait                        p50 9 ms  p90 9 ms  p99 9 ms
";
    assert_eq!(table, expected);
}

#[tokio::test]
async fn without_a_terminal_tables_go_on() {
    let server = measured().await;
    let mut child = top(&server.base, &["shop.orders", "--interval", "0.1"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || within_patience(lines.next_line()).await.unwrap().unwrap();
    assert_eq!(next().await, "NAME         ATTRIBUTES   VALUE");
    assert_eq!(next().await, "shop.orders  region=eu   12,345");
    assert_eq!(next().await, "");
    assert_eq!(next().await, "NAME         ATTRIBUTES   VALUE  RATE");
    assert_eq!(next().await, "shop.orders  region=eu   12,345   0/s");
    // Nobody reads on.
    drop(lines);
    assert_eq!(within_patience(child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn refusals_end_it_and_say_why() {
    let server = guarded(vec![known("traces", &["traces"], &json!({}))]).await;
    let mut wrong_scope = top(&server.base, &[]);
    wrong_scope.env("TELEMETRY_HUB_TOKEN", "traces");
    let open = TestServer::start().await;
    for (command, code, told) in [
        (top(&server.base, &["--once"]), 1, "the hub asks for a token"),
        (wrong_scope, 1, "the token has not the scope `metrics`"),
        (top(&open.base, &["--interval", "soon"]), 2, "the parameter `interval`: not a duration"),
        (top("http://127.0.0.1:1", &["--once"]), 1, "cannot reach http://127.0.0.1:1"),
    ] {
        let output = run(command).await;
        let told_of = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{told_of}");
        assert!(told_of.contains(told) && output.stdout.is_empty(), "{told_of}");
    }
}

#[tokio::test]
async fn what_a_person_sees() {
    let server = measured().await;
    let arguments = ["top", "--url", &server.base, "--interval", "100ms", "shop"];
    let mut terminal = Terminal::start(&arguments, 8, 90);
    terminal.shows(|screen| screen.contains("12,345") && screen.contains("live")).await;
    let screen = terminal.screen();
    assert!(screen.alternate_screen() && screen.hide_cursor());
    let rows: Vec<_> = screen.rows(0, 90).collect();
    assert!(rows[0].starts_with("telemetry-hub top http://127.0.0.1:"), "{rows:?}");
    assert!(
        rows[0].contains("every 100ms  ") && rows[0].ends_with(" 3 series by name"),
        "{rows:?}"
    );
    assert!(rows[1].starts_with("NAME                 ATTRIBUTES "), "{rows:?}");
    assert!(rows[3].starts_with(r"shop.pages\u001b[2J  "), "{rows:?}");
    assert!(rows[7].ends_with("/ filter  s sort  space pause  q quit"), "{rows:?}");

    post(&server, &json!([{"id": "shop.orders", "type": "counter", "value": 5, "attributes": {"region": "eu"}}])).await;
    terminal.shows(|screen| screen.contains("12,350") && screen.contains('█')).await;

    terminal.types("/orders").await;
    terminal.shows(|screen| !screen.contains("shop.wait") && screen.contains("/orders")).await;
    terminal.types("\r ").await;
    terminal.shows(|screen| screen.contains("paused  live  /orders")).await;
    post(&server, &json!([{"id": "shop.orders", "type": "counter", "value": 7, "attributes": {"region": "eu"}}])).await;
    // Somebody else has got it by now, and so has the program.
    let mut peer = server.watch_metrics("metrics=shop.orders&interval=100ms").await;
    while peer.expect("metrics").await.0[0]["value"] != 12357 {}
    peer.expect("metrics").await;
    terminal.types("s").await;
    terminal.shows(|screen| screen.contains("by value")).await;
    assert!(terminal.screen().contents().contains("12,350"), "it is paused");
    terminal.types(" ").await;
    terminal.shows(|screen| screen.contains("12,357")).await;

    terminal.resize(5, 40);
    // Its parts come one after the other.
    let is_whole = |screen: &str| {
        let rows: Vec<_> = screen.lines().collect();
        rows.len() == 5
            && rows[0].starts_with("telemetry-hub top")
            && rows[1].starts_with("NAME ")
            && rows[4].starts_with("live  /orders")
    };
    terminal.shows(is_whole).await;

    terminal.types("q").await;
    assert_eq!(terminal.end().await.code(), Some(0));
    let screen = terminal.screen();
    assert!(!screen.alternate_screen() && !screen.hide_cursor(), "the terminal is as it was");
}

#[tokio::test]
async fn a_hub_that_was_away_is_found_again() {
    let (mut first, address, _lines) = started(hub_program("127.0.0.1:0")).await;
    let arguments = ["top", "--url", &address, "--interval", "100ms", "server.memory"];
    let mut terminal = Terminal::start(&arguments, 6, 120);
    terminal.shows(|screen| screen.contains("MiB") && screen.contains("live")).await;
    signal(&first, "-TERM").await;
    within_patience(first.wait()).await.unwrap();
    terminal.shows(|screen| screen.contains("trying again in 1 s") && screen.contains("MiB")).await;
    let address = address.strip_prefix("http://").unwrap();
    let (_second, _, _lines) = started(hub_program(address)).await;
    terminal.shows(|screen| screen.contains("MiB") && screen.contains("live")).await;

    // Who ends it from outside gets the terminal back as well.
    let pid = terminal.pid();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert_eq!(terminal.end().await.code(), Some(130));
    assert!(!terminal.screen().alternate_screen() && !terminal.screen().hide_cursor());
}

#[tokio::test]
async fn a_refusal_is_said_where_it_stays() {
    let server = guarded(vec![known("x", &["metrics"], &json!({}))]).await;
    let mut terminal = Terminal::start(&["top", "--url", &server.base], 8, 80);
    assert_eq!(terminal.end().await.code(), Some(1));
    let screen = terminal.screen();
    assert!(!screen.alternate_screen(), "{}", screen.contents());
    assert!(screen.contents().contains("the hub asks for a token"), "{}", screen.contents());
}
