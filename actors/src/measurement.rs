//! Measurements: what sources tell about their metrics.

mod distribution;
mod json;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::distribution::{Bucket, Distribution, Shape};
use crate::value::{Object, SmolStr};

/// How long a metric's name may be, in bytes (OpenTelemetry's own limit for instrument names).
pub(crate) const MAX_ID_BYTES: usize = 255;

/// How long a unit may be, in bytes (OpenTelemetry's own limit).
const MAX_UNIT_BYTES: usize = 63;

/// How large the attributes of a series may be, as JSON in bytes: each series holds a copy.
const MAX_ATTRIBUTES_BYTES: usize = 4096;

/// OpenTelemetry's kinds of metric, as far as they differ to those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the field's own names")]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One thing measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    pub(crate) id: SmolStr,
    pub(crate) amount: Amount,
    pub(crate) source: Option<Source>,
    pub(crate) unit: Option<SmolStr>,
    pub(crate) attributes: Box<str>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Amount {
    Add(f64),
    Total(f64),
    Set(f64),
    Change(f64),
    /// What one source adds to a gauge.
    Level(f64),
    Observe(Vec<f64>),
    Distribution(Distribution),
    DistributionTotal(Distribution),
}

/// Who counts, since when, and until when.
///
/// A series is what was added to it and the latest total of each source. Of one source, a total replaces the one before;
/// what is older (`at`) than the latest comes too late: it is ignored, and `hub.metrics.late` counts it.
///
/// Of counters and histograms, what shares an `id` but not `started` counts side by side: it was restarted, and what it had
/// counted before is kept, or there are several that do not tell themselves apart. One that counts less than before
/// without being older has begun anew, too. A gauge does not go on from an earlier life: of one `id`, a later start replaces
/// what was said before, and an earlier one comes too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Tells whatever counts for itself from all others: two that share an id, and do not say when they began, seem one
    /// that begins anew all the time.
    pub id: u64,
    /// When it began to count.
    pub started: Option<Timestamp>,
    /// When it had counted so much.
    pub at: Option<Timestamp>,
}

/// Why something is no measurement, or is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeasurementError {
    /// Not an object.
    #[error("a metric is an object, not {0}")]
    NotAnObject(&'static str),
    /// No name, or one that is too long.
    #[error("id: expected a name of 1 to {MAX_ID_BYTES} bytes")]
    BadId,
    /// A kind that is none.
    #[error("type: expected \"counter\", \"gauge\" or \"histogram\"")]
    BadType,
    /// A member with a value that it cannot have.
    #[error("{member}: expected {expected}")]
    BadMember {
        /// The member's name.
        member: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// Too many or too large attributes.
    #[error("attributes: over {MAX_ATTRIBUTES_BYTES} bytes")]
    AttributesTooLarge,
    /// The hub is joined to others, and their stream takes no message that is so large.
    #[error("{bytes} bytes as a message, over the limit of {limit} for one measurement")]
    TooLarge {
        /// How large it would be.
        bytes: usize,
        /// How large a message may be.
        limit: usize,
    },
    /// One of the hub's own series, or of its host's.
    #[error("id: {0} is a series of the hub itself; give yours attributes to tell them apart")]
    Reserved(SmolStr),
    /// The hub is joined to others, and too much is on its way to their stream already.
    #[error("no room for what is on its way to the stream of the hubs")]
    NoRoom,
}

impl Measurement {
    /// Adds to a counter; `amount` is at least 0.
    pub fn counter(id: &str, amount: f64) -> Self {
        Self::new(id, Amount::Add(amount))
    }

    /// All that was counted. Without a source it sets the counter's total, whatever was added before.
    pub fn counter_total(id: &str, total: f64) -> Self {
        Self::new(id, Amount::Total(total))
    }

    /// Sets a gauge. With a source that says when, only if nothing newer is there, whoever said it.
    pub fn gauge(id: &str, value: f64) -> Self {
        Self::new(id, Amount::Set(value))
    }

    /// Adds to a gauge, which begins at zero; `change` may be negative.
    pub fn gauge_change(id: &str, change: f64) -> Self {
        Self::new(id, Amount::Change(change))
    }

    /// What its source, one of several, has just now: the gauge shows the sum over all of them, and what was set or changed
    /// besides. Without a source it sets the gauge.
    pub fn gauge_total(id: &str, value: f64) -> Self {
        Self::new(id, Amount::Level(value))
    }

    /// Puts values into a histogram.
    pub fn histogram(id: &str, values: impl Into<Vec<f64>>) -> Self {
        Self::new(id, Amount::Observe(values.into()))
    }

    /// Adds to a histogram what came since the last such measurement.
    pub fn distribution(id: &str, distribution: Distribution) -> Self {
        Self::new(id, Amount::Distribution(distribution))
    }

    /// All that came since its source began. Without a source it sets the histogram, whatever was put in before.
    pub fn distribution_total(id: &str, distribution: Distribution) -> Self {
        Self::new(id, Amount::DistributionTotal(distribution))
    }

    fn new(id: &str, amount: Amount) -> Self {
        Self { id: id.into(), amount, source: None, unit: None, attributes: "".into() }
    }

    /// Says whose total it is, or when a gauge was measured. Means nothing to what is added, changed or put in.
    #[must_use]
    pub fn from_source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// With a unit, in the notation of UCUM: `By`, `ms`, `{event}`.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// With attributes: they tell series of one name apart.
    #[must_use]
    pub fn attributes(mut self, attributes: Object) -> Self {
        self.attributes = canonical_attributes(attributes);
        self
    }

    pub(crate) fn kind(&self) -> MetricKind {
        match self.amount {
            Amount::Add(_) | Amount::Total(_) => MetricKind::Counter,
            Amount::Set(_) | Amount::Change(_) | Amount::Level(_) => MetricKind::Gauge,
            Amount::Observe(_) | Amount::Distribution(_) | Amount::DistributionTotal(_) => {
                MetricKind::Histogram
            }
        }
    }

    /// Whether it is a total that is kept for its source.
    pub(crate) fn is_total_of_source(&self) -> bool {
        let is_total = match self.amount {
            Amount::Total(_) | Amount::Level(_) | Amount::DistributionTotal(_) => true,
            Amount::Add(_)
            | Amount::Set(_)
            | Amount::Change(_)
            | Amount::Observe(_)
            | Amount::Distribution(_) => false,
        };
        is_total && self.source.is_some()
    }

    /// About how many bytes it takes in memory.
    pub fn size(&self) -> usize {
        let parts = match &self.amount {
            Amount::Add(_)
            | Amount::Total(_)
            | Amount::Set(_)
            | Amount::Change(_)
            | Amount::Level(_) => 0,
            Amount::Observe(values) => values.len() * size_of::<f64>(),
            Amount::Distribution(distribution) | Amount::DistributionTotal(distribution) => {
                distribution.size()
            }
        };
        let texts =
            self.id.len() + self.unit.as_ref().map_or(0, SmolStr::len) + self.attributes.len();
        size_of::<Self>() + texts + parts
    }

    /// Takes no time from the future: it would make all that comes until then too late. When a counter began only tells it
    /// from others, and stays as it is: a start that moved with the clock would be a new one each time.
    pub(crate) fn not_after(mut self, now: Timestamp) -> Self {
        let is_gauge = self.kind() == MetricKind::Gauge;
        let Some(source) = &mut self.source else { return self };
        source.at = source.at.map(|at| at.min(now));
        if is_gauge {
            source.started = source.started.map(|started| started.min(now));
        }
        self
    }

    /// Checks what every measurement must keep to, wherever it comes from.
    pub(crate) fn check(&self) -> Result<(), MeasurementError> {
        if self.id.is_empty() || self.id.len() > MAX_ID_BYTES {
            return Err(MeasurementError::BadId);
        }
        if self.unit.as_ref().is_some_and(|unit| unit.len() > MAX_UNIT_BYTES) {
            return Err(bad("unit", "63 bytes at most"));
        }
        if self.attributes.len() > MAX_ATTRIBUTES_BYTES {
            return Err(MeasurementError::AttributesTooLarge);
        }
        match &self.amount {
            Amount::Add(value) | Amount::Total(value) if !(value.is_finite() && *value >= 0.0) => {
                Err(bad("value", "a finite number from 0 up for a counter"))
            }
            Amount::Set(value) | Amount::Change(value) | Amount::Level(value)
                if !value.is_finite() =>
            {
                Err(bad("value", "a finite number"))
            }
            Amount::Observe(values) if !values.iter().all(|value| value.is_finite()) => {
                Err(bad("values", "finite numbers"))
            }
            Amount::Distribution(distribution) | Amount::DistributionTotal(distribution) => {
                distribution.check()
            }
            _ => Ok(()),
        }
    }
}

fn bad(member: &'static str, expected: &'static str) -> MeasurementError {
    MeasurementError::BadMember { member, expected }
}

/// One text for all that are the same: sorted by key. Empty for none.
pub(crate) fn canonical_attributes(attributes: Object) -> Box<str> {
    if attributes.is_empty() {
        return "".into();
    }
    let mut members: Vec<_> = attributes.into_iter().collect();
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    members.dedup_by(|(a, _), (b, _)| a == b);
    let object: Object = members.into_iter().collect();
    serde_json::to_string(&object).expect("an object is always valid JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_units_and_attributes_are_bounded() {
        let long = |bytes: usize| "x".repeat(bytes);
        let attributes = |bytes| [("k".into(), long(bytes).into())].into_iter().collect();
        for (measurement, is_good) in [
            (Measurement::gauge(&long(255), 1.0), true),
            (Measurement::gauge(&long(256), 1.0), false),
            (Measurement::gauge("a", 1.0).unit(&long(63)), true),
            (Measurement::gauge("a", 1.0).unit(&long(64)), false),
            (Measurement::gauge("a", 1.0).attributes(attributes(4000)), true),
            (Measurement::gauge("a", 1.0).attributes(attributes(4096)), false),
        ] {
            assert_eq!(measurement.check().is_ok(), is_good, "{measurement:?}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for measurement in [
                Measurement::counter("a", value),
                Measurement::counter_total("a", value),
                Measurement::gauge("a", value),
                Measurement::gauge_change("a", value),
                Measurement::gauge_total("a", value),
                Measurement::histogram("a", [value]),
            ] {
                assert!(measurement.check().is_err(), "{measurement:?}");
            }
        }
        assert!(Measurement::counter("a", -1.0).check().is_err());
        assert!(Measurement::gauge_change("a", -1.0).check().is_ok());
    }
}
