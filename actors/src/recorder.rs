//! A recorder for the [`metrics`] crate: what a program measures with its macros goes into a hub's series.
//!
//! A handle that the macros give out holds its series itself: counting takes one atomic operation, no lock, and no look for
//! a name. The recorder, which a program installs for good, must not keep a hub alive, nor what is left of one that has
//! stopped: it only knows where the series are as long as they are there.

use std::sync::{Arc, Weak};

use metrics::{Key, KeyName, Metadata, Recorder, SetRecorderError, SharedString, Unit};

use crate::handle::HubHandle;
use crate::measurement::{Measurement, MetricKind};
use crate::metric_store::{MetricStore, Series};
use crate::value::Object;

/// Takes what a program measures through the [`metrics`] crate into a hub. Off unless the feature `metrics` is on.
///
/// ```
/// use telemetry_hub_actors::{HubConfig, HubHandle, SampleValue};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = HubHandle::start(HubConfig::default()).await?;
/// hub.recorder().install()?;
///
/// metrics::describe_counter!("smtp.bytes", metrics::Unit::Bytes, "what was received");
/// let bytes = metrics::counter!("smtp.bytes", "listener" => "submission");
/// bytes.increment(2923);
///
/// let samples = hub.metrics();
/// let sample = samples.iter().find(|sample| sample.id() == "smtp.bytes").unwrap();
/// assert_eq!(sample.value(), SampleValue::Counter { value: 2923.0, rate: None });
/// assert_eq!(sample.attributes(), r#"{"listener":"submission"}"#);
/// assert_eq!(sample.unit(), Some("By"));
/// # Ok(())
/// # }
/// ```
///
/// Names stay as they are; labels are attributes; units are written as UCUM writes them. A metric that can have no series
/// of its own (a name that is too long or one of the hub's own, too many labels, more than `max_series`) writes into the
/// series `other` of its kind, and `hub.metrics.folded` counts each handle that was given out for it. Numbers that are not
/// finite are ignored.
///
/// What is measured so is this program's own: if its hub is joined to others, it goes into no stream, and each series has the attribute
/// `hub`, the hub's name, by which all of them show it. (A label of that name becomes `exported_hub`.)
///
/// It works behind any layer. It keeps no hub running: when the last [`HubHandle`] is dropped the hub stops, and from then
/// on what is measured goes nowhere.
#[derive(Debug, Clone)]
pub struct HubRecorder {
    store: Weak<MetricStore>,
}

impl HubRecorder {
    /// A recorder for this hub.
    pub fn new(hub: &HubHandle) -> Self {
        Self { store: Arc::downgrade(hub.metric_store()) }
    }

    /// Makes it the recorder of the whole program, for good. Fails if there is one already.
    pub fn install(self) -> Result<(), SetRecorderError<Self>> {
        metrics::set_global_recorder(self)
    }

    /// The series of a metric, unless the hub is gone.
    fn series(&self, key: &Key, measurement: Measurement) -> Option<Arc<Series>> {
        Some(self.store.upgrade()?.register(measurement.attributes(attributes(key))))
    }

    fn describe(&self, kind: MetricKind, key: &KeyName, unit: Option<Unit>) {
        if let (Some(store), Some(unit)) = (self.store.upgrade(), unit.and_then(ucum)) {
            store.describe(kind, key.as_str(), unit);
        }
    }
}

impl Recorder for HubRecorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _description: SharedString) {
        self.describe(MetricKind::Counter, &key, unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _description: SharedString) {
        self.describe(MetricKind::Gauge, &key, unit);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _description: SharedString) {
        self.describe(MetricKind::Histogram, &key, unit);
    }

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> metrics::Counter {
        let series = self.series(key, Measurement::counter(key.name(), 0.0));
        series.map_or_else(metrics::Counter::noop, metrics::Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _metadata: &Metadata<'_>) -> metrics::Gauge {
        let series = self.series(key, Measurement::gauge_change(key.name(), 0.0));
        series.map_or_else(metrics::Gauge::noop, metrics::Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> metrics::Histogram {
        let series = self.series(key, Measurement::histogram(key.name(), []));
        series.map_or_else(metrics::Histogram::noop, metrics::Histogram::from_arc)
    }
}

fn attributes(key: &Key) -> Object {
    key.labels().map(|label| (label.key().into(), label.value().into())).collect()
}

/// The unit as UCUM writes it; a bare count has none.
fn ucum(unit: Unit) -> Option<&'static str> {
    Some(match unit {
        Unit::Count => return None,
        Unit::Percent => "%",
        Unit::Seconds => "s",
        Unit::Milliseconds => "ms",
        Unit::Microseconds => "us",
        Unit::Nanoseconds => "ns",
        Unit::Tebibytes => "TiBy",
        Unit::Gibibytes => "GiBy",
        Unit::Mebibytes => "MiBy",
        Unit::Kibibytes => "KiBy",
        Unit::Bytes => "By",
        Unit::TerabitsPerSecond => "Tbit/s",
        Unit::GigabitsPerSecond => "Gbit/s",
        Unit::MegabitsPerSecond => "Mbit/s",
        Unit::KilobitsPerSecond => "kbit/s",
        Unit::BitsPerSecond => "bit/s",
        Unit::CountPerSecond => "1/s",
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::HubConfig;

    #[tokio::test(start_paused = true)]
    async fn recorder_keeps_nothing_of_a_hub_that_stopped() {
        let hub = HubHandle::start(HubConfig::default()).await.unwrap();
        let recorder = hub.recorder();
        let held = metrics::with_local_recorder(&recorder, || metrics::counter!("held"));
        drop(hub);
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let gone = async {
            while recorder.store.upgrade().is_some() {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
        held.increment(1);
    }
}
