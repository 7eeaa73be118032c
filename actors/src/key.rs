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
        let canonical: String = canonical_chars(name.chars()).collect();
        (!canonical.is_empty()).then(|| Self(canonical.into()))
    }

    /// The canonical form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `name` has this canonical form.
    pub fn names(&self, name: &str) -> bool {
        canonical_chars(name.chars()).eq(self.0.chars())
    }

    /// Whether the path `parent.name` has this canonical form.
    pub(crate) fn names_path(&self, path: &Path<'_>) -> bool {
        match path.parent {
            None => self.names(path.name),
            Some(_) => {
                let mut joined = String::new();
                path.join_into(&mut joined);
                self.names(&joined)
            }
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in an event's `data`: a key, and the keys of the objects around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'a> {
    pub(crate) parent: Option<&'a Path<'a>>,
    pub(crate) name: &'a str,
}

impl Path<'_> {
    fn join_into(&self, joined: &mut String) {
        if let Some(parent) = self.parent {
            parent.join_into(joined);
            joined.push('.');
        }
        joined.push_str(self.name);
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | '/' | ' ')
}

/// The characters of the canonical form, one by one.
fn canonical_chars(name: impl Iterator<Item = char> + Clone) -> impl Iterator<Item = char> {
    let mut rest = name;
    let mut previous: Option<char> = None;
    let mut started = false;
    let mut gap = false;
    let mut held: Option<std::char::ToLowercase> = None;
    std::iter::from_fn(move || {
        loop {
            if let Some(c) = held.as_mut().and_then(Iterator::next) {
                return Some(c);
            }
            let c = rest.next()?;
            if is_separator(c) {
                previous = Some(c);
                gap = started;
                continue;
            }
            let hump = is_hump(previous, c, rest.clone().next());
            previous = Some(c);
            held = Some(c.to_lowercase());
            let dash = started && (gap || hump);
            started = true;
            gap = false;
            if dash {
                return Some('-');
            }
        }
    })
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
        let parent = Path { parent: None, name: "result" };
        let path = Path { parent: Some(&parent), name: "dkimType" };
        assert!(Key::new("result-dkim-type").unwrap().names_path(&path));
        assert!(!Key::new("dkim-type").unwrap().names_path(&path));
    }
}
