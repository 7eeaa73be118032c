//! All that stands in an event and can be looked up: its texts in small letters, one after the other with a byte between
//! them that no text has; its addresses, numbers, keys, level.

use std::net::IpAddr;

use super::needles::Seen;
use crate::event::Event;
use crate::filter::{ExactNumber, address, fields};
use crate::key::KeyHash;
use crate::level::Level;
use crate::value::{SmolStr, Value};

/// No byte of UTF-8.
const BETWEEN: u8 = 0xff;

/// What a [`FilterIndex`](super::FilterIndex) looks up. Its memory serves one event after the other, and grows no larger
/// than the largest of them.
#[derive(Debug)]
pub struct EventTerms {
    pub(super) texts: Vec<u8>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) numbers: Vec<ExactNumber>,
    /// Whether there is a false, and a true.
    pub(super) booleans: [bool; 2],
    pub(super) level: Level,
    /// The hashes of all keys, nested ones by their paths.
    pub(super) keys: Vec<u64>,
    /// For those who search the texts.
    pub(super) seen: Seen,
}

/// What costs enough to be read only where it is looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) texts: bool,
    pub(super) addresses: bool,
    pub(super) keys: bool,
}

impl Needs {
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            texts: self.texts || other.texts,
            addresses: self.addresses || other.addresses,
            keys: self.keys || other.keys,
        }
    }
}

impl Default for EventTerms {
    fn default() -> Self {
        Self {
            texts: Vec::new(),
            addresses: Vec::new(),
            numbers: Vec::new(),
            booleans: [false; 2],
            level: Level::ASSUMED,
            keys: Vec::new(),
            seen: Seen::default(),
        }
    }
}

impl EventTerms {
    /// Reads an event, in place of the one before.
    pub(super) fn read(&mut self, event: &Event, needs: Needs) {
        self.clear();
        let content = event.content();
        self.level = content.level.unwrap_or(Level::ASSUMED);
        for (name, field) in fields(event) {
            self.text(field, needs);
            if needs.keys {
                self.keys.push(KeyHash::start().over(name).value());
            }
        }
        content.data.iter().for_each(|(_, value)| self.value(value, needs));
        if needs.keys {
            content.data.parts().for_each(|members| self.read_keys(members, KeyHash::start()));
        }
    }

    fn clear(&mut self) {
        self.texts.clear();
        self.addresses.clear();
        self.numbers.clear();
        self.booleans = [false; 2];
        self.keys.clear();
    }

    fn read_keys(&mut self, members: &[(SmolStr, Value)], path: KeyHash) {
        for (name, value) in members {
            let here = path.over(name);
            self.keys.push(here.value());
            if let Value::Object(object) = value {
                self.read_keys(object.members(), here.inside());
            }
        }
    }

    fn value(&mut self, value: &Value, needs: Needs) {
        match value {
            Value::Null => {}
            Value::Bool(value) => self.booleans[usize::from(*value)] = true,
            Value::Number(number) => self.numbers.push(number.into()),
            Value::String(text) => self.text(text, needs),
            Value::Array(items) => items.iter().for_each(|item| self.value(item, needs)),
            Value::Object(object) => object.iter().for_each(|(_, value)| self.value(value, needs)),
        }
    }

    fn text(&mut self, text: &str, needs: Needs) {
        if needs.texts {
            let begin = self.texts.len();
            self.texts.extend_from_slice(text.as_bytes());
            self.texts[begin..].make_ascii_lowercase();
            self.texts.push(BETWEEN);
        }
        if needs.addresses {
            self.addresses.extend(address(text));
        }
    }
}
