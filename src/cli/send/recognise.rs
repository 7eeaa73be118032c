//! Tells what a line is, and makes the JSON of one event of it, as SPEC.md, section 5, has it.
//!
//! Pure. JSON is passed on to the letter, as the hub reads it with the same parser; journald's entries and logfmt are
//! read here. In [`Format::Auto`] no line is bad: what is nothing else is text.

use telemetry_hub_actors::event::json;
use telemetry_hub_actors::{Level, NewEvent, Object, SmolStr, Value};

use super::logfmt::{self, LogfmtError};
use super::{input::MAX_LINE_BYTES, journal};

/// What lines may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Whatever each line looks like
    Auto,
    /// JSON objects, journald's export among them; other lines are reported as bad
    Json,
    /// key=value pairs; other lines are reported as bad
    Logfmt,
    /// Plain text, whatever it looks like
    Text,
}

/// Why a line is not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadLine {
    #[error("longer than {} bytes", indicatif::HumanCount(*limit as u64))]
    TooLong { limit: usize },
    #[error("not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("{0}, not a JSON object")]
    NotAnObject(&'static str),
    #[error("not logfmt")]
    NotLogfmt(#[source] LogfmtError),
}

/// Makes events of lines.
#[derive(Debug)]
pub(super) struct Recogniser {
    format: Format,
    /// The type for lines that name none.
    kind: Option<SmolStr>,
}

impl Recogniser {
    pub(super) fn new(format: Format, kind: Option<String>) -> Self {
        Self { format, kind: kind.map(SmolStr::from) }
    }

    /// The event that `line` is, as JSON on one line.
    pub(super) fn recognise(&self, line: &[u8]) -> Result<Vec<u8>, BadLine> {
        debug_assert!(line.len() <= MAX_LINE_BYTES);
        match self.format {
            Format::Auto => Ok(self.auto(line)),
            Format::Json => from_json(line),
            Format::Logfmt => {
                let pairs = logfmt::parse(&String::from_utf8_lossy(line));
                pairs.map(|pairs| self.pairs_event(pairs)).map_err(BadLine::NotLogfmt)
            }
            Format::Text => Ok(self.text_event(&String::from_utf8_lossy(line))),
        }
    }

    fn auto(&self, line: &[u8]) -> Vec<u8> {
        if line.trim_ascii_start().starts_with(b"{")
            && let Ok(event) = from_json(line)
        {
            return event;
        }
        let text = String::from_utf8_lossy(line);
        match logfmt::parse_if_evident(&text) {
            Some(pairs) => self.pairs_event(pairs),
            None => self.text_event(&text),
        }
    }

    fn text_event(&self, text: &str) -> Vec<u8> {
        if let Some(kind) = &self.kind {
            return hub_form(NewEvent::new(kind).text(text));
        }
        let mut event = Object::default();
        event.push("message", text);
        to_json(&event)
    }

    /// An object of the pairs if there is no type. With one it must be the hub's form, in which a `level` that is
    /// none would make the event bad: so the fields are found here, as the hub finds them in a bare object.
    fn pairs_event(&self, mut pairs: Object) -> Vec<u8> {
        let Some(kind) = logfmt::take_type(&mut pairs).or_else(|| self.kind.clone()) else {
            return to_json(&pairs);
        };
        // A second `type` would be taken for a type again: it stays in the data, and so do all others.
        let event = match pairs.get("type") {
            Some(_) => NewEvent { data: pairs.into(), ..NewEvent::default() },
            None => json::from_object(pairs).expect("without a type, no member can be wrong"),
        };
        hub_form(NewEvent { kind: Some(kind), ..event })
    }
}

/// A JSON object stays as it is, but for journald's entries.
fn from_json(line: &[u8]) -> Result<Vec<u8>, BadLine> {
    let text = std::str::from_utf8(line).map_err(BadLine::NotUtf8)?;
    match serde_json::from_str(text).map_err(not_json)? {
        Value::Object(object) if journal::is_entry(&object) => {
            Ok(hub_form(journal::to_event(object)))
        }
        Value::Object(_) => Ok(line.trim_ascii().to_vec()),
        other => Err(BadLine::NotAnObject(other.kind())),
    }
}

/// The parser's reason, without the line that it counts: it has only ever seen this one.
fn not_json(error: serde_json::Error) -> BadLine {
    BadLine::NotJson(error.to_string().replace(" at line 1 column ", " at column "))
}

/// Writes an event that has a type in the hub's own form.
fn hub_form(event: NewEvent) -> Vec<u8> {
    let mut members = Object::default();
    for (name, member) in [
        ("type", event.kind),
        ("createdAt", event.created_at.map(|created_at| created_at.to_string().into())),
        ("level", event.level.map(Level::as_str).map(SmolStr::from)),
        ("text", event.text),
        ("traceId", event.trace_id),
        ("spanId", event.span_id),
        ("parentSpanId", event.parent_span_id),
    ] {
        if let Some(member) = member {
            members.push(name, member);
        }
    }
    if !event.data.is_empty() {
        members.push("data", Object::from(event.data));
    }
    to_json(&members)
}

fn to_json(object: &Object) -> Vec<u8> {
    serde_json::to_vec(object).expect("an object of JSON values is always valid JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_chain::error_chain;

    #[track_caller]
    fn check_with(recogniser: &Recogniser, line: impl AsRef<[u8]>, expected: &str) {
        let event = match recogniser.recognise(line.as_ref()) {
            Ok(event) => String::from_utf8(event).unwrap(),
            Err(error) => error_chain(&error),
        };
        assert_eq!(event, expected);
        assert!(!event.contains('\n'));
    }

    #[track_caller]
    fn check(line: impl AsRef<[u8]>, expected: &str) {
        check_with(&Recogniser::new(Format::Auto, None), line, expected);
    }

    #[track_caller]
    fn check_typed(line: &str, expected: &str) {
        check_with(&Recogniser::new(Format::Auto, Some("web".to_owned())), line, expected);
        let read = json::read(expected.as_bytes(), usize::MAX).expect("the hub takes it");
        assert!(read.kind.is_some());
    }

    #[test]
    fn objects_stay_to_the_letter() {
        check(
            r#"{"b": 1.50, "a": 18446744073709551615}"#,
            r#"{"b": 1.50, "a": 18446744073709551615}"#,
        );
        check("  {\"a\":1}\t", r#"{"a":1}"#);
        check_typed(r#"{"type":"own","a":1}"#, r#"{"type":"own","a":1}"#);
    }

    #[test]
    fn what_is_no_object_is_text() {
        check("5", r#"{"message":"5"}"#);
        check("[1]", r#"{"message":"[1]"}"#);
        check("{broken", r#"{"message":"{broken"}"#);
        check(r#"{"a":1} {"b":2}"#, r#"{"message":"{\"a\":1} {\"b\":2}"}"#);
        check(r#"{"a":"\ud800"}"#, r#"{"message":"{\"a\":\"\\ud800\"}"}"#);
        check("\u{1b}[1mbold\rx", r#"{"message":"\u001b[1mbold\rx"}"#);
        check(b"{\"a\":\"\xff\"}", "{\"message\":\"{\\\"a\\\":\\\"\u{fffd}\\\"}\"}");
        check(b"caf\xe9", "{\"message\":\"caf\u{fffd}\"}");
    }

    #[test]
    fn logfmt_is_an_object_of_its_pairs() {
        check(
            r#"level=info msg="hello world" dur=1.5 flag"#,
            r#"{"level":"info","msg":"hello world","dur":1.5,"flag":true}"#,
        );
        check("set x=1 and go", r#"{"message":"set x=1 and go"}"#);
    }

    #[test]
    fn given_type_is_for_lines_without_one() {
        check_typed("hello", r#"{"type":"web","text":"hello"}"#);
        check_typed(
            "level=warning msg=hi id=7 data=x",
            r#"{"type":"web","level":"WARN","text":"hi","data":{"id":7,"data":"x"}}"#,
        );
        check_typed("level=odd a=1", r#"{"type":"web","data":{"level":"odd","a":1}}"#);
        check_typed("type=5 a=1", r#"{"type":"5","data":{"a":1}}"#);
        check_typed("type=a type=b c=1", r#"{"type":"a","data":{"type":"b","c":1}}"#);
    }

    #[test]
    fn other_formats_are_strict() {
        let json = Recogniser::new(Format::Json, None);
        check_with(&json, r#"{"a":1}"#, r#"{"a":1}"#);
        check_with(&json, "{oops", "not JSON: key must be a string at column 2");
        check_with(&json, "[]", "an array, not a JSON object");
        check_with(
            &json,
            b"{\"a\":\"\xff\"}",
            "not UTF-8: invalid utf-8 sequence of 1 bytes from index 6",
        );
        let logfmt = Recogniser::new(Format::Logfmt, None);
        check_with(&logfmt, "a=1", r#"{"a":1}"#);
        check_with(&logfmt, "just words", "not logfmt: no key=value pair");
        let text = Recogniser::new(Format::Text, None);
        check_with(&text, r#"{"a":1}"#, r#"{"message":"{\"a\":1}"}"#);
    }
}
