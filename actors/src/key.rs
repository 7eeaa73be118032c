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
    #[inline]
    pub(crate) fn over(self, name: &str) -> Option<Self> {
        if self.is_ruled_out(name) { None } else { self.over_letters(name) }
    }

    fn over_letters(mut self, name: &str) -> Option<Self> {
        let mut characters = name.chars();
        while let Some(c) = characters.next() {
            match self.form.push(c, characters.as_str()) {
                Step::Separator => continue,
                Step::Letter { dash: true } => self.rest = self.rest.strip_prefix('-')?,
                Step::Letter { dash: false } => {}
            }
            if c.is_ascii() {
                self.rest = self.rest.strip_prefix(c.to_ascii_lowercase())?;
                continue;
            }
            for lower in c.to_lowercase() {
                self.rest = self.rest.strip_prefix(lower)?;
            }
        }
        Some(self)
    }

    /// A look at the first byte alone. This runs for every key of every event, and most begin with another letter.
    fn is_ruled_out(&self, name: &str) -> bool {
        let first = name.as_bytes().first().filter(|first| first.is_ascii_alphanumeric());
        !self.form.started
            && first.is_some_and(|first| {
                self.rest.as_bytes().first() != Some(&first.to_ascii_lowercase())
            })
    }

    /// Goes on inside the object that the last name names.
    pub(crate) fn inside(mut self) -> Self {
        self.form.push('.', "");
        self
    }

    /// Whether the whole key has been matched.
    pub(crate) fn is_complete(&self) -> bool {
        self.rest.is_empty()
    }
}

/// The canonical key of a member, hashed while one walks down to it: that of a nested member is that of its path.
///
/// Carried down as [`PathProgress`] is. Whoever makes two keys collide gains nothing: they are compared in the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyHash {
    /// FNV-1a, which goes on from any point.
    hash: u64,
    form: CanonicalForm,
}

impl KeyHash {
    const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

    /// Outside of all objects.
    pub(crate) fn start() -> Self {
        Self { hash: Self::EMPTY, form: CanonicalForm::default() }
    }

    /// Goes on over the name of a member.
    pub(crate) fn over(mut self, name: &str) -> Self {
        let hash = &mut self.hash;
        self.form.append(name, |c| *hash = fnv_1a(*hash, c.encode_utf8(&mut [0; 4])));
        self
    }

    /// Goes on inside the object that the last name names.
    pub(crate) fn inside(mut self) -> Self {
        self.form.push('.', "");
        self
    }

    /// That of a key.
    pub(crate) fn of(key: &Key) -> u64 {
        fnv_1a(Self::EMPTY, key.as_str())
    }

    /// The same for all spellings of a key.
    pub(crate) fn value(self) -> u64 {
        self.hash
    }
}

fn fnv_1a(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Makes the canonical form of a name, character by character.
#[derive(Debug, Clone, Copy, Default)]
struct CanonicalForm {
    previous: Option<char>,
    started: bool,
    /// Separators have come since the last letter.
    gap: bool,
}

/// What a character of a name adds to its canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing by itself.
    Separator,
    /// Itself in lower case, after a dash if a word begins with it.
    Letter { dash: bool },
}

impl CanonicalForm {
    fn push(&mut self, c: char, after: &str) -> Step {
        let previous = self.previous.replace(c);
        if matches!(c, '-' | '_' | '.' | '/' | ' ') {
            self.gap = self.started;
            return Step::Separator;
        }
        let dash = self.started && (self.gap || is_hump(previous, c, after));
        self.started = true;
        self.gap = false;
        Step::Letter { dash }
    }

    /// Hands over the canonical form of a name, character by character.
    fn append(&mut self, name: &str, mut add: impl FnMut(char)) {
        let mut characters = name.chars();
        while let Some(c) = characters.next() {
            if let Step::Letter { dash } = self.push(c, characters.as_str()) {
                dash.then_some('-').into_iter().chain(c.to_lowercase()).for_each(&mut add);
            }
        }
    }
}

/// The canonical form of a name.
fn canonical(name: &str) -> String {
    let mut canonical = String::with_capacity(name.len());
    CanonicalForm::default().append(name, |c| canonical.push(c));
    canonical
}

/// Whether a word begins at `c`: `remoteIp` at `I`, `HTTPServer` at `S`.
fn is_hump(previous: Option<char>, c: char, after: &str) -> bool {
    let Some(previous) = previous.filter(|_| c.is_ascii_uppercase()) else {
        return false;
    };
    let after_word = previous.is_ascii_lowercase() || previous.is_ascii_digit();
    let ends_acronym = || after.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    after_word || (previous.is_ascii_uppercase() && ends_acronym())
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
            let hash = parents.iter().fold(KeyHash::start(), |at, name| at.over(name).inside());
            let hashes_alike = hash.over(last).value() == KeyHash::of(&key);
            let is_it = inside.and_then(|at| at.over(last)).is_some_and(|at| at.is_complete());
            assert_eq!(hashes_alike, is_it, "{key} {path:?}");
            is_it
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
