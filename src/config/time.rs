//! Durations among the settings.

use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest time that any setting may have.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A duration, written as `30s` or `1m 30s`; a number alone is seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(pub(super) Duration);

/// What a text or a number that is no [`Time`] is answered.
const NO_TIME: &str = "expected a duration such as \"30s\", or a number of seconds, a day at most";

impl Time {
    fn new(duration: Duration) -> Option<Self> {
        (duration <= LONGEST).then_some(Self(duration))
    }

    fn from_seconds(seconds: f64) -> Option<Self> {
        Duration::try_from_secs_f64(seconds).ok().and_then(Self::new)
    }
}

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = match text.parse() {
            Ok(seconds) => Self::from_seconds(seconds),
            Err(_) => text
                .parse::<SignedDuration>()
                .ok()
                .and_then(|duration| duration.try_into().ok())
                .and_then(Self::new),
        };
        time.ok_or(NO_TIME)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let duration = SignedDuration::try_from(self.0).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&format_args!("{duration:#}"))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a duration such as \"30s\", or a number of seconds")]
        enum Written {
            Seconds(f64),
            Text(String),
        }
        let time = match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => Self::from_seconds(seconds).ok_or(NO_TIME),
            Written::Text(text) => text.parse(),
        };
        time.map_err(serde::de::Error::custom)
    }
}
