//! What is known of the events while a run goes on: which were posted, which were answered 200, and in which order the hub has them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use telemetry_hub_actors::{
    Delivered, EventId, GapReason, HubHandle, SubscribeError, Subscription, SubscriptionStats,
    TraceQuery, Value,
};
use tokio::sync::watch;

use super::events::{LAST, Numbered};

/// How far publishers may be ahead of the scribe, in events. The replay buffer holds more: the scribe misses none.
const LEAD: usize = 400;

/// How an acquaintance of the hub's stands at some moment: for each publisher, the number up to which.
pub(super) type Marks = Vec<u64>;

/// The part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Nothing more breaks, and everybody reads.
    Ending,
}

/// How a post was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200.
    Accepted,
    /// 503.
    Refused,
    /// Not at all.
    Unknown,
}

/// Posts of one publisher.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The number after the last that was posted.
    posted: u64,
    /// The number after the last that was answered 200.
    accepted: u64,
    /// The numbers of each post, and its answer.
    pub(super) posts: Vec<(std::ops::Range<u64>, Answer)>,
}

#[derive(Debug)]
pub(super) struct Journal {
    ledgers: Vec<Mutex<Ledger>>,
    /// How many events the scribe has written down.
    written: watch::Sender<usize>,
    pub(super) phase: watch::Sender<Phase>,
    /// How often all subscribers were broken.
    blows: AtomicU64,
    /// The last event of the run, once it is there.
    last_id: OnceLock<EventId>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Journal {
    pub(super) fn new(publishers: usize) -> Self {
        Self {
            ledgers: (0..publishers).map(|_| Mutex::default()).collect(),
            written: watch::Sender::new(0),
            phase: watch::Sender::new(Phase::Running),
            blows: AtomicU64::new(0),
            last_id: OnceLock::new(),
        }
    }

    /// One where nobody writes down the events, and nobody waits for that.
    pub(super) fn without_scribe(publishers: usize) -> Self {
        let journal = Self::new(publishers);
        journal.written.send_replace(usize::MAX / 2);
        journal
    }

    /// To be noted before all subscribers are broken.
    pub(super) fn note_blow(&self) {
        self.blows.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn blows(&self) -> u64 {
        self.blows.load(Ordering::SeqCst)
    }

    pub(super) fn last_id(&self) -> Option<EventId> {
        self.last_id.get().copied()
    }

    /// Waits until there is room for more posts.
    pub(super) async fn room(&self) {
        let posted = self.ledgers.iter().map(|ledger| {
            let ledger = lock(ledger);
            let refused = ledger.posts.iter().filter(|(_, answer)| *answer != Answer::Accepted);
            ledger.posted - refused.map(|(numbers, _)| numbers.end - numbers.start).sum::<u64>()
        });
        let posted = usize::try_from(posted.sum::<u64>()).unwrap();
        self.written.subscribe().wait_for(|written| posted < written + LEAD).await.unwrap();
    }

    pub(super) fn post(&self, publisher: usize, end: u64) {
        lock(&self.ledgers[publisher]).posted = end;
    }

    pub(super) fn answered(&self, publisher: usize, numbers: std::ops::Range<u64>, answer: Answer) {
        let mut ledger = lock(&self.ledgers[publisher]);
        if answer == Answer::Accepted {
            ledger.accepted = numbers.end;
        }
        ledger.posts.push((numbers, answer));
    }

    pub(super) fn accepted(&self) -> Marks {
        self.ledgers.iter().map(|ledger| lock(ledger).accepted).collect()
    }

    pub(super) fn posted(&self) -> Marks {
        self.ledgers.iter().map(|ledger| lock(ledger).posted).collect()
    }

    pub(super) fn is_ending(&self) -> bool {
        *self.phase.borrow() == Phase::Ending
    }

    pub(super) fn ledgers(&self) -> impl Iterator<Item = MutexGuard<'_, Ledger>> {
        self.ledgers.iter().map(lock)
    }
}

/// Writes down every event of the hub, as a subscriber inside the process, which comes back whenever it is killed or misses some.
pub(super) async fn write_down(hub: HubHandle, journal: &Journal) -> Vec<(EventId, Numbered)> {
    let mut events: Vec<(EventId, Numbered)> = Vec::new();
    loop {
        let query = match events.last() {
            Some((last, _)) => TraceQuery::parse("", Some(&last.to_string())),
            None => TraceQuery::parse("replay=1000000", None),
        };
        match hub.subscribe(query.unwrap()).await {
            Ok(subscription) => read(subscription, &mut events, journal).await,
            Err(SubscribeError::ShuttingDown) => panic!("nobody stops the hub before the scribe"),
            Err(error) => panic!("{error}"),
        }
        if let Some((last, Numbered { publisher: LAST, .. })) = events.last() {
            journal.last_id.set(*last).expect("there is one scribe");
            return events;
        }
    }
}

async fn read(
    mut subscription: Subscription,
    events: &mut Vec<(EventId, Numbered)>,
    journal: &Journal,
) {
    while let Some(delivered) = subscription.next().await {
        check_law(subscription.stats());
        match delivered {
            Delivered::Events(delivered) => {
                events.extend(delivered.iter().map(|event| (event.id(), recognise(event))));
                journal.written.send_replace(events.len());
            }
            Delivered::Gap(gap) => {
                assert_eq!(gap.reason, GapReason::Slow, "the replay buffer is large enough");
                return;
            }
            Delivered::CaughtUp { .. } => {}
            Delivered::Bye(bye) => panic!("{bye:?}"),
        }
        if events.last().is_some_and(|(_, event)| event.publisher == LAST) {
            return;
        }
    }
}

fn recognise(event: &telemetry_hub_actors::Event) -> Numbered {
    let data = &event.content().data;
    let number = |name| match data.get(name) {
        Some(Value::Number(number)) => number.as_u64(),
        _ => None,
    };
    match (number("n"), number("p"), data.get("p")) {
        (Some(number), Some(publisher), _) => {
            Numbered { publisher: usize::try_from(publisher).unwrap(), number }
        }
        (Some(number), None, Some(Value::Array(_))) => Numbered { publisher: LAST, number },
        _ => panic!("the hub has taken what nobody here should have been able to post: {event:?}"),
    }
}

#[track_caller]
fn check_law(stats: SubscriptionStats) {
    assert_eq!(stats.matched, stats.sent + stats.missed + stats.queued, "{stats:?}");
}

/// Lets so much time pass, or what is left of the run.
pub(super) async fn pause(time: Duration, journal: &Journal) {
    let mut phase = journal.phase.subscribe();
    tokio::time::timeout(time, phase.wait_for(|phase| *phase == Phase::Ending)).await.ok();
}
