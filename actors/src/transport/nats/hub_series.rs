//! What hubs tell one another of themselves: each its own series, once a second, past the stream. What is lost comes again.
//!
//! [`Others`] has the latest of each other hub, as long as it is heard of: whoever reads series reads them there.
//!
//! Supervision: a child of [`NatsTransport`](super::actor::NatsTransport), which ends if this does, and begins with a new one. It waits for
//! nothing but the connection to take what it tells, and for that no longer than a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State as ConnectionState;
use async_nats::{Client, Subscriber};
use futures_util::{FutureExt, StreamExt};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rand::random;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::{Link, subject};
use crate::hub_core::HubCore;
use crate::lock;
use crate::measurement::{MAX_ID_BYTES, MetricKind, canonical_attributes};
use crate::metric_store::{Sample, SampleValue, SeriesKey, Summary};
use crate::timer::Timer;
use crate::value::{Object, SmolStr};

/// How often a hub tells the others of itself.
const INTERVAL: Duration = Duration::from_secs(1);

/// After how long without a word from it a hub is forgotten: some words may be lost.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// Of how many other hubs a hub knows at most; those beyond are not shown.
const MAX_HUBS: usize = 256;

/// How many series a hub may tell of itself. It has some fifty, and what its host counts and records.
const MAX_SERIES: usize = 10_000;

/// How large that may be as a message.
const MAX_BYTES: usize = 1024 * 1024;

/// How much is heard at once: a few words from each hub there may be. What is beyond waits, or is lost.
const MAX_HEARD: usize = 4 * MAX_HUBS;

#[derive(Debug)]
pub(super) enum HubSeriesMessage {
    /// Hears what the others have told, and tells them of this hub.
    Tick,
}

pub(super) struct HubSeries;

pub(super) struct HubSeriesArguments {
    pub(super) link: Arc<Link>,
    pub(super) core: Arc<HubCore>,
    pub(super) client: Client,
}

pub(super) struct HubSeriesState {
    link: Arc<Link>,
    core: Arc<HubCore>,
    client: Client,
    heard: Subscriber,
    /// Tells this hub's words from those of another one of the same name.
    life: u64,
    begun: Instant,
    timer: Option<Timer>,
    has_warned: bool,
}

impl Actor for HubSeries {
    type Msg = HubSeriesMessage;
    type State = HubSeriesState;
    type Arguments = HubSeriesArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let HubSeriesArguments { link, core, client } = arguments;
        let heard = client.subscribe(subject::of_hubs(&link.config.prefix)).await?;
        myself.cast(HubSeriesMessage::Tick)?;
        let (life, begun) = (random(), Instant::now());
        Ok(HubSeriesState {
            link,
            core,
            client,
            heard,
            life,
            begun,
            timer: None,
            has_warned: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        HubSeriesMessage::Tick: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.hear()?;
        state.tell().await;
        state.timer = Some(Timer::start(INTERVAL, &myself, || HubSeriesMessage::Tick));
        Ok(())
    }
}

impl HubSeriesState {
    /// Fails if the connection will never bring anything again.
    fn hear(&mut self) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        for _ in 0..MAX_HEARD {
            match self.heard.next().now_or_never() {
                Some(Some(message)) => self.take(&message.payload, now),
                Some(None) => return Err("the connection to NATS is closed".into()),
                None => break,
            }
        }
        lock(&self.link.others).forget_silent(now);
        Ok(())
    }

    fn take(&mut self, payload: &[u8], now: Instant) {
        let Some(told) = Told::read(payload) else {
            tracing::debug!(bytes = payload.len(), "what a hub tells of itself cannot be read");
            return;
        };
        if told.life == self.life {
            return;
        }
        if told.hub == *self.link.config.hub_name {
            self.warn_once("there is another hub of this one's name: neither shows what the other tells of itself");
            return;
        }
        lock(&self.link.others).take(told, now);
    }

    async fn tell(&mut self) {
        if self.client.connection_state() != ConnectionState::Connected {
            return;
        }
        let hub = &self.link.config.hub_name;
        let at = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut samples = self.core.own_samples();
        let all = samples.len();
        let payload =
            write(hub, self.life, at, &mut samples, MAX_BYTES.min(self.client.max_payload()));
        if samples.len() < all {
            self.warn_once("this hub has more series of its own than it can tell the others of");
        }
        let subject = subject::of_hub(&self.link.config.prefix, &self.link.config.hub_name);
        // What cannot be told now is told the next time.
        timeout(INTERVAL, self.client.publish(subject, payload.into())).await.ok();
    }

    /// Once for each connection: it would be said each second.
    fn warn_once(&mut self, what: &str) {
        if !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!("{what}");
        }
    }
}

/// What a hub tells of itself. The series are those of a metrics frame.
#[derive(Serialize)]
struct Telling<'a> {
    hub: &'a str,
    life: u64,
    at: u64,
    series: &'a [Sample],
}

/// Leaves out the last series if there are too many.
fn write(hub: &str, life: u64, at: u64, samples: &mut Vec<Sample>, limit: usize) -> Vec<u8> {
    samples.truncate(MAX_SERIES);
    loop {
        let telling = Telling { hub, life, at, series: samples };
        let payload = serde_json::to_vec(&telling).expect("samples are always valid JSON");
        if payload.len() <= limit || samples.is_empty() {
            return payload;
        }
        samples.truncate(samples.len() / 2);
    }
}

/// What another hub has told of itself.
#[derive(Debug, Deserialize)]
struct Told {
    hub: SmolStr,
    /// Another one each time that the hub begins anew.
    life: u64,
    /// When it was told, in milliseconds of that life.
    at: u64,
    series: Vec<ToldSeries>,
}

#[derive(Debug, Deserialize)]
struct ToldSeries {
    id: SmolStr,
    #[serde(rename = "type")]
    kind: MetricKind,
    value: Option<f64>,
    count: Option<u64>,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    unit: Option<SmolStr>,
    #[serde(default)]
    attributes: Object,
}

impl Told {
    fn read(payload: &[u8]) -> Option<Self> {
        if payload.len() > MAX_BYTES {
            return None;
        }
        let told: Self = serde_json::from_slice(payload).ok()?;
        (told.hub.len() <= MAX_ID_BYTES && told.series.len() <= MAX_SERIES).then_some(told)
    }
}

impl ToldSeries {
    /// None if it does not say what series of its kind say.
    fn into_sample(self, hub: &str) -> Option<Sample> {
        let Self { id, kind, value, count, sum, min, max, p50, p90, p99, unit, attributes } = self;
        let value = match kind {
            MetricKind::Counter => SampleValue::Counter { value: value?, rate: None },
            MetricKind::Gauge => SampleValue::Gauge(value?),
            MetricKind::Histogram => {
                SampleValue::Histogram(Summary { count: count?, sum, min, max, p50, p90, p99 })
            }
        };
        let key = SeriesKey { id, kind, attributes: canonical_attributes(attributes) };
        Some(Sample::new(key, unit.as_deref(), value).of_hub(hub))
    }
}

/// The other hubs.
#[derive(Debug, Default)]
pub(super) struct Others(HashMap<SmolStr, Other>);

#[derive(Debug)]
struct Other {
    life: u64,
    at: u64,
    heard_at: Instant,
    counters: HashMap<Arc<SeriesKey>, f64>,
    /// None before it has told of itself twice: then it is known how fast its counters grow.
    samples: Vec<Sample>,
}

impl Others {
    /// What all of them have told, of those that have been heard of.
    pub(super) fn samples(&self, now: Instant) -> Vec<Sample> {
        let heard = self.0.values().filter(|other| !other.is_silent(now));
        heard.flat_map(|other| other.samples.iter().cloned()).collect()
    }

    fn forget_silent(&mut self, now: Instant) {
        self.0.retain(|_, other| !other.is_silent(now));
    }

    fn take(&mut self, told: Told, now: Instant) {
        let Told { hub, life, at, series } = told;
        let before = self.0.get(&hub).filter(|before| before.life == life);
        let is_old = before.is_some_and(|before| at <= before.at);
        if is_old || (self.0.len() >= MAX_HUBS && !self.0.contains_key(&hub)) {
            return;
        }
        let samples: Vec<Sample> =
            series.into_iter().filter_map(|series| series.into_sample(&hub)).collect();
        let counters = samples.iter().filter_map(|sample| match sample.value() {
            SampleValue::Counter { value, .. } => Some((Arc::clone(sample.key()), value)),
            SampleValue::Gauge(_) | SampleValue::Histogram(_) => None,
        });
        let counters = counters.collect();
        let samples = before.map_or_else(Vec::new, |before| {
            let seconds = Duration::from_millis(at - before.at).as_secs_f64();
            let with_rate = |sample: Sample| {
                let earlier = before.counters.get(sample.key()).copied();
                sample.since(earlier, seconds)
            };
            samples.into_iter().map(with_rate).collect()
        });
        self.0.insert(hub, Other { life, at, heard_at: now, counters, samples });
    }
}

impl Other {
    fn is_silent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) >= FORGOTTEN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(hub: &str, life: u64, at: u64, received: u64) -> Told {
        let mut samples = vec![
            Sample::own_counter("hub.events.received", received),
            Sample::own_gauge("server.memory", Some("By"), 1.5),
        ];
        Told::read(&write(hub, life, at, &mut samples, usize::MAX)).unwrap()
    }

    /// What a hub's counter says, and how fast it grows.
    fn received(others: &Others, now: Instant, hub: &str) -> Option<(f64, f64)> {
        let attributes = format!(r#"{{"hub":"{hub}"}}"#);
        let samples = others.samples(now);
        let mut of_hub = samples.iter().filter(|sample| sample.attributes() == attributes);
        of_hub.find_map(|sample| match sample.value() {
            SampleValue::Counter { value, rate } => Some((value, rate.unwrap())),
            SampleValue::Gauge(_) | SampleValue::Histogram(_) => None,
        })
    }

    #[test]
    fn a_hub_is_shown_from_its_second_word_until_it_is_silent() {
        let (mut others, begun) = (Others::default(), Instant::now());
        let second = |number| begun + Duration::from_secs(number);
        others.take(told("a", 1, 500, 100), begun);
        assert_eq!(others.samples(begun), []);
        others.take(told("a", 1, 2500, 160), second(1));
        assert_eq!(received(&others, second(1), "a"), Some((160.0, 30.0)));
        // The same again, or late.
        others.take(told("a", 1, 2500, 170), second(2));
        others.take(told("a", 1, 500, 100), second(2));
        assert_eq!(received(&others, second(2), "a"), Some((160.0, 30.0)));
        assert_eq!(others.samples(second(10)).len(), 2);
        assert_eq!(others.samples(second(11)), []);
        others.forget_silent(second(11));
        assert!(others.0.is_empty());
    }

    #[test]
    fn a_hub_that_begins_anew_begins_at_zero() {
        let (mut others, now) = (Others::default(), Instant::now());
        others.take(told("a", 1, 90_000, 100), now);
        others.take(told("a", 1, 91_000, 110), now);
        others.take(told("a", 2, 10, 4), now);
        assert_eq!(received(&others, now, "a"), None);
        others.take(told("a", 2, 1010, 9), now);
        assert_eq!(received(&others, now, "a"), Some((9.0, 5.0)));
    }

    #[test]
    fn there_are_only_so_many_hubs_and_series() {
        let (mut others, now) = (Others::default(), Instant::now());
        for at in [1, 2] {
            for number in 0..=MAX_HUBS {
                others.take(told(&number.to_string(), 1, at, 1), now);
            }
        }
        assert_eq!(others.samples(now).len(), 2 * MAX_HUBS);
        let many = |number| (0..number).map(|n| Sample::own_counter(&n.to_string(), 1)).collect();
        let mut samples: Vec<Sample> = many(MAX_SERIES + 1);
        write("a", 1, 1, &mut samples, usize::MAX);
        assert_eq!(samples.len(), MAX_SERIES);
        let payload = write("a", 1, 1, &mut samples, 10_000);
        assert!(payload.len() <= 10_000 && !samples.is_empty());
        assert_eq!(Told::read(&payload).unwrap().series.len(), samples.len());
        assert!(Told::read(&vec![b' '; MAX_BYTES + 1]).is_none());
    }

    #[test]
    fn every_kind_of_series_is_told_as_it_is() {
        let attributes = r#"{"hub":"mine","k":"v"}"#;
        let key = |kind| SeriesKey { id: "m".into(), kind, attributes: attributes.into() };
        let summary = Summary {
            count: 3,
            sum: Some(0.1 + 0.2),
            min: None,
            max: Some(-7.0),
            p50: Some(1e300),
            p90: None,
            p99: None,
        };
        let mut samples = vec![
            Sample::new(key(MetricKind::Gauge), Some("By"), SampleValue::Gauge(0.1)),
            Sample::new(key(MetricKind::Histogram), None, SampleValue::Histogram(summary)),
        ];
        let all: Vec<Sample> = samples.iter().cloned().map(|sample| sample.of_hub("a")).collect();
        let mut others = Others::default();
        let now = Instant::now();
        for at in [1, 2] {
            others.take(Told::read(&write("a", 1, at, &mut samples, usize::MAX)).unwrap(), now);
        }
        assert_eq!(others.samples(now), all);
        assert_eq!(all[0].attributes(), r#"{"exported_hub":"mine","hub":"a","k":"v"}"#);
    }
}
