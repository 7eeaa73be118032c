//! The Prometheus text format, version 0.0.4, of all series. Histograms go out as summaries: the hub keeps percentiles,
//! not buckets.
//!
//! Names follow OpenTelemetry's rules for Prometheus: what is no letter, digit or `_` becomes `_`, the unit comes last, and
//! a counter ends in `_total`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use telemetry_hub_actors::{MetricKind, Sample, SampleValue};

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All series of one Prometheus name: they must stand together.
#[derive(Default)]
struct Family<'a> {
    samples: Vec<&'a Sample>,
}

/// Writes all samples.
pub(crate) fn encode(samples: &[Sample]) -> String {
    let mut families: BTreeMap<(String, MetricKind), Family<'_>> = BTreeMap::new();
    for sample in samples {
        families.entry((name(sample), sample.kind())).or_default().samples.push(sample);
    }
    let mut text = String::new();
    let mut previous: Option<&str> = None;
    for ((name, kind), family) in &families {
        // Two kinds under one name are two families, and need two names.
        let clash = previous == Some(name);
        previous = Some(name);
        let name = if clash { format!("{name}_{}", kind_word(*kind)) } else { name.clone() };
        family.write(&name, *kind, &mut text);
    }
    text
}

impl Family<'_> {
    fn write(&self, name: &str, kind: MetricKind, text: &mut String) {
        line(text, format_args!("# TYPE {name} {}", kind_word(kind)));
        let first_id = self.samples.first().map(|sample| sample.id());
        for sample in &self.samples {
            // Two ids that differ only in what Prometheus cannot write are told apart by a label.
            let id = (Some(sample.id()) != first_id).then_some(sample.id());
            write_sample(name, &labels(id, sample.attributes()), sample.value(), text);
        }
    }
}

fn write_sample(name: &str, labels: &[String], value: SampleValue, text: &mut String) {
    let all = braces(labels);
    match value {
        SampleValue::Counter { value, .. } | SampleValue::Gauge(value) => {
            line(text, format_args!("{name}{all} {value}"));
        }
        SampleValue::Histogram(summary) => {
            for (quantile, value) in
                [("0.5", summary.p50), ("0.9", summary.p90), ("0.99", summary.p99)]
            {
                if let Some(value) = value {
                    let mut labels = labels.to_vec();
                    labels.push(format!("quantile=\"{quantile}\""));
                    line(text, format_args!("{name}{} {value}", braces(&labels)));
                }
            }
            line(text, format_args!("{name}_sum{all} {}", summary.sum));
            line(text, format_args!("{name}_count{all} {}", summary.count));
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}

fn kind_word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "summary",
    }
}

fn name(sample: &Sample) -> String {
    let mut name = sanitized(sample.id());
    if let Some(unit) = sample.unit().and_then(unit_word)
        && !name.ends_with(unit)
    {
        name = format!("{name}_{unit}");
    }
    if sample.kind() == MetricKind::Counter && !name.ends_with("_total") {
        name.push_str("_total");
    }
    name
}

/// The units that OpenTelemetry has a word for in Prometheus, of those in common use.
fn unit_word(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "By" => "bytes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "1" => "ratio",
        "%" => "percent",
        _ => return None,
    })
}

fn sanitized(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) {
        plain.insert(0, '_');
    }
    plain
}

fn labels(id: Option<&str>, attributes: &str) -> Vec<String> {
    let attributes: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(attributes).unwrap_or_default();
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in attributes {
        let value = match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let label = labels.entry(sanitized(&key)).or_default();
        // OpenTelemetry's way with keys that become one.
        if !label.is_empty() {
            label.push(';');
        }
        label.push_str(&value);
    }
    labels.extend(id.map(|id| ("metric_id".to_owned(), id.to_owned())));
    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect()
}

fn braces(labels: &[String]) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}
