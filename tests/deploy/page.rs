//! What docs/three-hubs.md shows can be used as it is.

use std::process::Command;

use crate::hubs::folder;
use crate::nats;

#[test]
#[ignore = "needs nginx and HAProxy: tests/deploy/install"]
fn settings_on_the_page_are_good() {
    let page = include_str!("../../docs/three-hubs.md");
    let (_, settings) = page.split_once("```toml\n").unwrap();
    let (settings, _) = settings.split_once("```\n").unwrap();
    let file = folder("page").join("hub.toml");
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_telemetry-hub"));
    let output = command.args(["check", "--config", file.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("the holder of the token \"web-servers\": ingest"), "{said}");
}

#[test]
#[ignore = "needs nats-server: tests/cluster/install"]
fn nats_server_takes_its_file_whole() {
    let file = nats::whole();
    let mut command = nats::server();
    let output = command.args(["-t", "-c", file.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.contains("is valid"), "{said}");
}
