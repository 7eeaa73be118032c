//! `telemetry-hub completions`: what a shell needs to complete the command line.

use std::process::ExitCode;

use clap_complete::{Shell, generate};

use super::output;

/// Options for completions.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct CompletionsOptions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

const AFTER_HELP: &str = "\
Examples:
  source <(telemetry-hub completions bash)
  telemetry-hub completions bash > ~/.local/share/bash-completion/completions/telemetry-hub
  telemetry-hub completions zsh > ~/.zfunc/_telemetry-hub
  telemetry-hub completions fish > ~/.config/fish/completions/telemetry-hub.fish
";

/// Prints them.
pub(super) async fn run(
    options: CompletionsOptions,
    mut command: clap::Command,
) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    generate(options.shell, &mut command, name, &mut script);
    let mut script = String::from_utf8(script)?;
    if options.shell == Shell::Bash {
        // It spells a name with a hyphen in two ways, so that nothing is completed behind a command (clap#6421).
        script = script.replace("telemetry__subcmd__hub", "telemetry__hub");
    }
    output::write(&script).await?;
    Ok(ExitCode::SUCCESS)
}
