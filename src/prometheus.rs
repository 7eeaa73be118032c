//! The Prometheus text format, version 0.0.4, of all series. Histograms go out as summaries: the hub keeps percentiles,
//! not buckets.
//!
//! Names follow OpenTelemetry's rules for Prometheus: what is no letter, digit or `_` becomes `_`, the unit comes last, and
//! a counter ends in `_total`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    let (mut text, mut taken) = (String::new(), BTreeSet::new());
    for ((name, kind), family) in &families {
        family.write(&free_name(name, *kind, &mut taken), *kind, &mut text);
    }
    text
}

/// A name of which no line is another family's already: two kinds of one name are two families, and a summary also has
/// the lines `_sum` and `_count`.
fn free_name(name: &str, kind: MetricKind, taken: &mut BTreeSet<String>) -> String {
    let mut name = name.to_owned();
    loop {
        let lines = match kind {
            MetricKind::Counter | MetricKind::Gauge => vec![name.clone()],
            MetricKind::Histogram => {
                vec![name.clone(), format!("{name}_sum"), format!("{name}_count")]
            }
        };
        if lines.iter().all(|line| !taken.contains(line)) {
            taken.extend(lines);
            return name;
        }
        name = format!("{name}_{}", kind_word(kind));
    }
}

impl Family<'_> {
    fn write(&self, name: &str, kind: MetricKind, text: &mut String) {
        line(text, format_args!("# TYPE {name} {}", kind_word(kind)));
        let first_id = self.samples.first().map(|sample| sample.id());
        // Ids that differ only in what Prometheus cannot write are told apart by a label.
        let many_ids = self.samples.iter().any(|sample| Some(sample.id()) != first_id);
        let labels =
            |sample: &&Sample| labels(many_ids.then_some(sample.id()), sample.attributes());
        let all: Vec<Vec<String>> = self.samples.iter().map(labels).collect();
        let mut counts: HashMap<&[String], usize> = HashMap::new();
        all.iter().for_each(|labels| *counts.entry(labels).or_default() += 1);
        for (sample, labels) in self.samples.iter().zip(&all) {
            // So are attributes that differ only in what labels cannot say: the number 1 and the text "1".
            let all_attributes = (counts[&**labels] > 1)
                .then(|| format!("metric_attributes=\"{}\"", escaped(sample.attributes())));
            let labels: Vec<String> = labels.iter().cloned().chain(all_attributes).collect();
            write_sample(name, &labels, sample.value(), text);
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
            if let Some(sum) = summary.sum {
                line(text, format_args!("{name}_sum{all} {sum}"));
            }
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
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tebibytes",
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
    if plain.is_empty() || plain.starts_with(|c: char| c.is_ascii_digit()) {
        plain.insert(0, '_');
    }
    plain
}

/// The label of an attribute. Those that mean something here already get Prometheus's own prefix for such clashes.
fn label(key: &str) -> String {
    let label = sanitized(key);
    if matches!(label.as_str(), "quantile" | "metric_id" | "metric_attributes")
        || label.starts_with("__")
    {
        format!("exported_{label}")
    } else {
        label
    }
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
        let label = labels.entry(label(&key)).or_default();
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

#[cfg(test)]
mod tests {
    use telemetry_hub_actors::{Distribution, HubConfig, HubHandle, Measurement, Shape};

    use super::*;

    #[tokio::test]
    async fn what_a_source_does_not_tell_has_no_line() {
        let hub = HubHandle::start(HubConfig::default()).await.unwrap();
        let shape = Shape::Quantiles(vec![(0.5, 2.0), (0.99, f64::NAN)]);
        let told = Distribution { count: 7, sum: Some(f64::NAN), min: None, max: None, shape };
        hub.record(Measurement::distribution("size", told).unit("KiBy")).unwrap();
        let text = encode(&hub.metrics());
        let lines: Vec<_> = text.lines().filter(|line| line.contains("size")).collect();
        assert_eq!(
            lines,
            [
                "# TYPE size_kibibytes summary",
                "size_kibibytes{quantile=\"0.5\"} 2",
                "size_kibibytes_count 7",
            ]
        );
    }

    #[tokio::test]
    async fn series_that_labels_cannot_tell_apart_are_told_apart_by_one_more() {
        let hub = HubHandle::start(HubConfig::default()).await.unwrap();
        for attributes in
            [r#"{"a.b":1}"#, r#"{"a_b":"1"}"#, r#"{"a_b":"2","metric_attributes":"x"}"#]
        {
            let json =
                format!(r#"{{"id":"m","type":"gauge","value":5,"attributes":{attributes}}}"#);
            hub.record(Measurement::from_json(serde_json::from_str(&json).unwrap()).unwrap())
                .unwrap();
        }
        let text = encode(&hub.metrics());
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with("m{")).collect();
        assert_eq!(
            lines,
            [
                r#"m{a_b="1",metric_attributes="{\"a.b\":1}"} 5"#,
                r#"m{a_b="1",metric_attributes="{\"a_b\":\"1\"}"} 5"#,
                r#"m{a_b="2",exported_metric_attributes="x"} 5"#,
            ]
        );
    }
}
