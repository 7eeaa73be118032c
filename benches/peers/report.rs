//! The tables: what was measured, and what it was to be; Markdown for the README.md of benches/.

use std::fmt::Write;

use crate::figures::{Figure, Results};
use crate::loads::{self, Scene};
use crate::servers::Kind;
use crate::targets::{Bound, Target, targets};
use crate::{install, machine};

/// A server that delivers less than this of what it should a second has not kept up. The last event may take its time.
const KEPT_UP: f64 = 0.95;

/// What the tables are of.
pub(crate) fn circumstances(kinds: &[Kind], rounds: u32) -> String {
    let versions: Vec<_> = kinds.iter().map(|kind| install::version(*kind)).collect();
    let rounds =
        if rounds == 1 { "One round".into() } else { format!("Medians of {rounds} rounds") };
    format!("{}. {}. {rounds}.", machine::describe(), versions.join("; "))
}

/// Each figure of each scene, a column a server.
pub(crate) fn measured(results: &Results, kinds: &[Kind]) -> String {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let mut table =
        format!("| load | | {} |\n|---|---|{}\n", names.join(" | "), "---|".repeat(kinds.len()));
    for scene in loads::scenes() {
        let mut title = format!("**{}** {}", scene.id, scene.title);
        for figure in scene.figures {
            let cells: Vec<_> =
                kinds.iter().map(|kind| cell(results, &scene, *kind, *figure)).collect();
            if cells.iter().all(String::is_empty) {
                continue;
            }
            let (title, name) = (std::mem::take(&mut title), figure.name());
            writeln!(table, "| {title} | {name} | {} |", cells.join(" | "))
                .expect("a string takes all");
        }
    }
    table
}

fn cell(results: &Results, scene: &Scene, kind: Kind, figure: Figure) -> String {
    let Some(value) = results.get(scene.id, kind, figure) else { return String::new() };
    let intended = scene.deliveries_per_second();
    let is_behind = figure == Figure::DeliveredPerSecond && value < KEPT_UP * intended;
    let note = if is_behind { ", fell behind" } else { "" };
    figure.written(value) + note
}

/// Each target of which both sides were measured, and whether that will do.
pub(crate) fn against_targets(results: &Results) -> String {
    let head = "| load | the hub's | beside | target | measured | |\n|---|---|---|---|---|---|\n";
    let mut table = head.to_owned();
    for target in targets() {
        let Some(value) = target.measured(results) else { continue };
        let verdict = if target.bound.is_met(value) { "met" } else { "**missed**" };
        let cells = [
            target.load.to_string(),
            target.subject.to_owned(),
            target.beside(),
            bound(&target),
            target.written(value),
            verdict.to_owned(),
        ];
        writeln!(table, "| {} |", cells.join(" | ")).expect("a string takes all");
    }
    table
}

fn bound(target: &Target) -> String {
    match target.bound {
        Bound::AtLeast(bound) => format!("at least {}", target.written(bound)),
        Bound::AtMost(bound) => format!("at most {}", target.written(bound)),
    }
}
