//! The sampler of one interval: at each tick takes one snapshot of all metrics, and sends each of its subscribers the part
//! that it asked for, encoded once for all who asked for the same.
//!
//! Supervision: a *permanent* child of [`Hub`](crate::hub::Hub) while anybody asks for its interval. Its roster lives
//! outside it; a restarted one ticks at once, so that nobody waits for a frame that its predecessor owed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use crate::hub_core::HubCore;
use crate::metric_store::{Sample, SampleValue, SeriesKey};
use crate::metrics_slot::MetricsFrame;
use crate::metrics_subscriber::Roster;
use crate::selection::Selection;
use crate::subscriber::SubscriberId;
use crate::timer::Timer;

#[derive(Debug)]
pub(crate) enum SamplerMessage {
    /// Sends everyone a frame, and sees to the next tick.
    Tick,
    /// Sends a newcomer its first frame, unless a tick has just done so.
    Welcome(SubscriberId),
    /// Fails on purpose.
    #[cfg(feature = "fault-injection")]
    Panic,
}

pub(crate) struct Sampler;

pub(crate) struct SamplerArguments {
    pub(crate) core: Arc<HubCore>,
    pub(crate) interval: Duration,
    pub(crate) roster: Arc<Roster>,
}

pub(crate) struct SamplerState {
    core: Arc<HubCore>,
    interval: Duration,
    roster: Arc<Roster>,
    /// When the tick was due that comes next, whenever it really comes.
    next_tick: Instant,
    timer: Option<Timer>,
    previous: Option<Totals>,
}

/// The counters at a tick.
struct Totals {
    taken: Instant,
    counters: HashMap<Arc<SeriesKey>, f64>,
}

impl Actor for Sampler {
    type Msg = SamplerMessage;
    type State = SamplerState;
    type Arguments = SamplerArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let SamplerArguments { core, interval, roster } = arguments;
        myself.cast(SamplerMessage::Tick)?;
        let next_tick = Instant::now();
        Ok(SamplerState { core, interval, roster, next_tick, timer: None, previous: None })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SamplerMessage::Tick => {
                state.tick();
                let delay = state.until_next_tick();
                state.timer = Some(Timer::start(delay, &myself, || SamplerMessage::Tick));
            }
            SamplerMessage::Welcome(id) => state.welcome(id),
            #[cfg(feature = "fault-injection")]
            SamplerMessage::Panic => panic!("a test asked for it"),
        }
        Ok(())
    }
}

impl SamplerState {
    fn tick(&mut self) {
        let samples = self.sample();
        let mut frames: HashMap<Selection, Arc<MetricsFrame>> = HashMap::new();
        for member in self.roster.members().values() {
            let frame = frames
                .entry(member.selection.clone())
                .or_insert_with_key(|selection| Arc::new(select(selection, &samples)));
            member.send(frame);
        }
        self.previous = Some(Totals::of(&samples));
    }

    fn welcome(&self, id: SubscriberId) {
        let member = self.roster.members().get(&id).cloned();
        let Some(member) = member.filter(|member| member.is_new()) else {
            return;
        };
        // Without rates: there was no frame before this one.
        member.send(&Arc::new(select(&member.selection, &self.core.sample())));
    }

    /// All series, sorted, with what counters did since the last tick.
    fn sample(&self) -> Vec<Sample> {
        let samples = self.core.sample();
        let Some(previous) = &self.previous else {
            return samples;
        };
        let seconds = previous.taken.elapsed().as_secs_f64();
        let with_rate = |sample: Sample| {
            let before = previous.counters.get(sample.key()).copied();
            sample.since(before, seconds)
        };
        samples.into_iter().map(with_rate).collect()
    }

    /// Ticks stay on the grid that the first one began; those that could not be kept are left out.
    fn until_next_tick(&mut self) -> Duration {
        let now = Instant::now();
        self.next_tick += self.interval;
        if self.next_tick < now {
            let behind = (now - self.next_tick).as_nanos() / self.interval.as_nanos() + 1;
            self.next_tick += self.interval * u32::try_from(behind).unwrap_or(u32::MAX);
        }
        self.next_tick - now
    }
}

impl Totals {
    fn of(samples: &[Sample]) -> Self {
        let counters = samples
            .iter()
            .filter_map(|sample| match sample.value() {
                SampleValue::Counter { value, .. } => Some((Arc::clone(sample.key()), value)),
                SampleValue::Gauge(_) | SampleValue::Histogram(_) => None,
            })
            .collect();
        Self { taken: Instant::now(), counters }
    }
}

fn select(selection: &Selection, samples: &[Sample]) -> MetricsFrame {
    let matcher = selection.matcher();
    let wanted = samples.iter().filter(|sample| matcher.matches(sample.id()));
    MetricsFrame::new(wanted.cloned().collect())
}
