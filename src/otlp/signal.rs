//! The three signals of OTLP, what they are called, and how a request shows which one it is.

use bytes::Bytes;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::encoding::Encoding;
use super::outline;

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Logs,
    Traces,
    Metrics,
}

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::Logs, Self::Traces, Self::Metrics];

    /// The gRPC method that takes it.
    pub(crate) fn grpc_path(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// The name in JSON of the count of what a partial success has left out.
    pub(crate) fn rejected_member(self) -> &'static str {
        match self {
            Self::Logs => "rejectedLogRecords",
            Self::Traces => "rejectedSpans",
            Self::Metrics => "rejectedDataPoints",
        }
    }

    /// Tells by its content what a request carries; logs if it carries nothing.
    ///
    /// JSON says so in its outermost name. In protobuf the three look alike down to the records: then those of the first
    /// scope that has any decide. A metric has a name and data, and no times, which are numbers; a span has ids of 16 and 8 bytes;
    /// what is neither is a log record, which has numbers where those have names.
    pub(crate) fn of(encoding: Encoding, body: &Bytes) -> Self {
        match encoding {
            Encoding::Json => outline::signal_of_json(body).unwrap_or(Self::Logs),
            Encoding::Protobuf => match first_records(body).as_deref() {
                Some(records) if records.iter().all(is_metric) => Self::Metrics,
                Some(records) if records.iter().all(is_span) => Self::Traces,
                Some(_) | None => Self::Logs,
            },
        }
    }
}

/// How many records are looked at.
const LOOKED_AT: usize = 8;

/// The first records of the first scope that has any.
fn first_records(body: &Bytes) -> Option<Vec<Bytes>> {
    let (encoding, any) = (Encoding::Protobuf, Signal::Logs);
    for bytes in outline::resources(encoding, any, body).ok()? {
        for bytes in outline::resource(encoding, any, &bytes.ok()?).ok()?.inner {
            let scope = bytes.ok()?;
            let records = outline::scope(encoding, any, &scope).ok()?.inner.take(LOOKED_AT);
            let records: Vec<Bytes> = records.collect::<Result<_, _>>().ok()?;
            if !records.is_empty() {
                return Some(records);
            }
        }
    }
    None
}

fn is_span(record: &Bytes) -> bool {
    let span = Encoding::Protobuf.decode::<Span>(record);
    span.is_ok_and(|span| span.trace_id.len() == 16 && span.span_id.len() == 8)
}

fn is_metric(record: &Bytes) -> bool {
    let metric = Encoding::Protobuf.decode::<Metric>(record);
    metric.is_ok_and(|metric| !metric.name.is_empty() && metric.data.is_some())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::metrics::v1::{Gauge, metric};
    use prost::Message;

    use super::*;

    /// A field of protobuf with a length.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        prost::encode_length_delimiter(bytes.len(), &mut field).unwrap();
        field.extend(bytes);
        field
    }

    #[track_caller]
    fn check(record: &impl Message, expected: Signal) {
        let body = field(1, &field(2, &field(2, &record.encode_to_vec())));
        assert_eq!(Signal::of(Encoding::Protobuf, &body.into()), expected);
    }

    #[test]
    fn records_show_what_they_are_even_if_they_say_little() {
        let data = Some(metric::Data::Gauge(Gauge::default()));
        let metric = Metric { name: "m".into(), data: data.clone(), ..Metric::default() };
        check(&metric, Signal::Metrics);
        // As long as the ids of a span.
        let (name, description) = ("smtp.queue.depth".into(), "messages".into());
        check(&Metric { name, description, data, ..Metric::default() }, Signal::Metrics);
        let span = Span { trace_id: vec![7; 16], span_id: vec![7; 8], ..Span::default() };
        check(&span, Signal::Traces);
        check(&Span { name: "GET /".into(), start_time_unix_nano: 1, ..span }, Signal::Traces);
        check(&LogRecord::default(), Signal::Logs);
        check(&LogRecord { event_name: "started".into(), ..LogRecord::default() }, Signal::Logs);
        let ids = LogRecord { trace_id: vec![7; 16], span_id: vec![7; 8], ..LogRecord::default() };
        check(&ids, Signal::Logs);
        check(&LogRecord { time_unix_nano: 1, severity_number: 9, ..ids }, Signal::Logs);
        for nothing in [vec![], field(1, b""), b"\xff".to_vec()] {
            assert_eq!(Signal::of(Encoding::Protobuf, &nothing.into()), Signal::Logs);
        }
    }
}
