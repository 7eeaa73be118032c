//! The buckets of OTLP's two kinds of histogram, as ranges of values.

use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use telemetry_hub_actors::Bucket;

use super::Unreadable;

/// One bound less than there are buckets; neither, if only count and sum are kept.
pub(super) fn explicit_buckets(bounds: &[f64], counts: &[u64]) -> Result<Vec<Bucket>, Unreadable> {
    if counts.is_empty() && bounds.is_empty() {
        return Ok(Vec::new());
    }
    if counts.len() != bounds.len() + 1 {
        return Err(Unreadable::bad("bucketCounts", "one more than explicitBounds"));
    }
    if !bounds.is_sorted() {
        return Err(Unreadable::bad("explicitBounds", "increasing numbers"));
    }
    let lowers = std::iter::once(f64::NEG_INFINITY).chain(bounds.iter().copied());
    let uppers = bounds.iter().copied().chain(std::iter::once(f64::INFINITY));
    let buckets = lowers.zip(uppers).zip(counts);
    Ok(buckets.map(|((lower, upper), count)| Bucket { lower, upper, count: *count }).collect())
}

/// The buckets that hold anything, from the least to the greatest.
pub(super) fn exponential_buckets(
    point: &ExponentialHistogramDataPoint,
) -> Result<Vec<Bucket>, Unreadable> {
    let width = (-f64::from(point.scale)).exp2();
    let bound = |index: i64| (index as f64 * width).exp2().min(f64::MAX);
    let side = |buckets: &Option<Buckets>| -> Vec<Bucket> {
        let Some(Buckets { offset, bucket_counts }) = buckets else { return Vec::new() };
        let indexes = i64::from(*offset)..;
        let buckets = indexes.zip(bucket_counts).filter(|(_, count)| **count > 0);
        let bucket = |(index, count): (i64, &u64)| Bucket {
            lower: bound(index),
            upper: bound(index + 1),
            count: *count,
        };
        buckets.map(bucket).collect()
    };
    if point.zero_threshold.is_nan() || point.zero_threshold < 0.0 {
        return Err(Unreadable::bad("zeroThreshold", "a number from 0 up"));
    }
    let mirrored = |bucket: Bucket| Bucket { lower: -bucket.upper, upper: -bucket.lower, ..bucket };
    let zero = Bucket {
        lower: -point.zero_threshold,
        upper: point.zero_threshold,
        count: point.zero_count,
    };
    let negative = side(&point.negative).into_iter().rev().map(mirrored);
    let zero = Some(zero).filter(|zero| zero.count > 0);
    Ok(negative.chain(zero).chain(side(&point.positive)).collect())
}
