//! Replay, and its join with the live events: with neither a hole nor a double, however both race.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use telemetry_hub_actors::{
    ByeReason, Clock, EventId, Gap, GapReason, HubConfig, HubHandle, NewEvent, Subscription,
};

use crate::harness::{
    Said, check_law, check_only, eventually, eventually_stats, ids, ingest, numbered, numbers,
    one_by_one, patiently, read_replay, read_to_end, read_until, resume, start, subscribe,
};

/// Far enough from the events of a hub that started just now.
const HOUR: i64 = 3600;

/// A hub with a number of events, and their ids.
async fn hub_with(config: HubConfig, count: u64) -> (HubHandle, Vec<EventId>) {
    let hub = start(config).await;
    let mut subscription = subscribe(&hub, "").await;
    let mut seen = Vec::new();
    for number in 0..count {
        ingest(&hub, [number]).await;
        seen.extend(read_until(&mut subscription, number).await);
    }
    drop(subscription);
    eventually_stats(&hub, |stats| stats.filters == 0).await;
    (hub, ids(&seen))
}

/// Reads the replay, of which all must be events, and then one live event.
async fn check_replay(hub: &HubHandle, mut subscription: Subscription, expected: &[u64]) {
    let said = read_replay(&mut subscription).await;
    let (last, events) = said.split_last().unwrap();
    check_only(events, expected.iter().copied());
    assert_eq!(*last, Said::CaughtUp(expected.len() as u64));
    let live = hub.stats().received;
    ingest(hub, [live]).await;
    check_only(&read_until(&mut subscription, live).await, [live]);
}

fn expired(said: Said) -> (Option<EventId>, Option<EventId>) {
    match said {
        Said::Gap(Gap { reason: GapReason::Expired, missed: None, from, to }) => (from, to),
        other => panic!("not an expired gap: {other:?}"),
    }
}

/// So many events are read in several pages.
const LONG: u64 = 2000;

/// What a subscription says that was cut amid its replay: nothing comes after the last word, and nothing live.
async fn check_cut_replay(hub: &HubHandle, mut subscription: Subscription) {
    eventually_stats(hub, |stats| stats.stalled == 1).await;
    let said = read_to_end(&mut subscription).await;
    let (last, before) = said.split_last().unwrap();
    assert_eq!(*last, Said::Bye(ByeReason::Stalled));
    assert!(before.iter().all(|said| matches!(said, Said::Gap(_) | Said::Event(..))), "{said:?}");
    let matched = subscription.stats().matched;
    assert!(matched < LONG, "the replay was not over");
    ingest(hub, LONG..LONG + 10).await;
    eventually_stats(hub, |stats| stats.queued == 0).await;
    assert_eq!(subscription.stats().matched, matched);
    check_law(subscription.stats());
}

#[tokio::test(start_paused = true)]
async fn replay_of_a_client_that_does_not_read_ends_with_it() {
    let cramped = HubConfig { subscriber_queue_bytes: 10_000, ..one_by_one() };
    let stall = cramped.stall_timeout;
    for by_its_writer in [true, false] {
        let (hub, _) = hub_with(cramped.clone(), LONG).await;
        let subscription = subscribe(&hub, "since=1h").await;
        eventually(|| subscription.stats().queued, |queued| *queued > 0).await;
        if by_its_writer {
            subscription.cut();
        } else {
            tokio::time::advance(stall).await;
        }
        check_cut_replay(&hub, subscription).await;
    }
}

#[tokio::test(start_paused = true)]
async fn last_events_come_first_then_caught_up_then_live() {
    for follow in ["none", "span"] {
        let query = |last: u64| format!("type=test&follow={follow}&replay={last}");
        let (hub, _) = hub_with(HubConfig::default(), 10).await;
        check_replay(&hub, subscribe(&hub, &query(3)).await, &[7, 8, 9]).await;
        check_replay(&hub, subscribe(&hub, &query(0)).await, &[]).await;
        check_replay(&hub, subscribe(&hub, &query(12)).await, &(0..12).collect::<Vec<_>>()).await;
        check_replay(&hub, subscribe(&hub, &query(1000)).await, &(0..13).collect::<Vec<_>>()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn only_events_that_match_count_as_the_last() {
    let hub = start(one_by_one()).await;
    for number in 0..100 {
        let kind = if number % 10 == 0 { "tenth" } else { "other" };
        hub.ingest(vec![NewEvent::new(kind).with("n", number as u64)]).await.unwrap();
    }
    let mut subscription = subscribe(&hub, "type=tenth&replay=3").await;
    assert_eq!(numbers(&read_replay(&mut subscription).await), [70, 80, 90]);
}

#[tokio::test(start_paused = true)]
async fn client_that_comes_back_gets_what_came_after() {
    let (hub, ids) = hub_with(HubConfig::default(), 6).await;
    check_replay(&hub, resume(&hub, "follow=none", ids[3]).await, &[4, 5]).await;
    check_replay(&hub, resume(&hub, "type=test", ids[3]).await, &[4, 5, 6]).await;
    let since = subscribe(&hub, &format!("since={}", ids[5])).await;
    check_replay(&hub, since, &[6, 7]).await;
    let since = subscribe(&hub, &format!("last-event-id={}&replay=1", ids[4])).await;
    check_replay(&hub, since, &[5, 6, 7, 8]).await;
    let since = subscribe(&hub, &format!("since={}&replay=2", ids[0])).await;
    check_replay(&hub, since, &[8, 9]).await;
}

#[tokio::test(start_paused = true)]
async fn since_goes_by_the_time_of_arrival() {
    let seconds = Arc::new(AtomicI64::new(1_800_000_000));
    let clock = Clock::new({
        let seconds = Arc::clone(&seconds);
        move || jiff::Timestamp::from_second(seconds.load(Ordering::Relaxed)).unwrap()
    });
    let hub = start(HubConfig { clock, ..HubConfig::default() }).await;
    for number in 0..10 {
        seconds.fetch_add(60, Ordering::Relaxed);
        ingest(&hub, [number]).await;
    }
    // Five minutes ago was when number 4 came.
    check_replay(&hub, subscribe(&hub, "since=5m").await, &[4, 5, 6, 7, 8, 9]).await;
    check_replay(&hub, subscribe(&hub, "since=5m&replay=2").await, &[9, 10]).await;
    check_replay(&hub, subscribe(&hub, "since=1h").await, &(0..12).collect::<Vec<_>>()).await;
    let time = jiff::Timestamp::from_second(1_800_000_000 + 9 * 60).unwrap();
    let since = subscribe(&hub, &format!("since={time}&type=test")).await;
    check_replay(&hub, since, &[8, 9, 10, 11, 12]).await;
    seconds.fetch_add(HOUR, Ordering::Relaxed);
    check_replay(&hub, subscribe(&hub, "since=5m").await, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_buffer_no_longer_has_is_reported_as_expired() {
    for follow in ["none", "span"] {
        let query = format!("type=test&follow={follow}");
        let (hub, ids) = hub_with(HubConfig { replay_bytes: 2000, ..one_by_one() }, 30).await;
        let mut subscription = resume(&hub, &query, ids[2]).await;
        let said = read_replay(&mut subscription).await;
        let (from, to) = expired(said[0]);
        assert_eq!(from, Some(ids[2]));
        let first = ids.iter().position(|id| Some(*id) == to).unwrap() as u64 + 1;
        assert!((20..30).contains(&first), "{first}");
        check_only(&said[1..said.len() - 1], first..30);
        ingest(&hub, [30]).await;
        check_only(&read_until(&mut subscription, 30).await, [30]);

        let mut since = subscribe(&hub, &format!("{query}&since=1h")).await;
        assert_eq!(expired(read_replay(&mut since).await[0]).0, None);
        let last = ids[29];
        check_replay(&hub, resume(&hub, &query, last).await, &[30]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn id_from_before_the_start_has_expired_and_one_from_elsewhere_too() {
    let (hub, _) = hub_with(HubConfig::default(), 3).await;
    let before: EventId = "01000000-0000-7000-8000-000000000000".parse().unwrap();
    let said = read_replay(&mut resume(&hub, "type=test", before).await).await;
    assert_eq!(expired(said[0]), (Some(before), None));
    assert_eq!(numbers(&said), [0, 1, 2]);

    let beyond: EventId = "7fffffff-0000-7000-8000-000000000000".parse().unwrap();
    for query in ["follow=none", "type=test"] {
        let mut subscription = resume(&hub, query, beyond).await;
        let said = read_replay(&mut subscription).await;
        assert_eq!(expired(said[0]), (Some(beyond), None));
        assert_eq!(said[1..], [Said::CaughtUp(0)]);
        let live = hub.stats().received;
        ingest(&hub, [live]).await;
        check_only(&read_until(&mut subscription, live).await, [live]);
    }
}

#[tokio::test(start_paused = true)]
async fn replay_larger_than_the_queue_goes_at_the_readers_pace_and_loses_nothing() {
    const COUNT: u64 = 2000;
    let config = HubConfig { subscriber_queue_bytes: 64 * 1024, ..HubConfig::default() };
    let hub = start(HubConfig { batch_bytes: 4096, ..config }).await;
    let long = "x".repeat(1000);
    let event = |number| numbered(number).text(&long);
    hub.ingest((0..COUNT).map(event).collect()).await.unwrap();
    for query in ["replay=100000", "type=test&since=1h"] {
        let before = hub.stats().received;
        let mut subscription = subscribe(&hub, query).await;
        let mut said: Vec<Said> = Vec::new();
        for step in 0.. {
            if step % 20 == 0 && step < 400 {
                let next = hub.stats().received;
                hub.ingest(vec![event(next)]).await.unwrap();
            }
            assert!(subscription.stats().queued < COUNT / 2, "{:?}", subscription.stats());
            said.extend(crate::harness::flat(patiently(subscription.next()).await.unwrap()));
            if matches!(said.last(), Some(Said::CaughtUp(_))) {
                break;
            }
        }
        let Some(Said::CaughtUp(replayed)) = said.pop() else { panic!("not caught up") };
        assert_eq!(replayed, said.len() as u64);
        assert!(replayed > before);
        let last = hub.stats().received;
        hub.ingest(vec![event(last)]).await.unwrap();
        said.extend(read_until(&mut subscription, last).await);
        check_only(&said, 0..=last);
    }
}

#[tokio::test(start_paused = true)]
async fn slow_replay_that_is_overtaken_by_eviction_says_so() {
    let config = HubConfig { subscriber_queue_bytes: 10_000, ..one_by_one() };
    let hub = start(HubConfig { replay_bytes: 1_100_000, ..config }).await;
    let long = "x".repeat(1000);
    let event = |number| numbered(number).text(&long);
    for number in 0..700 {
        hub.ingest(vec![event(number)]).await.unwrap();
    }
    let mut subscription = subscribe(&hub, "replay=10000").await;
    eventually(|| subscription.stats().queued, |queued| *queued > 0).await;
    for number in 700..2000 {
        hub.ingest(vec![event(number)]).await.unwrap();
    }
    eventually_stats(&hub, |stats| stats.queued < 1000).await;
    let said = read_replay(&mut subscription).await;
    let gaps: Vec<_> = said.iter().filter(|said| matches!(said, Said::Gap(_))).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let place = said.iter().position(|said| matches!(said, Said::Gap(_))).unwrap();
    let (before, after) = (numbers(&said[..place]), numbers(&said[place..]));
    assert_eq!(before, (0..before.len() as u64).collect::<Vec<_>>());
    assert!(after[0] > before.len() as u64);
    assert_eq!(after, (after[0]..2000).collect::<Vec<_>>());
    // It says up to where events are gone: up to the one before the next.
    let before_next = expired(*gaps[0]).1.unwrap();
    assert!(before_next < ids(&said[place..])[0]);
}

#[tokio::test(start_paused = true)]
async fn newcomers_replay_finds_a_span_and_follows_it_live() {
    let hub = start(HubConfig::default()).await;
    let other = |number: u64| NewEvent::new("other").with("n", number).span("s");
    hub.ingest(vec![other(0), numbered(1).span("s"), other(2)]).await.unwrap();
    let mut subscription = subscribe(&hub, "type=test&replay=100").await;
    assert_eq!(numbers(&read_replay(&mut subscription).await), [1, 2]);
    hub.ingest(vec![NewEvent::new("other").with("n", 3_u64).span("t"), other(4)]).await.unwrap();
    check_only(&read_until(&mut subscription, 4).await, [4]);

    // Also when the event that matched lies before what is replayed.
    let mut subscription = subscribe(&hub, "type=test&replay=1").await;
    assert_eq!(numbers(&read_replay(&mut subscription).await), [4]);
    hub.ingest(vec![other(5)]).await.unwrap();
    check_only(&read_until(&mut subscription, 5).await, [5]);
    let mut stranger = subscribe(&hub, "type=test&follow=none&replay=1").await;
    assert_eq!(numbers(&read_replay(&mut stranger).await), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_follows_for_an_equal_filter_it_follows_for_a_newcomer() {
    let hub = start(HubConfig { replay_bytes: 1, ..one_by_one() }).await;
    let mut first = subscribe(&hub, "type=test").await;
    let other = |number: u64| NewEvent::new("other").with("n", number).span("s").trace("t");
    hub.ingest(vec![numbered(0).span("s").trace("t")]).await.unwrap();
    check_only(&read_until(&mut first, 0).await, [0]);
    hub.ingest(vec![NewEvent::new("other")]).await.unwrap();
    eventually_stats(&hub, |stats| stats.queued == 0).await;
    // By now the buffer has forgotten it; the filter has not.
    let mut live = subscribe(&hub, "type=test").await;
    let mut replaying = subscribe(&hub, "type=test&replay=10").await;
    let mut other_filter = subscribe(&hub, "type=test&follow=trace").await;
    read_replay(&mut replaying).await;
    hub.ingest(vec![other(1), numbered(2)]).await.unwrap();
    check_only(&read_until(&mut first, 2).await, [1, 2]);
    check_only(&read_until(&mut live, 2).await, [1, 2]);
    check_only(&read_until(&mut replaying, 2).await, [1, 2]);
    check_only(&read_until(&mut other_filter, 2).await, [2]);
}

/// Publishes numbered events in spans of ten, of which only the first is marked.
async fn publish(hub: HubHandle, publisher: u64, numbers: Range<u64>) {
    for number in numbers {
        let mut event = numbered(number).with("p", publisher);
        if number % 10 == 0 {
            event = event.with("marked", true);
        }
        let span = format!("{publisher}-{}", number / 10);
        patiently(hub.ingest(vec![event.span(&span)])).await.unwrap();
        tokio::task::yield_now().await;
    }
}

const END: u64 = u64::MAX;
const PUBLISHERS: u64 = 3;
const EVENTS: u64 = 1000;

/// Where a client joins that comes in the midst of it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Join {
    Last(u64),
    Everything,
    After(EventId),
    LastAfter(u64, EventId),
}

impl Join {
    fn query(self) -> String {
        match self {
            Self::Last(count) => format!("replay={count}"),
            Self::Everything => "since=1h".to_owned(),
            Self::After(id) => format!("last-event-id={id}"),
            Self::LastAfter(count, id) => format!("since={id}&replay={count}"),
        }
    }

    /// Checks what a client was told: the end of all there was, from the right place on.
    fn check(self, said: &[Said], all: &[EventId]) {
        let place = said.iter().position(|said| matches!(said, Said::CaughtUp(_))).unwrap();
        let got = ids(said);
        assert_eq!(said[place], Said::CaughtUp(place as u64));
        assert_eq!(got.len(), said.len() - 1, "{self:?} was told of a gap");
        assert!(all.ends_with(&got), "{self:?} got {} of {}", got.len(), all.len());
        let after = |id| all.iter().position(|other| *other == id).unwrap() + 1;
        match self {
            Self::Last(count) => assert!(place as u64 >= count || got.len() == all.len()),
            Self::Everything => assert_eq!(got.len(), all.len()),
            Self::After(id) => assert_eq!(got.len(), all.len() - after(id)),
            Self::LastAfter(count, id) => {
                let whole = all.len() - after(id);
                assert!(got.len() == whole || (got.len() < whole && place as u64 >= count));
            }
        }
    }
}

type Reader = tokio::task::JoinHandle<Vec<Said>>;

/// Reads the replay, and then to the end.
fn reader(mut subscription: Subscription) -> Reader {
    tokio::spawn(async move {
        let mut said = read_replay(&mut subscription).await;
        if numbers(&said).last() != Some(&END) {
            said.extend(read_until(&mut subscription, END).await);
        }
        said
    })
}

/// Clients that keep coming while events keep coming. All filters here want all of them, if `follow` does what it should.
async fn join_again_and_again(hub: &HubHandle, known: EventId) -> Vec<(Join, Reader)> {
    let joins = [
        Join::Last(0),
        Join::Last(500),
        Join::Everything,
        Join::After(known),
        Join::LastAfter(700, known),
    ];
    let mut readers = Vec::new();
    for round in 0..20 {
        let threshold = round * PUBLISHERS * EVENTS / 20;
        eventually_stats(hub, |stats| stats.received >= threshold).await;
        for filter in ["follow=none", "marked=true", "filter=marked=true&follow=trace"] {
            for join in joins {
                let query = format!("{filter}&{}", join.query());
                readers.push((join, reader(subscribe(hub, &query).await)));
            }
        }
    }
    readers
}

async fn check_race(config: HubConfig) {
    let hub = start(config).await;
    let witness = reader(subscribe(&hub, "replay=0").await);
    let mut first = subscribe(&hub, "p=99").await;
    // What is known to have come is in the midst of a span.
    publish(hub.clone(), 99, 0..16).await;
    let known = ids(&read_until(&mut first, 15).await)[15];
    drop(first);
    publish(hub.clone(), 99, 16..25).await;
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| tokio::spawn(publish(hub.clone(), number, 0..EVENTS)))
        .collect();
    let readers = join_again_and_again(&hub, known).await;
    for publisher in publishers {
        patiently(publisher).await.unwrap();
    }
    hub.ingest(vec![numbered(END).with("marked", true)]).await.unwrap();

    let all = ids(&patiently(witness).await.unwrap());
    assert_eq!(all.len() as u64, 25 + PUBLISHERS * EVENTS + 1);
    assert!(all.is_sorted_by(|a, b| a < b));
    for (join, reader) in readers {
        join.check(&patiently(reader).await.unwrap(), &all);
    }
    assert_eq!(hub.stats().missed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn join_amid_a_flood_of_single_events_has_neither_hole_nor_double() {
    check_race(one_by_one()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn join_amid_a_flood_of_batches_has_neither_hole_nor_double() {
    check_race(HubConfig { batch_bytes: 5000, ..HubConfig::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_accepted_once_a_subscription_is_granted_is_no_part_of_the_last() {
    let hub = start(HubConfig::default()).await;
    let long = "x".repeat(1000);
    hub.ingest((0..1000).map(|number| numbered(number).text(&long)).collect()).await.unwrap();
    for number in 1000..1100 {
        let mut subscription = subscribe(&hub, "type=test&replay=0").await;
        hub.try_ingest(vec![numbered(number)]).unwrap();
        let said = read_until(&mut subscription, number).await;
        assert_eq!(numbers(&said), [number]);
    }
}

/// Checks that wherever a number is missing, a gap has said so.
#[track_caller]
fn check_holes_are_told(said: &[Said]) {
    for pair in said.windows(2) {
        if let [Said::Event(one, _), Said::Event(other, _)] = pair {
            assert_eq!(one + 1, *other, "a hole without a gap");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn join_amid_a_flood_that_overruns_the_buffer_tells_of_every_hole() {
    let hub = start(HubConfig { replay_bytes: 20_000, ..one_by_one() }).await;
    let flood = tokio::spawn({
        let hub = hub.clone();
        async move {
            for number in 0..20_000 {
                ingest(&hub, [number]).await;
            }
        }
    });
    while !flood.is_finished() {
        for query in ["replay=10", "type=test&replay=10", "since=1h", "type=test&since=1h"] {
            let mut subscription = subscribe(&hub, query).await;
            let granted = hub.stats().received;
            let said = read_replay(&mut subscription).await;
            let (_, replayed) = said.split_last().unwrap();
            check_holes_are_told(replayed);
            if let Some(Said::Event(first, _)) = replayed.first() {
                assert!(*first <= granted, "{query}: {first} though granted at {granted}");
            }
        }
    }
    patiently(flood).await.unwrap();
}
