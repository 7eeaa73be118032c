//! What the hub is to reach: each target is one figure of it, alone or divided by another, and a bound.

use crate::figures::{Figure, Results};
use crate::loads::Load;
use crate::servers::Kind;

use Bound::{AtLeast, AtMost};
use Figure::{
    CountedAsCut, CpuPerEvent, Cut, DeliveredPerSecond, DeliveredShare, DeliveriesPerCpuSecond,
    JsonPerEvent, LatencyP99, MemoryAtEnd, MemoryPerSubscriber, PublishMedian, PublishP99,
    Unexplained,
};
use Kind::{DurableStreams, Floor, Hub, Nchan};

/// What a figure may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            AtLeast(bound) => value >= bound,
            AtMost(bound) => value <= bound,
        }
    }
}

/// A figure of one server in one scene.
#[derive(Debug, Clone, Copy)]
struct Point(&'static str, Kind, Figure);

impl Point {
    fn value(self, results: &Results) -> Option<f64> {
        results.get(self.0, self.1, self.2)
    }
}

/// One target.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) load: Load,
    /// What is measured, as it stands in the table.
    pub(crate) subject: &'static str,
    over: Point,
    /// What it is divided by; nothing for a figure that speaks for itself.
    under: Option<Point>,
    pub(crate) bound: Bound,
}

impl Target {
    /// What was measured, if both sides were.
    pub(crate) fn measured(&self, results: &Results) -> Option<f64> {
        let over = self.over.value(results)?;
        match self.under {
            Some(under) => Some(over / under.value(results)?),
            None => Some(over),
        }
    }

    /// A value of this target, with its unit.
    pub(crate) fn written(&self, value: f64) -> String {
        match self.under {
            Some(_) => format!("{value:.2} ×"),
            None => self.over.2.written(value),
        }
    }

    /// What the hub's figure is divided by, in words.
    pub(crate) fn beside(&self) -> String {
        match self.under {
            None => String::new(),
            Some(Point(scene, Hub, JsonPerEvent)) => format!("`serde_json`, {scene}"),
            Some(Point(scene, kind, _)) => format!("{kind}, {scene}"),
        }
    }
}

/// All targets, in the order of the loads.
pub(crate) fn targets() -> Vec<Target> {
    let mut targets = fan_out();
    targets.extend(of_the_hub_alone());
    targets.sort_by_key(|target| target.load);
    targets
}

/// Beside the others.
fn fan_out() -> Vec<Target> {
    let against = |scene, figure, other| [Hub, other].map(|kind| Point(scene, kind, figure));
    let speed = |scene, other| against(scene, DeliveriesPerCpuSecond, other);
    let p99 = |other| against("c", LatencyP99, other);
    let posts = against("b", PublishP99, DurableStreams);
    vec![
        quotient(Load::A, SPEED, speed("a", Nchan), AtLeast(6.0)),
        quotient(Load::A, SPEED, speed("a", DurableStreams), AtLeast(1.1)),
        quotient(Load::B, SPEED, speed("b", Nchan), AtLeast(1.4)),
        quotient(Load::B, SPEED, speed("b", DurableStreams), AtLeast(0.95)),
        quotient(Load::B, SPEED, speed("b", Floor), AtLeast(0.8)),
        quotient(Load::C, "latency p99", p99(Nchan), AtMost(1.0)),
        quotient(Load::C, "latency p99", p99(DurableStreams), AtMost(1.5)),
        quotient(Load::F, "POST answered, p99", posts, AtMost(1.5)),
    ]
}

/// Beside itself under another load, or by an absolute bound.
fn of_the_hub_alone() -> Vec<Target> {
    const GB: f64 = 1e9;
    const KIB: f64 = 1024.0;
    let hub = |scene, figure| Point(scene, Hub, figure);
    let pair = |figure, scenes: [&'static str; 2]| scenes.map(|scene| hub(scene, figure));
    let cpu = pair(CpuPerEvent, ["d-10000", "d-100"]);
    let p99 = pair(LatencyP99, ["e-stalled", "e"]);
    let growth = pair(DeliveriesPerCpuSecond, ["b", "i"]);
    let ingest = [CpuPerEvent, JsonPerEvent].map(|figure| hub("j", figure));
    let [idle, idle_http2] = ["g", "g-http2"].map(|scene| hub(scene, MemoryPerSubscriber));
    vec![
        alone(Load::A, "delivered", hub("a", DeliveredShare), AtLeast(1.0)),
        alone(Load::A, "kept up: delivered a second", hub("a", DeliveredPerSecond), AtLeast(950e3)),
        quotient(Load::D, "server CPU", cpu, AtMost(2.0)),
        quotient(Load::E, "latency p99 of the healthy", p99, AtMost(1.2)),
        alone(Load::E, "unexplained", hub("e-stalled", Unexplained), AtMost(0.0)),
        alone(Load::E, "delivered to the healthy", hub("e-stalled", DeliveredShare), AtLeast(1.0)),
        alone(Load::E, "stalled readers cut", hub("e-stalled", Cut), AtLeast(100.0)),
        alone(Load::E, "stalled readers counted", hub("e-stalled", CountedAsCut), AtLeast(100.0)),
        alone(Load::F, "POST answered, median", hub("b", PublishMedian), AtMost(2e-3)),
        alone(Load::G, "idle HTTP/1.1 subscriber", idle, AtMost(12.0 * KIB)),
        alone(Load::G, "idle HTTP/2 subscriber", idle_http2, AtMost(12.0 * KIB)),
        alone(Load::H, "delivered", hub("h", DeliveredShare), AtLeast(1.0)),
        alone(Load::H, "resident memory", hub("h", MemoryAtEnd), AtMost(1.3 * GB)),
        quotient(Load::I, SPEED, growth, AtLeast(0.8)),
        quotient(Load::J, "CPU an event", ingest, AtMost(3.0)),
    ]
}

const SPEED: &str = "deliveries per CPU-second";

/// A figure that stands for itself.
fn alone(load: Load, subject: &'static str, point: Point, bound: Bound) -> Target {
    Target { load, subject, over: point, under: None, bound }
}

/// A figure beside another.
fn quotient(load: Load, subject: &'static str, points: [Point; 2], bound: Bound) -> Target {
    let [over, under] = points;
    Target { load, subject, over, under: Some(under), bound }
}
