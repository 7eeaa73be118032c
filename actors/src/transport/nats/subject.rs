//! The subjects of messages: `<prefix>.<signal>.<service>`, so that who wants one service alone can ask NATS for it.

use std::collections::BTreeSet;

use crate::event::NewEvent;
use crate::services::{SERVICE, Services};
use crate::value::{Object, Value};

/// What stands where a signal does, of events.
const EVENTS: [&str; 2] = ["log", "span"];

/// What stands where a signal does, of measurements: OpenTelemetry's third signal.
const METRIC: &str = "metric";

/// What stands there of what hubs tell one another of themselves, which is no part of the stream.
const HUB: &str = "hub";

/// The token of what names no service.
const NO_SERVICE: &str = "_";

/// How long a service's token may be: longer names share the token of their beginning.
const MAX_TOKEN_BYTES: usize = 128;

/// The subject of an event.
pub(super) fn of(prefix: &str, event: &NewEvent) -> String {
    format!("{prefix}.{}.{}", event.signal.as_str(), service(event.data.get(SERVICE)))
}

/// The subject of a measurement with these attributes.
pub(super) fn of_measurement(prefix: &str, attributes: &Object) -> String {
    format!("{prefix}.{METRIC}.{}", service(attributes.get(SERVICE)))
}

/// What the messages of a subject have in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    Events,
    Measurements,
    /// What a hub tells of itself: a stream that takes all of the prefix has that too, and it is of no use there.
    HubSeries,
}

pub(super) fn carries(prefix: &str, subject: &str) -> Carries {
    let rest = subject.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
    match rest.and_then(|rest| rest.split('.').next()) {
        Some(METRIC) => Carries::Measurements,
        Some(HUB) => Carries::HubSeries,
        Some(_) | None => Carries::Events,
    }
}

/// Where a hub of this name tells the others of itself.
pub(super) fn of_hub(prefix: &str, name: &str) -> String {
    format!("{prefix}.{HUB}.{}", token(name))
}

/// Where all of them do.
pub(super) fn of_hubs(prefix: &str) -> String {
    format!("{prefix}.{HUB}.*")
}

/// What all messages of the stream have in common.
pub(super) fn all(prefix: &str) -> [String; 3] {
    [EVENTS[0], EVENTS[1], METRIC].map(|signal| format!("{prefix}.{signal}.*"))
}

fn service(name: Option<&Value>) -> String {
    match name {
        Some(Value::String(name)) => token(name),
        Some(_) | None => NO_SERVICE.to_owned(),
    }
}

/// Those that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subjects {
    /// What is asked of the server.
    patterns: Vec<String>,
    are_all: bool,
}

impl Subjects {
    pub(super) fn all(prefix: &str) -> Self {
        Self { patterns: vec![format!("{prefix}.>")], are_all: true }
    }

    /// All telemetry of these services.
    pub(super) fn of_services(prefix: &str, services: &[String]) -> Self {
        // NATS refuses a subject that is there twice.
        let tokens: BTreeSet<_> = services.iter().map(|service| token(service)).collect();
        let patterns = tokens.into_iter().map(|token| format!("{prefix}.*.{token}")).collect();
        Self { patterns, are_all: false }
    }

    /// The events of some services, and what all measure: of that nothing can be left out for a while, as sums would be wrong ever after.
    pub(super) fn of_events(prefix: &str, services: &Services) -> Self {
        if *services == Services::All {
            return Self::all(prefix);
        }
        let tokens: BTreeSet<_> = services.names().map(token).collect();
        let of_events = EVENTS.iter().flat_map(|signal| {
            tokens.iter().map(move |token| format!("{prefix}.{signal}.{token}"))
        });
        let patterns = of_events.chain([format!("{prefix}.{METRIC}.*")]).collect();
        Self { patterns, are_all: false }
    }

    /// Whether no message of the stream is left out.
    pub(super) fn are_all(&self) -> bool {
        self.are_all
    }

    pub(super) fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// What a consumer is to be held to: to nothing, if it is to get all.
    pub(super) fn filter(&self) -> Vec<String> {
        if self.are_all { Vec::new() } else { self.patterns.clone() }
    }
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
        let (shop, other) = ("shop".to_owned(), "a.b".to_owned());
        let of_services = Subjects::of_services("t", &[shop.clone(), other.clone(), shop.clone()]);
        assert_eq!(of_services.patterns(), ["t.*.a%2Eb", "t.*.shop"]);
        let of_events = Subjects::of_events("t", &Services::named([shop, other]));
        assert_eq!(
            of_events.patterns(),
            ["t.log.a%2Eb", "t.log.shop", "t.span.a%2Eb", "t.span.shop", "t.metric.*"]
        );
        assert!(!of_events.are_all() && Subjects::of_events("t", &Services::All).are_all());
        // Whoever adds a signal adds it there.
        let token = |signal| match signal {
            Signal::Log => EVENTS[0],
            Signal::Span => EVENTS[1],
        };
        assert_eq!([Signal::Log, Signal::Span].map(token), EVENTS);
        assert_eq!([Signal::Log, Signal::Span].map(Signal::as_str), EVENTS);
        let span = NewEvent { signal: Signal::Span, ..NewEvent::new("a") };
        assert_eq!(of("t.u", &span), "t.u.span._");
    }

    #[test]
    fn measurements_have_a_signal_of_their_own() {
        let attributes = |name: &str| [(SERVICE.into(), name.into())].into_iter().collect();
        assert_eq!(of_measurement("t.u", &attributes("a.b")), "t.u.metric.a%2Eb");
        assert_eq!(of_measurement("t", &Object::default()), "t.metric._");
        assert_eq!(carries("t.u", "t.u.metric.shop"), Carries::Measurements);
        assert_eq!(carries("t.u", &of_hub("t.u", "a")), Carries::HubSeries);
        for other in
            ["t.u.log.metric", "t.metric.shop", "t.umetric.shop", "t.u.metrics.shop", "t.u"]
        {
            assert_eq!(carries("t.u", other), Carries::Events, "{other}");
        }
        assert_eq!(of_hub("t", "a.example:8787"), "t.hub.a%2Eexample:8787");
    }
}
