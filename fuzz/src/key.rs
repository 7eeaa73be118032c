//! Input: names, one a line.
//!
//! The canonical form of a name is that of the rules, its own canonical form, and what every spelling of it comes to; a key names
//! what has its form, and nothing else.

use telemetry_hub::actors::Key;

use crate::oracle::canonical;

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let names: Vec<&str> = text.lines().take(8).collect();
    for name in &names {
        let expected = canonical(name);
        let Some(key) = Key::new(name) else {
            assert_eq!(expected, "", "{name:?}");
            continue;
        };
        assert_eq!(key.as_str(), expected, "{name:?}");
        assert_eq!(Key::new(key.as_str()), Some(key.clone()), "the form of its form");
        for spelling in spellings(&expected) {
            assert!(key.names(&spelling), "{key} is {spelling:?}");
            assert_eq!(Key::new(&spelling).as_ref(), Some(&key), "{spelling:?}");
        }
        for other in &names {
            assert_eq!(key.names(other), canonical(other) == expected, "{key} and {other:?}");
        }
    }
}

/// Other ways to write a canonical key.
fn spellings(key: &str) -> Vec<String> {
    let joined = ["_", ".", "/", " ", "--", "_-"].map(|separator| key.replace('-', separator));
    let around = ["-", "_", "."].map(|separator| format!("{separator}{key}{separator}"));
    joined.into_iter().chain(around).chain(camel_case(key)).collect()
}

/// In camelCase, if all of its words begin with a letter that has a capital, and none is so short that capitals would meet.
fn camel_case(key: &str) -> Option<String> {
    let mut words = key.split('-');
    let mut camel = words.next()?.to_owned();
    if !camel.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return None;
    }
    for word in words {
        let (first, rest) = word.split_at_checked(1)?;
        let is_plain = first.chars().all(|c| c.is_ascii_lowercase())
            && rest.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !is_plain {
            return None;
        }
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    Some(camel)
}
