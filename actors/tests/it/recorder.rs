//! What a program measures through the `metrics` crate, as a hub shows it. The clock stands still.

use std::time::Duration;

use metrics::{Unit, counter, gauge, histogram, with_local_recorder};
use metrics_util::layers::{FanoutBuilder, Layer, PrefixLayer};
use telemetry_hub_actors::{HubConfig, HubHandle, HubRecorder, MetricsQuery, Sample, SampleValue};

use crate::harness::{patiently, start};

/// A series on one line: name, attributes, value and unit, but for the hub's own.
fn line(sample: &Sample) -> Option<String> {
    let value = match sample.value() {
        SampleValue::Counter { value, .. } | SampleValue::Gauge(value) => value.to_string(),
        SampleValue::Histogram(summary) => {
            format!("{} values, sum {:?}", summary.count, summary.sum.unwrap())
        }
    };
    let is_own = sample.attributes().is_empty()
        && ["hub.", "server.", "queue."].iter().any(|own| sample.id().starts_with(own));
    let unit = sample.unit().unwrap_or_default();
    (!is_own).then(|| format!("{}{} {value} {unit}", sample.id(), sample.attributes()))
}

#[track_caller]
fn check(hub: &HubHandle, expected: &[&str]) {
    let lines: Vec<String> = hub.metrics().iter().filter_map(line).collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    assert_eq!(lines, expected);
}

fn folded(hub: &HubHandle) -> SampleValue {
    let samples = hub.metrics();
    samples.iter().find(|sample| sample.id() == "hub.metrics.folded").unwrap().value()
}

/// Does something while this hub takes what is measured.
async fn recorded(config: HubConfig, work: impl FnOnce(&HubRecorder)) -> HubHandle {
    let hub = start(config).await;
    let recorder = hub.recorder();
    with_local_recorder(&recorder, || work(&recorder));
    hub
}

#[tokio::test(start_paused = true)]
async fn each_kind_does_what_it_is_for() {
    let hub = recorded(HubConfig::default(), |_| {
        let held = counter!("smtp.connections");
        held.increment(2);
        held.increment(u64::from(u32::MAX) + 1);
        counter!("smtp.connections").increment(1);
        gauge!("outbox.size").set(40.0);
        gauge!("outbox.size").increment(2.5);
        gauge!("outbox.size").decrement(0.5);
        histogram!("dns.time").record(Duration::from_millis(250));
        histogram!("dns.time").record_many(2.0, 3);
    })
    .await;
    check(&hub, &["dns.time 4 values, sum 6.25", "outbox.size 42", "smtp.connections 4294967299"]);
}

#[tokio::test(start_paused = true)]
async fn labels_tell_series_apart() {
    let hub = recorded(HubConfig::default(), |_| {
        counter!("hits", "path" => "/", "code" => "200").increment(1);
        counter!("hits", "code" => "200", "path" => "/").increment(1);
        counter!("hits", "code" => "404", "path" => "/").increment(1);
        // A name of the hub's own, but told apart.
        gauge!("server.memory", "of" => "worker").set(7.0);
    })
    .await;
    check(
        &hub,
        &[
            r#"hits{"code":"200","path":"/"} 2"#,
            r#"hits{"code":"404","path":"/"} 1"#,
            r#"server.memory{"of":"worker"} 7"#,
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn absolute_is_a_maximum() {
    let hub = recorded(HubConfig::default(), |_| {
        let held = counter!("seen");
        held.absolute(10);
        held.absolute(7);
        held.increment(1);
        held.absolute(20);
        held.absolute(11);
        held.increment(1);
    })
    .await;
    check(&hub, &["seen 21"]);
}

#[tokio::test(start_paused = true)]
async fn units_are_told_before_or_after_and_of_a_kind() {
    let hub = recorded(HubConfig::default(), |_| {
        metrics::describe_counter!("before", Unit::Bytes, "");
        counter!("before", "n" => "1").increment(1);
        counter!("before", "n" => "2").increment(1);
        gauge!("before").set(1.0);
        histogram!("later").record(1.0);
        metrics::describe_histogram!("later", Unit::Seconds, "");
        metrics::describe_histogram!("later", Unit::Milliseconds, "");
        gauge!("bare").set(1.0);
        metrics::describe_gauge!("bare", Unit::Count, "");
        metrics::describe_gauge!("bare", "no unit at all");
    })
    .await;
    check(
        &hub,
        &[
            "bare 1",
            r#"before{"n":"1"} 1 By"#,
            r#"before{"n":"2"} 1 By"#,
            "before 1",
            "later 1 values, sum 1.0 ms",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn what_can_have_no_series_is_folded_and_counted() {
    let long = "x".repeat(256);
    let many = "x".repeat(4096);
    let config = HubConfig { max_series: 4, ..HubConfig::default() };
    let hub = recorded(config, |_| {
        counter!(long).increment(1);
        counter!("").increment(1);
        counter!("a", "label" => many).increment(1);
        counter!("hub.events.received").increment(1);
        gauge!("server.memory").set(5.0);
        metrics::describe_gauge!("server.memory", Unit::Seconds, "");
        // That made two series.
        counter!("b").increment(1);
        counter!("c").increment(1);
        let held = counter!("d");
        (0..10).for_each(|_| held.increment(1));
        histogram!("e").record(1.0);
    })
    .await;
    check(&hub, &["b 1", "c 1", "other 14", "other 5", "other 1 values, sum 1.0"]);
    assert_eq!(folded(&hub), SampleValue::Counter { value: 7.0, rate: None });
    let samples = hub.metrics();
    let memory = samples.iter().find(|sample| sample.id() == "server.memory").unwrap();
    assert_eq!(memory.unit(), Some("By"));
}

#[tokio::test(start_paused = true)]
async fn no_more_units_are_kept_than_series() {
    let config = HubConfig { max_series: 1, ..HubConfig::default() };
    let hub = recorded(config, |_| {
        metrics::describe_counter!("a", Unit::Seconds, "");
        metrics::describe_counter!("b", Unit::Seconds, "");
        metrics::describe_counter!("a", Unit::Bytes, "");
        counter!("b").increment(1);
    })
    .await;
    check(&hub, &["b 1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_finite_is_ignored() {
    let hub = recorded(HubConfig::default(), |_| {
        gauge!("g").set(1.0);
        histogram!("h").record(1.0);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            gauge!("g").set(value);
            gauge!("g").increment(value);
            gauge!("g").decrement(value);
            histogram!("h").record(value);
        }
    })
    .await;
    check(&hub, &["g 1", "h 1 values, sum 1.0"]);
}

#[tokio::test(start_paused = true)]
async fn sums_that_run_over_stay_numbers() {
    let hub = recorded(HubConfig::default(), |_| {
        gauge!("g").increment(f64::MAX);
        gauge!("g").increment(f64::MAX);
        histogram!("h").record_many(f64::MAX, 3);
        histogram!("h").record_many(f64::MIN, 3);
    })
    .await;
    let json = serde_json::to_string(&hub.metrics()).unwrap();
    assert!(!json.contains("null"), "{json}");
}

#[tokio::test(start_paused = true)]
async fn live_stream_shows_how_fast_it_counts() {
    let hub = start(HubConfig::default()).await;
    let held = with_local_recorder(&hub.recorder(), || counter!("smtp.connections"));
    let query = MetricsQuery::parse("interval=2&metrics=smtp").unwrap();
    let mut subscription = patiently(hub.subscribe_metrics(query)).await.unwrap();
    for (more, total, rate) in [(0, 0.0, None), (10, 10.0, Some(5.0)), (0, 10.0, Some(0.0))] {
        held.increment(more);
        let samples = patiently(subscription.next()).await.unwrap();
        assert_eq!(samples[0].id(), "smtp.connections");
        assert_eq!(samples[0].value(), SampleValue::Counter { value: total, rate });
    }
}

#[tokio::test(start_paused = true)]
async fn works_behind_layers() {
    let (one, other) = (start(HubConfig::default()).await, start(HubConfig::default()).await);
    let fanout =
        FanoutBuilder::default().add_recorder(one.recorder()).add_recorder(other.recorder());
    let recorder = PrefixLayer::new("app").layer(fanout.build());
    with_local_recorder(&recorder, || {
        metrics::describe_counter!("hits", Unit::Bytes, "");
        let hits = counter!("hits");
        hits.increment(2);
        hits.absolute(5);
        gauge!("size").set(4.0);
        histogram!("time").record_many(1.5, 2);
    });
    for hub in [&one, &other] {
        check(hub, &["app.hits 5 By", "app.size 4", "app.time 2 values, sum 3.0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn handles_outlive_their_hub_and_do_not_keep_it() {
    let hub = start(HubConfig::default()).await;
    let recorder = hub.recorder();
    let held = with_local_recorder(&recorder, || counter!("held"));
    let query = MetricsQuery::everything(Duration::from_secs(1));
    let mut subscription = patiently(hub.subscribe_metrics(query)).await.unwrap();
    drop(hub);
    while patiently(subscription.next()).await.is_some() {}
    drop(subscription);

    held.increment(1);
    held.absolute(7);
    with_local_recorder(&recorder, || {
        metrics::describe_counter!("late", Unit::Bytes, "");
        counter!("late").increment(1);
        gauge!("late").set(1.0);
        histogram!("late").record(1.0);
    });
}
