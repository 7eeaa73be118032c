//! The series of the last frame, each with what it was before.
//!
//! Bounded by the frame: what is no longer in it is forgotten, with its history.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use serde::Deserialize;
use serde_json::{Number, Value};
use tokio::time::Instant;

use super::quantity::{quantity, rate};
use crate::cli::harmless::harmless;

/// The widest trend that anybody sees.
pub(super) const MAX_HISTORY: usize = 120;

/// A metric as a hub sends it.
#[derive(Debug, Clone, Deserialize)]
struct Sample {
    id: String,
    #[serde(rename = "type", default)]
    kind: String,
    value: Option<Number>,
    rate: Option<f64>,
    #[serde(default)]
    unit: String,
    count: Option<u64>,
    p50: Option<Number>,
    p90: Option<Number>,
    p99: Option<Number>,
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
}

/// A series as it is shown. All texts are harmless.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) attributes: String,
    pub(super) value: String,
    pub(super) rate: String,
    /// What rises and falls: the rate of a counter, the value of a gauge, the 99th percentile of a histogram.
    pub(super) trend: VecDeque<f64>,
    /// What to sort by.
    pub(super) size: f64,
    pub(super) pace: f64,
    /// Counters that stand still have a trend of zero, not none.
    pub(super) from_zero: bool,
    count: Option<u64>,
}

/// What identifies a series: its name and its attributes.
type SeriesKey = (String, String);

/// All series, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Board {
    series: BTreeMap<SeriesKey, Series>,
    taken_at: Option<Instant>,
}

impl Board {
    /// Takes a frame, which came at this time.
    pub(super) fn take(&mut self, json: &str, now: Instant) -> serde_json::Result<()> {
        let samples: Vec<Sample> = serde_json::from_str(json)?;
        let seconds = self.taken_at.replace(now).map(|before| (now - before).as_secs_f64());
        let mut before = std::mem::take(&mut self.series);
        for sample in samples {
            let key = (harmless(&sample.id).into_owned(), attributes(&sample.attributes));
            let series = Series::new(&sample, &key, before.remove(&key), seconds);
            self.series.insert(key, series);
        }
        Ok(())
    }

    pub(super) fn series(&self) -> impl Iterator<Item = &Series> {
        self.series.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taken_at.is_none()
    }
}

impl Series {
    fn new(
        sample: &Sample,
        (name, attributes): &SeriesKey,
        before: Option<Self>,
        seconds: Option<f64>,
    ) -> Self {
        let counted = before.as_ref().and_then(|before| before.count);
        let pace = sample.rate.or_else(|| {
            let more = sample.count?.checked_sub(counted?)?;
            Some(more as f64 / seconds.filter(|seconds| *seconds > 0.0)?)
        });
        let size = sample.size();
        let mut trend = before.map(|before| before.trend).unwrap_or_default();
        let is_counter = sample.kind == "counter";
        trend.extend(if is_counter { pace } else { size });
        while trend.len() > MAX_HISTORY {
            trend.pop_front();
        }
        let unit = if sample.count.is_some() { "" } else { &sample.unit };
        Self {
            name: name.clone(),
            attributes: attributes.clone(),
            value: sample.shown(),
            rate: pace.map(|pace| rate(pace, &harmless(unit))).unwrap_or_default(),
            trend,
            size: size.unwrap_or_default(),
            pace: pace.unwrap_or_default(),
            from_zero: is_counter,
            count: sample.count,
        }
    }

    /// Whether a filter's text stands in its name or its attributes.
    pub(super) fn matches(&self, text: &str) -> bool {
        let contains = |whole: &str| whole.to_lowercase().contains(text);
        contains(&self.name) || contains(&self.attributes)
    }
}

impl Sample {
    /// The number that stands for it.
    fn size(&self) -> Option<f64> {
        let count = || self.count.map(|count| count as f64);
        let number = self.value.as_ref().or(self.p99.as_ref());
        number.and_then(Number::as_f64).or_else(count)
    }

    fn shown(&self) -> String {
        let unit = harmless(&self.unit);
        if let Some(value) = &self.value {
            return quantity(value, &unit);
        }
        let percentiles = [("p50", &self.p50), ("p90", &self.p90), ("p99", &self.p99)];
        let shown = percentiles.iter().filter_map(|(name, value)| {
            value.as_ref().map(|value| format!("{name} {}", quantity(value, &unit)))
        });
        let shown: Vec<_> = shown.collect();
        if !shown.is_empty() {
            return shown.join("  ");
        }
        self.count.map(|count| quantity(&count.into(), "")).unwrap_or_default()
    }
}

fn attributes(attributes: &BTreeMap<String, Value>) -> String {
    let mut text = String::new();
    for (name, value) in attributes {
        let separator = if text.is_empty() { "" } else { " " };
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        write!(text, "{separator}{}={}", harmless(name), harmless(&value))
            .expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn board(frames: &[&str]) -> Board {
        let (mut board, mut now) = (Board::default(), Instant::now());
        for frame in frames {
            board.take(frame, now).unwrap();
            now += Duration::from_secs(2);
        }
        board
    }

    #[track_caller]
    fn check(frames: &[&str], expected: &[[&str; 4]]) {
        let board = board(frames);
        let shown: Vec<_> = board
            .series()
            .map(|series| [&*series.name, &*series.attributes, &*series.value, &*series.rate])
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_kind_is_shown_in_its_way() {
        check(
            &[
                r#"[{"id":"t","type":"histogram","count":7,"sum":91,"p50":9,"p99":39,"unit":"ms"}]"#,
                r#"[{"id":"c","type":"counter","value":40,"rate":3.25},
                    {"id":"g","type":"gauge","value":41373696,"unit":"By","attributes":{"b":"x","a":1}},
                    {"id":"t","type":"histogram","count":17,"sum":91,"p50":9,"p99":39,"unit":"ms"},
                    {"id":"u","type":"histogram","count":3}]"#,
            ],
            &[
                ["c", "", "40", "3.25/s"],
                ["g", "a=1 b=x", "39.5 MiB", ""],
                ["t", "", "p50 9 ms  p99 39 ms", "5/s"],
                ["u", "", "3", ""],
            ],
        );
    }

    #[test]
    fn what_sources_wrote_is_harmless() {
        let frame =
            r#"[{"id":"\u001b[2J","value":1,"unit":"\u009b","attributes":{"\u0007":"\u202e"}}]"#;
        check(&[frame], &[[r"\u001b[2J", r"\u0007=\u202e", r"1 \u009b", ""]]);
    }

    #[test]
    fn trends_go_on_and_end_with_their_series() {
        let frame = |value: u32| format!(r#"[{{"id":"g","type":"gauge","value":{value}}}]"#);
        let frames: Vec<_> = (0..200).map(frame).collect();
        let frames: Vec<_> = frames.iter().map(String::as_str).collect();
        let trend = |board: Board| board.series().next().unwrap().trend.clone();
        let long = trend(board(&frames));
        assert_eq!((long.len(), long[0], long[MAX_HISTORY - 1]), (MAX_HISTORY, 80.0, 199.0));
        assert_eq!(trend(board(&[frames[1], frames[2], "[]", frames[3]])), [3.0]);
        assert_eq!(trend(board(&[r#"[{"id":"c","type":"counter","value":9,"rate":0}]"#])), [0.0]);
    }
}
