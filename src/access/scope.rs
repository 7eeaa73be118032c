//! Scopes: what a token is good for.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One thing that one may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Send events and metrics
    Ingest,
    /// Watch events
    Traces,
    /// Watch metrics
    Metrics,
    /// See and end the streams of others
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no scope is hidden");
        f.write_str(value.get_name())
    }
}

/// Some scopes. In the settings an array of names, which is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Scope>", into = "Vec<Scope>")]
pub(crate) struct Scopes(u8);

impl Scopes {
    pub(crate) fn all() -> Self {
        Scope::value_variants().iter().copied().collect()
    }

    /// Those that stand in a text, with spaces between them. What else stands there is for others.
    pub(crate) fn named_in(text: &str) -> Self {
        text.split(' ').filter_map(|name| Scope::from_str(name, false).ok()).collect()
    }

    pub(crate) fn without(self, scope: Scope) -> Self {
        Self(self.0 & !bit(scope))
    }

    pub(crate) fn contain(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | bit(scope)))
    }
}

impl TryFrom<Vec<Scope>> for Scopes {
    type Error = &'static str;

    fn try_from(scopes: Vec<Scope>) -> Result<Self, Self::Error> {
        if scopes.is_empty() {
            Err("a token without scopes is good for nothing")
        } else {
            Ok(scopes.into_iter().collect())
        }
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Vec::from(*self).iter().map(ToString::to_string).collect();
        f.write_str(&names.join(" "))
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        let all = Scope::value_variants().iter().copied();
        all.filter(|scope| scopes.contain(*scope)).collect()
    }
}
