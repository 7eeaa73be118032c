//! Input: metrics as `POST /api/telemetry/metrics` takes them, one a line.
//!
//! What `GET /metrics` says is the text format, to the letter: names and labels that Prometheus takes, values that are numbers,
//! each family once and in one piece, and no series twice. What the live stream says of them is one frame of JSON.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Request, StatusCode};
use telemetry_hub::actors::{Measurement, sse};

use crate::hub::{TestHub, run};

/// Checks one input.
pub fn check(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').take(64);
    let read = |line| Measurement::from_json(serde_json::from_slice(line).ok()?).ok();
    let measurements: Vec<Measurement> = lines.filter_map(read).collect();
    if measurements.is_empty() {
        return;
    }
    run(async {
        let mut hub = TestHub::start().await;
        for measurement in measurements {
            // What is not taken is not shown.
            hub.hub.record(measurement).ok();
        }
        check_frame(&sse::metrics(&hub.hub.metrics()));
        let request = Request::get("/metrics").header("host", "localhost");
        let request = request.body(Bytes::new()).expect("these headers are good");
        let (status, body) = hub.answer(request).await;
        assert_eq!(status, StatusCode::OK);
        check_text(str::from_utf8(&body).expect("it says UTF-8"));
        hub.stop().await;
    });
}

fn check_frame(frame: &[u8]) {
    let text = str::from_utf8(frame).expect("a stream is UTF-8");
    let data =
        text.strip_prefix("event: metrics\ndata: ").and_then(|text| text.strip_suffix("\n\n"));
    let data = data.expect("a frame has a name and data");
    assert!(!data.contains(['\n', '\r', '\0']));
    let samples: Vec<serde_json::Value> = serde_json::from_str(data).expect("the data is JSON");
    for sample in samples {
        assert!(sample["id"].is_string() && sample["type"].is_string(), "{sample}");
    }
}

fn check_text(text: &str) {
    assert!(text.is_empty() || text.ends_with('\n'));
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let mut family = ("", "");
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            family = head.split_once(' ').expect("a name and a type");
            assert!(is_name(family.0), "{line}");
            assert!(matches!(family.1, "counter" | "gauge" | "summary"), "{line}");
            assert!(families.insert(family.0), "{line}: a family is there once");
            continue;
        }
        let (name, labels, value) = parse(line);
        assert!(is_name(name), "{line}");
        let is_of_family = name == family.0
            || (family.1 == "summary"
                && name.strip_prefix(family.0).is_some_and(|end| matches!(end, "_sum" | "_count")));
        assert!(is_of_family, "{line} in the family {family:?}");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        let names: BTreeSet<&str> = labels.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), labels.len(), "{line}: a label is there once");
        assert!(names.iter().all(|name| is_label(name)), "{line}");
        let mut labels = labels;
        labels.sort();
        assert!(series.insert((name, labels)), "{line}: a series is there once");
    }
}

/// A line: the name, the labels, the value.
fn parse(line: &str) -> (&str, Vec<(&str, String)>, &str) {
    let end = line.find(['{', ' ']).expect("a value follows the name");
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").expect("a label has a value");
            let (value, after) = unescaped(value);
            labels.push((label, value));
            match after.split_at(1) {
                (",", after) => rest = after,
                ("}", after) => {
                    rest = after;
                    break;
                }
                _ => panic!("{line}: neither the end nor another label"),
            }
        }
    }
    (name, labels, rest.strip_prefix(' ').expect("one space before the value"))
}

/// The value of a label up to its end, and what comes after.
fn unescaped(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next().expect("a value has an end") {
            '"' => return (value, characters.as_str()),
            '\\' => value.push(match characters.next() {
                Some('n') => '\n',
                Some(plain @ ('\\' | '"')) => plain,
                other => panic!("{other:?} escaped"),
            }),
            '\n' => panic!("a line feed in a value"),
            other => value.push(other),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

fn is_label(name: &str) -> bool {
    is_name(name) && !name.contains(':')
}
