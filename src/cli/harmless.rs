//! Texts that somebody else wrote, made fit for a terminal: nothing in them steers it, hides, or turns the line round.
//!
//! What would is written as JSON has it (`\u001b`), so that text in JSON stays the same JSON.

use std::borrow::Cow;
use std::fmt::Write;

/// The text, with what is harmful in it escaped.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push_harmless(&mut safe, c);
    }
    Cow::Owned(safe)
}

/// Adds a character, escaped if it must be.
pub(super) fn push_harmless(safe: &mut String, c: char) {
    match c {
        '\n' => safe.push_str("\\n"),
        '\r' => safe.push_str("\\r"),
        '\t' => safe.push_str("\\t"),
        c if is_harmful(c) => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(safe, "\\u{unit:04x}").expect("a String takes everything");
            }
        }
        c => safe.push(c),
    }
}

/// Control characters (of both sets: terminals take U+009B for `ESC [`), what changes the direction of a line, and what
/// cannot be seen.
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(harmless(text), expected);
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        check("\u{1b}[2J\u{9b}31m\u{7}\0\u{7f}", r"\u001b[2J\u009b31m\u0007\u0000\u007f");
        check("a\r\nb\tc", r"a\r\nb\tc");
        check("abc\u{202e}fdp.exe\u{2066}x\u{200b}y", r"abc\u202efdp.exe\u2066x\u200by");
        check("tag\u{e0041}", r"tag\udb40\udc41");
    }

    #[test]
    fn all_else_stays() {
        for text in ["", "plain", "größer 日本語 👍 עברית", r#"{"a":"\\\u001b\""}"#] {
            assert!(matches!(harmless(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let json = "{\"a\":\"\u{202e}\u{7f}\u{e0041}\"}";
        let safe = harmless(json);
        let [before, after] =
            [json, &safe].map(|json| serde_json::from_str::<serde_json::Value>(json).unwrap());
        assert_eq!(before, after);
        assert!(safe.is_ascii());
    }
}
