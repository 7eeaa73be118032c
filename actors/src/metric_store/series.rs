//! One series: what tells it from the others, and what is recorded in it.
//!
//! The store finds a series and records in it; many do so at once. Adding to a counter takes no lock.

use std::sync::{Arc, Mutex};

use super::counter::Counter;
use super::gauge::Gauge;
use super::histogram::Histogram;
use super::places::{Arrival, Room};
use super::sample::SampleValue;
use crate::lock;
use crate::measurement::{Amount, MetricKind, Source};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::value::SmolStr;

/// What tells one series from another. Attributes are JSON with sorted keys, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SeriesKey {
    pub(crate) id: SmolStr,
    pub(crate) kind: MetricKind,
    pub(crate) attributes: Box<str>,
}

impl SeriesKey {
    pub(super) fn plain(id: &str, kind: MetricKind) -> Self {
        Self { id: id.into(), kind, attributes: "".into() }
    }
}

#[derive(Debug)]
pub(crate) struct Series {
    pub(super) unit: Option<Arc<str>>,
    pub(super) instrument: Instrument,
}

#[derive(Debug)]
pub(super) enum Instrument {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Box<Mutex<Histogram>>),
}

impl Series {
    pub(super) fn new(kind: MetricKind, unit: Option<&str>) -> Self {
        let instrument = match kind {
            MetricKind::Counter => Instrument::Counter(Counter::default()),
            MetricKind::Gauge => Instrument::Gauge(Gauge::default()),
            MetricKind::Histogram => Instrument::Histogram(Box::new(Mutex::new(Histogram::new()))),
        };
        Self { unit: unit.map(Arc::from), instrument }
    }

    /// Records an amount, unless it comes too late. Gives back the total of a source for which there is no room.
    pub(super) fn record(
        &self,
        amount: Amount,
        source: Option<Source>,
        room: &Room,
    ) -> Result<Arrival, Amount> {
        match (&self.instrument, amount, source) {
            (Instrument::Counter(counter), Amount::Add(amount), _) => counter.added.add(amount),
            (Instrument::Counter(counter), Amount::Total(total), None) => counter.added.set(total),
            (Instrument::Counter(counter), Amount::Total(total), Some(source)) => {
                return counter.take_total(source, total, room).map_err(Amount::Total);
            }
            (Instrument::Gauge(gauge), Amount::Set(value) | Amount::Level(value), None) => {
                gauge.set(value);
            }
            (Instrument::Gauge(gauge), Amount::Set(value), Some(source)) => {
                return Ok(gauge.set_measured(source, value));
            }
            (Instrument::Gauge(gauge), Amount::Level(value), Some(source)) => {
                return gauge.take_total(source, value, room).map_err(Amount::Level);
            }
            (Instrument::Gauge(gauge), Amount::Change(change), _) => gauge.change(change),
            (Instrument::Histogram(histogram), Amount::Observe(values), _) => {
                lock(histogram).observe(&values);
            }
            (Instrument::Histogram(histogram), Amount::Distribution(distribution), _) => {
                lock(histogram).add(distribution);
            }
            (Instrument::Histogram(histogram), Amount::DistributionTotal(total), None) => {
                lock(histogram).set(total);
            }
            (Instrument::Histogram(histogram), Amount::DistributionTotal(total), Some(source)) => {
                let taken = lock(histogram).take_total(source, total, room);
                return taken.map_err(Amount::DistributionTotal);
            }
            (Instrument::Counter(_) | Instrument::Gauge(_) | Instrument::Histogram(_), _, _) => {
                unreachable!("the kind of an amount is part of the key of its series")
            }
        }
        Ok(Arrival::InTime)
    }

    /// Records what found no series of its own. Of totals only the greatest counts: who says them is not remembered, and
    /// to add them up would count most of it again each time.
    pub(super) fn record_folded(&self, amount: Amount, room: &Room) {
        match (&self.instrument, amount) {
            (Instrument::Counter(counter), Amount::Total(total)) => counter.added.raise(total),
            (Instrument::Histogram(histogram), Amount::DistributionTotal(total)) => {
                lock(histogram).raise(total);
            }
            (_, amount) => {
                self.record(amount, None, room).expect("only totals of a source need room");
            }
        }
    }

    pub(super) fn read(&self) -> SampleValue {
        match &self.instrument {
            Instrument::Counter(counter) => SampleValue::counter(counter.get()),
            Instrument::Gauge(gauge) => SampleValue::Gauge(gauge.get()),
            Instrument::Histogram(histogram) => SampleValue::Histogram(lock(histogram).read()),
        }
    }
}

/// Changes the number whose bits these are, with what has led to that.
pub(super) fn update(bits: &AtomicU64, change: impl Fn(f64) -> f64) {
    let change = |bits| Some(change(f64::from_bits(bits)).to_bits());
    bits.fetch_update(Ordering::Release, Ordering::Relaxed, change)
        .expect("there is always a next value");
}
