//! The subjects of messages: `<prefix>.<signal>.<service>`, so that who wants one service alone can ask NATS for it.

use crate::event::NewEvent;
use crate::value::Value;

/// The attribute that names the service (OpenTelemetry semantic conventions, "Service").
const SERVICE: &str = "service.name";

/// The token of what names no service.
const NO_SERVICE: &str = "_";

/// How long a service's token may be: longer names share the token of their beginning.
const MAX_TOKEN_BYTES: usize = 128;

/// The subject of an event.
pub(super) fn of(prefix: &str, event: &NewEvent) -> String {
    let service = match event.data.get(SERVICE) {
        Some(Value::String(name)) => token(name),
        Some(_) | None => NO_SERVICE.to_owned(),
    };
    format!("{prefix}.{}.{service}", event.signal.as_str())
}

/// What all messages of a prefix have in common.
pub(super) fn all(prefix: &str) -> [String; 2] {
    ["log", "span"].map(|signal| format!("{prefix}.{signal}.*"))
}

/// Of these, those of some services.
pub(super) fn of_services(prefix: &str, services: &[String]) -> Vec<String> {
    services.iter().map(|service| format!("{prefix}.*.{}", token(service))).collect()
}

/// A name as one token of a subject: whatever has a meaning there, or cannot be seen, is written as `%` and two digits.
fn token(name: &str) -> String {
    let mut token = String::new();
    for byte in name.bytes() {
        match byte {
            b'.' | b'*' | b'>' | b'%' | b'$' | 0..=b' ' | 0x7f.. => {
                token.push_str(&format!("%{byte:02X}"));
            }
            _ => token.push(char::from(byte)),
        }
        if token.len() >= MAX_TOKEN_BYTES {
            break;
        }
    }
    if token.is_empty() || token == NO_SERVICE { NO_SERVICE.to_owned() } else { token }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Signal;

    #[test]
    fn subjects_name_the_signal_and_the_service() {
        let of_service = |name: &str| of("t", &NewEvent::new("a").with(SERVICE, name));
        assert_eq!(of_service("shop"), "t.log.shop");
        assert_eq!(of_service("a.b c>*%ü"), "t.log.a%2Eb%20c%3E%2A%25%C3%BC");
        assert_eq!(of_service(""), "t.log._");
        assert!(of_service(&"é".repeat(1000)).len() < 150);
        assert_eq!(of("t", &NewEvent::new("a").with(SERVICE, 7i64)), "t.log._");
        assert_eq!(
            of_services("t", &["shop".to_owned(), "a.b".to_owned()]),
            ["t.*.shop", "t.*.a%2Eb"]
        );
        let span = NewEvent { signal: Signal::Span, ..NewEvent::new("a") };
        assert_eq!(of("t.u", &span), "t.u.span._");
    }
}
