//! What is measured: figures with their units, their medians over the rounds, and how they are written.

use std::collections::BTreeMap;

use indicatif::HumanCount;

use crate::median::median;
use crate::servers::Kind;

/// Something measured in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    DeliveriesPerCpuSecond,
    DeliveredPerSecond,
    /// Of what should have been: 1 is all of it.
    DeliveredShare,
    LatencyMedian,
    LatencyP99,
    PublishMedian,
    PublishP99,
    /// Events that neither came nor were told as missed.
    Unexplained,
    /// Events that those who do not read were told as missed.
    Missed,
    /// Streams of theirs that have ended.
    Cut,
    /// The same as the hub counts it.
    CountedAsCut,
    CpuPerEvent,
    /// Processor time of `serde_json` for one line of the same.
    JsonPerEvent,
    MemoryPerSubscriber,
    MemoryAtEnd,
}

impl Figure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DeliveriesPerCpuSecond => "deliveries per CPU-second",
            Self::DeliveredPerSecond => "delivered a second",
            Self::DeliveredShare => "delivered of expected",
            Self::LatencyMedian => "latency, median",
            Self::LatencyP99 => "latency, p99",
            Self::PublishMedian => "POST answered, median",
            Self::PublishP99 => "POST answered, p99",
            Self::Unexplained => "unexplained",
            Self::Missed => "told to the stalled as missed",
            Self::Cut => "stalled that were cut",
            Self::CountedAsCut => "stalled that the hub counts",
            Self::CpuPerEvent => "server CPU an event",
            Self::JsonPerEvent => "`serde_json::from_slice::<Value>` a line",
            Self::MemoryPerSubscriber => "memory an idle subscriber",
            Self::MemoryAtEnd => "resident memory at the end",
        }
    }

    /// A value with its unit. Values are in seconds and bytes.
    pub(crate) fn written(self, value: f64) -> String {
        match self {
            Self::DeliveriesPerCpuSecond | Self::DeliveredPerSecond => thousands(value),
            Self::DeliveredShare => format!("{:.1} %", floored(value * 100.0)),
            Self::LatencyMedian | Self::LatencyP99 | Self::PublishMedian | Self::PublishP99 => {
                format!("{:.1} ms", value * 1e3)
            }
            Self::Unexplained | Self::Missed | Self::Cut | Self::CountedAsCut => {
                format!("{value:.0}")
            }
            Self::CpuPerEvent | Self::JsonPerEvent => format!("{:.1} µs", value * 1e6),
            Self::MemoryPerSubscriber => format!("{:.1} KiB", value / 1024.0),
            Self::MemoryAtEnd => format!("{:.0} MiB", value / 1024.0 / 1024.0),
        }
    }
}

/// To one digit, never up: 99.96 % is not all.
fn floored(value: f64) -> f64 {
    (value * 10.0).floor() / 10.0
}

fn thousands(value: f64) -> String {
    if value < 10_000.0 {
        HumanCount(value.round() as u64).to_string()
    } else {
        format!("{} k", HumanCount((value / 1e3).round() as u64))
    }
}

/// All figures of one run.
pub(crate) type Outcome = BTreeMap<Figure, f64>;

/// The outcomes of all rounds, by what was measured and with which server.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<(&'static str, Kind), Vec<Outcome>>);

impl Results {
    pub(crate) fn add(&mut self, scene: &'static str, kind: Kind, outcome: Outcome) {
        self.0.entry((scene, kind)).or_default().push(outcome);
    }

    /// The median of all rounds; of what must be right each time, the worst. Nothing, if no round had that figure.
    pub(crate) fn get(&self, scene: &'static str, kind: Kind, figure: Figure) -> Option<f64> {
        let outcomes = self.0.get(&(scene, kind))?;
        let values = outcomes.iter().filter_map(|outcome| outcome.get(&figure)).copied();
        match figure {
            Figure::DeliveredShare | Figure::Cut | Figure::CountedAsCut => values.reduce(f64::min),
            Figure::Unexplained => values.reduce(f64::max),
            _ => median(values.collect()),
        }
    }
}
