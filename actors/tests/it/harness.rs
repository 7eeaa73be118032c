//! What the tests share: events that are numbered, streams that are read up to a number, and patience with a bound.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use telemetry_hub_actors::{
    Bye, ByeReason, Delivered, Event, EventId, Fault, Gap, GapReason, HubConfig, HubEnd, HubHandle,
    HubStats, NewEvent, Subscription, SubscriptionStats, TraceQuery, Value,
};

/// Longer than anything here takes on a loaded machine; what is not there by then never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a subscription said, flat: one entry for each event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Said {
    Event(u64, EventId),
    Gap(Gap),
    CaughtUp(u64),
    Bye(ByeReason),
}

pub(crate) async fn start(config: HubConfig) -> HubHandle {
    HubHandle::start(config).await.unwrap()
}

/// A configuration in which each event is a batch of its own.
pub(crate) fn one_by_one() -> HubConfig {
    HubConfig { batch_bytes: 1, linger: Duration::ZERO, ..HubConfig::default() }
}

pub(crate) fn numbered(number: u64) -> NewEvent {
    NewEvent::new("test").with("n", number)
}

pub(crate) fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<NewEvent> {
    numbers.into_iter().map(numbered).collect()
}

pub(crate) async fn ingest(hub: &HubHandle, numbers: impl IntoIterator<Item = u64>) {
    patiently(hub.ingest(events(numbers))).await.unwrap();
}

pub(crate) async fn subscribe(hub: &HubHandle, query: &str) -> Subscription {
    patiently(hub.subscribe(TraceQuery::parse(query, None).unwrap())).await.unwrap()
}

/// Subscribes as a client that comes back.
pub(crate) async fn resume(hub: &HubHandle, query: &str, last: EventId) -> Subscription {
    let query = TraceQuery::parse(query, Some(&last.to_string())).unwrap();
    patiently(hub.subscribe(query)).await.unwrap()
}

pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// Looks until it is so.
pub(crate) async fn eventually<T: Debug>(look: impl Fn() -> T, is_so: impl Fn(&T) -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    for _ in 0..PATIENCE.as_millis() {
        if is_so(&look()) {
            return;
        }
        ticks.tick().await;
    }
    panic!("it stayed {:?}", look());
}

pub(crate) async fn eventually_stats(hub: &HubHandle, is_so: impl Fn(&HubStats) -> bool) {
    eventually(|| hub.stats(), is_so).await;
}

/// Breaks the collector, and waits until there is another.
pub(crate) async fn break_collector(hub: &HubHandle, fault: Fault) {
    let before = hub.stats().collector_restarts;
    hub.inject(fault).await;
    eventually_stats(hub, |stats| stats.collector_restarts == before + 1).await;
}

pub(crate) fn number(event: &Event) -> u64 {
    match event.content().data.get("n") {
        Some(Value::Number(number)) => number.as_u64().unwrap(),
        other => panic!("not numbered: {other:?}"),
    }
}

pub(crate) fn flat(delivered: Delivered) -> Vec<Said> {
    match delivered {
        Delivered::Events(events) => {
            events.iter().map(|event| Said::Event(number(event), event.id())).collect()
        }
        Delivered::Gap(gap) => vec![Said::Gap(gap)],
        Delivered::CaughtUp { replayed } => vec![Said::CaughtUp(replayed)],
        Delivered::Bye(Bye { reason, .. }) => vec![Said::Bye(reason)],
    }
}

/// Reads until the event of this number, which must come with nothing after it.
pub(crate) async fn read_until(subscription: &mut Subscription, last: u64) -> Vec<Said> {
    let mut said = Vec::new();
    while !matches!(said.last(), Some(Said::Event(number, _)) if *number == last) {
        let next = patiently(subscription.next()).await;
        said.extend(flat(next.unwrap_or_else(|| panic!("ended after {said:?}"))));
        check_law(subscription.stats());
    }
    said
}

/// Reads until the replay is over.
pub(crate) async fn read_replay(subscription: &mut Subscription) -> Vec<Said> {
    let mut said = Vec::new();
    while !matches!(said.last(), Some(Said::CaughtUp(_))) {
        let next = patiently(subscription.next()).await;
        said.extend(flat(next.unwrap_or_else(|| panic!("ended after {said:?}"))));
        check_law(subscription.stats());
    }
    said
}

/// Reads until the stream ends.
pub(crate) async fn read_to_end(subscription: &mut Subscription) -> Vec<Said> {
    let mut said = Vec::new();
    while let Some(next) = patiently(subscription.next()).await {
        said.extend(flat(next));
        check_law(subscription.stats());
    }
    said
}

pub(crate) fn numbers(said: &[Said]) -> Vec<u64> {
    said.iter()
        .filter_map(|said| match said {
            Said::Event(number, _) => Some(*number),
            Said::Gap(_) | Said::CaughtUp(_) | Said::Bye(_) => None,
        })
        .collect()
}

pub(crate) fn ids(said: &[Said]) -> Vec<EventId> {
    said.iter()
        .filter_map(|said| match said {
            Said::Event(_, id) => Some(*id),
            Said::Gap(_) | Said::CaughtUp(_) | Said::Bye(_) => None,
        })
        .collect()
}

/// All that was said, and it was nothing but these events.
#[track_caller]
pub(crate) fn check_only(said: &[Said], expected: impl IntoIterator<Item = u64>) {
    assert_eq!(numbers(said), expected.into_iter().collect::<Vec<_>>());
    assert_eq!(numbers(said).len(), said.len(), "{said:?}");
}

#[track_caller]
pub(crate) fn check_law(stats: SubscriptionStats) {
    assert_eq!(stats.matched, stats.sent + stats.missed + stats.queued, "{stats:?}");
}

#[track_caller]
pub(crate) fn check_slow_gap(said: Said, missed: u64, ids: (EventId, EventId)) {
    let (from, to) = (Some(ids.0), Some(ids.1));
    let gap = Gap { reason: GapReason::Slow, missed: Some(missed), from, to };
    assert_eq!(said, Said::Gap(gap));
}

#[track_caller]
pub(crate) fn check_failed(end: &HubEnd) {
    match end {
        HubEnd::Failed(_) => {}
        HubEnd::Stopped => panic!("a hub that failed says that it was stopped"),
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "it stayed 1")]
async fn patience_has_an_end() {
    eventually(|| 1, |number| *number == 2).await;
}

#[test]
#[should_panic(expected = "queued: 0")]
fn a_broken_law_is_seen() {
    check_law(SubscriptionStats { matched: 2, sent: 1, missed: 0, queued: 0 });
}
