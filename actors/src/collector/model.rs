//! The collector falls asleep while something comes that concerns it: whatever the order, it goes on, or it is woken.
//!
//! Each model begins while it handles a message: the wake is claimed.

use loom::thread;

use super::*;
use crate::config::HubConfig;
use crate::event::{Content, NewEvent};
use crate::value::Value;

/// What happens meanwhile, each by a thread of its own.
type Meanwhile = Box<dyn FnOnce(&HubCore) + Send>;

/// Tries out all ways, but for those in which threads take turns more often than bugs need: these are too many.
fn try_all(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// A collector that has handled its last message, and what has happened meanwhile.
struct Outcome {
    core: Arc<HubCore>,
    when: When,
}

impl Outcome {
    fn of(core: &Arc<HubCore>, meanwhile: Vec<Meanwhile>) -> Self {
        let collector = CollectorState::new(Arc::clone(core));
        assert!(core.claim_wake());
        let spawn = |act: Meanwhile| {
            let core = Arc::clone(core);
            thread::spawn(move || act(&core))
        };
        let threads: Vec<_> = meanwhile.into_iter().map(spawn).collect();
        core.tell_dropped();
        let when = collector.when_to_route();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        Self { core: Arc::clone(core), when }
    }

    #[track_caller]
    fn check_awake(&self) {
        let is_awake = matches!(self.when, When::Now) || !self.core.claim_wake();
        assert!(is_awake, "asleep, and nobody has woken it");
    }
}

fn core() -> Arc<HubCore> {
    Arc::new(HubCore::new(HubConfig::default()))
}

fn accept(core: &HubCore) {
    core.accept(
        [(Content::Given(NewEvent::new("a")), 100)].into_iter(),
        jiff::Timestamp::UNIX_EPOCH,
    );
}

/// Takes all credit there is.
fn all_credit(core: &Arc<HubCore>) -> Vec<Arc<CreditNote>> {
    let mut notes = Vec::new();
    while core.credit.is_left() {
        notes.push(CreditNote::take(core));
    }
    notes
}

/// How many dropped events the log tells of.
fn told(core: &HubCore) -> u64 {
    let batch = core.log.next_unrouted();
    let events = batch.iter().flat_map(|batch| &batch.events);
    let told = events.filter_map(|event| match event.content().data.get("dropped") {
        Some(Value::Number(number)) => number.as_u64(),
        _ => None,
    });
    told.sum()
}

#[test]
fn what_is_accepted_meanwhile_wakes_it() {
    try_all(|| Outcome::of(&core(), vec![Box::new(accept), Box::new(accept)]).check_awake());
}

#[test]
fn credit_that_comes_back_meanwhile_wakes_it() {
    try_all(|| {
        let core = core();
        core.log.accept([(Content::Given(NewEvent::new("a")), 100)], jiff::Timestamp::UNIX_EPOCH);
        let mut notes = all_credit(&core);
        let (one, other) = (notes.pop(), notes.pop());
        Outcome::of(&core, vec![Box::new(|_| drop(one)), Box::new(|_| drop(other))]).check_awake();
    });
}

#[test]
fn who_is_refused_credit_is_woken_when_it_comes_back() {
    try_all(|| {
        let core = core();
        // All taken once and given back: now nobody wants any.
        let most = all_credit(&core).len();
        core.release_wake();
        let mut notes: Vec<_> = (0..most).map(|_| CreditNote::take(&core)).collect();
        let note = notes.pop();
        let returning = thread::spawn(move || drop(note));
        let is_left = core.credit.is_left();
        returning.join().unwrap();
        assert!(is_left || !core.claim_wake(), "refused, and nobody has woken it");
    });
}

#[cfg(feature = "tracing")]
#[test]
fn what_is_dropped_meanwhile_is_told() {
    try_all(|| {
        let outcome = Outcome::of(&core(), vec![Box::new(HubCore::drop_event)]);
        outcome.check_awake();
        // By the message that it will get.
        outcome.core.tell_dropped();
        assert_eq!(told(&outcome.core), 1);
    });
}

#[cfg(feature = "tracing")]
#[test]
fn what_is_dropped_is_told_once_whoever_tells() {
    try_all(|| {
        let tell = |core: &HubCore| {
            core.tell_dropped();
        };
        let outcome = Outcome::of(&core(), vec![Box::new(HubCore::drop_event), Box::new(tell)]);
        outcome.core.tell_dropped();
        assert_eq!(told(&outcome.core), 1);
    });
}
