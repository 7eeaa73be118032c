//! One histogram: single values, distributions that were added, and the totals of its sources.
//!
//! Count, sum, least and greatest are exact, and are shown only if every part of the histogram knows its own. Percentiles
//! come from the part that holds the most values: a sketch of the single ones, the buckets, or the quantiles as told.

use std::fmt;

use sketches_ddsketch::{Config, DDSketch};

use super::buckets::Buckets;
use super::places::{Arrival, Room};
use super::sample::Summary;
use super::totals::{Countable, Totals};
use crate::measurement::{Distribution, Shape, Source};

pub(super) struct Histogram {
    /// Single values. Its percentiles are within 1 % of the true values.
    sketch: DDSketch,
    /// Whether all single values were whole numbers: then so are their percentiles.
    whole: bool,
    added: Tally,
    totals: Totals<Tally>,
    /// The newest that were told.
    quantiles: Option<Percentiles>,
    /// What was read last, if nothing came since: most histograms do not change between two snapshots.
    summary: Option<Summary>,
}

/// The values at the quantiles that are shown.
type Percentiles = [Option<f64>; 3];

const SHOWN: [f64; 3] = [0.5, 0.9, 0.99];

/// What is known of a number of values.
#[derive(Debug, Clone, PartialEq)]
struct Tally {
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    buckets: Buckets,
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("summary", &self.summarize()).finish_non_exhaustive()
    }
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            sketch: DDSketch::new(Config::defaults()),
            whole: true,
            added: Tally::default(),
            totals: Totals::default(),
            quantiles: None,
            summary: None,
        }
    }

    pub(super) fn observe(&mut self, values: &[f64]) {
        for value in values {
            self.observe_many(*value, 1);
        }
    }

    /// Puts in so many values that are the same.
    pub(super) fn observe_many(&mut self, value: f64, count: u64) {
        self.summary = None;
        self.sketch.add_with_count(value, count);
        self.whole &= count == 0 || value.fract() == 0.0;
    }

    pub(super) fn add(&mut self, distribution: Distribution) {
        self.summary = None;
        let (tally, quantiles) = read(distribution);
        self.added.absorb(&tally);
        self.quantiles = quantiles.or(self.quantiles);
    }

    /// Puts this in the place of all that was put in before.
    pub(super) fn set(&mut self, total: Distribution) {
        let totals = std::mem::take(&mut self.totals);
        *self = Self { totals, ..Self::new() };
        self.add(total);
    }

    /// Puts this in the place of all that was added before, if it is more.
    pub(super) fn raise(&mut self, total: Distribution) {
        if total.count > self.added.count {
            self.added = Tally::default();
            self.add(total);
        }
    }

    /// Takes the total of a source, or gives it back if there is no room for its source.
    pub(super) fn take_total(
        &mut self,
        source: Source,
        total: Distribution,
        room: &Room,
    ) -> Result<Arrival, Distribution> {
        if !self.totals.admit(&source, room) {
            return Err(total);
        }
        self.summary = None;
        let (tally, quantiles) = read(total);
        let arrival = self.totals.take(source, tally);
        if arrival == Arrival::InTime {
            self.quantiles = quantiles.or(self.quantiles);
        }
        Ok(arrival)
    }

    pub(super) fn read(&mut self) -> Summary {
        let summary = self.summary.unwrap_or_else(|| self.summarize());
        self.summary = Some(summary);
        summary
    }

    fn summarize(&self) -> Summary {
        let mut told = self.added.clone();
        for total in self.totals.iter() {
            told.absorb(total);
        }
        let [p50, p90, p99] = self.percentiles(&told);
        let mut all = self.observed();
        all.absorb(&told);
        let Tally { count, sum, min, max, .. } = all;
        Summary { count, sum, min, max, p50, p90, p99 }
    }

    fn observed(&self) -> Tally {
        if self.sketch.count() == 0 {
            return Tally::default();
        }
        Tally {
            count: self.sketch.count() as u64,
            sum: self.sketch.sum().map(clamped).filter(|sum| !sum.is_nan()),
            min: self.sketch.min(),
            max: self.sketch.max(),
            buckets: Buckets::default(),
        }
    }

    fn percentiles(&self, told: &Tally) -> Percentiles {
        let (observed, in_buckets) = (self.sketch.count() as u64, told.buckets.count());
        // What was told and is in no bucket, only quantiles can describe.
        let elsewhere = told.count.saturating_sub(in_buckets);
        match self.quantiles {
            Some(quantiles) if elsewhere > in_buckets.max(observed) => quantiles,
            _ if in_buckets > observed => told.buckets.percentiles(SHOWN, (told.min, told.max)),
            _ => SHOWN.map(|quantile| self.observed_percentile(quantile)),
        }
    }

    fn observed_percentile(&self, quantile: f64) -> Option<f64> {
        let value = self.sketch.quantile(quantile).ok().flatten()?;
        let value = if self.whole { value.round() } else { value };
        Some(value.clamp(self.sketch.min()?, self.sketch.max()?))
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self { count: 0, sum: Some(0.0), min: None, max: None, buckets: Buckets::default() }
    }
}

impl Countable for Tally {
    fn is_less_than(&self, before: &Self) -> bool {
        self.count < before.count
    }

    /// What only one of them knows is not known of both. One without values knows all there is.
    fn absorb(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.clone_from(other);
            return;
        }
        let both = |one: Option<f64>, other, of: fn(f64, f64) -> f64| {
            one.zip(other).map(|(one, other)| of(one, other))
        };
        self.count = self.count.saturating_add(other.count);
        self.sum = both(self.sum, other.sum, |one, other| clamped(one + other));
        self.min = both(self.min, other.min, f64::min);
        self.max = both(self.max, other.max, f64::max);
        self.buckets.absorb(&other.buckets);
    }
}

/// JSON has no word for what is infinite.
fn clamped(sum: f64) -> f64 {
    sum.clamp(f64::MIN, f64::MAX)
}

/// What a distribution says that can be added up, and the quantiles, which cannot.
fn read(distribution: Distribution) -> (Tally, Option<Percentiles>) {
    let Distribution { count, sum, min, max, shape } = distribution;
    let (quantiles, buckets) = match shape {
        Shape::Buckets(buckets) => (None, Buckets::new(buckets)),
        Shape::Quantiles(quantiles) => (Some(quantiles), Buckets::default()),
    };
    let value_at = |wanted: f64| {
        let (_, value) = quantiles.iter().flatten().find(|(quantile, _)| *quantile == wanted)?;
        Some(*value)
    };
    let known = |value: Option<f64>| value.filter(|value| value.is_finite());
    let tally = Tally {
        count,
        sum: known(sum),
        min: known(min.or(value_at(0.0))),
        max: known(max.or(value_at(1.0))),
        buckets,
    };
    let percentiles = quantiles.is_some().then(|| SHOWN.map(|quantile| known(value_at(quantile))));
    (tally, percentiles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Bucket;

    /// The buckets (0, 10], (10, 20] and so on hold so many values, each at the upper bound.
    fn tens(counts: &[u64]) -> Distribution {
        let upper = |index: usize| (index * 10 + 10) as f64;
        let bucket = |(index, &count): (usize, &u64)| Bucket {
            lower: upper(index) - 10.0,
            upper: upper(index),
            count,
        };
        let held = |(index, count): (usize, &u64)| upper(index) * *count as f64;
        Distribution {
            count: counts.iter().sum(),
            sum: Some(counts.iter().enumerate().map(held).sum()),
            min: None,
            max: None,
            shape: Shape::Buckets(counts.iter().enumerate().map(bucket).collect()),
        }
    }

    fn summary(count: u64, sum: f64, quantiles: &[(f64, f64)]) -> Distribution {
        let shape = Shape::Quantiles(quantiles.to_vec());
        Distribution { count, sum: Some(sum), min: None, max: None, shape }
    }

    fn take(histogram: &mut Histogram, id: u64, total: Distribution) {
        let source = Source { id, started: None, at: None };
        histogram.take_total(source, total, &Room::new(10)).unwrap();
    }

    #[track_caller]
    fn check(histogram: &mut Histogram, count: u64, sum: Option<f64>, percentiles: Percentiles) {
        let summary = histogram.read();
        let read = (summary.count, summary.sum, [summary.p50, summary.p90, summary.p99]);
        assert_eq!(read, (count, sum, percentiles));
    }

    #[test]
    fn single_values_are_exact_where_it_says_and_close_elsewhere() {
        let mut histogram = Histogram::new();
        check(&mut histogram, 0, Some(0.0), [None; 3]);
        histogram.observe(&[3.0, 9.0, 40.0, 2.0, 31.0, 4.0, 2.0]);
        check(&mut histogram, 7, Some(91.0), [Some(4.0), Some(31.0), Some(31.0)]);
        assert_eq!((histogram.read().min, histogram.read().max), (Some(2.0), Some(40.0)));

        let mut histogram = Histogram::new();
        let values: Vec<f64> = (1..=10_000).map(|n| f64::from(n) / 10.0).collect();
        histogram.observe(&values);
        let summary = histogram.read();
        for (percentile, truth) in
            [(summary.p50, 500.0), (summary.p90, 900.0), (summary.p99, 990.0)]
        {
            assert!((percentile.unwrap() / truth - 1.0).abs() < 0.011, "{summary:?}");
        }
    }

    #[test]
    fn what_came_since_is_added_and_totals_replace() {
        let mut histogram = Histogram::new();
        histogram.add(tens(&[30, 20]));
        histogram.add(tens(&[20, 30]));
        let half = [Some(10.0), Some(18.0), Some(19.8)];
        check(&mut histogram, 100, Some(1500.0), half);
        take(&mut histogram, 1, tens(&[1, 1]));
        take(&mut histogram, 1, tens(&[50, 50]));
        check(&mut histogram, 200, Some(3000.0), half);
        take(&mut histogram, 2, tens(&[0, 0, 200]));
        check(&mut histogram, 400, Some(9000.0), [Some(20.0), Some(28.0), Some(29.8)]);
        // The second began anew.
        take(&mut histogram, 2, tens(&[100]));
        check(&mut histogram, 500, Some(10_000.0), [Some(15.0), Some(27.5), Some(29.75)]);
        // A total of nobody is that of all who have no total of their own.
        histogram.observe(&[1.0; 1000]);
        histogram.set(tens(&[100]));
        check(&mut histogram, 500, Some(9500.0), [Some(10.0), Some(27.5), Some(29.75)]);
    }

    #[test]
    fn what_one_part_does_not_know_is_not_shown() {
        let full = Distribution { min: Some(1.0), max: Some(12.0), ..tens(&[1, 1]) };
        let mut histogram = Histogram::new();
        histogram.add(full.clone());
        histogram.observe(&[0.5]);
        let read = histogram.read();
        assert_eq!((read.sum, read.min, read.max), (Some(30.5), Some(0.5), Some(12.0)));
        // Nothing is known of no values, and nothing need be.
        histogram.add(Distribution { sum: None, ..tens(&[]) });
        assert_eq!(histogram.read(), read);
        for lacking in [
            Distribution { sum: None, ..full.clone() },
            Distribution { sum: Some(f64::NAN), min: Some(f64::NEG_INFINITY), ..full.clone() },
            Distribution { max: Some(f64::INFINITY), ..full.clone() },
        ] {
            let mut histogram = Histogram::new();
            histogram.add(lacking.clone());
            histogram.add(full.clone());
            let known = |value: Option<f64>| value.is_some_and(f64::is_finite);
            let read = histogram.read();
            assert_eq!(
                [read.sum, read.min, read.max].map(|value| value.is_some()),
                [lacking.sum, lacking.min, lacking.max].map(known),
                "{lacking:?}"
            );
        }
    }

    #[test]
    fn percentiles_stay_within_least_and_greatest() {
        let mut histogram = Histogram::new();
        histogram.add(Distribution { min: Some(6.0), max: Some(12.0), ..tens(&[50, 50]) });
        check(&mut histogram, 100, Some(1500.0), [Some(10.0), Some(12.0), Some(12.0)]);
        let mut histogram = Histogram::new();
        histogram.add(Distribution { min: Some(6.0), max: None, ..tens(&[100]) });
        check(&mut histogram, 100, Some(1000.0), [Some(6.0), Some(9.0), Some(9.9)]);
    }

    #[test]
    fn quantiles_are_shown_as_told_and_the_newest_win() {
        let mut histogram = Histogram::new();
        let told = [(0.0, 1.0), (0.5, 5.0), (0.75, 7.0), (0.99, f64::NAN), (1.0, 9.0)];
        take(&mut histogram, 1, summary(10, 50.0, &told));
        check(&mut histogram, 10, Some(50.0), [Some(5.0), None, None]);
        assert_eq!((histogram.read().min, histogram.read().max), (Some(1.0), Some(9.0)));
        take(&mut histogram, 2, summary(20, 5.0, &[(0.9, 8.0), (0.5, 4.0)]));
        check(&mut histogram, 30, Some(55.0), [Some(4.0), Some(8.0), None]);
    }

    #[test]
    fn late_quantiles_are_ignored() {
        let mut histogram = Histogram::new();
        for (second, quantile) in [(20, 5.0), (10, 6.0)] {
            let at = Some(jiff::Timestamp::from_second(second).unwrap());
            let total = summary(10, 50.0, &[(0.5, quantile)]);
            let source = Source { id: 1, started: None, at };
            histogram.take_total(source, total, &Room::new(1)).unwrap();
        }
        check(&mut histogram, 10, Some(50.0), [Some(5.0), None, None]);
    }

    #[test]
    fn summary_is_worked_out_anew_only_after_a_change() {
        let mut histogram = Histogram::new();
        let changes: [fn(&mut Histogram); 5] = [
            |histogram| histogram.observe(&[5.0]),
            |histogram| histogram.add(tens(&[1])),
            |histogram| histogram.set(tens(&[7])),
            |histogram| histogram.raise(tens(&[9])),
            |histogram| take(histogram, 1, tens(&[1])),
        ];
        for (change, count) in changes.into_iter().zip([1, 2, 7, 9, 10]) {
            change(&mut histogram);
            assert_eq!(histogram.summary, None);
            let read = histogram.read();
            assert_eq!((read.count, histogram.summary), (count, Some(read)));
            assert_eq!(histogram.read(), histogram.summarize());
        }
    }

    #[test]
    fn percentiles_come_from_what_holds_the_most() {
        let mut histogram = Histogram::new();
        histogram.observe(&[1.0, 1.0]);
        check(&mut histogram, 2, Some(2.0), [Some(1.0); 3]);
        histogram.add(tens(&[0, 3]));
        check(&mut histogram, 5, Some(62.0), [Some(15.0), Some(19.0), Some(19.9)]);
        histogram.add(summary(4, 0.0, &[(0.5, 7.0)]));
        check(&mut histogram, 9, Some(62.0), [Some(7.0), None, None]);
        histogram.observe(&[1.0; 3]);
        check(&mut histogram, 12, Some(65.0), [Some(1.0); 3]);
        histogram.add(summary(4, 0.0, &[(0.5, 7.0)]));
        check(&mut histogram, 16, Some(65.0), [Some(7.0), None, None]);
        histogram.add(tens(&[0, 6]));
        check(&mut histogram, 22, Some(185.0), [Some(15.0), Some(19.0), Some(19.9)]);
    }
}
