//! One series: what tells it from the others, and what is recorded in it.
//!
//! The store finds a series and records in it; many do so at once. Adding to a counter takes no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::histogram::Histogram;
use super::sample::SampleValue;
use crate::lock;
use crate::measurement::{Amount, MetricKind};

/// What tells one series from another. Attributes are JSON with sorted keys, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeriesKey {
    pub(crate) id: Box<str>,
    pub(crate) kind: MetricKind,
    pub(crate) attributes: Box<str>,
}

impl SeriesKey {
    pub(super) fn plain(id: &str, kind: MetricKind) -> Self {
        Self { id: id.into(), kind, attributes: "".into() }
    }
}

#[derive(Debug)]
pub(super) struct Series {
    pub(super) unit: Option<Arc<str>>,
    instrument: Instrument,
}

#[derive(Debug)]
enum Instrument {
    Counter(Total),
    Gauge(AtomicU64),
    Histogram(Mutex<Histogram>),
}

/// A floating-point sum that many may add to. Exact for whole numbers up to 2^53.
#[derive(Debug, Default)]
pub(super) struct Total(AtomicU64);

impl Total {
    pub(super) fn add(&self, amount: f64) {
        // It may never become infinite: JSON has no word for that.
        let sum = |bits| Some((f64::from_bits(bits) + amount).min(f64::MAX).to_bits());
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum)
            .expect("the sum is always some");
    }

    pub(super) fn set(&self, total: f64) {
        self.0.store(total.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Series {
    pub(super) fn new(kind: MetricKind, unit: Option<&str>) -> Self {
        let instrument = match kind {
            MetricKind::Counter => Instrument::Counter(Total::default()),
            MetricKind::Gauge => Instrument::Gauge(AtomicU64::default()),
            MetricKind::Histogram => Instrument::Histogram(Mutex::new(Histogram::new())),
        };
        Self { unit: unit.map(Arc::from), instrument }
    }

    pub(super) fn record(&self, amount: &Amount) {
        match (&self.instrument, amount) {
            (Instrument::Counter(total), Amount::Add(amount)) => total.add(*amount),
            (Instrument::Counter(total), Amount::Total(amount)) => total.set(*amount),
            (Instrument::Gauge(gauge), Amount::Set(value)) => {
                gauge.store(value.to_bits(), Ordering::Relaxed);
            }
            (Instrument::Histogram(histogram), Amount::Observe(values)) => {
                lock(histogram).observe(values);
            }
            (Instrument::Counter(_) | Instrument::Gauge(_) | Instrument::Histogram(_), _) => {
                unreachable!("the kind of an amount is part of the key of its series")
            }
        }
    }

    pub(super) fn read(&self) -> SampleValue {
        match &self.instrument {
            Instrument::Counter(total) => SampleValue::counter(total.get()),
            Instrument::Gauge(gauge) => {
                SampleValue::Gauge(f64::from_bits(gauge.load(Ordering::Relaxed)))
            }
            Instrument::Histogram(histogram) => lock(histogram).read(),
        }
    }
}
