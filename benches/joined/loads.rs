//! The loads, and how one of them is put on one setup: start, drive, stop.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::client;
use crate::figures::{Figure, Figures};
use crate::network::Network;
use crate::setups::Setup;

/// What one wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Load {
    Crowd,
    Latency,
    Filters,
    /// A hub's part of many subscribers: each is sent a hundredth of very many events.
    Slice,
    /// The same with fewer and larger writes.
    Linger,
    Ingest,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no load is hidden");
        f.pad(value.get_name())
    }
}

/// One load as it is put on every setup.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) load: Load,
    pub(crate) title: &'static str,
    pub(crate) setups: &'static [Setup],
    /// What stands in the table.
    pub(crate) figures: &'static [Figure],
    pub(crate) subscribers: u32,
    /// Distinct filters, if there are any: each event is wanted by one.
    pub(crate) filters: Option<u32>,
    /// Events a second.
    pub(crate) rate: u32,
    /// Events a POST.
    pub(crate) batch: u32,
    pub(crate) duration: Duration,
    /// Settings of the hubs, by environment.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Whether, first, events are published as fast as they are taken.
    pub(crate) has_rush: bool,
    pub(crate) is_quick: bool,
}

/// What the client found.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) problems: Vec<String>,
    /// Whether every delivery came.
    pub(crate) is_whole: bool,
}

/// More than publishers can send.
const RUSH: u32 = 1_000_000;

const FAN_OUT: &[Figure] = &[
    Figure::DeliveriesPerHubSecond,
    Figure::DeliveriesPerCpuSecond,
    Figure::DeliveredPerSecond,
    Figure::LatencyMedian,
    Figure::LatencyP99,
    Figure::PublishMedian,
    Figure::PublishP99,
    Figure::NatsCpu,
];

impl Load {
    pub(crate) const ALL: [Self; 6] =
        [Self::Crowd, Self::Latency, Self::Filters, Self::Slice, Self::Linger, Self::Ingest];

    pub(crate) fn scene(self) -> Scene {
        let crowd = Scene {
            load: self,
            title: "1,000 subscribers, 1,000 events/s",
            setups: &Setup::ALL,
            figures: FAN_OUT,
            subscribers: 1000,
            filters: None,
            rate: 1000,
            batch: 1,
            duration: Duration::from_secs(3),
            settings: &[],
            has_rush: false,
            is_quick: false,
        };
        let filters = Scene {
            setups: &[Setup::Alone, Setup::Joined, Setup::Three],
            figures: &[
                Figure::DeliveriesPerHubSecond,
                Figure::DeliveriesPerCpuSecond,
                Figure::DeliveredPerSecond,
                Figure::HubCpu,
                Figure::NatsCpu,
                Figure::LatencyMedian,
                Figure::LatencyP99,
            ],
            subscribers: 3000,
            filters: Some(100),
            ..crowd.clone()
        };
        match self {
            Self::Crowd => Scene {
                setups: &[Setup::Alone, Setup::Joined, Setup::Other, Setup::Three],
                ..crowd
            },
            Self::Latency => Scene { title: "1,000 subscribers, 100 events/s", rate: 100, ..crowd },
            Self::Filters => Scene {
                title: "3,000 subscribers with 100 filters, 2,000 events/s in POSTs of 20, each wanted by one filter",
                rate: 2000,
                batch: 20,
                ..filters
            },
            Self::Slice => Scene {
                title: "1,000 subscribers with 100 filters, 10,000 events/s in POSTs of 100, each wanted by one filter",
                subscribers: 1000,
                rate: 10_000,
                batch: 100,
                ..filters
            },
            Self::Linger => Scene {
                title: "the same with 6,000 subscribers; hubs have `linger` 100 ms and `batch_bytes` 2 MiB",
                subscribers: 6000,
                rate: 10_000,
                batch: 100,
                settings: &[
                    ("TELEMETRY_HUB_LINGER", "100ms"),
                    ("TELEMETRY_HUB_BATCH_BYTES", "2 MiB"),
                ],
                ..filters
            },
            // Some subscribers, so that it is known when the last event is through: one for each of three hubs.
            Self::Ingest => Scene {
                title: "20,000 events/s in POSTs of 100, of which three in a thousand are wanted",
                figures: &[
                    Figure::HubCpu,
                    Figure::ReaderCpu,
                    Figure::NatsCpu,
                    Figure::PublishMedian,
                    Figure::PublishP99,
                    Figure::AcceptedPerSecond,
                ],
                subscribers: 3,
                filters: Some(1000),
                rate: 20_000,
                batch: 100,
                duration: Duration::from_secs(4),
                has_rush: true,
                ..crowd
            },
        }
    }
}

impl Scene {
    /// A tenth of it, for a second: but at least one of everything that it has any of.
    pub(crate) fn quick(self) -> Self {
        Self {
            subscribers: self.subscribers.div_ceil(10),
            filters: self.filters.map(|filters| filters.div_ceil(10)),
            rate: self.rate.div_ceil(10),
            duration: Duration::from_secs(1),
            is_quick: true,
            ..self
        }
    }

    /// What comes before it: as many events as can be, which also fill the replay buffer, as it is in a hub that has been running.
    /// The publishers, which are behind, go on for two seconds more.
    fn rush(&self) -> Self {
        Self { rate: RUSH, duration: Duration::from_secs(1), ..self.clone() }
    }

    /// One line for who watches the run.
    pub(crate) fn brief(&self, outcome: &Outcome) -> String {
        let shown = self.figures.iter().filter_map(|figure| {
            let value = outcome.figures.get(figure)?;
            Some(format!("{} {}", figure.name(), figure.written(*value)))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// How long it takes with all setups: start, pauses and end, by experience.
    pub(crate) fn estimate(&self) -> Duration {
        const AROUND: Duration = Duration::from_secs(2);
        let rush = if self.has_rush { 2 * AROUND } else { Duration::ZERO };
        (rush + self.duration + AROUND) * self.setups.len() as u32
    }
}

/// Puts a load on a setup of its own.
pub(crate) async fn measure(scene: &Scene, setup: Setup) -> anyhow::Result<Outcome> {
    let network = Network::start(setup, scene.settings).await?;
    let rush = if scene.has_rush {
        client::drive(&scene.rush(), setup, &network).await?.figures
    } else {
        Figures::new()
    };
    let mut outcome = client::drive(scene, setup, &network).await?;
    if let Some(rate) = rush.get(&Figure::AcceptedPerSecond) {
        outcome.figures.insert(Figure::AcceptedPerSecond, *rate);
    }
    network.stop().await?;
    Ok(outcome)
}
