//! The table: what was measured, beside the hub alone; Markdown for the README.md of benches/.

use std::fmt::Write;

use crate::figures::{Figure, Results};
use crate::loads::{Load, Scene};
use crate::setups::Setup;
use crate::{machine, program};

/// Each figure of each load, a column a setup.
pub(crate) fn table(scenes: &[Scene], results: &Results) -> String {
    let names = Setup::ALL.map(Setup::name).join(" | ");
    let lines = "---|".repeat(Setup::ALL.len());
    let mut table = format!("| load | | {names} |\n|---|---|{lines}\n");
    for scene in scenes {
        let mut title = format!("**{}** {}", scene.load, scene.title);
        for figure in scene.figures {
            let cells = Setup::ALL.map(|setup| cell(results, scene.load, setup, *figure));
            let title = std::mem::take(&mut title);
            writeln!(table, "| {title} | {} | {} |", figure.name(), cells.join(" | "))
                .expect("a string takes all");
        }
    }
    table
}

/// A value, and what it is divided by that of the hub alone.
fn cell(results: &Results, load: Load, setup: Setup, figure: Figure) -> String {
    let Some(value) = results.value(load, setup, figure) else { return String::new() };
    let value = figure.written(value);
    match results.ratio(load, setup, figure).filter(|_| setup != Setup::Alone) {
        Some(ratio) => format!("{value} ({ratio:.2} ×)"),
        None => value,
    }
}

/// What the table is of.
pub(crate) fn circumstances(nats: &str, rounds: u32) -> String {
    let rounds =
        if rounds == 1 { "One round".into() } else { format!("Medians of {rounds} rounds") };
    format!("{}. {}; {nats}. {rounds}.", machine::describe(), program::version())
}
