//! Many values at once, as sources sum them up: how many there were, and where they lie.

use super::{MeasurementError, bad};

/// Many values. What is unknown, or no finite number, is not shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// How many values there are.
    pub count: u64,
    /// Their sum.
    pub sum: Option<f64>,
    /// The least of them.
    pub min: Option<f64>,
    /// The greatest of them.
    pub max: Option<f64>,
    /// Where they lie.
    pub shape: Shape,
}

/// Where the values of a [`Distribution`] lie.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// So many in each bucket, in any order; none if that is not known. Together they hold all values.
    Buckets(Vec<Bucket>),
    /// Below which value each part of them lies: pairs of a quantile, from 0 to 1, and its value. Shown are the quantiles
    /// 0 (least), 0.5, 0.9, 0.99 and 1 (greatest).
    Quantiles(Vec<(f64, f64)>),
}

/// So many values above `lower`, up to and with `upper`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Below all values; may be negative infinity.
    pub lower: f64,
    /// The greatest that a value may be; may be infinity.
    pub upper: f64,
    /// How many values there are.
    pub count: u64,
}

impl Distribution {
    /// How many buckets it may have: at 24 bytes each, a series keeps those of every source, and some thousand are more
    /// than any source in use makes (OpenTelemetry's exponential histograms: 160).
    pub const MAX_BUCKETS: usize = 1024;

    /// How many quantiles it may have; five are shown.
    const MAX_QUANTILES: usize = 1024;

    /// How many bytes its shape takes in memory.
    pub(super) fn size(&self) -> usize {
        match &self.shape {
            Shape::Buckets(buckets) => size_of_val(&**buckets),
            Shape::Quantiles(quantiles) => size_of_val(&**quantiles),
        }
    }

    pub(super) fn check(&self) -> Result<(), MeasurementError> {
        match &self.shape {
            Shape::Buckets(buckets) => self.check_buckets(buckets),
            Shape::Quantiles(quantiles) if quantiles.len() > Self::MAX_QUANTILES => {
                Err(bad("quantiles", "1024 at most"))
            }
            Shape::Quantiles(quantiles)
                if !quantiles.iter().all(|(quantile, _)| (0.0..=1.0).contains(quantile)) =>
            {
                Err(bad("quantiles", "quantiles from 0 to 1"))
            }
            Shape::Quantiles(_) => Ok(()),
        }
    }

    fn check_buckets(&self, buckets: &[Bucket]) -> Result<(), MeasurementError> {
        if buckets.len() > Self::MAX_BUCKETS {
            return Err(bad("buckets", "1024 at most"));
        }
        if !buckets.iter().all(Bucket::is_sound) {
            return Err(bad("buckets", "lower bounds that are not above the upper ones"));
        }
        let in_buckets: u128 = buckets.iter().map(|bucket| u128::from(bucket.count)).sum();
        if !buckets.is_empty() && in_buckets != u128::from(self.count) {
            return Err(bad("count", "what the buckets hold together"));
        }
        Ok(())
    }
}

impl Bucket {
    /// Whether some number may lie in it. A single number is a bucket with equal bounds.
    fn is_sound(&self) -> bool {
        self.lower <= self.upper && self.lower < f64::INFINITY && self.upper > f64::NEG_INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(count: u64, shape: Shape, expected: Result<(), &str>) {
        let distribution = Distribution { count, sum: Some(f64::NAN), min: None, max: None, shape };
        let checked = distribution.check().map_err(|error| error.to_string());
        assert_eq!(checked, expected.map_err(str::to_owned));
    }

    fn buckets(buckets: &[(f64, f64, u64)]) -> Shape {
        let bucket = |&(lower, upper, count): &_| Bucket { lower, upper, count };
        Shape::Buckets(buckets.iter().map(bucket).collect())
    }

    #[test]
    fn buckets_hold_all_values_and_lie_the_right_way() {
        const INFINITY: f64 = f64::INFINITY;
        check(7, buckets(&[]), Ok(()));
        check(7, buckets(&[(-INFINITY, 0.0, 3), (0.0, 0.0, 2), (0.0, INFINITY, 2)]), Ok(()));
        let count = Err("count: expected what the buckets hold together");
        check(7, buckets(&[(0.0, 1.0, 6)]), count);
        check(7, buckets(&[(0.0, 1.0, 8)]), count);
        check(1, buckets(&[(0.0, 1.0, u64::MAX), (1.0, 2.0, 2)]), count);
        let bounds = Err("buckets: expected lower bounds that are not above the upper ones");
        check(1, buckets(&[(2.0, 1.0, 1)]), bounds);
        check(1, buckets(&[(f64::NAN, 1.0, 1)]), bounds);
        check(1, buckets(&[(1.0, f64::NAN, 1)]), bounds);
        check(1, buckets(&[(INFINITY, INFINITY, 1)]), bounds);
        check(1, buckets(&[(-INFINITY, -INFINITY, 1)]), bounds);
        check(1024, buckets(&[(0.0, 1.0, 1); 1024]), Ok(()));
        check(1025, buckets(&[(0.0, 1.0, 1); 1025]), Err("buckets: expected 1024 at most"));
    }

    #[test]
    fn quantiles_are_parts_of_one() {
        check(7, Shape::Quantiles(vec![(0.0, 1.0), (0.5, f64::NAN), (1.0, 9.0)]), Ok(()));
        for quantile in [-0.1, 1.1, f64::NAN] {
            let shape = Shape::Quantiles(vec![(quantile, 1.0)]);
            check(7, shape, Err("quantiles: expected quantiles from 0 to 1"));
        }
        let many = Shape::Quantiles(vec![(0.5, 1.0); 1025]);
        check(7, many, Err("quantiles: expected 1024 at most"));
    }
}
