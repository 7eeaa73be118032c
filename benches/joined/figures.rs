//! What is measured: figures with their units, and over the rounds the median of each and of its ratio to the hub alone.

use std::collections::BTreeMap;

use indicatif::HumanCount;

use crate::loads::Load;
use crate::median::median;
use crate::setups::Setup;

/// Something measured in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    DeliveriesPerHubSecond,
    DeliveriesPerCpuSecond,
    DeliveredPerSecond,
    LatencyMedian,
    LatencyP99,
    PublishMedian,
    PublishP99,
    /// Of an average hub.
    HubCpu,
    /// Of a hub that is not published to.
    ReaderCpu,
    /// Of all servers together.
    NatsCpu,
    /// As fast as it goes.
    AcceptedPerSecond,
}

impl Figure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DeliveriesPerHubSecond => "deliveries per CPU-second of the hubs",
            Self::DeliveriesPerCpuSecond => "the same, of hubs and NATS",
            Self::DeliveredPerSecond => "delivered a second",
            Self::LatencyMedian => "latency, median",
            Self::LatencyP99 => "latency, p99",
            Self::PublishMedian => "POST answered, median",
            Self::PublishP99 => "POST answered, p99",
            Self::HubCpu => "CPU an event, each hub",
            Self::ReaderCpu => "CPU an event, a hub that only reads",
            Self::NatsCpu => "CPU an event, all of NATS",
            Self::AcceptedPerSecond => "accepted a second, at most",
        }
    }

    /// A value with its unit. Values are in seconds.
    pub(crate) fn written(self, value: f64) -> String {
        match self {
            Self::DeliveriesPerHubSecond
            | Self::DeliveriesPerCpuSecond
            | Self::DeliveredPerSecond
            | Self::AcceptedPerSecond => {
                format!("{} k", HumanCount((value / 1e3).round() as u64))
            }
            Self::LatencyMedian | Self::LatencyP99 | Self::PublishMedian | Self::PublishP99 => {
                format!("{:.1} ms", value * 1e3)
            }
            Self::HubCpu | Self::ReaderCpu | Self::NatsCpu => format!("{:.1} µs", value * 1e6),
        }
    }
}

/// All figures of one run.
pub(crate) type Figures = BTreeMap<Figure, f64>;

/// Those of all rounds, by load and setup.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<(Load, Setup), Vec<Figures>>);

impl Results {
    pub(crate) fn add(&mut self, load: Load, setup: Setup, figures: Figures) {
        self.0.entry((load, setup)).or_default().push(figures);
    }

    /// The median of all rounds. Nothing, if no round had that figure.
    pub(crate) fn value(&self, load: Load, setup: Setup, figure: Figure) -> Option<f64> {
        let rounds = self.0.get(&(load, setup))?;
        median(rounds.iter().filter_map(|figures| figures.get(&figure)).copied().collect())
    }

    /// What it is divided by that of the hub alone in the same round: the median of all rounds.
    pub(crate) fn ratio(&self, load: Load, setup: Setup, figure: Figure) -> Option<f64> {
        let rounds = self.0.get(&(load, setup))?.iter();
        let alone = self.0.get(&(load, Setup::Alone))?;
        let ratio =
            |(one, other): (&Figures, &Figures)| Some(one.get(&figure)? / other.get(&figure)?);
        median(rounds.zip(alone).filter_map(ratio).collect())
    }
}
