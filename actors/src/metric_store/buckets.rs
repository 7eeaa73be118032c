//! How many values lie in which buckets, and which value a part of them is below.
//!
//! Buckets of several sources, or of several times, may overlap: all are kept as they are, up to a bound, and within each
//! the values are taken to lie evenly.

use crate::measurement::{Bucket, Distribution};

/// How many buckets a series shows, of all its sources: what a single one may bring. Beyond it buckets are joined.
const MAX_BUCKETS: usize = Distribution::MAX_BUCKETS;

/// Buckets that hold something, sorted by their bounds, no two with the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Buckets(Vec<Bucket>);

impl Buckets {
    pub(super) fn new(mut buckets: Vec<Bucket>) -> Self {
        buckets.retain(|bucket| bucket.count > 0);
        let mut buckets = Self(buckets);
        buckets.tidy();
        buckets.0.shrink_to_fit();
        buckets
    }

    /// How many values there are.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().fold(0, |count, bucket| count.saturating_add(bucket.count))
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        if !other.0.is_empty() {
            self.0.extend_from_slice(&other.0);
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        let by_bounds = |a: &Bucket, b: &Bucket| {
            a.lower.total_cmp(&b.lower).then_with(|| b.upper.total_cmp(&a.upper))
        };
        self.0.sort_by(by_bounds);
        self.join_into_previous(|next, previous| by_bounds(next, previous).is_eq());
        if self.0.len() <= MAX_BUCKETS {
            return;
        }
        // Those within a wider one first: wherever buckets were joined before, what is finer finds its place again, and
        // they grow no wider.
        self.join_into_previous(|next, previous| next.upper <= previous.upper);
        while self.0.len() > MAX_BUCKETS {
            self.0 = self.0.chunks(2).map(joined).collect();
        }
    }

    fn join_into_previous(&mut self, belongs: impl Fn(&Bucket, &Bucket) -> bool) {
        self.0.dedup_by(|next, previous| {
            let is_joined = belongs(next, previous);
            if is_joined {
                previous.count = previous.count.saturating_add(next.count);
            }
            is_joined
        });
    }

    /// The values below which so large parts of all lie: interpolated within the bucket that holds each. An open end is
    /// where `min` or `max` is, if that is known, or else at the bucket's other end.
    pub(super) fn percentiles<const N: usize>(
        &self,
        quantiles: [f64; N],
        (min, max): (Option<f64>, Option<f64>),
    ) -> [Option<f64>; N] {
        let closed: Option<Vec<Bucket>> =
            self.0.iter().map(|bucket| closed(bucket, min, max)).collect();
        let Some(closed) = closed else {
            // A bucket that is open at both ends may be anywhere.
            return [None; N];
        };
        let density = Density::new(closed);
        quantiles.map(|quantile| {
            let value = density.value_at(quantile)?;
            let value = min.map_or(value, |min| value.max(min));
            let value = max.map_or(value, |max| value.min(max));
            value.is_finite().then_some(value)
        })
    }
}

/// The bucket that holds all values of its neighbours.
fn joined(neighbours: &[Bucket]) -> Bucket {
    let empty = Bucket { lower: f64::INFINITY, upper: f64::NEG_INFINITY, count: 0 };
    neighbours.iter().fold(empty, |sum, bucket| Bucket {
        lower: sum.lower.min(bucket.lower),
        upper: sum.upper.max(bucket.upper),
        count: sum.count.saturating_add(bucket.count),
    })
}

/// The bucket with finite ends, if there is anything to go by.
fn closed(bucket: &Bucket, min: Option<f64>, max: Option<f64>) -> Option<Bucket> {
    let Bucket { lower, upper, count } = *bucket;
    let finite = |end: f64| end.is_finite().then_some(end);
    let upper = finite(upper).or(max.map(|max| max.max(lower))).or(finite(lower)).or(min)?;
    let lower = finite(lower).or(min.map(|min| min.min(upper))).unwrap_or(upper);
    Some(Bucket { lower, upper, count })
}

/// Closed buckets, and all their bounds in order.
struct Density {
    buckets: Vec<Bucket>,
    bounds: Vec<f64>,
}

impl Density {
    fn new(buckets: Vec<Bucket>) -> Self {
        let mut bounds: Vec<f64> =
            buckets.iter().flat_map(|bucket| [bucket.lower, bucket.upper]).collect();
        bounds.sort_by(f64::total_cmp);
        Self { buckets, bounds }
    }

    /// The least value up to which so large a part of all values lies.
    fn value_at(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * self.up_to(*self.bounds.last()?);
        let position = self.bounds.partition_point(|bound| self.up_to(*bound) < rank);
        let right = *self.bounds.get(position)?;
        let Some(left) = position.checked_sub(1).map(|previous| self.bounds[previous]) else {
            return Some(right);
        };
        // Between two bounds the values lie evenly; those that are equal to the right one come on top.
        let (spread, missing) = (self.between(left, right), rank - self.up_to(left));
        Some(if missing < spread { left + (right - left) * (missing / spread) } else { right })
    }

    /// How many values are at most so large.
    fn up_to(&self, value: f64) -> f64 {
        self.buckets.iter().map(|bucket| bucket.count as f64 * part_up_to(bucket, value)).sum()
    }

    /// How many values lie between two neighbouring bounds.
    fn between(&self, left: f64, right: f64) -> f64 {
        let part = |bucket: &Bucket| part_up_to(bucket, right) - part_up_to(bucket, left);
        let wide = self.buckets.iter().filter(|bucket| bucket.lower < bucket.upper);
        wide.map(|bucket| bucket.count as f64 * part(bucket)).sum()
    }
}

/// Which part of a bucket's values is at most so large.
fn part_up_to(bucket: &Bucket, value: f64) -> f64 {
    if value >= bucket.upper {
        1.0
    } else if value <= bucket.lower {
        0.0
    } else {
        (value - bucket.lower) / (bucket.upper - bucket.lower)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INFINITY: f64 = f64::INFINITY;

    fn buckets(buckets: &[(f64, f64, u64)]) -> Buckets {
        let bucket = |&(lower, upper, count): &_| Bucket { lower, upper, count };
        Buckets::new(buckets.iter().map(bucket).collect())
    }

    #[track_caller]
    fn check(
        given: &[(f64, f64, u64)],
        limits: (Option<f64>, Option<f64>),
        expected: [Option<f64>; 3],
    ) {
        assert_eq!(buckets(given).percentiles([0.5, 0.9, 0.99], limits), expected);
    }

    #[test]
    fn percentiles_are_interpolated_within_the_bucket_that_holds_the_rank() {
        let some = |values: [f64; 3]| values.map(Some);
        check(&[(0.0, 10.0, 50), (10.0, 20.0, 50)], (None, None), some([10.0, 18.0, 19.8]));
        check(&[(10.0, 20.0, 50), (0.0, 10.0, 50)], (None, None), some([10.0, 18.0, 19.8]));
        check(&[(0.0, 100.0, 1)], (None, None), some([50.0, 90.0, 99.0]));
        check(&[(0.0, 100.0, 1)], (Some(60.0), Some(95.0)), some([60.0, 90.0, 95.0]));
        // A single number is a bucket, too.
        check(&[(-4.0, -2.0, 1), (0.0, 0.0, 99)], (None, None), some([0.0, 0.0, 0.0]));
        check(&[(-4.0, 0.0, 5), (0.0, 0.0, 5)], (None, None), some([0.0, 0.0, 0.0]));
        check(&[], (Some(1.0), Some(2.0)), [None; 3]);
        check(&[(0.0, 10.0, 0)], (None, None), [None; 3]);
    }

    #[test]
    fn open_end_is_at_the_limit_or_at_the_other_end() {
        let some = |values: [f64; 3]| values.map(Some);
        let open = [(-INFINITY, 10.0, 50), (10.0, INFINITY, 50)];
        check(&open, (None, None), some([10.0, 10.0, 10.0]));
        check(&open, (None, Some(20.0)), some([10.0, 18.0, 19.8]));
        check(&open, (Some(0.0), None), some([10.0, 10.0, 10.0]));
        check(&[(-INFINITY, INFINITY, 7)], (Some(0.0), Some(10.0)), some([5.0, 9.0, 9.9]));
        check(&[(-INFINITY, INFINITY, 7)], (Some(3.0), None), some([3.0, 3.0, 3.0]));
        check(&[(-INFINITY, INFINITY, 7)], (None, None), [None; 3]);
    }

    /// Buckets of an exponential histogram: `per_doubling` of them each time the values double.
    fn exponential(per_doubling: u32, count: impl Fn(u32) -> u64) -> Buckets {
        let bound = |index| 2_f64.powf(f64::from(index) / f64::from(per_doubling));
        let bucket =
            |index| Bucket { lower: bound(index), upper: bound(index + 1), count: count(index) };
        Buckets::new((0..10 * per_doubling).map(bucket).collect())
    }

    #[test]
    fn buckets_of_two_scales_are_one_distribution() {
        let fine = exponential(8, |_| 10);
        let mut both = exponential(4, |_| 20);
        let [alone] = both.percentiles([0.5], (None, None));
        both.absorb(&fine);
        assert_eq!(both.count(), 1600);
        let [p25, p50] = both.percentiles([0.25, 0.5], (None, None));
        assert!((p50.unwrap() / alone.unwrap() - 1.0).abs() < 0.01, "{p50:?}, not {alone:?}");
        assert!((p50.unwrap() / 32.0 - 1.0).abs() < 0.01, "{p50:?}");
        assert!((p25.unwrap() / 2_f64.powf(2.5) - 1.0).abs() < 0.01, "{p25:?}");
    }

    #[test]
    fn too_many_buckets_are_joined_once_and_grow_no_wider() {
        let halves = |step, offset: f64| {
            let bucket = |index: usize| {
                let lower = index as f64 + offset;
                Bucket { lower, upper: lower + 0.5, count: step as u64 }
            };
            Buckets::new((0..1000).step_by(step).map(bucket).collect())
        };
        let mut all = Buckets::default();
        for _ in 0..100 {
            all.absorb(&halves(1, 0.0));
            all.absorb(&halves(2, 0.5));
        }
        assert!(all.0.len() <= MAX_BUCKETS, "{}", all.0.len());
        let width = |bucket: &Bucket| bucket.upper - bucket.lower;
        let widest = all.0.iter().map(width).fold(0.0, f64::max);
        assert!(widest <= 2.0, "{widest}");
        assert_eq!(all.count(), 200_000);
        let [p50, p99] = all.percentiles([0.5, 0.99], (None, None));
        assert!((p50.unwrap() - 500.0).abs() < 2.0, "{p50:?}");
        assert!((p99.unwrap() - 990.0).abs() < 2.0, "{p99:?}");
    }

    #[test]
    fn counts_do_not_wrap() {
        let mut all = buckets(&[(0.0, 1.0, u64::MAX)]);
        all.absorb(&all.clone());
        assert_eq!(all.count(), u64::MAX);
        assert_eq!(all.percentiles([0.5], (None, None)), [Some(0.5)]);
    }

    fn any_buckets() -> impl Strategy<Value = Buckets> {
        let end = prop_oneof![
            8 => -10_i32..10,
            1 => Just(i32::MIN),
            1 => Just(i32::MAX),
        ];
        let end = end.prop_map(|end| match end {
            i32::MIN => -INFINITY,
            i32::MAX => INFINITY,
            end => f64::from(end),
        });
        let bucket = (end.clone(), end, 0..5_u64).prop_map(|(a, b, count)| Bucket {
            lower: a.min(b).min(10.0),
            upper: a.max(b).max(-10.0),
            count,
        });
        proptest::collection::vec(bucket, 0..20).prop_map(Buckets::new)
    }

    proptest! {
        #[test]
        fn percentiles_rise_and_stay_within_the_limits(a in any_buckets(), b in any_buckets()) {
            let mut all = a.clone();
            all.absorb(&b);
            prop_assert_eq!(all.count(), a.count() + b.count());
            let quantiles = [0.0, 0.1, 0.5, 0.9, 0.99, 1.0];
            let values = all.percentiles(quantiles, (Some(-12.0), Some(12.0)));
            prop_assert_eq!(values.iter().all(Option::is_some), all.count() > 0);
            for pair in values.windows(2) {
                prop_assert!(pair[0] <= pair[1], "{:?}", values);
            }
            prop_assert!(values.iter().flatten().all(|value| (-12.0..=12.0).contains(value)));
        }
    }
}
