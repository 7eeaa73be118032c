//! One histogram: what is kept of the values that were observed.

use std::fmt;

use sketches_ddsketch::{Config, DDSketch};

use super::sample::{SampleValue, Summary};

/// Count, sum, least and greatest are exact; percentiles come from a DDSketch, within 1 % of the true value.
pub(super) struct Histogram {
    sketch: DDSketch,
    /// Whether all values were whole numbers: then so are the percentiles.
    whole: bool,
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("count", &self.sketch.count()).finish_non_exhaustive()
    }
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { sketch: DDSketch::new(Config::defaults()), whole: true }
    }

    pub(super) fn observe(&mut self, values: &[f64]) {
        for value in values {
            self.sketch.add(*value);
            self.whole &= value.fract() == 0.0;
        }
    }

    pub(super) fn read(&self) -> SampleValue {
        let (min, max) = (self.sketch.min(), self.sketch.max());
        let percentile = |quantile| {
            let value = self.sketch.quantile(quantile).ok().flatten()?;
            let value = if self.whole { value.round() } else { value };
            Some(value.clamp(min?, max?))
        };
        SampleValue::Histogram(Summary {
            count: self.sketch.count() as u64,
            sum: self.sketch.sum().unwrap_or(0.0).clamp(f64::MIN, f64::MAX),
            min,
            max,
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
        })
    }
}
