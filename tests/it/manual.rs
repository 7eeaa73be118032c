//! What is made of the command line's own description: completions for shells, and the manual.

use std::path::Path;
use std::process::Output;

use tokio::process::Command;

use crate::harness::within_patience;

const PROGRAM: &str = env!("CARGO_BIN_EXE_telemetry-hub");

async fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    within_patience(command.output()).await.unwrap()
}

async fn text(arguments: &[&str]) -> String {
    let output = run(PROGRAM, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for a command line whose last word is to be completed.
async fn completed(words: &[&str]) -> Vec<String> {
    let script = r#"
        source <("$0" completions bash)
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        function=$(complete -p telemetry-hub | sed 's/.*-F \([^ ]*\) .*/\1/')
        "$function" telemetry-hub "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let arguments = [&["-c", script, PROGRAM], words].concat();
    let output = run("bash", &arguments).await;
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn bash_completes() {
    if Command::new("bash").arg("--version").output().await.is_err() {
        return;
    }
    assert_eq!(completed(&["telemetry-hub", "ta"]).await, ["tail"]);
    assert_eq!(completed(&["telemetry-hub", "tail", "--col"]).await, ["--color"]);
    let whens = completed(&["telemetry-hub", "tail", "--color", ""]).await;
    assert_eq!(whens, ["auto", "always", "never"]);
    let shells = completed(&["telemetry-hub", "completions", ""]).await;
    assert!(shells.iter().any(|shell| shell == "fish"), "{shells:?}");
}

#[tokio::test]
async fn every_shell_has_its_completions() {
    for (shell, sign) in [
        ("bash", "complete -F _telemetry__hub"),
        ("zsh", "#compdef telemetry-hub"),
        ("fish", "complete -c telemetry-hub"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[telemetry-hub]"),
    ] {
        let script = text(&["completions", shell]).await;
        assert!(script.contains(sign) && script.contains("tail"), "{shell}: {script}");
    }
    assert_eq!(run(PROGRAM, &["completions", "cmd"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn the_manual_has_a_page_for_each_command() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("man1");
    text(&["man", folder.to_str().unwrap()]).await;
    let help = text(&["--help"]).await;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| line.starts_with("  "));
    // A description may go on below.
    let names = commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    assert!(commands.contains(&"tail") && commands.contains(&"top"), "{commands:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        let page = std::fs::read_to_string(folder.join(format!("telemetry-hub-{command}.1")));
        let page = page.unwrap();
        for sign in [".TH", ".SH NAME", ".SH SYNOPSIS", "\\-\\-help"] {
            assert!(page.contains(sign), "{command}: {sign}");
        }
        // What roff does not know it leaves out.
        let requests = page.lines().filter(|line| line.starts_with(['.', '\'']));
        for request in requests {
            let name = request.split(' ').next().unwrap();
            let known = [
                ".IP", ".PP", ".TH", ".SH", ".TP", ".RS", ".RE", ".nf", ".fi", ".ie", ".el", ".br",
            ];
            assert!(known.contains(&name), "{command}: {request}");
        }
    }
    let page = std::fs::read_to_string(folder.join("telemetry-hub-tail.1")).unwrap();
    assert!(page.contains("\n.SH EXIT CODES\n.nf\n0    whoever read"), "{page}");
    assert_eq!(
        text(&["man"]).await,
        std::fs::read_to_string(folder.join("telemetry-hub.1")).unwrap()
    );
    let output = run(PROGRAM, &["man", "/dev/null/nowhere"]).await;
    assert_eq!(output.status.code(), Some(1));
}
