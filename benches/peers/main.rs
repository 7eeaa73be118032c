//! Side by side: the hub, two servers of others and a floor, the same loads by the same client, one after the other.
//!
//! `cargo bench --bench peers -- run` installs what is missing, measures, and prints tables for the README.md of benches/.
//! Without `run` it says what it would do and does nothing, so that a plain `cargo bench` stays quick.

mod client;
mod figures;
mod floor;
mod ingest;
mod install;
mod interrupt;
mod loads;
mod machine;
mod median;
mod place;
mod program;
mod report;
mod servers;
mod targets;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;

use crate::figures::{Figure, Results};
use crate::loads::{Load, Scene};
use crate::servers::Kind;

/// That of the program: `serde_json` is not to lose by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The program that is measured, and its `load`, which measures.
fn hub() -> PathBuf {
    work_folder().join("telemetry-hub")
}

/// Where servers and client may write.
fn work_folder() -> PathBuf {
    program::target_folder().join("peers/work")
}

#[derive(Debug, Parser)]
#[command(name = "peers", about = "The hub side by side with other servers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What cargo adds to the arguments of every bench
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Measure, and print the tables
    Run(RunOptions),
    /// Be the floor, a server
    #[command(hide = true)]
    Floor {
        #[arg(long)]
        listen: SocketAddr,
    },
}

/// What to measure.
#[derive(Debug, clap::Args)]
struct RunOptions {
    /// How often to measure everything but memory [default: 3, or 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Only this load; several times: these
    #[arg(long, value_name = "LOAD")]
    only: Vec<Load>,
    /// Only this server; several times: these
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<Kind>,
    /// A tenth of everything, for a second each: shows that it works, measures nothing
    #[arg(long)]
    quick: bool,
}

impl RunOptions {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// What is measured in one round, in order: each load with one server after the other, so that a noisy minute hits all.
    fn runs(&self, round: u32) -> Vec<(Scene, Kind)> {
        let is_wanted = |load| self.only.is_empty() || self.only.contains(load);
        let is_server = |kind| self.servers.is_empty() || self.servers.contains(&kind);
        let scenes = loads::scenes().into_iter().filter(|scene| scene.loads.iter().any(is_wanted));
        let scenes = scenes.filter(|scene| round == 1 || !scene.is_once);
        let scenes = scenes.map(|scene| if self.quick { scene.quick() } else { scene });
        let pairs =
            scenes.flat_map(|scene| scene.servers.iter().map(move |kind| (scene.clone(), *kind)));
        pairs.filter(|(_, kind)| is_server(*kind)).collect()
    }

    fn estimate(&self) -> Duration {
        let runs = (1..=self.rounds()).flat_map(|round| self.runs(round));
        runs.map(|(scene, _)| scene.estimate()).sum()
    }
}

fn main() -> ExitCode {
    let is_asked = |word: String| ["run", "floor"].contains(&word.as_str());
    if !std::env::args().nth(1).is_some_and(is_asked) {
        // Arguments here are meant for the other benches.
        println!("{}", plan());
        return ExitCode::SUCCESS;
    }
    let outcome = match Cli::parse().command {
        Command::Floor { listen } => floor::serve(listen),
        Command::Run(options) => interrupt::run(run(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `run` would do.
fn plan() -> String {
    let all = RunOptions { rounds: None, only: Vec::new(), servers: Vec::new(), quick: false };
    let mut plan = "peers: nothing measured. `cargo bench --bench peers -- run` would install nginx with nchan (Debian) and \
         durable-streams (crates.io) if they are missing, and measure\n"
        .to_owned();
    for load in Load::ALL {
        plan += &format!("  {load}  {}\n", load.description());
    }
    plan + &format!("in {} rounds, some {}.", all.rounds(), minutes(all.estimate()))
}

fn minutes(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..100 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}

async fn run(options: &RunOptions) -> anyhow::Result<()> {
    let runs = options.runs(1);
    if runs.is_empty() {
        bail!("none of these servers is measured under any of these loads");
    }
    machine::check_open_files(runs.iter().map(|(scene, _)| scene.connections()).max())?;
    let mut kinds: Vec<Kind> = runs.iter().map(|(_, kind)| *kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in &kinds {
        install::install(*kind).with_context(|| format!("cannot install {kind}"))?;
    }
    program::copy(&hub())?;
    eprintln!("peers: some {}", minutes(options.estimate()));
    let results = measure(options).await?;
    if !options.quick {
        println!("{}", report::measured(&results, &kinds));
        println!("{}", report::against_targets(&results));
        println!("{}", report::circumstances(&kinds, options.rounds()));
    }
    Ok(())
}

async fn measure(options: &RunOptions) -> anyhow::Result<Results> {
    let mut results = Results::default();
    for round in 1..=options.rounds() {
        for (scene, kind) in options.runs(round) {
            let outcome = loads::measure(&scene, kind, &work_folder()).await;
            let outcome = outcome.with_context(|| format!("{} with {kind}", scene.id))?;
            eprintln!("round {round}, {:9} {kind:15} {}", scene.id, scene.brief(&outcome));
            let is_whole = outcome.get(&Figure::DeliveredShare).is_some_and(|share| *share >= 1.0);
            if options.quick && scene.deliveries_per_second() > 0.0 && !is_whole {
                bail!("{} with {kind}: so little is to be delivered whole", scene.id);
            }
            results.add(scene.id, kind, outcome);
        }
    }
    Ok(results)
}
