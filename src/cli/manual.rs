//! `telemetry-hub man`: the manual, a page for the program and one for each command, made of what `--help` says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Command;
use clap_mangen::Man;

use super::output;

/// Options for the manual.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct ManualOptions {
    /// A folder for all pages; without it, that of the program is printed
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  telemetry-hub man | man -l -
  telemetry-hub man ~/.local/share/man/man1 && man telemetry-hub-tail
";

/// Prints a page, or writes all of them.
pub(super) async fn run(options: ManualOptions, command: Command) -> anyhow::Result<ExitCode> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(folder) = options.folder else {
        output::write(&page(&command)?).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let cannot_write = || format!("cannot write to {}", folder.display());
    write_all(&command, &folder).with_context(cannot_write)?;
    Ok(ExitCode::SUCCESS)
}

fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for command in std::iter::once(command).chain(command.get_subcommands()) {
        let file = folder.join(Man::new(command.clone()).get_filename());
        fs::write(file, page(command)?)?;
    }
    Ok(())
}

/// A page, in roff.
fn page(command: &Command) -> io::Result<String> {
    let manual = Man::new(command.clone()).manual("telemetry-hub");
    let mut roff = Vec::new();
    manual.render_title(&mut roff)?;
    manual.render_name_section(&mut roff)?;
    manual.render_synopsis_section(&mut roff)?;
    manual.render_description_section(&mut roff)?;
    manual.render_options_section(&mut roff)?;
    if command.has_subcommands() {
        manual.render_subcommands_section(&mut roff)?;
    }
    let mut page = String::from_utf8(roff).map_err(io::Error::other)?;
    if let Some(rest) = command.get_after_long_help() {
        page += &sections(&rest.to_string());
    }
    Ok(page)
}

/// What stands behind the options in `--help`: its lines as they are, under headings of their own.
fn sections(help: &str) -> String {
    let mut roff = String::new();
    for line in help.lines() {
        let is_indented = line.starts_with(' ');
        match line.strip_suffix(':').filter(|_| !is_indented) {
            Some(heading) => {
                // As the other headings are, but for what is no word.
                let is_plain = !heading.contains('/');
                let heading = if is_plain { heading.to_uppercase() } else { heading.to_owned() };
                roff += &format!(".fi\n.SH {}\n.nf\n", escaped(&heading));
            }
            None => roff += &format!("{}\n", escaped(line.strip_prefix("  ").unwrap_or(line))),
        }
    }
    roff + ".fi\n"
}

/// Text that roff takes for nothing else.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_as_they_are() {
        let help = "Examples:\n  a --b 'c' \\\n       .d\n\n.x\n";
        let expected = ".fi\n.SH EXAMPLES\n.nf\na \\-\\-b \\(aqc\\(aq \\e\n     .d\n\n\\&.x\n.fi\n";
        assert_eq!(sections(help), expected);
    }
}
