//! What breaks when: all of it from a seed, so that a run can be had again. How threads interleave cannot be had again.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use telemetry_hub_actors::Fault;

/// Restarts cost so much time each: fewer than eight come in ten seconds, of the ten that a hub puts up with.
const TIME_FOR_A_RESTART: Duration = Duration::from_millis(1300);

/// How many intervals the metrics subscribers of a run ask for: each has a sampler.
pub(super) const SAMPLERS: u32 = 2;

/// The faults of a run.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) faults: Vec<Blow>,
}

/// Something that breaks.
#[derive(Debug)]
pub(super) struct Blow {
    /// How long after the one before.
    pub(super) after: Duration,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// An actor fails.
    Break(Fault),
    /// The collector hangs until it is killed.
    Hang,
    /// The clock says another time from now on: so many seconds away from the true one.
    MoveClock(i64),
}

/// Which faults may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Targets {
    All,
    /// None that a client can see.
    Collector,
}

impl Script {
    pub(super) fn new(seed: u64, length: Duration, targets: Targets) -> Self {
        let mut rng = rng(seed, "faults");
        let (mut faults, mut time) = (Vec::new(), Duration::ZERO);
        let mut kinds = Vec::new();
        while time < length {
            if kinds.is_empty() {
                kinds = Kind::one_of_each(&mut rng, targets);
                kinds.shuffle(&mut rng);
            }
            let kind = kinds.pop().expect("there is one of each");
            let pause = Duration::from_millis(rng.random_range(50..600));
            let after = pause + TIME_FOR_A_RESTART * kind.restarts();
            time += after;
            faults.push(Blow { after, kind });
        }
        Self { seed, faults }
    }

    /// How long a run is, by hand or so that it is no burden to all who run the tests.
    pub(super) fn length(usual: u64) -> Duration {
        Duration::from_secs(from_environment("CHAOS_SECONDS").unwrap_or(usual))
    }

    /// The seed given by hand, or another each time.
    pub(super) fn some_seed() -> u64 {
        let seed = || rand::random_range(0..1_000_000);
        from_environment("CHAOS_SEED").unwrap_or_else(seed)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = BTreeMap::<_, u32>::new();
        for Blow { kind, .. } in &self.faults {
            *counts.entry(kind.name()).or_default() += 1;
        }
        write!(f, "CHAOS_SEED={}: {counts:?}", self.seed)
    }
}

impl Kind {
    /// All that can be, some of it with a number of its own.
    fn one_of_each(rng: &mut StdRng, targets: Targets) -> Vec<Self> {
        let of_collector = [
            Fault::KillCollector,
            Fault::PanicCollector,
            Fault::PanicCollectorAfter(rng.random_range(0..40)),
        ];
        let others = [
            Fault::KillSubscribers,
            Fault::PanicSubscribers,
            Fault::KillSweeper,
            Fault::PanicSweeper,
            Fault::KillSamplers,
            Fault::PanicSamplers,
        ];
        let mut kinds: Vec<Self> = of_collector.into_iter().map(Self::Break).collect();
        if targets == Targets::All {
            kinds.extend(others.into_iter().map(Self::Break));
            kinds.push(Self::Hang);
            kinds.extend((0..3).map(|_| Self::MoveClock(rng.random_range(-7..=7) * 3600)));
        }
        kinds
    }

    /// How many actors are restarted because of it.
    fn restarts(self) -> u32 {
        match self {
            Self::Hang => 1,
            Self::Break(Fault::KillSamplers | Fault::PanicSamplers) => SAMPLERS,
            Self::Break(Fault::KillSubscribers | Fault::PanicSubscribers) | Self::MoveClock(_) => 0,
            Self::Break(_) => 1,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Break(Fault::PanicCollectorAfter(_)) => "PanicCollectorAfter".to_owned(),
            Self::Break(fault) => format!("{fault:?}"),
            Self::Hang => "HangCollector".to_owned(),
            Self::MoveClock(_) => "MoveClock".to_owned(),
        }
    }
}

/// Chance for one of those who take part, its own and the same in each run of a seed.
pub(super) fn rng(seed: u64, name: &str) -> StdRng {
    StdRng::seed_from_u64(hash(&(seed, name)))
}

pub(super) fn random_time(rng: &mut StdRng, milliseconds: Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(milliseconds))
}

/// A hash that is the same in every run.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn a_seed_repeats_its_script_and_another_does_not() {
    let script = |seed| Script::new(seed, Duration::from_secs(60), Targets::All);
    let told = |seed| format!("{:?}", script(seed).faults);
    assert_eq!(told(7), told(7));
    assert_ne!(told(7), told(8));
    let restarts: u32 = script(7).faults.iter().map(|blow| blow.kind.restarts()).sum();
    assert!((10..50).contains(&restarts), "{restarts}");
}
