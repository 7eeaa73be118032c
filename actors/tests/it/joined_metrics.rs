//! Metrics of hubs that are joined by a real NATS server: what each of several shows of what was sent to one of them.
//!
//! Without a server only what needs none is tried.

use std::time::Duration;

use jiff::Timestamp;
use metrics::{counter, with_local_recorder};
use telemetry_hub_actors::{
    Bucket, Distribution, Fault, HubConfig, HubHandle, IngestError, Measurement, MeasurementError,
    MetricsQuery, Sample, SampleValue, Selection, Shape, Source,
};
use tokio::time::Instant;

use crate::harness::{
    eventually, eventually_stats, numbered, numbers, patiently, read_replay, read_until, subscribe,
};
use crate::nats_server::{Server, join};

/// A series on one line: name, attributes and value.
fn line(sample: &Sample) -> String {
    let value = match sample.value() {
        SampleValue::Counter { value, .. } | SampleValue::Gauge(value) => value.to_string(),
        SampleValue::Histogram(summary) => format!("{}/{:?}", summary.count, summary.sum.unwrap()),
    };
    format!("{}{} {value}", sample.id(), sample.attributes())
}

/// What sources measure: all that is of no hub.
fn merged(hub: &HubHandle) -> Vec<String> {
    let samples = hub.metrics();
    samples.iter().filter(|sample| !sample.attributes().contains(r#""hub":"#)).map(line).collect()
}

/// Waits until each of the hubs shows the same, and this.
async fn all_show(hubs: &[&HubHandle], expected: &[&str]) {
    for hub in hubs {
        eventually(|| merged(hub), |lines| lines == expected).await;
    }
}

async fn send(hub: &HubHandle, measurement: Measurement) {
    patiently(hub.record_all(vec![measurement])).await.unwrap();
}

fn at(second: i64) -> Source {
    let time = |second| Some(Timestamp::from_second(1_790_000_000 + second).unwrap());
    Source { id: 7, started: time(0), at: time(second) }
}

fn distribution(count: u64, sum: f64) -> Distribution {
    let buckets = vec![Bucket { lower: f64::NEG_INFINITY, upper: f64::INFINITY, count }];
    Distribution { count, sum: Some(sum), min: None, max: None, shape: Shape::Buckets(buckets) }
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn each_source_counts_once_whichever_hub_it_sends_to() {
    let server = Server::started();
    let (a, b) = (server.joined("a").await, server.joined("b").await);
    let total = |second, total| Measurement::counter_total("orders", total).from_source(at(second));
    send(&a, total(10, 5.0)).await;
    send(&b, total(20, 8.0)).await;
    all_show(&[&a, &b], &["orders 8"]).await;
    // What comes late does so on all of them.
    send(&a, total(15, 6.0)).await;
    // It began anew, and is another source as well.
    send(&a, Measurement::counter_total("orders", 1.0).from_source(Source { id: 8, ..at(30) }))
        .await;
    all_show(&[&a, &b], &["orders 9"]).await;
    for hub in [&a, &b] {
        let late = |samples: &[Sample], name| {
            let attributes = format!(r#"{{"hub":"{name}"}}"#);
            samples.iter().any(|sample| {
                sample.attributes() == attributes
                    && line(sample).ends_with(" 1")
                    && sample.id() == "hub.metrics.late"
            })
        };
        eventually(|| hub.metrics(), |samples| late(samples, "a") && late(samples, "b")).await;
    }
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn every_kind_of_measurement_means_what_it_means_to_one_hub() {
    let server = Server::started();
    let (a, b) = (server.joined("a").await, server.joined("b").await);
    let alone = HubHandle::start(HubConfig::default()).await.unwrap();
    let measurements = || {
        vec![
            Measurement::counter("deltas", 2.0),
            Measurement::counter("deltas", 3.5),
            Measurement::gauge("latest", 1.0).from_source(at(10)),
            Measurement::gauge("latest", 2.0).from_source(at(20)),
            Measurement::gauge("latest", 3.0).from_source(at(15)),
            Measurement::gauge_change("changes", -4.0).unit("By"),
            Measurement::gauge_change("changes", 0.1),
            Measurement::gauge_total("levels", 5.0).from_source(at(10)),
            Measurement::gauge_total("levels", 7.0).from_source(Source { id: 8, ..at(11) }),
            Measurement::histogram("values", [1.0, 2.5]),
            Measurement::histogram("values", [3.0]),
            Measurement::distribution("spread", distribution(3, 0.1)),
            Measurement::distribution("spread", distribution(4, 0.2)),
            Measurement::distribution_total("spread.totals", distribution(3, 6.0))
                .from_source(at(10)),
            Measurement::distribution_total("spread.totals", distribution(5, 9.0))
                .from_source(at(20)),
        ]
    };
    for (index, measurement) in measurements().into_iter().enumerate() {
        send([&a, &b][index % 2], measurement).await;
    }
    patiently(alone.record_all(measurements())).await.unwrap();
    let of_sources = |sample: &&Sample| {
        !["hub.", "server.", "queue."].iter().any(|own| sample.id().starts_with(own))
    };
    let expected: Vec<String> = alone.metrics().iter().filter(of_sources).map(line).collect();
    assert_eq!(expected.len(), 7);
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    all_show(&[&a, &b], &expected).await;
    // One that comes later reads it all from the stream.
    let c = server.joined("c").await;
    all_show(&[&c], &expected).await;
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn many_measurements_come_in_their_order_and_no_time_of_the_future_does() {
    let server = Server::started();
    let (a, b) = (server.joined("a").await, server.joined("b").await);
    let attributes = |service: u64| {
        let name = format!("service {service}");
        [("service.name".into(), name.as_str().into())].into_iter().collect()
    };
    let gauge =
        |number: u64| Measurement::gauge("g", number as f64).attributes(attributes(number % 3));
    // More than a message may hold.
    let padding = [("padding".into(), "x".repeat(1000).as_str().into())];
    let large = |number: u64| {
        Measurement::counter("c", number as f64).attributes(padding.clone().into_iter().collect())
    };
    patiently(a.record_all((1..=9000).map(gauge).collect())).await.unwrap();
    patiently(b.record_all((1..=2000).map(large).collect())).await.unwrap();
    let far = Timestamp::from_second(Timestamp::now().as_second() + 3600).unwrap();
    let source = |at| Source { id: 1, started: None, at: Some(at) };
    send(&a, Measurement::gauge("time", 1.0).from_source(source(far))).await;
    // The stream had that one before.
    send(&b, Measurement::gauge("time", 2.0).from_source(source(Timestamp::now()))).await;
    let padded = format!(r#"c{{"padding":"{}"}} 2001000"#, "x".repeat(1000));
    let expected = [
        padded.as_str(),
        r#"g{"service.name":"service 0"} 9000"#,
        r#"g{"service.name":"service 1"} 8998"#,
        r#"g{"service.name":"service 2"} 8999"#,
        "time 2",
    ];
    all_show(&[&a, &b], &expected).await;
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn each_hub_shows_every_hubs_own_series_as_long_as_it_is_there() {
    let server = Server::started();
    let (a, b) = (server.joined("a").await, server.joined("b").await);
    a.reserve("server.");
    a.count("server.requests", 3);
    let recorder = a.recorder();
    with_local_recorder(&recorder, || counter!("smtp.bytes", "hub" => "x").increment(7));
    patiently(a.ingest(vec![numbered(1), numbered(2)])).await.unwrap();
    // The type of an event is counted where all see it.
    all_show(&[&a, &b], &["test 2"]).await;
    assert_eq!(
        a.metrics_of(&"hub.here".parse().unwrap()).iter().map(line).collect::<Vec<_>>(),
        [r#"hub.here{"hub":"a"} 1"#]
    );
    let own = [
        r#"hub.events.received{"hub":"a"} 2"#,
        r#"hub.events.received{"hub":"b"} 0"#,
        r#"server.requests{"hub":"a"} 3"#,
        r#"smtp.bytes{"exported_hub":"x","hub":"a"} 7"#,
    ];
    let shown = |hub: &HubHandle| -> Vec<String> {
        let selection = "hub.events.received,server.requests,smtp".parse::<Selection>().unwrap();
        hub.metrics_of(&selection).iter().map(line).collect()
    };
    for hub in [&a, &b] {
        eventually(|| shown(hub), |lines| *lines == own).await;
    }
    // Who asks each of them gets each once.
    let selection = Selection::everything();
    let here = |hub: &HubHandle| hub.metrics_here(&selection).iter().map(line).collect::<Vec<_>>();
    assert!(here(&a).contains(&own[0].to_owned()) && !here(&a).contains(&own[1].to_owned()));
    assert!(here(&b).contains(&own[1].to_owned()) && here(&b).contains(&"test 2".to_owned()));
    assert!(!here(&b).iter().any(|line| line.contains(r#""hub":"a""#)));
    // No source says what a hub does, and what the host of one measures it says better itself.
    let of_hub = |id, members: [(&str, &str); 2]| {
        let members = members.into_iter().filter(|(key, _)| !key.is_empty());
        let attributes = members.map(|(key, value)| (key.into(), value.into())).collect();
        Measurement::counter(id, 1e6).attributes(attributes)
    };
    let pretended = of_hub("hub.events.received", [("hub", "a"), ("", "")]);
    let reserved = MeasurementError::Reserved("hub.events.received".into());
    assert_eq!(b.record(pretended), Err(reserved));
    send(&b, of_hub("smtp.bytes", [("exported_hub", "x"), ("hub", "a")])).await;
    send(&b, Measurement::counter("told", 1.0)).await;
    all_show(&[&a, &b], &["test 2", "told 1"]).await;
    assert_eq!([shown(&a), shown(&b)], [own, own]);
    // A live stream has them too, and their rates.
    let query = MetricsQuery::parse("metrics=hub.events.received&interval=1").unwrap();
    let mut subscription = patiently(b.subscribe_metrics(query)).await.unwrap();
    let frame = patiently(subscription.next()).await.unwrap();
    assert_eq!(frame.iter().map(line).collect::<Vec<_>>(), own[..2]);
    let frame = patiently(subscription.next()).await.unwrap();
    for sample in frame {
        let is_steady = matches!(sample.value(), SampleValue::Counter { rate: Some(0.0), .. });
        assert!(is_steady, "{sample:?}");
    }
    drop(subscription);
    let gone = Instant::now();
    drop(a);
    let left = [own[1], r#"smtp.bytes{"exported_hub":"x","hub":"a"} 1000000"#];
    eventually(|| shown(&b), |lines| *lines == left).await;
    let after = gone.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(13)).contains(&after), "{after:?}");
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn what_is_recorded_apart_is_refused_or_published_later() {
    let mut server = Server::new();
    let hub = server.hub("a").await;
    let refused = patiently(hub.record_all(vec![Measurement::counter("c", 1.0)])).await;
    assert_eq!(refused, Err(IngestError::Unavailable));
    hub.record(Measurement::counter("c", 10.0)).unwrap();
    server.start();
    join(&hub).await;
    hub.record(Measurement::counter("c", 100.0)).unwrap();
    all_show(&[&hub], &["c 110"]).await;
    let count = r#"hub.metrics.refused{"hub":"a"} 1"#;
    assert!(hub.metrics().iter().map(line).any(|line| line == count));
}

#[tokio::test]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn measurements_are_no_events() {
    let server = Server::started();
    let config = HubConfig { replay_bytes: 0, ..HubConfig::default() };
    let hub = server.hub_with("a", config).await;
    join(&hub).await;
    for number in 1..=3 {
        patiently(hub.ingest(vec![numbered(number)])).await.unwrap();
        send(&hub, Measurement::counter("c", 1.0)).await;
    }
    all_show(&[&hub], &["c 3", "test 3"]).await;
    let mut subscription = subscribe(&hub, "since=1h").await;
    let said = read_replay(&mut subscription).await;
    assert_eq!(numbers(&said), [1, 2, 3], "{said:?}");
    let unreadable = r#"hub.transport.unreadable{"hub":"a"} 0"#;
    assert!(hub.metrics().iter().map(line).any(|line| line == unreadable));
}

#[tokio::test]
async fn a_hub_that_is_apart_takes_what_there_is_room_for() {
    let server = Server::new();
    let config = HubConfig { ingest_queue_bytes: 10_000, ..HubConfig::default() };
    let hub = server.hub_with("a", config).await;
    let offer = || hub.record(Measurement::histogram("h", vec![1.0; 500]));
    assert_eq!(offer(), Ok(()));
    assert_eq!(offer(), Ok(()));
    assert_eq!(offer(), Err(MeasurementError::NoRoom));
    let refused =
        patiently(hub.record_all(vec![Measurement::histogram("h", vec![1.0; 500])])).await;
    assert_eq!(refused, Err(IngestError::QueueFull));
    let count = r#"hub.metrics.refused{"hub":"a"} 2"#;
    assert!(hub.metrics().iter().map(line).any(|line| line == count));
    assert_eq!(merged(&hub), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn what_is_offered_comes_once_and_in_order_however_often_the_transport_is_killed() {
    let server = Server::started();
    let hub = server.joined("a").await;
    let mut subscription = subscribe(&hub, "").await;
    for number in 1..=2000 {
        hub.try_ingest(vec![numbered(number)]).unwrap();
        if number % 500 == 250 {
            let before = hub.stats().transport_restarts;
            hub.inject(Fault::KillTransport).await;
            eventually_stats(&hub, |stats| stats.transport_restarts == before + 1).await;
        }
        tokio::task::yield_now().await;
    }
    let said = read_until(&mut subscription, 2000).await;
    assert_eq!(numbers(&said), (1..=2000).collect::<Vec<_>>());
    let failed = r#"hub.transport.failed{"hub":"a"} 0"#;
    assert!(hub.metrics().iter().map(line).any(|line| line == failed));
    drop(subscription);
    patiently(hub.shutdown(Duration::from_secs(10))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs nats-server: tests/cluster/install"]
async fn what_is_read_again_comes_once_though_half_of_it_had_been_taken() {
    const MESSAGES: u64 = 30;
    const EVENTS: u64 = 100;
    let server = Server::started();
    let sender = server.joined("a").await;
    // A message fills the queue many times over: whoever reads it is mostly in the middle of one.
    let (ingest_queue_bytes, linger) = (1_000, Duration::ZERO);
    let config = HubConfig { ingest_queue_bytes, linger, ..HubConfig::default() };
    let hub = server.hub_with("b", config).await;
    join(&hub).await;
    let mut subscription = subscribe(&hub, "").await;
    let publish = async {
        for first in (0..MESSAGES).map(|message| message * EVENTS) {
            let events = (first..first + EVENTS).map(numbered).collect();
            patiently(sender.ingest(events)).await.unwrap();
        }
    };
    let kill = async {
        for restarts in 1..=4 {
            let received = hub.stats().delivered;
            eventually_stats(&hub, |stats| stats.delivered > received + 50).await;
            hub.inject(Fault::KillTransport).await;
            eventually_stats(&hub, |stats| stats.transport_restarts == restarts).await;
        }
    };
    let last = MESSAGES * EVENTS - 1;
    let (said, (), ()) = tokio::join!(read_until(&mut subscription, last), publish, kill);
    assert_eq!(numbers(&said), (0..=last).collect::<Vec<_>>());
}
