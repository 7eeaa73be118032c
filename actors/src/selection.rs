//! Which metrics a subscriber wants: names, groups and globs.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use form_urlencoded::byte_serialize;
use wildmatch::WildMatch;

use crate::error::QueryFault;

/// How many patterns one query may have. Each is compared with every series at every tick.
const MAX_PATTERNS: usize = 256;

/// A set of patterns; without any, everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selection {
    patterns: BTreeSet<Box<str>>,
    /// Only of what these select, too.
    within: BTreeSet<Selection>,
}

impl Selection {
    /// Every series.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Adds the patterns of one `metrics=a,b`.
    pub(crate) fn add(&mut self, patterns: &str) -> Result<(), QueryFault> {
        let patterns = patterns.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
        self.patterns.extend(patterns.map(Box::from));
        if self.patterns.is_empty() {
            // Not everything: who names nothing has made a mistake.
            return Err(QueryFault::NoNames);
        }
        if self.patterns.len() > MAX_PATTERNS { Err(QueryFault::TooManyNames) } else { Ok(()) }
    }

    /// The series that another selection has as well.
    #[must_use]
    pub fn within(mut self, limit: &Self) -> Self {
        self.within.insert(limit.clone());
        self
    }

    /// The same for all that select the same: `metrics=a,b`, or nothing for everything; then each limit, behind ` within `.
    pub(crate) fn canonical(&self) -> String {
        let mut canonical = String::new();
        for pattern in &self.patterns {
            canonical += if canonical.is_empty() { "metrics=" } else { "," };
            canonical.extend(byte_serialize(pattern.as_bytes()));
        }
        for limit in &self.within {
            canonical = format!("{canonical} within {}", limit.canonical());
        }
        canonical
    }

    /// Makes what can be asked of every series, often.
    pub(crate) fn matcher(&self) -> SelectionMatcher {
        SelectionMatcher {
            patterns: self.patterns.iter().map(|pattern| Pattern::new(pattern)).collect(),
            within: self.within.iter().map(Self::matcher).collect(),
        }
    }
}

/// The patterns of `metrics=a,b`.
impl FromStr for Selection {
    type Err = QueryFault;

    fn from_str(patterns: &str) -> Result<Self, QueryFault> {
        let mut selection = Self::everything();
        selection.add(patterns).map(|()| selection)
    }
}

/// As it is read; what it is held within is told elsewhere.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<_> = self.patterns.iter().map(|pattern| &**pattern).collect();
        f.write_str(&patterns.join(","))
    }
}

/// A [`Selection`], ready to be compared with names.
#[derive(Debug)]
pub(crate) struct SelectionMatcher {
    patterns: Vec<Pattern>,
    within: Vec<SelectionMatcher>,
}

#[derive(Debug)]
enum Pattern {
    /// This name, or any name in the group of that name.
    Name(Box<str>),
    Glob(WildMatch),
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        if pattern.contains(['*', '?']) {
            Self::Glob(WildMatch::new(pattern))
        } else {
            Self::Name(pattern.into())
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => name
                .strip_prefix(&**wanted)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            Self::Glob(glob) => glob.matches(name),
        }
    }
}

impl SelectionMatcher {
    /// Whether a series of this name is wanted.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let is_named =
            self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(name));
        is_named && self.within.iter().all(|limit| limit.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &str, name: &str, expected: bool) {
        let mut selection = Selection::everything();
        selection.add(patterns).unwrap();
        assert_eq!(selection.matcher().matches(name), expected, "{patterns} on {name}");
    }

    #[test]
    fn names_groups_and_globs() {
        assert!(Selection::everything().matcher().matches("anything"));
        for nothing in ["", ",", " , "] {
            assert_eq!(Selection::everything().add(nothing), Err(QueryFault::NoNames));
        }
        check("server.memory,queue.count", "queue.count", true);
        check("server", "server.memory", true);
        check("server.*", "server.memory", true);
        check("server", "servers.memory", false);
        check("server.*", "server", false);
        check("*.count", "queue.count", true);
        check("smtp.c?d", "smtp.cmd", true);
        check("server.mem", "server.memory", false);
    }
}
