//! The loads, and how one of them is put on one server: start, drive, look, stop.
//!
//! A load is a question; a scene is one setting that is measured for it. A scene can answer several questions.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

use crate::figures::{Figure, Outcome};
use crate::servers::{Kind, Server};
use crate::{client, ingest};

/// What one wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Load {
    A,
    B,
    C,
    D,
    E,
    F,
    G,
    H,
    I,
    J,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no load is hidden");
        f.write_str(value.get_name())
    }
}

impl Load {
    pub(crate) const ALL: [Self; 10] =
        [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::G, Self::H, Self::I, Self::J];

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::A => "1,000 subscribers, 1,000 events/s",
            Self::B => "10,000 subscribers, 20 events/s",
            Self::C => "1,000 subscribers, 100 events/s: latency",
            Self::D => {
                "10,000 distinct filters against 100, 2,000 events/s in POSTs of 20, each wanted by one"
            }
            Self::E => "100 stalled readers among 1,000, 200 events/s",
            Self::F => "answers to POSTs during b",
            Self::G => "memory of an idle subscriber",
            Self::H => "100,000 subscribers over HTTP/2, 1 event/s",
            Self::I => "growth: 10,000 subscribers against 1,000 at the same deliveries/s",
            Self::J => "ingest: 100 events a POST, nobody listening",
        }
    }
}

/// One setting that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) id: &'static str,
    /// The questions that it answers.
    pub(crate) loads: &'static [Load],
    pub(crate) title: &'static str,
    pub(crate) servers: &'static [Kind],
    /// What stands in the table.
    pub(crate) figures: &'static [Figure],
    pub(crate) subscribers: u32,
    /// Events a second.
    pub(crate) rate: u32,
    /// Events a POST.
    pub(crate) batch: u32,
    pub(crate) duration: Duration,
    /// In which the subscribers come, evenly.
    pub(crate) ramp_up: Duration,
    pub(crate) is_http2: bool,
    /// Distinct filters, if there are any: each event is wanted by one.
    pub(crate) filters: Option<u32>,
    pub(crate) stalled_percent: u32,
    /// Settings of the server, by environment.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Whether one round is enough: memory does not depend on the minute.
    pub(crate) is_once: bool,
}

const EVERYBODY: &[Kind] = &Kind::ALL;
const HUB_ALONE: &[Kind] = &[Kind::Hub];

const FAN_OUT: &[Figure] = &[
    Figure::DeliveriesPerCpuSecond,
    Figure::DeliveredPerSecond,
    Figure::DeliveredShare,
    Figure::LatencyMedian,
    Figure::LatencyP99,
];

/// What most scenes have in common.
const ORDINARY: Scene = Scene {
    id: "",
    loads: &[],
    title: "",
    servers: HUB_ALONE,
    figures: FAN_OUT,
    subscribers: 1000,
    rate: 0,
    batch: 1,
    duration: Duration::from_secs(6),
    ramp_up: Duration::from_secs(1),
    is_http2: false,
    filters: None,
    stalled_percent: 0,
    settings: &[],
    is_once: false,
};

/// All scenes, in the order in which they are measured.
pub(crate) fn scenes() -> Vec<Scene> {
    let mut scenes = fan_out();
    scenes.extend(filters());
    scenes.extend(stalled());
    scenes.extend(memory());
    scenes.push(publishing());
    scenes
}

fn fan_out() -> Vec<Scene> {
    let a = Scene {
        id: "a",
        loads: &[Load::A],
        title: "1,000 subscribers, 1,000 events/s",
        servers: EVERYBODY,
        rate: 1000,
        ..ORDINARY
    };
    let b = Scene {
        id: "b",
        loads: &[Load::B, Load::F, Load::I],
        title: "10,000 subscribers, 20 events/s",
        servers: EVERYBODY,
        figures: &[
            Figure::DeliveriesPerCpuSecond,
            Figure::DeliveredPerSecond,
            Figure::DeliveredShare,
            Figure::LatencyMedian,
            Figure::LatencyP99,
            Figure::PublishMedian,
            Figure::PublishP99,
        ],
        subscribers: 10_000,
        rate: 20,
        ramp_up: Duration::from_secs(3),
        ..ORDINARY
    };
    let c = Scene {
        id: "c",
        loads: &[Load::C],
        title: "1,000 subscribers, 100 events/s",
        servers: EVERYBODY,
        rate: 100,
        ..ORDINARY
    };
    let i = Scene {
        id: "i",
        loads: &[Load::I],
        title: "1,000 subscribers, 200 events/s: as many deliveries as with 10,000",
        rate: 200,
        ..ORDINARY
    };
    vec![a, b, c, i]
}

/// Each event is wanted by one subscriber, however many there are.
fn filters() -> Vec<Scene> {
    let few = Scene {
        id: "d-100",
        loads: &[Load::D],
        title: "2,000 events/s in POSTs of 20 to 100 filters, each wanted by one",
        figures: &[Figure::CpuPerEvent, Figure::DeliveredShare, Figure::LatencyP99],
        subscribers: 100,
        filters: Some(100),
        rate: 2000,
        batch: 20,
        ..ORDINARY
    };
    let many = Scene {
        id: "d-10000",
        title: "the same to 10,000 filters",
        subscribers: 10_000,
        filters: Some(10_000),
        ramp_up: Duration::from_secs(3),
        ..few.clone()
    };
    vec![few, many]
}

/// As many healthy ones in both. The hub keeps less for those that stall, and for less long, so that a few seconds show it:
/// unless the kernel keeps more for them, which by itself goes to 4 MiB a socket and takes a minute to fill.
fn stalled() -> Vec<Scene> {
    let without = Scene {
        id: "e",
        loads: &[Load::E],
        title: "900 subscribers, 200 events/s",
        figures: &[
            Figure::LatencyMedian,
            Figure::LatencyP99,
            Figure::DeliveredShare,
            Figure::Unexplained,
            Figure::Missed,
            Figure::Cut,
            Figure::CountedAsCut,
            Figure::MemoryAtEnd,
        ],
        subscribers: 900,
        rate: 200,
        duration: Duration::from_secs(10),
        settings: &[
            ("TELEMETRY_HUB_STALL_TIMEOUT", "2s"),
            ("TELEMETRY_HUB_SUBSCRIBER_QUEUE_BYTES", "64 KiB"),
        ],
        ..ORDINARY
    };
    let with = Scene {
        id: "e-stalled",
        title: "the same, beside 100 that read nothing",
        subscribers: 1000,
        stalled_percent: 10,
        ..without.clone()
    };
    vec![without, with]
}

fn memory() -> Vec<Scene> {
    let idle = Scene {
        id: "g",
        loads: &[Load::G],
        title: "5,000 idle subscribers over HTTP/1.1",
        servers: EVERYBODY,
        figures: &[Figure::MemoryPerSubscriber],
        subscribers: 5000,
        rate: 0,
        duration: Duration::from_secs(1),
        ramp_up: Duration::from_secs(2),
        is_once: true,
        ..ORDINARY
    };
    let idle_http2 = Scene {
        id: "g-http2",
        title: "10,000 idle subscribers over HTTP/2",
        servers: HUB_ALONE,
        subscribers: 10_000,
        is_http2: true,
        ..idle.clone()
    };
    let crowd = Scene {
        id: "h",
        loads: &[Load::H],
        title: "100,000 subscribers over HTTP/2, 1 event/s",
        figures: &[
            Figure::DeliveriesPerCpuSecond,
            Figure::DeliveredPerSecond,
            Figure::DeliveredShare,
            Figure::LatencyMedian,
            Figure::LatencyP99,
            Figure::MemoryPerSubscriber,
            Figure::MemoryAtEnd,
        ],
        subscribers: 100_000,
        rate: 1,
        duration: Duration::from_secs(8),
        ramp_up: Duration::from_secs(15),
        is_http2: true,
        is_once: true,
        ..ORDINARY
    };
    vec![idle, idle_http2, crowd]
}

fn publishing() -> Scene {
    Scene {
        id: "j",
        loads: &[Load::J],
        title: "240,000 events in POSTs of 100, nobody listening",
        figures: &[Figure::CpuPerEvent, Figure::JsonPerEvent],
        subscribers: 0,
        rate: 40_000,
        batch: 100,
        ramp_up: Duration::ZERO,
        ..ORDINARY
    }
}

impl Scene {
    /// A tenth of it, for a second: but at least one of everything that it has any of.
    pub(crate) fn quick(mut self) -> Self {
        self.duration = Duration::from_secs(1);
        self.ramp_up = self.ramp_up.min(Duration::from_secs(1));
        self.subscribers = self.subscribers.div_ceil(10).min(1000);
        self.rate = self.rate.div_ceil(10);
        self.filters = self.filters.map(|filters| filters.div_ceil(10).min(1000));
        self
    }

    /// How many connections the subscribers make; over HTTP/2 a hundred of them share one.
    pub(crate) fn connections(&self) -> u32 {
        if self.is_http2 { self.subscribers.div_ceil(100) } else { self.subscribers }
    }

    /// How many deliveries there are a second to a server that keeps up, if all want everything.
    pub(crate) fn deliveries_per_second(&self) -> f64 {
        f64::from(self.rate) * f64::from(self.subscribers)
    }

    /// How many POSTs there are in all.
    pub(crate) fn posts(&self) -> u32 {
        let events = f64::from(self.rate) * self.duration.as_secs_f64();
        (events / f64::from(self.batch)).ceil() as u32
    }

    /// One line for who watches the run.
    pub(crate) fn brief(&self, outcome: &Outcome) -> String {
        let shown = self.figures.iter().filter_map(|figure| {
            let value = outcome.get(figure)?;
            Some(format!("{} {}", figure.name(), figure.written(*value)))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// How long it takes with one server: start, pauses and end, by experience.
    pub(crate) fn estimate(&self) -> Duration {
        const AROUND: Duration = Duration::from_secs(3);
        self.duration + self.ramp_up + AROUND
    }
}

/// Puts a load on a server of its own.
pub(crate) async fn measure(scene: &Scene, kind: Kind, folder: &Path) -> anyhow::Result<Outcome> {
    let server = Server::start(kind, scene.settings, folder).await?;
    let mut outcome = match scene.subscribers {
        0 => ingest::drive(scene, &server).await?,
        _ => client::drive(scene, &server, folder).await?,
    };
    if scene.figures.contains(&Figure::CountedAsCut) {
        outcome.insert(Figure::CountedAsCut, server.streams_cut().await?);
    }
    server.stop().await?;
    Ok(outcome)
}
