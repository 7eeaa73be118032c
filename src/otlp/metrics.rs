//! Metrics as measurements, data point by data point. In JSON a metric is decoded as a whole: there a point that cannot be read
//! spoils the others of its metric.
//!
//! A cumulative total goes to the hub with its source, which adds up what several sources count and notices a restart. Who
//! watches sees a series' attributes: the data point's, and those of the resource that say who it is.

use std::borrow::Cow;

use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality as Temporality, DataPointFlags, ExponentialHistogramDataPoint,
    HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
};
use prost::Message;
use telemetry_hub_actors::{Distribution, HubHandle, IngestError, Measurement, Shape, Source};

use super::attributes::Members;
use super::buckets::{explicit_buckets, exponential_buckets};
use super::context::Context;
use super::encoding::Encoding;
use super::pace::Pace;
use super::wire::{Fields, Repeated, merge};
use super::{Fault, Outcome, Unreadable};
use crate::intake::ParsingTurn;
use crate::reply::Problem;

/// How large one metric may be in JSON, where it is read as a whole: some ten thousand data points.
const MAX_JSON_BYTES: usize = 4 * 1024 * 1024;

/// What stands beside the data of a metric.
#[derive(Clone, PartialEq, Message)]
struct MetricHead {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    unit: String,
}

/// The data, still encoded, so that each point is read on its own. The numbers are those of the fields of a metric.
#[derive(Debug)]
struct Data<'a> {
    kind: Kind,
    bytes: Cow<'a, [u8]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge = 5,
    Sum = 7,
    Histogram = 9,
    ExponentialHistogram = 10,
    Summary = 11,
}

const KINDS: [Kind; 5] =
    [Kind::Gauge, Kind::Sum, Kind::Histogram, Kind::ExponentialHistogram, Kind::Summary];

/// What a sum says of its points.
#[derive(Clone, PartialEq, Message)]
struct Aggregation {
    #[prost(enumeration = "Temporality", tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

/// What a histogram says of its points.
#[derive(Clone, PartialEq, Message)]
struct Timing {
    #[prost(enumeration = "Temporality", tag = "2")]
    temporality: i32,
}

/// The number that the list of points has in all kinds of data.
const POINTS: u32 = 1;

/// How many bytes of measurements are recorded together: enough that to publish them, where they have to be, costs little each.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Measurements that are to be recorded together, and the turn to read them, which others have while that takes time.
pub(super) struct Recording<'a> {
    hub: &'a HubHandle,
    turn: ParsingTurn,
    measurements: Vec<Measurement>,
    bytes: usize,
}

impl<'a> Recording<'a> {
    pub(super) fn new(hub: &'a HubHandle, turn: ParsingTurn) -> Self {
        Self { hub, turn, measurements: Vec::new(), bytes: 0 }
    }

    /// Takes one that can be recorded. Fails if it cannot be for a reason of its own.
    fn take(&mut self, measurement: Measurement) -> Result<(), Unreadable> {
        self.hub.check(&measurement)?;
        self.bytes += measurement.size();
        self.measurements.push(measurement);
        Ok(())
    }

    /// Records what it has, if that is much, before more is read.
    async fn go_on(&mut self) -> Result<(), IngestError> {
        if self.bytes < CHUNK_BYTES {
            return Ok(());
        }
        self.finish().await?;
        self.turn.go_on().await;
        Ok(())
    }

    /// Records what it has.
    pub(super) async fn finish(&mut self) -> Result<(), IngestError> {
        self.bytes = 0;
        let measurements = std::mem::take(&mut self.measurements);
        self.turn.wait_for(self.hub.record_all(measurements)).await
    }
}

/// Takes every data point of a metric that can be read, to be recorded. Fails if they cannot be recorded now.
pub(super) async fn record(
    encoding: Encoding,
    bytes: &[u8],
    context: &Context<'_>,
    recording: &mut Recording<'_>,
    outcome: &mut Outcome,
    pace: &mut Pace,
) -> Result<(), Problem> {
    let metric = match encoding {
        Encoding::Json => encoding.to_protobuf::<Metric>(bytes, MAX_JSON_BYTES),
        Encoding::Protobuf => Ok(bytes.into()),
    };
    let recorded = match metric {
        Ok(metric) => record_points(&metric, context, recording, outcome, pace).await,
        Err(error) => Err(error.into()),
    };
    match recorded {
        Ok(()) => Ok(()),
        Err(Fault::Unreadable(error)) => {
            outcome.reject(count_points(encoding, bytes), &error);
            Ok(())
        }
        Err(Fault::Refused(problem)) => Err(problem),
    }
}

/// Fails if the metric as a whole cannot be read: then none of its points is recorded.
async fn record_points(
    metric: &[u8],
    context: &Context<'_>,
    recording: &mut Recording<'_>,
    outcome: &mut Outcome,
    pace: &mut Pace,
) -> Result<(), Fault> {
    let head = MetricHead::decode(metric).map_err(Unreadable::from)?;
    let Data { kind, bytes } = Data::of(metric)?;
    let aggregation = Aggregation::of(kind, &bytes).map_err(Unreadable::from)?;
    let limit = recording.hub.max_event_bytes();
    let reader = Reader { metric: &head, kind, aggregation, context, limit };
    for point in Repeated::of(&bytes, POINTS) {
        let measurement =
            point.map_err(Unreadable::from).and_then(|point| reader.measurement(point));
        let recorded = match measurement {
            Ok(Some(measurement)) => recording.take(measurement),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match recorded {
            Ok(()) => outcome.accepted += 1,
            Err(error) => outcome.reject(1, &error),
        }
        recording.go_on().await.map_err(Problem::from)?;
        pace.step().await;
    }
    Ok(())
}

impl<'a> Data<'a> {
    /// One of the kinds; if several are there, the last one counts, and of it what comes after the others, as protobuf has it.
    fn of(metric: &'a [u8]) -> Result<Self, Unreadable> {
        let (mut last, mut bytes) = (None, None);
        for field in Fields::of(metric) {
            let (number, wire) = field?;
            let kind = KINDS.into_iter().find(|kind| *kind as u32 == number);
            if kind.is_none() {
                continue;
            }
            if kind != last {
                (last, bytes) = (kind, None);
            }
            merge(&mut bytes, wire.bytes()?);
        }
        let kind = last.ok_or(Unreadable::bad("data", "one of the kinds of metric"))?;
        Ok(Self { kind, bytes: bytes.unwrap_or_default() })
    }
}

/// How many data points a metric has that cannot be read, as far as that can be told; a metric is at least one.
fn count_points(encoding: Encoding, bytes: &[u8]) -> usize {
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

/// Reads the data points of one metric.
struct Reader<'a> {
    metric: &'a MetricHead,
    kind: Kind,
    aggregation: Aggregation,
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
    fn measurement(&self, bytes: &[u8]) -> Result<Option<Measurement>, Unreadable> {
        if bytes.len() > self.limit {
            return Err(Unreadable::TooLarge { size: bytes.len(), limit: self.limit });
        }
        match self.kind {
            Kind::Gauge => self.gauge(NumberDataPoint::decode(bytes)?),
            Kind::Sum => self.sum(NumberDataPoint::decode(bytes)?),
            Kind::Histogram => self.histogram(HistogramDataPoint::decode(bytes)?),
            Kind::ExponentialHistogram => {
                self.exponential(ExponentialHistogramDataPoint::decode(bytes)?)
            }
            Kind::Summary => self.summary(SummaryDataPoint::decode(bytes)?),
        }
    }

    fn gauge(&self, point: NumberDataPoint) -> Result<Option<Measurement>, Unreadable> {
        let Some(value) = number(&point)? else { return Ok(None) };
        let gauge = Measurement::gauge(&self.metric.name, value);
        Ok(Some(self.total(gauge, position!(point))))
    }

    fn sum(&self, point: NumberDataPoint) -> Result<Option<Measurement>, Unreadable> {
        let Some(value) = number(&point)? else { return Ok(None) };
        let name = &self.metric.name;
        Ok(Some(match (self.aggregation.is_monotonic, self.aggregation.is_cumulative()?) {
            (true, true) => self.total(Measurement::counter_total(name, value), position!(point)),
            (false, true) => self.total(Measurement::gauge_total(name, value), position!(point)),
            (true, false) => self.complete(Measurement::counter(name, value), point.attributes),
            (false, false) => {
                self.complete(Measurement::gauge_change(name, value), point.attributes)
            }
        }))
    }

    fn histogram(&self, point: HistogramDataPoint) -> Result<Option<Measurement>, Unreadable> {
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
        self.distribution(distribution, position)
    }

    fn exponential(
        &self,
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
        self.distribution(distribution, position)
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
        distribution: Distribution,
        position: Position,
    ) -> Result<Option<Measurement>, Unreadable> {
        let name = &self.metric.name;
        Ok(Some(if self.aggregation.is_cumulative()? {
            self.total(Measurement::distribution_total(name, distribution), position)
        } else {
            self.complete(Measurement::distribution(name, distribution), position.attributes)
        }))
    }

    /// A total belongs to the source that counts it, and has its time, as a gauge has.
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
        members.add_copies(&self.context.resource.identity);
        let measurement = measurement.attributes(members.into_object());
        if self.metric.unit.is_empty() { measurement } else { measurement.unit(&self.metric.unit) }
    }
}

impl Aggregation {
    /// What a kind does not have is nothing that is known of it, whatever stands there.
    fn of(kind: Kind, bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        match kind {
            Kind::Gauge | Kind::Summary => Ok(Self::default()),
            Kind::Sum => Self::decode(bytes),
            Kind::Histogram | Kind::ExponentialHistogram => {
                let Timing { temporality } = Timing::decode(bytes)?;
                Ok(Self { temporality, is_monotonic: false })
            }
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(metric: &[u8], kind: Kind, bytes: &[u8]) {
        let data = Data::of(metric).unwrap();
        assert_eq!((data.kind, &*data.bytes), (kind, bytes));
    }

    #[test]
    fn the_last_kind_of_data_counts_and_what_of_it_came_last() {
        check(b"\x0a\x01n\x2a\x01a", Kind::Gauge, b"a");
        check(b"\x2a\x01a\x0a\x01n\x2a\x01b", Kind::Gauge, b"ab");
        check(b"\x2a\x01a\x3a\x01s", Kind::Sum, b"s");
        check(b"\x2a\x01a\x3a\x01s\x2a\x01b\x2a\x00", Kind::Gauge, b"b");
        assert!(Data::of(b"\x0a\x01n").is_err() && Data::of(b"\x2a\x01a\x38\x01").is_err());
    }

    #[test]
    fn what_a_kind_does_not_have_is_skipped() {
        // Field 2 as text, field 3 as a double.
        let (two, three) = (&b"\x12\x01x"[..], &b"\x19\0\0\0\0\0\0\0\0"[..]);
        for (kind, bytes, is_good) in [
            (Kind::Gauge, [two, three].concat(), true),
            (Kind::Summary, [two, three].concat(), true),
            (Kind::Histogram, three.to_vec(), true),
            (Kind::ExponentialHistogram, three.to_vec(), true),
            (Kind::Histogram, two.to_vec(), false),
            (Kind::Sum, three.to_vec(), false),
            (Kind::Sum, b"\x10\x02\x18\x01".to_vec(), true),
        ] {
            assert_eq!(Aggregation::of(kind, &bytes).is_ok(), is_good, "{kind:?} {bytes:?}");
        }
    }
}
