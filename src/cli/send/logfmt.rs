//! Reads logfmt: `level=info msg="hello world" dur=1.5 flag`.
//!
//! Pure. As Go's loggers write it, with quotes where needed. A number is what JSON would take for one, so that filters
//! compare it as such; a bare key is true. [`parse_if_evident`] would rather take logfmt for prose than prose for logfmt.

use telemetry_hub_actors::{Number, Object, SmolStr, Value};

/// Why a line is not logfmt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LogfmtError {
    #[error("no key=value pair")]
    NoPair,
    #[error("no key before the = at byte {0}")]
    NoKey(usize),
    #[error("a quote out of place at byte {0}")]
    StrayQuote(usize),
    #[error("the quote at byte {0} does not end")]
    OpenQuote(usize),
}

/// The pairs of a line that has at least one.
pub(super) fn parse(line: &str) -> Result<Object, LogfmtError> {
    let tokens = Tokens::new(line).collect::<Result<Vec<_>, _>>()?;
    if tokens.iter().all(Token::is_bare) {
        return Err(LogfmtError::NoPair);
    }
    Ok(to_object(tokens))
}

/// The pairs of a line that nobody would take for a sentence: a pair first, two or more of them, more of them than
/// words without a value, and keys that look like names.
pub(super) fn parse_if_evident(line: &str) -> Option<Object> {
    let mut tokens = Vec::new();
    for token in Tokens::new(line) {
        let token = token.ok().filter(Token::has_name_for_key)?;
        if tokens.is_empty() && token.is_bare() {
            return None;
        }
        tokens.push(token);
    }
    let bare = tokens.iter().filter(|token| token.is_bare()).count();
    let pairs = tokens.len() - bare;
    (pairs >= 2 && pairs > bare).then(|| to_object(tokens))
}

/// Takes out the first `type` as text: in logfmt nothing says that it is a number.
pub(super) fn take_type(pairs: &mut Object) -> Option<SmolStr> {
    let kind: SmolStr = match pairs.get("type")? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string().into(),
        Value::Bool(value) => value.to_string().into(),
        _ => return None,
    };
    let mut others: Vec<_> = std::mem::take(pairs).into_iter().collect();
    let first = others.iter().position(|(key, _)| &**key == "type");
    first.map(|first| others.remove(first));
    *pairs = others.into_iter().collect();
    Some(kind)
}

fn to_object(tokens: Vec<Token<'_>>) -> Object {
    tokens.into_iter().map(|token| (token.key.into(), token.value.into_value())).collect()
}

/// A key with or without a value.
#[derive(Debug)]
struct Token<'a> {
    key: &'a str,
    value: TokenValue<'a>,
}

#[derive(Debug)]
enum TokenValue<'a> {
    Absent,
    Plain(&'a str),
    /// What stands between the quotes, escapes and all.
    Quoted(&'a str),
}

impl Token<'_> {
    fn is_bare(&self) -> bool {
        matches!(self.value, TokenValue::Absent)
    }

    fn has_name_for_key(&self) -> bool {
        let mut bytes = self.key.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || b"_@".contains(&byte))
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_@.-/:".contains(&byte))
    }
}

impl TokenValue<'_> {
    fn into_value(self) -> Value {
        match self {
            Self::Absent | Self::Plain("true") => true.into(),
            Self::Plain("false") => false.into(),
            Self::Plain(text) => read_number(text).map_or_else(|| text.into(), Value::Number),
            Self::Quoted(text) => unescape(text).into(),
        }
    }
}

/// A JSON number that loses nothing: an integer of more than 64 bits is rather an id, and stays a string.
fn read_number(text: &str) -> Option<Number> {
    let number: Number = serde_json::from_str(text).ok()?;
    let is_integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    (!is_integer || !number.is_f64()).then_some(number)
}

/// The tokens of a line, up to the first fault.
struct Tokens<'a> {
    line: &'a str,
    position: usize,
}

impl<'a> Tokens<'a> {
    fn new(line: &'a str) -> Self {
        Self { line, position: 0 }
    }

    /// Takes all up to the first character that `ends` it.
    fn take_until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let rest = &self.line[self.position..];
        let taken = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.position += taken.len();
        taken
    }

    fn take_if(&mut self, expected: char) -> bool {
        let found = self.line[self.position..].starts_with(expected);
        if found {
            self.position += expected.len_utf8();
        }
        found
    }

    fn token(&mut self) -> Result<Token<'a>, LogfmtError> {
        let key = self.take_until(|c| c == '=' || c == '"' || is_space(c));
        let key_end = self.position;
        if !self.take_if('=') {
            return if self.take_if('"') {
                Err(LogfmtError::StrayQuote(key_end))
            } else {
                Ok(Token { key, value: TokenValue::Absent })
            };
        }
        if key.is_empty() {
            return Err(LogfmtError::NoKey(key_end));
        }
        Ok(Token { key, value: self.value()? })
    }

    fn value(&mut self) -> Result<TokenValue<'a>, LogfmtError> {
        let start = self.position;
        let value = if self.take_if('"') {
            let end = self.closing_quote().ok_or(LogfmtError::OpenQuote(start))?;
            let quoted = &self.line[start + 1..end];
            self.position = end + 1;
            TokenValue::Quoted(quoted)
        } else {
            TokenValue::Plain(self.take_until(|c| c == '"' || is_space(c)))
        };
        let at_end = self.line[self.position..].chars().next().is_none_or(is_space);
        if at_end { Ok(value) } else { Err(LogfmtError::StrayQuote(self.position)) }
    }

    fn closing_quote(&self) -> Option<usize> {
        let mut escaped = false;
        let closing = self.line.bytes().skip(self.position).position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })?;
        Some(self.position + closing)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Token<'a>, LogfmtError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take_until(|c| !is_space(c));
        (self.position < self.line.len()).then(|| self.token())
    }
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// Resolves the escapes of JSON and of Go's `%q`; one that is neither stays as it stands.
fn unescape(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(backslash) = rest.find('\\') {
        text.push_str(&rest[..backslash]);
        rest = &rest[backslash..];
        let (character, length) = read_escape(rest).unwrap_or(('\\', 1));
        text.push(character);
        rest = &rest[length..];
    }
    text + rest
}

/// The character that the escape at the start of `text` stands for, and how long the escape is.
fn read_escape(text: &str) -> Option<(char, usize)> {
    let simple = |character| Some((character, 2));
    match text.as_bytes().get(1)? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'n' => simple('\n'),
        b't' => simple('\t'),
        b'r' => simple('\r'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'a' => simple('\u{7}'),
        b'v' => simple('\u{b}'),
        // From 80 on this is a byte of no character.
        b'x' => read_hex(text, 2).filter(|(character, _)| character.is_ascii()),
        b'u' => read_hex(text, 4),
        b'U' => read_hex(text, 8),
        _ => None,
    }
}

fn read_hex(text: &str, digits: usize) -> Option<(char, usize)> {
    let hex = text.get(2..2 + digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let character = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
    Some((character, 2 + digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(object: &Object) -> String {
        serde_json::to_string(object).unwrap()
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(json(&parse(line).unwrap()), expected, "{line}");
    }

    #[track_caller]
    fn check_bad(line: &str, expected: LogfmtError) {
        assert_eq!(parse(line).unwrap_err(), expected, "{line}");
        assert!(parse_if_evident(line).is_none(), "{line}");
    }

    #[track_caller]
    fn check_evident(line: &str, expected: bool) {
        assert_eq!(parse_if_evident(line).is_some(), expected, "{line}");
    }

    #[test]
    fn pairs_and_bare_keys() {
        check(
            r#"level=info msg="hello world" dur=1.5 flag"#,
            r#"{"level":"info","msg":"hello world","dur":1.5,"flag":true}"#,
        );
        check(" \ta=1\t b=2  ", r#"{"a":1,"b":2}"#);
        check(r#"a= b="" url=/x?y=z k==="#, r#"{"a":"","b":"","url":"/x?y=z","k":"=="}"#);
        check("größe=5 größer", r#"{"größe":5,"größer":true}"#);
    }

    #[test]
    fn numbers_are_those_of_json() {
        check(
            "a=0 b=-3 c=1.25 d=1e3 e=18446744073709551615",
            r#"{"a":0,"b":-3,"c":1.25,"d":1000.0,"e":18446744073709551615}"#,
        );
        check(
            r#"a=007 b=+1 c=.5 d=1. e=0x1f"#,
            r#"{"a":"007","b":"+1","c":".5","d":"1.","e":"0x1f"}"#,
        );
        check(r#"a=1ms b="5" c=NaN d=1e999"#, r#"{"a":"1ms","b":"5","c":"NaN","d":"1e999"}"#);
        check("a=18446744073709551616", r#"{"a":"18446744073709551616"}"#);
    }

    #[test]
    fn booleans_are_unquoted() {
        check(r#"a=true b=false c="true" d=True"#, r#"{"a":true,"b":false,"c":"true","d":"True"}"#);
    }

    #[test]
    fn escapes_of_json_and_go() {
        check(r#"a="\"x\" \\ \n\t""#, r#"{"a":"\"x\" \\ \n\t"}"#);
        check(r#"a="\u00e9\x1b\U0001F600""#, r#"{"a":"é\u001b😀"}"#);
        check(r#"a="\xe9\ud800\q\u12""#, r#"{"a":"\\xe9\\ud800\\q\\u12"}"#);
        check(r#"a="C:\\dir\\""#, r#"{"a":"C:\\dir\\"}"#);
    }

    #[test]
    fn faults_say_where() {
        check_bad("just some words", LogfmtError::NoPair);
        check_bad("a=1 =2", LogfmtError::NoKey(4));
        check_bad(r#"a="1"b b=2"#, LogfmtError::StrayQuote(5));
        check_bad(r#"a=1 b"x""#, LogfmtError::StrayQuote(5));
        check_bad(r#"a=x"y" b=2"#, LogfmtError::StrayQuote(3));
        check_bad(r#"a=1 b="x"#, LogfmtError::OpenQuote(6));
        check_bad(r#"a=1 b="x\""#, LogfmtError::OpenQuote(6));
    }

    #[test]
    fn prose_is_not_evident() {
        check_evident("a=1 b=2", true);
        check_evident("time=12:00 level=info starting", true);
        check_evident("a=1", false);
        check_evident("set x=1 and y=2", false);
        check_evident("x=1 and y=2 hold for all z", false);
        check_evident("a=1 b=2 c d", false);
        check_evident("if(a=1) b=2 c=3", false);
        check_evident("a=1, b=2 (c)", false);
        check_evident("1=a 2=b", false);
        check_evident("", false);
    }

    #[test]
    fn type_is_taken_as_text() {
        let mut pairs = parse("a=1 type=1.5 type=x").unwrap();
        assert_eq!(take_type(&mut pairs).as_deref(), Some("1.5"));
        assert_eq!(json(&pairs), r#"{"a":1,"type":"x"}"#);
        let mut pairs = parse("a=1").unwrap();
        assert_eq!(take_type(&mut pairs), None);
        assert_eq!(json(&pairs), r#"{"a":1}"#);
    }
}
