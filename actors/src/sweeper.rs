//! The sweeper: sees to what must be done though no event comes. At each tick it looks at every stream: a silent one gets a `ping`,
//! a client that does not read is cut, one whose right to watch has ended is told so. One timer for all of them. It also has the match index keep up with those who came.
//!
//! Supervision: a *permanent* child of [`Hub`](crate::hub::Hub). The streams live outside it: a restarted one goes on with all
//! of them. It waits for nobody.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;

use crate::hub_core::HubCore;
use crate::lock;
use crate::metrics_slot::MetricsSlot;
use crate::metrics_subscriber::MetricsSubscriberMessage;
use crate::outbox::{Health, Outbox};
use crate::sse::ByeReason;
use crate::subscriber::SubscriberMessage;
use crate::timer::Timer;
use crate::turn::{Progress, TURN, next_turn};

/// How many times it looks within the time after which a silent stream gets a `ping`, which comes late by one tick at most.
const TICKS_PER_PING: u32 = 15;

/// Streams are looked at this often at least: those that do not read are cut in time, however rare pings are.
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// However short the time for a ping is, looking must not become all that is done.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) enum SweeperMessage {
    /// Looks at the next few streams, and after the last sees to the next tick.
    Sweep,
    /// Fails on purpose.
    #[cfg(feature = "fault-injection")]
    Panic,
}

pub(crate) struct Sweeper;

pub(crate) struct SweeperState {
    core: Arc<HubCore>,
    /// How many streams have been looked at in this tick.
    position: usize,
    timer: Option<Timer>,
}

/// The streams to look at. One whose client has gone is forgotten at the next look.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Vec<Stream>>);

#[derive(Debug)]
struct Stream {
    client: Client,
    /// When its right to watch ends; `None` when it has been told so, too.
    expires: Option<Instant>,
}

#[derive(Debug)]
enum Client {
    Events(Weak<Outbox>, ActorRef<SubscriberMessage>),
    Metrics(Weak<MetricsSlot>, ActorRef<MetricsSubscriberMessage>),
}

impl Actor for Sweeper {
    type Msg = SweeperMessage;
    type State = SweeperState;
    type Arguments = Arc<HubCore>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        core: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut state = SweeperState { core, position: 0, timer: None };
        state.schedule(&myself);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SweeperMessage::Sweep => match state.sweep() {
                Progress::Underway => next_turn(&myself, SweeperMessage::Sweep).await,
                Progress::Done => {
                    state.core.groups.index.keep_up();
                    state.schedule(&myself);
                }
            },
            #[cfg(feature = "fault-injection")]
            SweeperMessage::Panic => panic!("a test asked for it"),
        }
        Ok(())
    }
}

impl SweeperState {
    fn sweep(&mut self) -> Progress {
        match self.core.streams.look(self.position, Instant::now()) {
            Some(position) => {
                self.position = position;
                Progress::Underway
            }
            None => {
                self.position = 0;
                Progress::Done
            }
        }
    }

    fn schedule(&mut self, myself: &ActorRef<SweeperMessage>) {
        let tick = self.core.config.ping_interval / TICKS_PER_PING;
        let tick = tick.clamp(SHORTEST_TICK, LONGEST_TICK);
        self.timer = Some(Timer::start(tick, myself, || SweeperMessage::Sweep));
    }
}

impl Streams {
    pub(crate) fn add(
        &self,
        outbox: &Arc<Outbox>,
        subscriber: &ActorRef<SubscriberMessage>,
        expires: Option<Instant>,
    ) {
        let client = Client::Events(Arc::downgrade(outbox), subscriber.clone());
        lock(&self.0).push(Stream { client, expires });
    }

    pub(crate) fn add_metrics(
        &self,
        slot: &Arc<MetricsSlot>,
        subscriber: &ActorRef<MetricsSubscriberMessage>,
        expires: Option<Instant>,
    ) {
        let client = Client::Metrics(Arc::downgrade(slot), subscriber.clone());
        lock(&self.0).push(Stream { client, expires });
    }

    /// Looks at a turn of them from a position on. Returns where to go on, if there are more. All that were last told the same event
    /// are silent for equally long: their pings fall due together.
    fn look(&self, mut position: usize, now: Instant) -> Option<usize> {
        let mut streams = lock(&self.0);
        for _ in 0..TURN {
            if streams.get_mut(position)?.look(now) {
                position += 1;
            } else {
                // The last one takes its place, and is looked at next.
                streams.swap_remove(position);
            }
        }
        Some(position)
    }
}

impl Stream {
    /// False if the stream is gone.
    fn look(&mut self, now: Instant) -> bool {
        if self.expires.is_some_and(|expires| expires <= now) {
            self.expires = None;
            self.client.expire();
        }
        self.client.look(now)
    }
}

impl Client {
    fn expire(&self) {
        // One that is gone has ended its stream already.
        match self {
            Self::Events(_, subscriber) => {
                subscriber.cast(SubscriberMessage::Close(ByeReason::ExpiredToken)).ok();
            }
            Self::Metrics(_, subscriber) => {
                subscriber.cast(MetricsSubscriberMessage::Close(ByeReason::ExpiredToken)).ok();
            }
        }
    }

    /// False if the stream is gone.
    fn look(&self, now: Instant) -> bool {
        match self {
            Self::Events(outbox, subscriber) => {
                let Some(outbox) = outbox.upgrade() else {
                    return false;
                };
                match outbox.look(now) {
                    Health::Good => {}
                    // As above.
                    Health::Stalled => _ = subscriber.cast(SubscriberMessage::Cut),
                }
                true
            }
            Self::Metrics(slot, _) => slot.upgrade().is_some_and(|slot| {
                slot.look(now);
                true
            }),
        }
    }
}
