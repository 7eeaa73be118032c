//! Live metrics: when frames come, what is in them, and what becomes of those that nobody takes. The clock stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt};
use jiff::Timestamp;
use metrics::with_local_recorder;
use telemetry_hub_actors::{
    Clock, Fault, HubConfig, HubHandle, Measurement, MeasurementError, MetricKind, MetricsQuery,
    MetricsSubscription, NewEvent, Object, Sample, SampleValue, Source, SubscribeError,
    SubscribersQuery,
};
use tokio::time::Instant;

use crate::harness::{
    events, eventually_stats, ingest, one_by_one, patiently, read_until, start, subscribe,
};

const SECOND: Duration = Duration::from_secs(1);

async fn metrics(hub: &HubHandle, query: &str) -> MetricsSubscription {
    patiently(hub.subscribe_metrics(MetricsQuery::parse(query).unwrap())).await.unwrap()
}

async fn frame(subscription: &mut MetricsSubscription) -> Vec<Sample> {
    patiently(subscription.next()).await.expect("a frame")
}

fn ids(samples: &[Sample]) -> Vec<&str> {
    samples.iter().map(Sample::id).collect()
}

#[track_caller]
fn value(samples: &[Sample], id: &str) -> SampleValue {
    let sample = samples.iter().find(|sample| sample.id() == id && sample.attributes().is_empty());
    sample.unwrap_or_else(|| panic!("no {id} in {:?}", ids(samples))).value()
}

#[track_caller]
fn counter(samples: &[Sample], id: &str) -> (f64, Option<f64>) {
    match value(samples, id) {
        SampleValue::Counter { value, rate } => (value, rate),
        other @ (SampleValue::Gauge(_) | SampleValue::Histogram(_)) => panic!("{id} is {other:?}"),
    }
}

#[track_caller]
fn gauge(samples: &[Sample], id: &str) -> f64 {
    match value(samples, id) {
        SampleValue::Gauge(value) => value,
        other @ (SampleValue::Counter { .. } | SampleValue::Histogram(_)) => {
            panic!("{id} is {other:?}")
        }
    }
}

/// The timer's resolution is a millisecond.
#[track_caller]
fn check_about(elapsed: Duration, milliseconds: u64) {
    let expected = Duration::from_millis(milliseconds);
    assert!((expected..expected + SECOND / 500).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn first_frame_comes_at_once_also_to_a_latecomer() {
    let hub = start(HubConfig::default()).await;
    let begun = Instant::now();
    let mut first = metrics(&hub, "interval=10").await;
    frame(&mut first).await;
    check_about(begun.elapsed(), 0);
    tokio::time::advance(4 * SECOND).await;
    let mut late = metrics(&hub, "interval=10").await;
    frame(&mut late).await;
    check_about(begun.elapsed(), 4_000);
    // From then on both are served at the same ticks.
    frame(&mut first).await;
    frame(&mut late).await;
    check_about(begun.elapsed(), 10_000);
    assert!(first.next().now_or_never().is_none());
    assert!(late.next().now_or_never().is_none());
    assert_eq!(hub.stats().metric_frames_replaced, 0);
}

#[tokio::test(start_paused = true)]
async fn ticks_do_not_drift() {
    let hub = start(HubConfig::default()).await;
    let begun = Instant::now();
    let mut subscription = metrics(&hub, "interval=1").await;
    for tick in 0..20 {
        frame(&mut subscription).await;
        check_about(begun.elapsed(), tick * 1000);
        // Part of the next interval goes by before anybody asks.
        tokio::time::advance(SECOND * 2 / 5).await;
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_that_could_not_be_kept_do_not_pile_up() {
    let hub = start(HubConfig::default()).await;
    let begun = Instant::now();
    let mut subscription = metrics(&hub, "interval=1").await;
    frame(&mut subscription).await;
    tokio::time::advance(SECOND * 7 / 2).await;
    frame(&mut subscription).await;
    check_about(begun.elapsed(), 3_500);
    for tick in 4..7 {
        frame(&mut subscription).await;
        check_about(begun.elapsed(), tick * 1000);
    }
    assert_eq!(hub.stats().metric_frames_replaced, 0);
}

#[tokio::test(start_paused = true)]
async fn rate_is_per_second_since_the_frame_before() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = metrics(&hub, "interval=2&metrics=test,hub.events.received").await;
    assert_eq!(ids(&frame(&mut subscription).await), ["hub.events.received"]);
    for (count, total, rate) in [(10, 10.0, 5.0), (0, 10.0, 0.0), (4, 14.0, 2.0)] {
        ingest(&hub, 0..count).await;
        let samples = frame(&mut subscription).await;
        assert_eq!(counter(&samples, "test"), (total, Some(rate)));
        assert_eq!(counter(&samples, "hub.events.received"), (total, Some(rate)));
    }
}

#[tokio::test(start_paused = true)]
async fn source_that_begins_anew_makes_no_counter_fall() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = metrics(&hub, "interval=2&metrics=smtp").await;
    frame(&mut subscription).await;
    for (totals, value, rate) in [([10.0, 4.0], 14.0, 7.0), ([3.0, 5.0], 18.0, 2.0)] {
        for (id, total) in (1..).zip(totals) {
            let source = Source { id, started: None, at: None };
            hub.record(Measurement::counter_total("smtp.errors", total).from_source(source))
                .unwrap();
        }
        let samples = frame(&mut subscription).await;
        assert_eq!(counter(&samples, "smtp.errors"), (value, Some(rate)));
    }
}

#[tokio::test(start_paused = true)]
async fn times_from_the_future_make_nothing_late() {
    let second = |second| Timestamp::from_second(second).unwrap();
    let now = Arc::new(AtomicI64::new(100));
    let clock = Clock::new({
        let now = Arc::clone(&now);
        move || second(now.load(Ordering::SeqCst))
    });
    let hub = start(HubConfig { clock, ..HubConfig::default() }).await;
    // A clock goes wrong by days, for one who began then and for one who began before, and is set right again.
    for (clock, at, value) in [(100, 900_000, 1.0), (160, 900_060, 2.0), (220, 220, 3.0)] {
        now.store(clock, Ordering::SeqCst);
        for (id, started) in [("began.then", 800_000.min(at)), ("began.before", 50)] {
            let source = Source { id: 1, started: Some(second(started)), at: Some(second(at)) };
            for measurement in [
                Measurement::counter_total(id, value),
                Measurement::gauge_total(id, value),
                Measurement::gauge(&format!("plain.{id}"), value),
            ] {
                hub.record(measurement.from_source(source)).unwrap();
            }
        }
    }
    let shown = |id: &str, kind| {
        let samples = hub.metrics();
        let sample = samples.iter().find(|sample| sample.id() == id && sample.kind() == kind);
        sample.unwrap().value()
    };
    let counter = |value| SampleValue::Counter { value, rate: None };
    assert_eq!(shown("began.before", MetricKind::Counter), counter(3.0));
    // Whoever began at another time counted for itself; while it kept wrong time, it was one.
    assert_eq!(shown("began.then", MetricKind::Counter), counter(2.0 + 3.0));
    for id in ["began.before", "began.then", "plain.began.before", "plain.began.then"] {
        assert_eq!(shown(id, MetricKind::Gauge), SampleValue::Gauge(3.0), "{id}");
    }
    assert_eq!(shown("hub.metrics.late", MetricKind::Counter), counter(0.0));
    let late = Source { id: 1, started: None, at: Some(second(219)) };
    hub.record(Measurement::gauge("plain.began.then", 9.0).from_source(late)).unwrap();
    assert_eq!(shown("hub.metrics.late", MetricKind::Counter), counter(1.0));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_selected_is_sent_and_what_is_not_there_yet_once_it_is() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = metrics(&hub, "interval=1&metrics=server,queue.*&metrics=smtp").await;
    let own = ["queue.count", "server.cpu", "server.memory", "server.uptime"];
    assert_eq!(ids(&frame(&mut subscription).await), own);
    hub.record(Measurement::counter("smtp.errors", 2.0)).unwrap();
    hub.record(Measurement::counter("smtpd.errors", 2.0)).unwrap();
    hub.record(Measurement::histogram("smtp.time", [1.0, 3.0])).unwrap();
    let samples = frame(&mut subscription).await;
    assert_eq!(ids(&samples), [&own[..], &["smtp.errors", "smtp.time"]].concat());
    assert_eq!(counter(&samples, "smtp.errors"), (2.0, Some(2.0)));
    match value(&samples, "smtp.time") {
        SampleValue::Histogram(summary) => assert_eq!((summary.count, summary.sum), (2, Some(4.0))),
        other @ (SampleValue::Counter { .. } | SampleValue::Gauge(_)) => panic!("{other:?}"),
    }
    let mut everything = metrics(&hub, "").await;
    let samples = frame(&mut everything).await;
    for id in ["hub.subscribers", "smtpd.errors", "hub.events.missed", "hub.events.delivered"] {
        assert!(ids(&samples).contains(&id), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_sampler_serves_all_who_asked_for_its_interval() {
    let hub = start(HubConfig::default()).await;
    let mut subscriptions = Vec::new();
    for query in ["interval=1", "interval=1000ms&metrics=server", "interval=2"] {
        subscriptions.push(metrics(&hub, query).await);
    }
    for subscription in &mut subscriptions {
        frame(subscription).await;
    }
    // Each that is killed is restarted: so many there were.
    hub.inject(Fault::KillSamplers).await;
    for subscription in &mut subscriptions {
        frame(subscription).await;
    }
    eventually_stats(&hub, |stats| stats.sampler_restarts == 2).await;
}

#[tokio::test(start_paused = true)]
async fn tick_is_encoded_once_for_all_with_an_equal_selection() {
    let hub = start(HubConfig::default()).await;
    let mut subscriptions = Vec::new();
    for names in ["server,queue", "queue&metrics=server", "server"] {
        let mut subscription = metrics(&hub, &format!("interval=1&metrics={names}")).await;
        frame(&mut subscription).await;
        subscriptions.push(subscription);
    }
    tokio::time::advance(SECOND).await;
    let mut frames = Vec::new();
    for subscription in &mut subscriptions {
        let mut of_metrics =
            subscription.filter(|frame| std::future::ready(frame.starts_with(b"event: metrics")));
        frames.push(patiently(of_metrics.next()).await.unwrap());
    }
    assert_eq!(frames[0].as_ptr(), frames[1].as_ptr());
    assert_ne!(frames[0].as_ptr(), frames[2].as_ptr());
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_unusual_intervals_at_once() {
    let hub = start(HubConfig::default()).await;
    let mut subscriptions = Vec::new();
    for seconds in 131..=176 {
        subscriptions.push(metrics(&hub, &format!("interval={seconds}")).await);
    }
    let one_more = MetricsQuery::everything(999 * SECOND);
    let refused = patiently(hub.subscribe_metrics(one_more.clone())).await;
    assert_eq!(refused.err(), Some(SubscribeError::TooManyIntervals { limit: 46 }));
    assert_eq!(hub.stats().subscribers_refused, 1);
    // The usual ones are there for everybody, one that is sampled already has room for more, and one that nobody wants any more makes
    // room.
    for interval in
        ["100ms", "200ms", "500ms", "1", "2", "5", "10", "15", "20", "30", "1m", "2m", "5m", "10m"]
    {
        frame(&mut metrics(&hub, &format!("interval={interval}")).await).await;
    }
    for interval in ["15m", "20m", "30m", "1h", "176"] {
        frame(&mut metrics(&hub, &format!("interval={interval}")).await).await;
    }
    subscriptions.remove(0);
    eventually_stats(&hub, |stats| stats.subscribers == 45).await;
    frame(&mut patiently(hub.subscribe_metrics(one_more)).await.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn slow_reader_gets_the_newest_frame_only() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = metrics(&hub, "interval=1").await;
    frame(&mut subscription).await;
    for replaced in 0..5 {
        ingest(&hub, [replaced]).await;
        tokio::time::advance(SECOND).await;
        eventually_stats(&hub, |stats| stats.metric_frames_replaced == replaced).await;
    }
    assert_eq!(counter(&frame(&mut subscription).await, "test").0, 5.0);
    assert!(subscription.next().now_or_never().is_none());
    let samples = frame(&mut subscription).await;
    assert_eq!(counter(&samples, "hub.metrics.frames_replaced").0, 4.0);
}

#[tokio::test(start_paused = true)]
async fn own_series_move() {
    let hub = start(HubConfig { subscriber_queue_bytes: 1, ..one_by_one() }).await;
    let mut reader = subscribe(&hub, "").await;
    let stalled = subscribe(&hub, "").await;
    let mut subscription = metrics(&hub, "interval=1").await;
    let samples = frame(&mut subscription).await;
    assert_eq!(gauge(&samples, "hub.subscribers"), 3.0);
    assert_eq!(gauge(&samples, "hub.filters"), 1.0);
    assert_eq!(gauge(&samples, "queue.count"), 0.0);
    assert!(gauge(&samples, "server.memory") > 0.0);

    for number in 0..3 {
        ingest(&hub, [number]).await;
        read_until(&mut reader, number).await;
    }
    let samples = frame(&mut subscription).await;
    assert_eq!(gauge(&samples, "queue.count"), 1.0);
    assert_eq!(counter(&samples, "hub.events.received").0, 3.0);
    assert_eq!(counter(&samples, "hub.events.delivered").0, 3.0);
    assert_eq!(counter(&samples, "hub.events.missed").0, 2.0);
    assert_eq!(counter(&samples, "test").0, 3.0);

    drop(stalled);
    hub.refuse_new_work();
    hub.try_ingest(events(0..7)).unwrap_err();
    let samples = frame(&mut subscription).await;
    assert_eq!(gauge(&samples, "queue.count"), 0.0);
    assert_eq!(gauge(&samples, "hub.subscribers"), 2.0);
    assert_eq!(counter(&samples, "hub.events.refused").0, 7.0);
}

#[tokio::test(start_paused = true)]
async fn queue_count_has_what_is_not_routed_yet() {
    let hub = start(HubConfig::default()).await;
    hub.try_ingest(events(0..5)).unwrap();
    assert_eq!(gauge(&hub.metrics(), "queue.count"), 5.0);
    eventually_stats(&hub, |stats| stats.queued == 0).await;
    assert_eq!(gauge(&hub.metrics(), "queue.count"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_hosts_own_counters_are_its_own_and_always_have_room() {
    let hub = start(HubConfig { max_series: 2, ..HubConfig::default() }).await;
    hub.record(Measurement::counter_total("shop.orders", 5.0)).unwrap();
    hub.ingest(vec![NewEvent::new("shop.opened")]).await.unwrap();
    for _ in 0..2 {
        hub.reserve("shop.");
        hub.count("shop.orders", 1);
    }
    for (id, measurement) in [
        ("shop.orders", Measurement::counter_total("shop.orders", 0.0)),
        ("shop.opened", Measurement::gauge("shop.opened", 1.0)),
    ] {
        assert_eq!(hub.record(measurement), Err(MeasurementError::Reserved(id.into())));
    }
    with_local_recorder(&hub.recorder(), || metrics::counter!("shop.orders").increment(100));
    hub.ingest(vec![NewEvent::new("shop.opened")]).await.unwrap();
    let samples = hub.metrics();
    let theirs = samples.iter().filter(|sample| sample.id().starts_with("shop."));
    assert_eq!(ids(&theirs.cloned().collect::<Vec<_>>()), ["shop.orders"]);
    assert_eq!(counter(&samples, "shop.orders").0, 2.0);
    // What was forgotten has left its place.
    hub.record(Measurement::counter("shops", 3.0)).unwrap();
    assert_eq!(counter(&hub.metrics(), "shops").0, 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_ended_gets_no_frame_any_more() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = metrics(&hub, "interval=1h").await;
    let of_it = async || hub.subscribers(SubscribersQuery::default()).await.subscribers.remove(0);
    let until_queued = async |queued| {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        while of_it().await.status.stats.queued != queued {
            ticks.tick().await;
        }
    };
    patiently(until_queued(1)).await;
    hub.end_subscriber(of_it().await.id).await.unwrap();
    patiently(until_queued(0)).await;
    let stats = of_it().await.status.stats;
    assert_eq!((stats.matched, stats.sent, stats.missed), (1, 0, 1));
    assert!(patiently(subscription.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn own_names_are_refused_unless_attributes_tell_them_apart() {
    let hub = start(HubConfig::default()).await;
    for id in ["server.memory", "queue.count", "hub.subscribers", "hub.anything"] {
        let refused = hub.record(Measurement::gauge(id, 1.0));
        assert_eq!(refused, Err(MeasurementError::Reserved(id.into())));
        let attributes = || {
            let mut attributes = Object::default();
            attributes.push("host", "a");
            attributes
        };
        hub.record(Measurement::gauge(id, 7.0).attributes(attributes())).unwrap();
        let samples = hub.metrics();
        let theirs =
            samples.iter().find(|sample| sample.id() == id && !sample.attributes().is_empty());
        assert_eq!(theirs.map(Sample::value), Some(SampleValue::Gauge(7.0)));
    }
    assert_eq!(hub.record(Measurement::gauge("", 1.0)), Err(MeasurementError::BadId));
    assert!(hub.record(Measurement::counter("a", -1.0)).is_err());
    assert!(hub.record(Measurement::gauge("a", f64::NAN)).is_err());
}

#[tokio::test(start_paused = true)]
async fn frames_begin_with_retry_and_ping_and_end_with_bye() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = metrics(&hub, "interval=20&metrics=queue.count").await;
    let begun = Instant::now();
    let mut starts = Vec::new();
    for _ in 0..5 {
        let frame = patiently(StreamExt::next(&mut subscription)).await.unwrap();
        let line = std::str::from_utf8(&frame).unwrap().lines().next().unwrap().to_owned();
        starts.push((line, begun.elapsed().as_secs()));
    }
    assert!(starts[0].0.starts_with("retry: "), "{starts:?}");
    let rest: Vec<_> = starts[1..].iter().map(|(line, at)| (line.as_str(), *at)).collect();
    let (ping, metrics) = ("event: ping", "event: metrics");
    // A ping comes in the silence between two frames only.
    assert_eq!(rest, [(ping, 0), (metrics, 0), (ping, 15), (metrics, 20)]);

    let rest = tokio::spawn(async move {
        let frames: Vec<_> = StreamExt::collect(subscription).await;
        frames
    });
    patiently(hub.shutdown(SECOND)).await.unwrap();
    let rest = patiently(rest).await.unwrap();
    let bye = std::str::from_utf8(rest.last().unwrap()).unwrap();
    assert!(bye.starts_with("event: bye\ndata: {\"reason\":\"shutdown\""), "{bye}");
}

#[tokio::test(start_paused = true)]
async fn short_interval_needs_no_ping() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = metrics(&hub, "interval=10&metrics=queue.count").await;
    let retry = patiently(StreamExt::next(&mut subscription)).await.unwrap();
    assert!(retry.starts_with(b"retry: "), "{retry:?}");
    for _ in 0..5 {
        let frame = patiently(StreamExt::next(&mut subscription)).await.unwrap();
        assert!(frame.starts_with(b"event: metrics\n"), "{frame:?}");
    }
}
