//! Keys, and when two of them are one: `remote-ip`, `remoteIp`, `remote_ip` and `RemoteIP` name the same thing.
//!
//! The canonical form of a key: camelCase split at its humps, then `-`, `_`, `.`, `/` and space made one `-`, then
//! lower case. An event's keys are compared with a filter's as they are read, without building the form: this runs
//! for every key of every event.

use std::fmt;

/// A key in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// The canonical form of `name`, or `None` if nothing is left of it.
    pub fn new(name: &str) -> Option<Self> {
        let canonical = canonical(name);
        (!canonical.is_empty()).then(|| Self(canonical.into()))
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `name` has this canonical form.
    pub fn names(&self, name: &str) -> bool {
        self.path().over(name).is_some_and(|progress| progress.is_complete())
    }

    /// The start of a comparison with the path of a nested key.
    pub(crate) fn path(&self) -> PathProgress<'_> {
        PathProgress { rest: &self.0, form: CanonicalForm::default() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much of a key the names of some nested objects have matched so far.
///
/// Carried down into the objects, so that each name is read once, however deep it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathProgress<'a> {
    rest: &'a str,
    form: CanonicalForm,
}

impl PathProgress<'_> {
    /// Goes on over the name of a member; `None` if the key says otherwise.
    pub(crate) fn over(mut self, name: &str) -> Option<Self> {
        let mut characters = name.chars();
        while let Some(c) = characters.next() {
            for wanted in self.form.push(c, characters.clone().next()) {
                self.rest = self.rest.strip_prefix(wanted)?;
            }
        }
        Some(self)
    }

    /// Goes on inside the object that the last name names.
    pub(crate) fn inside(mut self) -> Self {
        self.form.push('.', None).for_each(drop);
        self
    }

    /// Whether the whole key has been matched.
    pub(crate) fn is_complete(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Makes the canonical form of a name, character by character.
#[derive(Debug, Clone, Copy, Default)]
struct CanonicalForm {
    previous: Option<char>,
    started: bool,
    /// Separators have come since the last character.
    gap: bool,
}

impl CanonicalForm {
    /// What the next character of the name adds.
    fn push(&mut self, c: char, next: Option<char>) -> impl Iterator<Item = char> + use<> {
        let is_separator = matches!(c, '-' | '_' | '.' | '/' | ' ');
        let dash = self.started && !is_separator && (self.gap || is_hump(self.previous, c, next));
        self.previous = Some(c);
        self.gap = is_separator && self.started;
        self.started |= !is_separator;
        let letters = (!is_separator).then(|| c.to_lowercase());
        dash.then_some('-').into_iter().chain(letters.into_iter().flatten())
    }
}

/// The canonical form of a name.
fn canonical(name: &str) -> String {
    let (mut form, mut characters) = (CanonicalForm::default(), name.chars());
    let mut canonical = String::with_capacity(name.len());
    while let Some(c) = characters.next() {
        canonical.extend(form.push(c, characters.clone().next()));
    }
    canonical
}

/// Whether a word begins at `c`: `remoteIp` at `I`, `HTTPServer` at `S`.
fn is_hump(previous: Option<char>, c: char, next: Option<char>) -> bool {
    let Some(previous) = previous else {
        return false;
    };
    let after_word = previous.is_ascii_lowercase() || previous.is_ascii_digit();
    let ends_acronym =
        previous.is_ascii_uppercase() && next.is_some_and(|next| next.is_ascii_lowercase());
    c.is_ascii_uppercase() && (after_word || ends_acronym)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        let key = Key::new(name).map(|key| key.to_string()).unwrap_or_default();
        assert_eq!(key, expected, "{name}");
    }

    #[test]
    fn canonical_forms() {
        for name in ["remote-ip", "remoteIp", "remote_ip", "remote.ip", "RemoteIP", "Remote IP"] {
            check(name, "remote-ip");
        }
        check("HTTPServer2Go", "http-server2-go");
        check("result.type", "result-type");
        check("@timestamp", "@timestamp");
        check("__REALTIME_TIMESTAMP", "realtime-timestamp");
        check("a--b__c", "a-b-c");
        check("-a-", "a");
        check("ÄpfelUndBirnen", "äpfel-und-birnen");
        check("", "");
        check("-._/ ", "");
    }

    #[test]
    fn path_is_joined_by_a_dot() {
        let matches = |key: &str, path: &[&str]| {
            let key = Key::new(key).unwrap();
            let (last, parents) = path.split_last().unwrap();
            let start = Some(key.path());
            let inside = parents.iter().fold(start, |at, name| Some(at?.over(name)?.inside()));
            inside.and_then(|at| at.over(last)).is_some_and(|at| at.is_complete())
        };
        assert!(matches("result-dkim-type", &["result", "dkimType"]));
        assert!(matches("result.dkim.type", &["resultDKIM", "type"]));
        assert!(matches("a", &["a", "-"]));
        assert!(matches("a-b", &["", "a", "", "b"]));
        assert!(!matches("dkim-type", &["result", "dkimType"]));
        assert!(!matches("result-dkim", &["result", "dkimType"]));
        assert!(!matches("result-dkim-type", &["result"]));
    }
}
