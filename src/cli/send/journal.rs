//! Reads the entries of systemd's journal as `journalctl -o json` exports them.
//!
//! Pure. What names a field of an event moves there; all else stays in `data` under journald's own names, and so does a
//! field that cannot be read as what it should be.

use jiff::Timestamp;
use telemetry_hub_actors::{CreatedAt, Level, NewEvent, Object, SmolStr, Value};

/// The member that every exported entry has, and nothing else.
const TIMESTAMP: &str = "__REALTIME_TIMESTAMP";

/// The type of an entry that names neither its identifier nor its unit.
const DEFAULT_KIND: &str = "journal";

pub(super) fn is_entry(object: &Object) -> bool {
    object.get(TIMESTAMP).is_some()
}

/// The event that an entry is.
pub(super) fn to_event(entry: Object) -> NewEvent {
    let mut fields: Vec<(SmolStr, Value)> = entry.into_iter().collect();
    let created_at = take(&mut fields, TIMESTAMP, read_created_at);
    let level = take(&mut fields, "PRIORITY", read_level);
    let text = take(&mut fields, "MESSAGE", read_text).flatten();
    let kind = take(&mut fields, "SYSLOG_IDENTIFIER", read_kind)
        .or_else(|| take(&mut fields, "_SYSTEMD_UNIT", read_kind))
        .unwrap_or_else(|| DEFAULT_KIND.into());
    let data = fields.into_iter().collect::<Object>().into();
    NewEvent { kind: Some(kind), created_at, level, text, data, ..NewEvent::default() }
}

/// Takes the field out if `read` can make something of it.
fn take<T>(
    fields: &mut Vec<(SmolStr, Value)>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    let position = fields.iter().position(|(key, _)| &**key == name)?;
    let value = read(&fields[position].1)?;
    fields.remove(position);
    Some(value)
}

/// Microseconds since 1970, in a string.
fn read_created_at(value: &Value) -> Option<CreatedAt> {
    let timestamp = Timestamp::from_microsecond(read_integer(value)?).ok()?;
    Some(CreatedAt::new(timestamp, 6))
}

/// Syslog's severity, which journald calls priority (RFC 5424, table 2).
fn read_level(value: &Value) -> Option<Level> {
    Some(match read_integer(value)? {
        0..=2 => Level::Fatal,
        3 => Level::Error,
        4 => Level::Warn,
        5..=6 => Level::Info,
        7 => Level::Debug,
        _ => return None,
    })
}

fn read_integer(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}

/// A string; the bytes of one that is not UTF-8; null for one that journalctl left out for its size.
fn read_text(value: &Value) -> Option<Option<SmolStr>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.clone())),
        Value::Array(items) => {
            let bytes: Option<Vec<u8>> = items.iter().map(read_byte).collect();
            Some(Some(String::from_utf8_lossy(&bytes?).into()))
        }
        _ => None,
    }
}

fn read_byte(value: &Value) -> Option<u8> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|byte| u8::try_from(byte).ok()),
        _ => None,
    }
}

fn read_kind(value: &Value) -> Option<SmolStr> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `fields` beside a timestamp.
    fn event(fields: &str) -> NewEvent {
        let json = format!(r#"{{{fields}"__REALTIME_TIMESTAMP":"1795342339000123"}}"#);
        let Value::Object(object) = serde_json::from_str(&json).unwrap() else { panic!("{json}") };
        assert!(is_entry(&object));
        let event = to_event(object);
        assert_eq!(event.created_at.unwrap().to_string(), "2026-11-22T10:12:19.000123Z");
        NewEvent { created_at: None, ..event }
    }

    #[track_caller]
    fn check(fields: &str, expected: NewEvent) {
        assert_eq!(event(fields), expected, "{fields}");
    }

    #[test]
    fn entry_of_a_service() {
        check(
            r#""MESSAGE":"up","PRIORITY":"6","_PID":"7","SYSLOG_IDENTIFIER":"sshd","_SYSTEMD_UNIT":"ssh.service","#,
            NewEvent::new("sshd")
                .level(Level::Info)
                .text("up")
                .with("_PID", "7")
                .with("_SYSTEMD_UNIT", "ssh.service"),
        );
    }

    #[test]
    fn kind_is_identifier_else_unit_else_journal() {
        check(r#""_SYSTEMD_UNIT":"a.service","#, NewEvent::new("a.service"));
        check("", NewEvent::new("journal"));
    }

    #[test]
    fn message_is_text_bytes_or_null() {
        check(r#""MESSAGE":[104,105,255],"#, NewEvent::new("journal").text("hi\u{fffd}"));
        check(r#""MESSAGE":null,"#, NewEvent::new("journal"));
        let repeated = Value::Array(vec!["a".into(), "b".into()]);
        check(r#""MESSAGE":["a","b"],"#, NewEvent::new("journal").with("MESSAGE", repeated));
    }

    #[test]
    fn priority_is_the_level() {
        for (priority, level) in [
            (0, Level::Fatal),
            (2, Level::Fatal),
            (3, Level::Error),
            (4, Level::Warn),
            (5, Level::Info),
            (6, Level::Info),
            (7, Level::Debug),
        ] {
            let fields = format!(r#""PRIORITY":"{priority}","#);
            check(&fields, NewEvent::new("journal").level(level));
        }
        check(r#""PRIORITY":"8","#, NewEvent::new("journal").with("PRIORITY", "8"));
    }

    #[test]
    fn unreadable_time_stays_in_the_data() {
        let mut object = Object::default();
        object.push(TIMESTAMP, "noon");
        assert_eq!(to_event(object), NewEvent::new("journal").with(TIMESTAMP, "noon"));
    }
}
