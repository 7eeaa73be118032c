//! What joining costs: a hub alone beside hubs joined by NATS, the same loads by the same client, one after the other.
//!
//! `cargo bench --bench joined -- run` measures, and prints a table for the README.md of benches/. It needs nats-server
//! (`tests/cluster/install`). Without `run` it says what it would do and does nothing, so that a plain `cargo bench` stays quick.

mod client;
mod figures;
#[path = "../peers/interrupt.rs"]
mod interrupt;
mod loads;
#[path = "../peers/machine.rs"]
mod machine;
#[path = "../peers/median.rs"]
mod median;
mod nats;
mod network;
#[path = "../peers/place.rs"]
mod place;
#[path = "../peers/program.rs"]
mod program;
mod report;
mod setups;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;

use crate::figures::Results;
use crate::loads::{Load, Scene};

/// Where servers and client may write.
fn work_folder() -> PathBuf {
    program::target_folder().join("joined")
}

/// The program that is measured, and its `load`, which measures.
fn hub() -> PathBuf {
    work_folder().join("telemetry-hub")
}

#[derive(Debug, Parser)]
#[command(name = "joined", about = "Hubs joined by NATS beside a hub alone")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What cargo adds to the arguments of every bench
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Measure, and print the table
    Run(RunOptions),
}

/// What to measure.
#[derive(Debug, Default, clap::Args)]
struct RunOptions {
    /// How often to measure everything [default: 3, or 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Only this load; several times: these
    #[arg(long, value_name = "LOAD")]
    only: Vec<Load>,
    /// A tenth of everything, for a second each: shows that it works, measures nothing
    #[arg(long)]
    quick: bool,
}

impl RunOptions {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    fn scenes(&self) -> Vec<Scene> {
        let wanted = Load::ALL.into_iter();
        let wanted = wanted.filter(|load| self.only.is_empty() || self.only.contains(load));
        wanted
            .map(Load::scene)
            .map(|scene| if self.quick { scene.quick() } else { scene })
            .collect()
    }

    fn estimate(&self) -> Duration {
        self.rounds() * self.scenes().iter().map(Scene::estimate).sum::<Duration>()
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_none_or(|word| word != "run") {
        // Arguments here are meant for the other benches.
        println!("{}", plan());
        return ExitCode::SUCCESS;
    }
    let Command::Run(options) = Cli::parse().command;
    match interrupt::run(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("joined: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `run` would do.
fn plan() -> String {
    let all = RunOptions::default();
    let mut plan = "joined: nothing measured. `cargo bench --bench joined -- run` would start nats-server (tests/cluster/install \
         gets it), and measure\n"
        .to_owned();
    for scene in all.scenes() {
        plan += &format!("  {:8} {}\n", scene.load.to_string(), scene.title);
    }
    plan + &format!("in {} rounds, some {} minutes.", all.rounds(), minutes(all.estimate()))
}

fn minutes(duration: Duration) -> u64 {
    duration.as_secs().div_ceil(60)
}

async fn run(options: &RunOptions) -> anyhow::Result<()> {
    let nats = nats::version()?;
    let scenes = options.scenes();
    machine::check_open_files(scenes.iter().map(|scene| scene.subscribers).max())?;
    program::copy(&hub())?;
    eprintln!("joined: some {} minutes", minutes(options.estimate()));
    let mut results = Results::default();
    for round in 1..=options.rounds() {
        for scene in &scenes {
            measure(scene, round, &mut results)
                .await
                .with_context(|| format!("{} in round {round}", scene.load))?;
        }
    }
    if !options.quick {
        println!("{}", report::table(&scenes, &results));
        println!("{}", report::circumstances(&nats, options.rounds()));
    }
    Ok(())
}

/// Puts a load on one setup after the other, so that a noisy minute hits all.
async fn measure(scene: &Scene, round: u32, results: &mut Results) -> anyhow::Result<()> {
    for &setup in scene.setups {
        let outcome = loads::measure(scene, setup).await;
        let outcome = outcome.with_context(|| setup.name())?;
        eprintln!("round {round}, {:8} {:10} {}", scene.load, setup.name(), scene.brief(&outcome));
        for problem in &outcome.problems {
            eprintln!("    {}: {problem}", setup.name());
        }
        if scene.is_quick && !outcome.is_whole {
            bail!("{}: so little is to be delivered whole", setup.name());
        }
        results.add(scene.load, setup, outcome.figures);
    }
    Ok(())
}
