//! The TEXT of a filter, and what it means to each kind of value.

use std::net::IpAddr;

use ipnet::IpNet;
use memchr::{memchr2_iter, memmem};

use crate::value::{Number, Value};

/// What a value is compared with. Read once, so that each comparison only compares.
#[derive(Debug, Clone)]
pub(super) struct Text {
    raw: Box<str>,
    case: Case,
    network: Option<IpNet>,
    number: Option<ExactNumber>,
    boolean: Option<bool>,
}

/// Whether capitals count: they do if the text has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Exact,
    Folded,
}

impl Text {
    /// Any text is a good one.
    pub(super) fn new(raw: &str) -> Self {
        let has_capital = raw.bytes().any(|byte| byte.is_ascii_uppercase());
        Self {
            raw: raw.into(),
            case: if has_capital { Case::Exact } else { Case::Folded },
            network: network(raw),
            number: number(raw),
            boolean: boolean(raw),
        }
    }

    /// As the client gave it.
    pub(super) fn as_str(&self) -> &str {
        &self.raw
    }

    pub(super) fn network(&self) -> Option<IpNet> {
        self.network
    }

    pub(super) fn number(&self) -> Option<ExactNumber> {
        self.number
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        self.boolean
    }

    /// Whether a value matches, by the rules of README.md, "Values".
    pub(super) fn matches(&self, value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::Bool(value) => self.boolean == Some(*value),
            Value::Number(number) => {
                self.number.is_some_and(|wanted| wanted == ExactNumber::from(number))
            }
            Value::String(text) => self.matches_str(text),
            Value::Array(items) => items.iter().any(|item| self.matches(item)),
            Value::Object(object) => object.iter().any(|(_, value)| self.matches(value)),
        }
    }

    /// Whether a string matches: as an address if both are one, else by containing this text.
    pub(super) fn matches_str(&self, text: &str) -> bool {
        if let Some(network) = &self.network
            && let Some(address) = address(text)
        {
            return network.contains(&address);
        }
        match self.case {
            Case::Exact => memmem::find(text.as_bytes(), self.raw.as_bytes()).is_some(),
            Case::Folded => contains_folded(text.as_bytes(), self.raw.as_bytes()),
        }
    }
}

/// Whether `haystack` contains `needle`, ASCII capitals being as good as small letters. No allocation.
fn contains_folded(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(&first) = needle.first() else {
        return true;
    };
    memchr2_iter(first.to_ascii_lowercase(), first.to_ascii_uppercase(), haystack).any(|start| {
        haystack
            .get(start..start + needle.len())
            .is_some_and(|window| window.eq_ignore_ascii_case(needle))
    })
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The address that a string is. Nearly all strings are none, so the first byte and the length decide for most.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    const LONGEST: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();
    let first = *text.as_bytes().first()?;
    let plausible = text.len() <= LONGEST && (first.is_ascii_hexdigit() || first == b':');
    if plausible { text.parse().ok() } else { None }
}

fn number(text: &str) -> Option<ExactNumber> {
    // serde_json would skip white space around it.
    let first = *text.as_bytes().first()?;
    let last = *text.as_bytes().last()?;
    let plausible = (first.is_ascii_digit() || first == b'-') && last.is_ascii_digit();
    let number: Number = plausible.then(|| serde_json::from_str(text).ok())??;
    Some(ExactNumber::from(&number))
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A number that compares by its mathematical value: 25, 25.0 and 2.5e1 are one, and no integer is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ExactNumber {
    Integer(i128),
    /// The bits of a float that is no such integer. The only number that has two floats, zero, is an integer.
    Fraction(u64),
}

impl From<&Number> for ExactNumber {
    fn from(number: &Number) -> Self {
        // All floats from here up are integers too large for any 64-bit integer to equal.
        const LIMIT: f64 = 1e38;
        if let Some(integer) = number.as_i64() {
            return Self::Integer(i128::from(integer));
        }
        if let Some(integer) = number.as_u64() {
            return Self::Integer(i128::from(integer));
        }
        let float = number.as_f64().unwrap_or(f64::NAN);
        if float.fract() == 0.0 && float.abs() < LIMIT {
            Self::Integer(float as i128)
        } else {
            Self::Fraction(float.to_bits())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, json: &str, expected: bool) {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(Text::new(text).matches(&value), expected, "{text:?} on {json}");
    }

    #[test]
    fn strings() {
        check("mailer", r#""MAILER.test""#, true);
        check("MAILER", r#""mailer.test""#, false);
        check("MAILER", r#""a MAILER""#, true);
        check("mailer", r#""maile""#, false);
        check("rr", r#""arRow""#, true);
        check("ü", r#""fünf""#, true);
        check("ü", r#""FÜNF""#, false);
        check("", r#""anything""#, true);
        check("", r#""""#, true);
        check("aab", r#""aaab""#, true);
    }

    #[test]
    fn addresses() {
        check("127.0.0.7", r#""127.0.0.7""#, true);
        check("127.0.0.7", r#""127.0.0.70""#, false);
        check("127.0.0.7", r#""client 127.0.0.70 left""#, true);
        check("127.0.0.5/30", r#""127.0.0.7""#, true);
        check("127.0.0.0/30", r#""127.0.0.4""#, false);
        check("::1", r#""0:0:0:0:0:0:0:1""#, true);
        check("2001:db8::/32", r#""2001:DB8:1::5""#, true);
        check("10.0.0.0/8", r#""::ffff:10.0.0.1""#, false);
        check("10.0.0.0/8", r#""10.0.0.0/8""#, true);
    }

    #[test]
    fn numbers() {
        check("25", "25", true);
        check("25", "2525", false);
        check("25.0", "25", true);
        check("2.5e1", "25", true);
        check("0.1", "0.1", true);
        check("-0", "0", true);
        check("-0.0", "0", true);
        check("0", "-0.0", true);
        check("-0.5", "-0.50", true);
        check("341966511470027318", "341966511470027318", true);
        check("341966511470027318", "341966511470027319", false);
        check("341966511470027318.0", "341966511470027319", false);
        check("18446744073709551615", "18446744073709551615", true);
        check("025", "25", false);
        check(" 25", "25", false);
        check("25x", "25", false);
        check("", "0", false);
        check("1e999", "1e300", false);
    }

    #[test]
    fn the_rest() {
        check("TRUE", "true", true);
        check("false", "true", false);
        check("null", "null", false);
        check("", "null", false);
        check("b", r#"["a",["b"]]"#, true);
        check("c", r#"["a",["b"]]"#, false);
        check("5", r#"{"a":{"b":[4,5]}}"#, true);
        check("a", r#"{"a":1}"#, false);
    }
}
