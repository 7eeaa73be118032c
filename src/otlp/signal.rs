//! The three signals of OTLP, what they are called, and how a request shows which one it is.

use super::encoding::Encoding;
use super::outline;
use super::wire::{Fields, Wire};

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
    /// JSON says so in its outermost name. In protobuf the three look alike down to the records: the first record that shows
    /// what it is decides.
    pub(crate) fn of(encoding: Encoding, body: &[u8]) -> Self {
        let signal = match encoding {
            Encoding::Json => outline::signal_of_json(body),
            Encoding::Protobuf => of_records(body),
        };
        signal.unwrap_or(Self::Logs)
    }
}

/// How many parts of a request are looked at.
const LOOKED_AT: usize = 1000;

fn of_records(body: &[u8]) -> Option<Signal> {
    let (encoding, any) = (Encoding::Protobuf, Signal::Logs);
    for resource in outline::resources(encoding, any, body).ok()?.take(LOOKED_AT) {
        for scope in outline::resource(encoding, any, resource.ok()?).ok()?.inner.take(LOOKED_AT) {
            let scope = scope.ok()?;
            let mut records = outline::scope(encoding, any, scope).ok()?.inner.take(LOOKED_AT);
            if let Some(signal) = records.find_map(|record| of_record(record.ok()?)) {
                return Some(signal);
            }
        }
    }
    None
}

/// What a record shows by the types of its fields, without being read: where a log record has numbers (1 its time, 2 its
/// severity, 11 when it was observed), spans and metrics have texts, ids and messages; a span has times (7 and 8) and a kind
/// (6), a metric has neither, but a name.
fn of_record(record: &[u8]) -> Option<Signal> {
    let mut name = None;
    let mut signal = None;
    for field in Fields::of(record).take(LOOKED_AT) {
        let Ok(field) = field else { break };
        match field {
            (1 | 11, Wire::I64(_)) | (2, Wire::Varint(_)) => return Some(Signal::Logs),
            (7 | 8, Wire::I64(_)) | (6, Wire::Varint(_)) => return Some(Signal::Traces),
            (1, Wire::Len(bytes)) => name = Some(bytes),
            // The body and the event name of a log record, among others: only if nothing else shows.
            (_, Wire::Len(_)) => signal = Some(Signal::Logs),
            _ => {}
        }
    }
    match name {
        Some(name) if !name.is_empty() && std::str::from_utf8(name).is_ok() => {
            Some(Signal::Metrics)
        }
        Some(_) => Some(Signal::Traces),
        None => signal,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::metrics::v1::{Gauge, Metric, metric};
    use opentelemetry_proto::tonic::trace::v1::Span;
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
        assert_eq!(Signal::of(Encoding::Protobuf, &body), expected);
    }

    #[test]
    fn records_show_what_they_are_even_if_they_say_little() {
        let data = Some(metric::Data::Gauge(Gauge::default()));
        let metric = Metric { name: "m".into(), data: data.clone(), ..Metric::default() };
        check(&metric, Signal::Metrics);
        // As long as the ids of a span.
        let (name, description) = ("smtp.queue.depth".into(), "messages".into());
        check(&Metric { name, description, data, ..Metric::default() }, Signal::Metrics);
        let span = Span { trace_id: vec![0xff; 16], span_id: vec![7; 8], ..Span::default() };
        check(&span, Signal::Traces);
        check(&Span { name: "GET /".into(), start_time_unix_nano: 1, ..span }, Signal::Traces);
        // Not a good one, but no log record either.
        check(&Span { end_time_unix_nano: 1, ..Span::default() }, Signal::Traces);
        check(&Metric { name: "without data".into(), ..Metric::default() }, Signal::Metrics);
        check(&LogRecord::default(), Signal::Logs);
        check(&LogRecord { event_name: "started".into(), ..LogRecord::default() }, Signal::Logs);
        let ids = LogRecord { trace_id: vec![7; 16], span_id: vec![7; 8], ..LogRecord::default() };
        check(&ids, Signal::Logs);
        check(&LogRecord { time_unix_nano: 1, severity_number: 9, ..ids }, Signal::Logs);
        for nothing in [vec![], field(1, b""), b"\xff".to_vec()] {
            assert_eq!(Signal::of(Encoding::Protobuf, &nothing), Signal::Logs);
        }
    }
}
