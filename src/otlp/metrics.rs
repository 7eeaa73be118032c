//! Metrics as measurements, data point by data point.
//!
//! A cumulative total goes to the hub with its source, which adds up what several sources count and notices a restart. Who
//! watches sees a series' attributes: the data point's, and those of the resource that say who it is.

use bytes::Bytes;
use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality as Temporality, DataPointFlags, ExponentialHistogramDataPoint,
    HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
};
use prost::Message;
use telemetry_hub_actors::{Distribution, Measurement, Shape, Source};

use super::attributes::Members;
use super::buckets::{explicit_buckets, exponential_buckets};
use super::context::Context;
use super::encoding::Encoding;
use super::{Outcome, Unreadable};
use crate::routes::Intake;

/// How large one metric may be in JSON, where it is read as a whole: some ten thousand data points.
const MAX_JSON_BYTES: usize = 4 * 1024 * 1024;

/// A metric whose data points are still encoded, so that each is read on its own.
#[derive(Clone, PartialEq, Message)]
struct MetricOutline {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(oneof = "Data", tags = "5, 7, 9, 10, 11")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Data {
    #[prost(message, tag = "5")]
    Gauge(Points),
    #[prost(message, tag = "7")]
    Sum(Points),
    #[prost(message, tag = "9")]
    Histogram(Points),
    #[prost(message, tag = "10")]
    ExponentialHistogram(Points),
    #[prost(message, tag = "11")]
    Summary(Points),
}

/// What the kinds of data have in common: they number their fields alike.
#[derive(Clone, PartialEq, Message)]
struct Points {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    points: Vec<Bytes>,
    #[prost(enumeration = "Temporality", tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

/// Records every data point of a metric that can be read.
pub(super) fn record(
    encoding: Encoding,
    bytes: &Bytes,
    context: &Context<'_>,
    intake: &Intake,
    outcome: &mut Outcome,
) {
    let metric = match outline(encoding, bytes) {
        Ok(metric) => metric,
        Err(error) => return outcome.reject(count_points(encoding, bytes), &error),
    };
    let Some(data) = &metric.data else {
        return outcome.reject(1, &Unreadable::bad("data", "one of the kinds of metric"));
    };
    let reader = Reader { metric: &metric, context, limit: intake.hub.config().max_event_bytes };
    for point in data.points() {
        match reader.measurement(data, point) {
            Ok(Some(measurement)) => match intake.hub.record(measurement) {
                Ok(()) => outcome.accepted += 1,
                Err(error) => outcome.reject(1, &error.into()),
            },
            Ok(None) => outcome.accepted += 1,
            Err(error) => outcome.reject(1, &error),
        }
    }
}

fn outline(encoding: Encoding, bytes: &Bytes) -> Result<MetricOutline, Unreadable> {
    if encoding == Encoding::Json && bytes.len() > MAX_JSON_BYTES {
        return Err(Unreadable::TooLarge { size: bytes.len(), limit: MAX_JSON_BYTES });
    }
    Ok(MetricOutline::decode(encoding.to_protobuf::<Metric>(bytes)?)?)
}

/// How many data points a metric has that cannot be read, as far as that can be told; a metric is at least one.
fn count_points(encoding: Encoding, bytes: &Bytes) -> usize {
    let json: serde_json::Value = match encoding {
        Encoding::Json => serde_json::from_slice(bytes).unwrap_or_default(),
        Encoding::Protobuf => return 1,
    };
    let members = json.as_object().into_iter().flatten();
    let points = members.filter_map(|(_, data)| {
        data.get("dataPoints").or_else(|| data.get("data_points"))?.as_array().map(Vec::len)
    });
    points.sum::<usize>().max(1)
}

impl Data {
    fn points(&self) -> &[Bytes] {
        let (Self::Gauge(points)
        | Self::Sum(points)
        | Self::Histogram(points)
        | Self::ExponentialHistogram(points)
        | Self::Summary(points)) = self;
        &points.points
    }
}

/// Reads the data points of one metric.
struct Reader<'a> {
    metric: &'a MetricOutline,
    context: &'a Context<'a>,
    limit: usize,
}

/// Which stream of a series a point belongs to, and what time it covers.
struct Position {
    attributes: Vec<KeyValue>,
    started: u64,
    at: u64,
}

/// All kinds of point have these fields, and no trait in common.
macro_rules! position {
    ($point:ident) => {
        Position {
            attributes: $point.attributes,
            started: $point.start_time_unix_nano,
            at: $point.time_unix_nano,
        }
    };
}

impl Reader<'_> {
    /// What a point says; nothing if it only says that there is no value any more.
    fn measurement(&self, data: &Data, bytes: &Bytes) -> Result<Option<Measurement>, Unreadable> {
        if bytes.len() > self.limit {
            return Err(Unreadable::TooLarge { size: bytes.len(), limit: self.limit });
        }
        match data {
            Data::Gauge(_) => self.gauge(NumberDataPoint::decode(bytes.clone())?),
            Data::Sum(sum) => self.sum(sum, NumberDataPoint::decode(bytes.clone())?),
            Data::Histogram(points) => {
                self.histogram(points, HistogramDataPoint::decode(bytes.clone())?)
            }
            Data::ExponentialHistogram(points) => {
                self.exponential(points, ExponentialHistogramDataPoint::decode(bytes.clone())?)
            }
            Data::Summary(_) => self.summary(SummaryDataPoint::decode(bytes.clone())?),
        }
    }

    fn gauge(&self, point: NumberDataPoint) -> Result<Option<Measurement>, Unreadable> {
        let Some(value) = number(&point)? else { return Ok(None) };
        let gauge = Measurement::gauge(&self.metric.name, value);
        Ok(Some(self.complete(gauge, point.attributes)))
    }

    fn sum(&self, sum: &Points, point: NumberDataPoint) -> Result<Option<Measurement>, Unreadable> {
        let Some(value) = number(&point)? else { return Ok(None) };
        let name = &self.metric.name;
        let measurement = match (sum.is_monotonic, sum.is_cumulative()?) {
            (true, true) => {
                let position = position!(point);
                return Ok(Some(self.total(Measurement::counter_total(name, value), position)));
            }
            (true, false) => Measurement::counter(name, value),
            (false, true) => Measurement::gauge(name, value),
            (false, false) => Measurement::gauge_change(name, value),
        };
        Ok(Some(self.complete(measurement, point.attributes)))
    }

    fn histogram(
        &self,
        points: &Points,
        point: HistogramDataPoint,
    ) -> Result<Option<Measurement>, Unreadable> {
        if has_no_value(point.flags) {
            return Ok(None);
        }
        let distribution = Distribution {
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
            shape: Shape::Buckets(explicit_buckets(&point.explicit_bounds, &point.bucket_counts)?),
        };
        let position = position!(point);
        self.distribution(points, distribution, position)
    }

    fn exponential(
        &self,
        points: &Points,
        point: ExponentialHistogramDataPoint,
    ) -> Result<Option<Measurement>, Unreadable> {
        if has_no_value(point.flags) {
            return Ok(None);
        }
        let distribution = Distribution {
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
            shape: Shape::Buckets(exponential_buckets(&point)?),
        };
        let position = position!(point);
        self.distribution(points, distribution, position)
    }

    fn summary(&self, point: SummaryDataPoint) -> Result<Option<Measurement>, Unreadable> {
        if has_no_value(point.flags) {
            return Ok(None);
        }
        let quantiles = point.quantile_values.iter().map(|value| (value.quantile, value.value));
        let distribution = Distribution {
            count: point.count,
            sum: Some(point.sum),
            min: None,
            max: None,
            shape: Shape::Quantiles(quantiles.collect()),
        };
        let position = position!(point);
        let total = Measurement::distribution_total(&self.metric.name, distribution);
        Ok(Some(self.total(total, position)))
    }

    fn distribution(
        &self,
        points: &Points,
        distribution: Distribution,
        position: Position,
    ) -> Result<Option<Measurement>, Unreadable> {
        let name = &self.metric.name;
        Ok(Some(if points.is_cumulative()? {
            self.total(Measurement::distribution_total(name, distribution), position)
        } else {
            self.complete(Measurement::distribution(name, distribution), position.attributes)
        }))
    }

    /// A total belongs to the source that counts it.
    fn total(&self, measurement: Measurement, position: Position) -> Measurement {
        let instant = |nanoseconds: u64| {
            Timestamp::from_nanosecond(nanoseconds.into()).ok().filter(|_| nanoseconds > 0)
        };
        let source = Source {
            id: self.context.source,
            started: instant(position.started),
            at: instant(position.at),
        };
        self.complete(measurement.from_source(source), position.attributes)
    }

    fn complete(&self, measurement: Measurement, attributes: Vec<KeyValue>) -> Measurement {
        let mut members = Members::default();
        members.add(attributes);
        members.add_shared(&self.context.identity);
        let measurement = measurement.attributes(members.finish());
        if self.metric.unit.is_empty() { measurement } else { measurement.unit(&self.metric.unit) }
    }
}

impl Points {
    fn is_cumulative(&self) -> Result<bool, Unreadable> {
        match self.temporality() {
            Temporality::Cumulative => Ok(true),
            Temporality::Delta => Ok(false),
            Temporality::Unspecified => {
                Err(Unreadable::bad("aggregationTemporality", "delta or cumulative"))
            }
        }
    }
}

/// The value of a point; nothing if it says that there is none.
fn number(point: &NumberDataPoint) -> Result<Option<f64>, Unreadable> {
    match point.value {
        _ if has_no_value(point.flags) => Ok(None),
        Some(Number::AsDouble(value)) => Ok(Some(value)),
        Some(Number::AsInt(value)) => Ok(Some(value as f64)),
        None => Err(Unreadable::bad("value", "asInt or asDouble")),
    }
}

fn has_no_value(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}
