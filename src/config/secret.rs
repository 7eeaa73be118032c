//! Keys among the settings: given in any way, and never shown.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not empty and is never shown. Only the command line's are serialised, on their way into [`Settings`].
#[derive(Clone, Serialize)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            Err("an empty key would let anybody in")
        } else {
            Ok(Self(text.into()))
        }
    }
}

/// Texts that are never shown, nor written: one, or an array of them.
#[derive(Clone, Default)]
pub(super) struct Secrets(pub(super) Vec<Secret>);

impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // There are none among the defaults, and nobody else needs them.
        serializer.collect_seq(std::iter::empty::<&str>())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            One(String),
            Several(Vec<String>),
        }
        let secrets = match Written::deserialize(deserializer) {
            Ok(Written::One(secret)) => vec![secret],
            Ok(Written::Several(secrets)) => secrets,
            // What is wrong is not shown either.
            Err(_) => {
                return Err(serde::de::Error::custom(
                    "expected texts: put what looks like a number in quotes",
                ));
            }
        };
        let secrets = secrets.iter().map(|secret| secret.parse()).collect::<Result<_, _>>();
        secrets.map(Self).map_err(serde::de::Error::custom)
    }
}
