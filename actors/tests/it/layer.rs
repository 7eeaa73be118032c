//! The layer as a program uses it: what becomes of its events and spans, what happens when there is no room for them, and
//! what must never come back.

use std::error::Error;
use std::fmt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use telemetry_hub_actors::{
    Clock, Delivered, Event, Fault, HubConfig, HubHandle, HubLayer, IngestError, NewEvent,
    Subscription, Value,
};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::{DefaultGuard, set_default, with_default};
use tracing::{Level, debug, error, event, info, info_span, trace, warn};
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry;

use crate::harness::{break_collector, eventually, eventually_stats, patiently, start, subscribe};

/// A hub with a subscriber to everything, and a layer in front of it for as long as the guard is held.
async fn watched(config: HubConfig) -> (HubHandle, Subscription, DefaultGuard) {
    let hub = start(config).await;
    let subscription = subscribe(&hub, "").await;
    let guard = set_default(registry().with(HubLayer::new(&hub)));
    (hub, subscription, guard)
}

/// Reads so many events, and nothing else.
async fn read(subscription: &mut Subscription, count: usize) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while events.len() < count {
        match patiently(subscription.next()).await {
            Some(Delivered::Events(batch)) => events.extend(batch),
            other => panic!("{other:?} after {events:?}"),
        }
    }
    assert_eq!(events.len(), count, "{events:?}");
    events
}

async fn read_one(subscription: &mut Subscription) -> Arc<Event> {
    read(subscription, 1).await.remove(0)
}

fn data(event: &Event) -> String {
    serde_json::to_string(&event.content().data).unwrap()
}

fn text(event: &Event) -> &str {
    event.content().text.as_deref().unwrap_or("-")
}

fn kind(event: &Event) -> &str {
    event.content().kind.as_deref().unwrap()
}

/// How many events a notice says were dropped, if it is one.
fn dropped(event: &Event) -> Option<u64> {
    let is_notice = kind(event) == "hub.events.dropped";
    is_notice.then(|| match event.content().data.get("dropped") {
        Some(Value::Number(dropped)) => dropped.as_u64().unwrap(),
        other => panic!("{other:?}"),
    })
}

#[derive(Debug)]
struct Failure(&'static str, Option<Box<Failure>>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as &dyn Error)
    }
}

#[tokio::test(start_paused = true)]
async fn event_keeps_its_fields_typed_and_in_order() {
    let (_hub, mut subscription, _guard) = watched(HubConfig::default()).await;
    let failure = Failure("no mail", Some(Box::new(Failure("no disk", None))));
    warn!(
        target: "my::target",
        zero = i64::MIN,
        one = u64::MAX,
        big = i128::from(u64::MAX) + 1,
        fits = -5_i128,
        more = u128::MAX,
        fits_too = 7_u128,
        float = 0.5,
        strange = f64::NAN,
        more_than_all = f64::INFINITY,
        less_than_all = f64::NEG_INFINITY,
        yes = true,
        no = false,
        text = "with \"quotes\"\r\n",
        debug = ?Some(1),
        display = %std::net::Ipv4Addr::LOCALHOST,
        failure = &failure as &dyn Error,
        none = Option::<u64>::None,
        dotted.name = 1,
        "the message, {}",
        1 + 1
    );
    let event = read_one(&mut subscription).await;
    assert_eq!(
        data(&event),
        concat!(
            r#"{"zero":-9223372036854775808,"one":18446744073709551615,"big":"18446744073709551616","fits":-5,"#,
            r#""more":"340282366920938463463374607431768211455","fits_too":7,"float":0.5,"strange":"NaN","#,
            r#""more_than_all":"Infinity","less_than_all":"-Infinity","yes":true,"no":false,"#,
            r#""text":"with \"quotes\"\r\n","debug":"Some(1)","display":"127.0.0.1","#,
            r#""failure":"no mail: no disk","dotted.name":1,"target":"my::target"}"#
        )
    );
    let json = serde_json::to_string(&*event).unwrap();
    assert!(
        json.contains(
            r#""signal":"log","type":"my::target","level":"WARN","text":"the message, 2","data""#
        ),
        "{json}"
    );
}

#[tokio::test(start_paused = true)]
async fn type_is_the_name_that_the_program_gave_else_the_target() {
    let (_hub, mut subscription, _guard) = watched(HubConfig::default()).await;
    event!(name: "auth.failed", Level::ERROR, account = "alice");
    event!(name: "auth.failed", target: "mail", Level::DEBUG, target = "mine");
    trace!("plain");
    info!("");
    let events = read(&mut subscription, 4).await;
    let types: Vec<_> = events.iter().map(|event| kind(event)).collect();
    assert_eq!(types, ["auth.failed", "auth.failed", module_path!(), module_path!()]);
    let levels: Vec<_> =
        events.iter().map(|event| event.content().level.unwrap().as_str()).collect();
    assert_eq!(levels, ["ERROR", "DEBUG", "TRACE", "INFO"]);
    assert_eq!(data(&events[0]), r#"{"account":"alice","target":"it::layer"}"#);
    // The program's own word comes first.
    assert_eq!(data(&events[1]), r#"{"target":"mine"}"#);
    let texts: Vec<_> = events.iter().map(|event| text(event)).collect();
    assert_eq!(texts, ["-", "-", "plain", ""]);
}

#[tokio::test(start_paused = true)]
async fn event_in_spans_has_their_fields_innermost_first() {
    let (hub, _, _guard) = watched(HubConfig::default()).await;
    let mut subscription = subscribe(&hub, "request.id=7&follow=none").await;
    let outer = info_span!("outer", request.id = 7, who = "outer", a = 1, message = "of the span");
    let inner = info_span!(parent: &outer, "inner", who = "inner", b = tracing::field::Empty);
    let _entered = inner.enter();
    info!("without");
    inner.record("b", 2.5);
    info!(a = 3, "with");
    info!(parent: None, "outside of all");
    info!(parent: &outer, "outside of one");
    let events = read(&mut subscription, 3).await;
    let said: Vec<_> = events.iter().map(|event| (text(event), data(event))).collect();
    let said: Vec<_> = said.iter().map(|(text, data)| (*text, data.as_str())).collect();
    assert_eq!(
        said,
        [
            (
                "without",
                r#"{"target":"it::layer","who":"inner","request.id":7,"a":1,"message":"of the span"}"#
            ),
            (
                "with",
                r#"{"a":3,"target":"it::layer","who":"inner","b":2.5,"request.id":7,"message":"of the span"}"#
            ),
            (
                "outside of one",
                r#"{"target":"it::layer","request.id":7,"who":"outer","a":1,"message":"of the span"}"#
            ),
        ]
    );
    let ids = |event: &Event| (event.content().trace_id.clone(), event.content().span_id.clone());
    assert_eq!(ids(&events[0]), ids(&events[1]));
    assert_eq!(ids(&events[0]).0, ids(&events[2]).0);
    assert_ne!(ids(&events[0]).1, ids(&events[2]).1);
}

/// A clock that moves on by so much whenever it is read.
fn ticking(step: Duration) -> Clock {
    let ticks = AtomicU64::new(0);
    let start: Timestamp = "2026-11-22T10:12:19.000001Z".parse().unwrap();
    Clock::new(move || start + step * u32::try_from(ticks.fetch_add(1, Ordering::SeqCst)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn closed_span_is_told_with_its_ids_fields_and_times() {
    let (_hub, mut subscription, _guard) = watched(HubConfig::default()).await;
    let outer = tracing::warn_span!("outer", n = 1, message = "of the span");
    {
        let inner = info_span!(parent: &outer, "inner", n = 2, late = tracing::field::Empty, m = 3);
        inner.record("n", "two");
        inner.record("late", true);
        inner.record("n", "still two");
        inner.in_scope(|| info!("inside"));
    }
    drop(outer);
    info_span!(parent: None, "elsewhere").in_scope(|| {});
    let events = read(&mut subscription, 4).await;
    let [inside, inner, outer, elsewhere] = events.as_slice() else { unreachable!() };
    let json = serde_json::to_string(&**inner).unwrap();
    assert!(
        json.contains(r#""signal":"span","type":"inner","level":"INFO","traceId":""#),
        "{json}"
    );
    assert!(
        data(inner).starts_with(
            r#"{"n":"still two","m":3,"late":true,"target":"it::layer","startTime":"20"#
        )
    );
    assert_eq!((kind(outer), kind(elsewhere)), ("outer", "elsewhere"));
    assert_eq!((text(outer), text(inner)), ("of the span", "-"));
    assert_eq!(outer.content().level, Some(telemetry_hub_actors::Level::Warn));

    let [inside, inner, outer, elsewhere] = [inside, inner, outer, elsewhere].map(|e| e.content());
    let trace = outer.trace_id.as_deref().unwrap();
    assert_eq!((trace.len(), inner.trace_id.as_deref()), (32, Some(trace)));
    assert_eq!((&inside.trace_id, &inside.span_id), (&inner.trace_id, &inner.span_id));
    assert_eq!((&inside.parent_span_id, &outer.parent_span_id), (&None, &None));
    assert_eq!(
        (&inner.parent_span_id, inner.span_id.as_ref().unwrap().len()),
        (&outer.span_id, 16)
    );
    assert_ne!(inner.span_id, outer.span_id);
    assert_ne!(elsewhere.trace_id, outer.trace_id);
    for id in [&inner.span_id, &outer.span_id, &outer.trace_id] {
        let id = u128::from_str_radix(id.as_ref().unwrap(), 16).unwrap();
        assert_ne!(id, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn times_are_those_of_the_hubs_clock_to_the_microsecond() {
    let clock = ticking(Duration::from_micros(1500));
    let (_hub, mut subscription, _guard) =
        watched(HubConfig { clock, ..HubConfig::default() }).await;
    let span = info_span!("span");
    info!("event");
    drop(span);
    let events = read(&mut subscription, 2).await;
    let times: Vec<_> = events.iter().map(|event| event.created_at().to_string()).collect();
    let Some(Value::String(start)) = events[1].content().data.get("startTime") else {
        panic!("{:?}", events[1]);
    };
    // How often the hub itself has read its clock before is its own affair.
    assert!(start.ends_with("Z") && start.len() == "2026-11-22T10:12:19.000001Z".len(), "{start}");
    let [start, event, end]: [Timestamp; 3] =
        [start, times[0].as_str(), times[1].as_str()].map(|time| time.parse().unwrap());
    assert!(start < event && event < end, "{start} {event} {end}");
    assert_eq!(start.subsec_microsecond() % 100, 1);
    let milliseconds = end.duration_since(start).as_micros() as f64 / 1000.0;
    assert_eq!(events[1].content().data.get("duration"), Some(&Value::from(milliseconds)));
}

#[tokio::test(start_paused = true)]
async fn clock_that_is_set_back_makes_no_negative_duration() {
    let back = AtomicU64::new(1_795_342_367);
    let clock = Clock::new(move || {
        let seconds = back.fetch_sub(1, Ordering::SeqCst);
        Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap()
    });
    let (_hub, mut subscription, _guard) =
        watched(HubConfig { clock, ..HubConfig::default() }).await;
    drop(info_span!("span"));
    let span = read_one(&mut subscription).await;
    assert_eq!(span.content().data.get("duration"), Some(&Value::from(0.0)));
}

/// A layer that counts what it gets.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Counting {
    fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn each_layer_has_a_filter_of_its_own() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = subscribe(&hub, "").await;
    let others = Counting::default();
    let everything = Counting::default();
    let guard = set_default(
        registry()
            .with(others.clone().with_filter(LevelFilter::WARN))
            .with(HubLayer::new(&hub).with_filter(LevelFilter::DEBUG))
            .with(everything.clone()),
    );
    trace!("1");
    debug!("2");
    warn!("3");
    let texts = read(&mut subscription, 2).await;
    assert_eq!(texts.iter().map(|event| text(event)).collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(others.0.load(Ordering::SeqCst), 1);
    assert!(everything.0.load(Ordering::SeqCst) >= 3);
    drop(guard);

    let targets = Targets::new().with_target("wanted", Level::INFO);
    let guard = set_default(registry().with(HubLayer::new(&hub).with_filter(targets)));
    info!(target: "wanted::part", "4");
    info!(target: "unwanted", "5");
    debug!(target: "wanted", "6");
    info!(target: "wanted", "7");
    let texts = read(&mut subscription, 2).await;
    assert_eq!(texts.iter().map(|event| text(event)).collect::<Vec<_>>(), ["4", "7"]);
    drop(guard);

    let filter: EnvFilter = "off,[wanted]=debug".parse().unwrap();
    let _guard = set_default(registry().with(HubLayer::new(&hub).with_filter(filter)));
    error!("8");
    info_span!("wanted").in_scope(|| debug!("9"));
    let events = read(&mut subscription, 2).await;
    assert_eq!((text(&events[0]), kind(&events[1])), ("9", "wanted"));
}

#[tokio::test(start_paused = true)]
async fn span_that_a_filter_leaves_out_is_passed_over() {
    let hub = start(HubConfig::default()).await;
    let mut subscription = subscribe(&hub, "").await;
    let filter = LevelFilter::INFO;
    let _guard = set_default(registry().with(HubLayer::new(&hub).with_filter(filter)));
    let outer = info_span!("outer", a = 1).entered();
    let hidden = tracing::debug_span!("hidden", b = 2).entered();
    let inner = info_span!("inner", c = 3).entered();
    info!("event");
    drop(inner);
    info!("in the hidden one");
    drop((hidden, outer));
    let events = read(&mut subscription, 4).await;
    assert_eq!(data(&events[0]), r#"{"target":"it::layer","c":3,"a":1}"#);
    assert_eq!(data(&events[2]), r#"{"target":"it::layer","a":1}"#);
    let [inner, outer] = [events[1].content(), events[3].content()];
    assert_eq!(inner.parent_span_id, outer.span_id);
    assert_eq!(events[2].content().span_id, outer.span_id);
}

#[tokio::test(start_paused = true)]
async fn two_hubs_share_the_spans_of_one_program() {
    let [first, second] = [start(HubConfig::default()).await, start(HubConfig::default()).await];
    let mut subscriptions = [subscribe(&first, "").await, subscribe(&second, "").await];
    let layers = [&first, &second].map(HubLayer::new);
    let [first_layer, second_layer] = layers;
    let _guard = set_default(registry().with(first_layer).with(second_layer));
    info_span!("span", n = 1).in_scope(|| info!("event"));
    let mut ids = Vec::new();
    for subscription in &mut subscriptions {
        let events = read(subscription, 2).await;
        assert_eq!(data(&events[0]), r#"{"target":"it::layer","n":1}"#);
        ids.push(events[1].content().span_id.clone());
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_and_its_transport_log_is_left_out() {
    let (hub, mut subscription, _guard) = watched(HubConfig::default()).await;
    macro_rules! log_as {
        ($($target:literal)*) => {$(
            error!(target: $target, "own");
            tracing::error_span!(target: $target, "own", own = true).in_scope(|| {
                info!(target: concat!($target, "::inner"), "own");
                info!(target: concat!($target, "_not"), "not own");
            });
        )*};
    }
    log_as!("telemetry_hub" "telemetry_hub_actors" "ractor" "h2" "hyper" "hyper_util" "mio"
        "runtime" "rustls" "tokio" "tokio_util" "tonic" "warp");
    // The hub at work: all its actors log, and some spans of theirs close.
    drop(subscribe(&hub, "type=none").await);
    break_collector(&hub, Fault::PanicCollector).await;
    info!("the end");
    let events = read(&mut subscription, 14).await;
    assert_eq!(text(&events[13]), "the end");
    for event in &events[..13] {
        assert_eq!(text(event), "not own");
        assert_eq!(event.content().span_id, None);
        assert_eq!(event.content().data.get("own"), None);
    }
    assert_eq!(hub.stats().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn record_of_the_log_crate_has_its_own_target() {
    let (hub, mut subscription, _guard) = watched(HubConfig::default()).await;
    let log = |target: &str, message: &str| {
        let mut record = tracing_log::log::Record::builder();
        record.target(target).level(tracing_log::log::Level::Warn).line(Some(7));
        record.module_path(Some("old")).file(Some("old.rs"));
        tracing_log::format_trace(&record.args(format_args!("{message}")).build()).unwrap();
    };
    info_span!("span", n = 1).in_scope(|| log("old::school", "logged"));
    log("mio::poll", "registering");
    log("log", "by itself");
    let events = read(&mut subscription, 3).await;
    let json = serde_json::to_string(&*events[0]).unwrap();
    assert!(
        json.contains(r#""type":"old::school","level":"WARN","text":"logged","traceId""#),
        "{json}"
    );
    assert_eq!(data(&events[0]), r#"{"target":"old::school","n":1}"#);
    assert_eq!(data(&events[2]), r#"{"target":"log"}"#);
    assert_eq!(hub.stats().refused, 0);
}

/// Logs numbered events on a plain thread, without a runtime.
fn log_on_a_thread(hub: &HubHandle, numbers: std::ops::Range<u64>) -> thread::JoinHandle<()> {
    let layer = HubLayer::new(hub);
    thread::spawn(move || {
        with_default(registry().with(layer), || numbers.for_each(|n| info!(n, "numbered")));
    })
}

/// The numbers of the events, in order, and how many were dropped before each notice.
fn numbers_and_notices(events: &[Arc<Event>]) -> (Vec<u64>, Vec<u64>) {
    let (notices, events): (Vec<_>, Vec<_>) =
        events.iter().partition(|event| dropped(event).is_some());
    let numbers = events.into_iter().map(|event| crate::harness::number(event)).collect();
    (numbers, notices.into_iter().filter_map(|notice| dropped(notice)).collect())
}

#[tokio::test]
async fn full_queue_drops_and_counts_and_the_watchers_are_told() {
    let config = HubConfig { ingest_queue_bytes: 20_000, ..HubConfig::default() };
    let (hub, mut subscription, _guard) = watched(config).await;
    hub.inject(Fault::HangCollector).await;
    // Nothing makes room, and nobody here waits for any.
    log_on_a_thread(&hub, 0..1000).join().unwrap();
    let stats = hub.stats();
    assert_eq!(stats.refused, stats.dropped);
    let logged = 1000 - stats.refused;
    assert!((1..100).contains(&logged), "{stats:?}");
    // The news of what was dropped is smaller, and may find room where an event has not.
    let early_notices = stats.received - logged;
    assert!(early_notices <= 1, "{stats:?}");
    // The host's other sources have their own way of being told.
    let large = NewEvent::new("large").text(&"x".repeat(30_000));
    hub.try_ingest(vec![large]).unwrap_err();
    assert_eq!((hub.stats().refused, hub.stats().dropped), (stats.refused + 1, stats.dropped));

    break_collector(&hub, Fault::KillCollector).await;
    // The news does not wait for another event.
    let taken = usize::try_from(stats.received).unwrap();
    let events = read(&mut subscription, taken + 1).await;
    let (numbers, notices) = numbers_and_notices(&events);
    assert_eq!(numbers, (0..logged).collect::<Vec<_>>());
    assert_eq!(notices.len() as u64, early_notices + 1);
    assert_eq!(notices.iter().sum::<u64>(), stats.dropped);
    let notice = &events[taken];
    let json = serde_json::to_string(&**notice).unwrap();
    assert!(json.contains(r#""type":"hub.events.dropped","level":"WARN","text":""#), "{json}");
    log_on_a_thread(&hub, 5000..5001).join().unwrap();
    let (numbers, notices) = numbers_and_notices(&read(&mut subscription, 1).await);
    assert_eq!((numbers, notices.len()), (vec![5000], 0));
}

#[tokio::test(start_paused = true)]
async fn news_of_dropped_events_stands_before_the_event_that_follows() {
    let config = HubConfig { ingest_queue_bytes: 20_000, ..HubConfig::default() };
    let (hub, mut subscription, _guard) = watched(config).await;
    // Nothing here awaits, so that the collector cannot come between.
    info!(n = 0, "fits");
    info!(n = 1, large = "x".repeat(15_000), "finds no room");
    info!(n = 2, "fits");
    let events = read(&mut subscription, 3).await;
    let kinds: Vec<_> = events.iter().map(|event| kind(event)).collect();
    assert_eq!(kinds, ["it::layer", "hub.events.dropped", "it::layer"]);
    let (numbers, notices) = numbers_and_notices(&events);
    assert_eq!((numbers, notices), (vec![0, 2], vec![1]));
    assert_eq!(hub.stats().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn event_that_is_too_large_is_dropped_and_counted() {
    let config = HubConfig { max_event_bytes: 1000, ..HubConfig::default() };
    let (hub, mut subscription, _guard) = watched(config).await;
    struct Endless;
    impl fmt::Debug for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("and so on, ")?;
            }
        }
    }
    info!(text = "x".repeat(2000), "1");
    info!(endless = ?Endless, "2");
    info!(a = "x".repeat(600), b = "x".repeat(600), "3");
    // The program need not log again for this to be told.
    let events = read(&mut subscription, 1).await;
    assert_eq!(dropped(&events[0]), Some(3));
    info!(text = "x".repeat(900), "4");
    assert_eq!(text(read_one(&mut subscription).await.as_ref()), "4");
    assert_eq!((hub.stats().refused, hub.stats().dropped), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn span_that_is_too_large_harms_no_event_in_it() {
    let config = HubConfig { max_event_bytes: 1000, ..HubConfig::default() };
    let (hub, mut subscription, _guard) = watched(config).await;
    let span = info_span!("span", a = 1, b = tracing::field::Empty, c = tracing::field::Empty);
    span.record("b", "x".repeat(600));
    span.record("c", "x".repeat(600));
    let busy = info_span!("busy", n = 0);
    (0..1000).for_each(|n| {
        busy.record("n", n);
    });
    drop(busy);
    assert!(data(read_one(&mut subscription).await.as_ref()).starts_with(r#"{"n":999,"target""#));
    let large = info_span!(parent: &span, "large", d = "x".repeat(2000)).entered();
    info!("inside");
    drop(large);
    info!("outside");
    drop(span);
    let events = read(&mut subscription, 4).await;
    assert_eq!(text(&events[0]), "inside");
    assert!(data(&events[0]).starts_with(r#"{"target":"it::layer","a":1,"b":"xxx"#));
    assert_eq!((dropped(&events[1]), text(&events[2])), (Some(1), "outside"));
    assert_eq!(dropped(&events[3]), Some(1));
    assert_eq!(hub.stats().dropped, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_many_threads_log_arrives_once_or_is_counted() {
    const THREADS: u64 = 8;
    const EACH: u64 = 2000;
    for ingest_queue_bytes in [30_000, 1_000_000] {
        let hub = start(HubConfig { ingest_queue_bytes, ..HubConfig::default() }).await;
        let mut subscription = subscribe(&hub, "").await;
        let threads = (0..THREADS).map(|n| log_on_a_thread(&hub, n * EACH..(n + 1) * EACH));
        let threads: Vec<_> = threads.collect();
        let reader = tokio::spawn(async move {
            let mut events = Vec::new();
            let mut lost = 0;
            while (events.len() as u64) + lost < THREADS * EACH {
                for event in patiently(read_some(&mut subscription)).await {
                    match dropped(&event) {
                        Some(dropped) => lost += dropped,
                        None => events.push(event),
                    }
                }
            }
            (events, lost)
        });
        let (events, lost) = reader.await.unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let (mut numbers, _) = numbers_and_notices(&events);
        let mine = |numbers: &[u64], thread: u64| -> Vec<u64> {
            numbers.iter().copied().filter(|n| n / EACH == thread).collect()
        };
        for thread in 0..THREADS {
            assert!(mine(&numbers, thread).is_sorted());
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len() as u64 + lost, THREADS * EACH);
        let stats = hub.stats();
        assert_eq!((stats.dropped, stats.refused), (lost, lost));
    }
}

async fn read_some(subscription: &mut Subscription) -> Vec<Arc<Event>> {
    match subscription.next().await {
        Some(Delivered::Events(events)) => events,
        other => panic!("{other:?}"),
    }
}

/// Says how often it was looked at.
#[derive(Clone, Default)]
struct Witness(Arc<AtomicU64>);

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Ordering::SeqCst);
        f.write_str("witness")
    }
}

impl Witness {
    fn seen(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_see_is_not_made() {
    let hub = start(HubConfig { replay_bytes: 0, ..HubConfig::default() }).await;
    let _guard = set_default(registry().with(HubLayer::new(&hub)));
    let witness = Witness::default();
    let span = info_span!("span", n = 1);
    let entered = span.enter();
    info!(?witness, "unheard");
    drop(info_span!("unheard too"));
    assert_eq!((witness.seen(), hub.stats().received, hub.stats().refused), (0, 0, 0));
    let mut subscription = subscribe(&hub, "").await;
    info!(?witness, "heard");
    assert_eq!(witness.seen(), 1);
    let heard = read_one(&mut subscription).await;
    // The span was there before the subscriber.
    assert_eq!(data(&heard), r#"{"witness":"witness","target":"it::layer","n":1}"#);
    drop(subscription);
    eventually_stats(&hub, |stats| stats.subscribers == 0).await;
    info!(?witness, "unheard again");
    drop(entered);
    assert_eq!((witness.seen(), hub.stats().received), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn replay_buffer_keeps_what_was_logged_before_anybody_came() {
    let hub = start(HubConfig::default()).await;
    let _guard = set_default(registry().with(HubLayer::new(&hub)));
    info_span!("span").in_scope(|| info!("early"));
    let mut subscription = subscribe(&hub, "replay=10").await;
    let events = read(&mut subscription, 2).await;
    assert_eq!((text(&events[0]), kind(&events[1])), ("early", "span"));
    let counters = hub.metrics();
    let counter = |id: &str| counters.iter().any(|sample| sample.id() == id);
    assert!(counter("it::layer") && counter("span") && counter("hub.events.dropped"));
}

#[tokio::test(start_paused = true)]
async fn layer_keeps_no_hub_alive_and_falls_silent_with_it() {
    let held = Arc::new(());
    let witness = Arc::downgrade(&held);
    let clock = Clock::new(move || {
        let _held = &held;
        Timestamp::now()
    });
    let hub = start(HubConfig { clock, ..HubConfig::default() }).await;
    let _guard = set_default(registry().with(HubLayer::new(&hub)));
    let looks = Witness::default();
    let span = info_span!("span", ?looks);
    info!(?looks, "heard");
    assert_eq!(looks.seen(), 2);
    drop(hub);
    // Nothing of the hub is left, its clock for one.
    eventually(|| witness.strong_count(), |count| *count == 0).await;
    info!(?looks, "unheard");
    span.record("looks", tracing::field::debug(&looks));
    let _other = info_span!("other", ?looks);
    assert_eq!(looks.seen(), 2);
}

#[tokio::test(start_paused = true)]
async fn hub_that_was_shut_down_is_told_nothing_more() {
    let (hub, mut subscription, _guard) = watched(HubConfig::default()).await;
    info!("before");
    let reader = tokio::spawn(async move {
        let events = read(&mut subscription, 1).await;
        let bye = patiently(subscription.next()).await;
        (events, bye)
    });
    patiently(hub.shutdown(Duration::from_secs(10))).await.unwrap();
    let (_, bye) = reader.await.unwrap();
    assert!(matches!(bye, Some(Delivered::Bye(_))), "{bye:?}");
    let looks = Witness::default();
    let before = hub.stats();
    info!(?looks, "after");
    drop(info_span!("after", ?looks));
    assert_eq!((looks.seen(), hub.stats()), (0, before));
}

#[tokio::test(start_paused = true)]
async fn what_was_dropped_is_told_before_the_goodbye() {
    let config = HubConfig { ingest_queue_bytes: 5000, ..HubConfig::default() };
    let (hub, mut subscription, _guard) = watched(config).await;
    (0..100).for_each(|n| info!(n, "numbered"));
    let reader = tokio::spawn(async move {
        let mut events = Vec::new();
        while let Some(Delivered::Events(batch)) = patiently(subscription.next()).await {
            events.extend(batch);
        }
        events
    });
    patiently(hub.shutdown(Duration::from_secs(10))).await.unwrap();
    let (numbers, notices) = numbers_and_notices(&reader.await.unwrap());
    assert!(!numbers.is_empty());
    assert_eq!(numbers.len() as u64 + notices.iter().sum::<u64>(), 100);
}

#[test]
fn hub_without_its_runtime_takes_nothing_and_costs_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let hub = runtime.block_on(start(HubConfig::default()));
    let _guard = set_default(registry().with(HubLayer::new(&hub)));
    drop(runtime);
    let looks = Witness::default();
    info!(?looks, "unheard");
    assert_eq!(looks.seen(), 0);
    assert_eq!(hub.try_ingest(vec![NewEvent::new("a")]), Err(IngestError::ShuttingDown));
}

#[tokio::test(start_paused = true)]
async fn panic_while_an_event_is_read_ends_no_more_than_that_event() {
    struct Panics;
    impl fmt::Debug for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("a test asked for it")
        }
    }
    let (_hub, mut subscription, _guard) = watched(HubConfig::default()).await;
    let logged = std::panic::catch_unwind(|| info!(panics = ?Panics, "1"));
    logged.unwrap_err();
    info!("2");
    assert_eq!(text(read_one(&mut subscription).await.as_ref()), "2");
}

/// Run by the test below, in a process of its own: within a `set_default`, `tracing` itself lets nothing come back.
#[tokio::test(start_paused = true)]
#[ignore = "takes the subscriber of the whole process"]
async fn alone_with_a_debug_that_logs() {
    /// Logs itself, without end, if it is let.
    struct Logs;
    impl fmt::Debug for Logs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            info!(logs = ?Self, "inner");
            let span = info_span!("inner", logs = ?Self);
            span.record("logs", tracing::field::debug(Self));
            f.write_str("logged")
        }
    }
    let hub = start(HubConfig::default()).await;
    let mut subscription = subscribe(&hub, "").await;
    registry().with(HubLayer::new(&hub)).init();
    let span = info_span!("outer", logs = tracing::field::Empty);
    span.record("logs", tracing::field::debug(Logs));
    info!(parent: &span, logs = ?Logs, "outer");
    drop(span);
    info!("last");
    let mut lost = 0;
    let mut said = Vec::new();
    while said.last().is_none_or(|text| text != "last") {
        for event in read_some(&mut subscription).await {
            match dropped(&event) {
                Some(dropped) => lost += dropped,
                None => said.push(format!("{}{}", text(&event), data(&event))),
            }
            if text(&event) == "last" {
                said.push("last".to_owned());
            }
        }
    }
    assert!(said[0].starts_with(r#"outer{"logs":"logged","target":"it::layer"}"#), "{said:?}");
    assert!(
        said[1].starts_with(r#"-{"logs":"logged","target":"it::layer","startTime""#),
        "{said:?}"
    );
    assert_eq!((said.len(), lost, hub.stats().dropped), (4, 4, 4), "{said:?}");
}

/// Run by the test below, in a process of its own: when a thread ends, its own subscriber is gone.
#[tokio::test(start_paused = true)]
#[ignore = "takes the subscriber of the whole process"]
async fn alone_with_a_thread_that_logs_its_last() {
    struct Logs(&'static str);
    impl Drop for Logs {
        fn drop(&mut self) {
            info!("{}", self.0);
        }
    }
    thread_local! {
        static BEFORE: Logs = const { Logs("of what was there first") };
        static AFTER: Logs = const { Logs("of what came later") };
    }
    let hub = start(HubConfig::default()).await;
    let mut subscription = subscribe(&hub, "").await;
    registry().with(HubLayer::new(&hub)).init();
    let thread = thread::spawn(|| {
        BEFORE.with(|_| {});
        info!("at work");
        AFTER.with(|_| {});
    });
    thread.join().unwrap();
    let events = read(&mut subscription, 3).await;
    let texts: Vec<_> = events.iter().map(|event| text(event)).collect();
    assert_eq!(texts[0], "at work");
    assert!(texts.contains(&"of what was there first") && texts.contains(&"of what came later"));
}

/// Runs one of the ignored tests in a process of its own.
#[track_caller]
fn check_alone(test: &str) {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this).args(["--ignored", "--exact", test]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn debug_that_logs_is_counted_and_does_not_come_back_without_end() {
    check_alone("layer::alone_with_a_debug_that_logs");
}

#[test]
fn thread_can_log_to_its_very_end() {
    check_alone("layer::alone_with_a_thread_that_logs_its_last");
}

#[test]
fn example_shows_the_errors_and_ends() {
    let tests = std::env::current_exe().unwrap();
    let example = tests
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/embed")
        .with_extension(std::env::consts::EXE_EXTENSION);
    let run = Command::new(&example).output();
    let output = run.unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo test` builds it, `cargo test --test it` does not",
            example.display()
        )
    });
    let [said, logged] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{logged}");
    let lines: Vec<_> = said.lines().collect();
    let [refused, order, bye] = lines.as_slice() else { panic!("{said}") };
    assert!(refused.contains(r#""level":"ERROR","text":"refused""#), "{said}");
    let data = r#""data":{"error":"invalid digit found in string","quantity":"three","target":"embed","order.id":2}}"#;
    assert!(refused.ends_with(data), "{said}");
    assert!(order.contains(r#""signal":"span","type":"order""#), "{said}");
    assert_eq!(*bye, "the hub ends the stream: Shutdown");
    // The layer beside it goes by a filter of its own.
    assert!(logged.contains("taken") && !logged.contains("looking at it"), "{logged}");
}
