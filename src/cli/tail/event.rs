//! An event as `tail` reads it: its numbers stay the digits that the hub sent, its members in the order in which they came.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use telemetry_hub_actors::Key;

/// What is known of an event.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TailEvent<'a> {
    pub(super) created_at: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) level: Option<String>,
    pub(super) text: Option<String>,
    #[serde(borrow)]
    data: Members<'a>,
    #[serde(borrow)]
    trace_id: Option<&'a RawValue>,
    #[serde(borrow)]
    span_id: Option<&'a RawValue>,
    #[serde(borrow)]
    parent_span_id: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    signal: Option<&'a RawValue>,
}

/// A value with the path of its names.
pub(super) struct Pair<'a> {
    pub(super) path: String,
    pub(super) value: &'a RawValue,
}

impl<'a> TailEvent<'a> {
    /// Reads an event; what is none is its own text.
    pub(super) fn read(json: &'a RawValue) -> Self {
        let text = || Self { text: Some(json.get().to_owned()), ..Self::default() };
        serde_json::from_str(json.get()).unwrap_or_else(|_| text())
    }

    /// All of `data`, objects taken apart, then the ids of trace and span.
    pub(super) fn pairs(&self) -> Vec<Pair<'a>> {
        let mut pairs = Vec::new();
        self.data.take_apart("", &mut pairs);
        for (name, value) in self.ids() {
            pairs.extend(value.map(|value| Pair { path: name.to_owned(), value }));
        }
        pairs
    }

    /// The value of a key: of `data`, however deep, else of the event itself.
    pub(super) fn find(&self, key: &Key) -> Option<&'a RawValue> {
        let others = [("id", self.id), ("signal", self.signal)];
        self.data.find("", key).or_else(|| {
            let mut members = self.ids().into_iter().chain(others);
            members.find(|(name, _)| key.names(name)).and_then(|(_, value)| value)
        })
    }

    fn ids(&self) -> [(&'static str, Option<&'a RawValue>); 3] {
        [
            ("traceId", self.trace_id),
            ("spanId", self.span_id),
            ("parentSpanId", self.parent_span_id),
        ]
    }
}

/// The members of an object.
#[derive(Debug, Default)]
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn inside(value: &'a RawValue) -> Option<Self> {
        let is_object = value.get().starts_with('{');
        is_object.then(|| serde_json::from_str(value.get()).ok()).flatten()
    }

    fn take_apart(&self, path: &str, pairs: &mut Vec<Pair<'a>>) {
        for (name, value) in &self.0 {
            let path = joined(path, name);
            match Self::inside(value) {
                Some(members) if !members.0.is_empty() => members.take_apart(&path, pairs),
                _ => pairs.push(Pair { path, value }),
            }
        }
    }

    fn find(&self, path: &str, key: &Key) -> Option<&'a RawValue> {
        self.0.iter().find_map(|(name, value)| {
            let path = joined(path, name);
            if key.names(&path) {
                return Some(*value);
            }
            Self::inside(value)?.find(&path, key)
        })
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A value in words: a string as it is, all else as the JSON that came.
pub(super) fn plain(value: &RawValue) -> Cow<'_, str> {
    let json = value.get();
    if !json.starts_with('"') {
        return Cow::Borrowed(json);
    }
    serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"id":"7","createdAt":"t","type":"a.b","traceId":"t1","spanId":"18446744073709551615","new":[1],
        "data":{"remoteIp":"10.0.0.1","n":1.50,"result":{"type":"ok","inner":{"big":9007199254740993}},"none":{},"list":[1,{"x":2}]}}"#;

    #[test]
    fn members_keep_order_and_digits() {
        let event: TailEvent<'_> = serde_json::from_str(EVENT).unwrap();
        let pairs: Vec<_> =
            event.pairs().iter().map(|p| format!("{}={}", p.path, plain(p.value))).collect();
        let expected = [
            "remoteIp=10.0.0.1",
            "n=1.50",
            "result.type=ok",
            "result.inner.big=9007199254740993",
            "none={}",
            "list=[1,{\"x\":2}]",
            "traceId=t1",
            "spanId=18446744073709551615",
        ];
        assert_eq!(pairs, expected);
    }

    #[test]
    fn what_is_no_event_is_shown_as_it_came() {
        for json in ["[1,2]", "7", r#"{"type":7}"#, r#"{"data":[]}"#] {
            let event = TailEvent::read(serde_json::from_str(json).unwrap());
            assert_eq!(event.text.as_deref(), Some(json));
        }
    }

    #[test]
    fn keys_are_found_however_they_are_written() {
        let event: TailEvent<'_> = serde_json::from_str(EVENT).unwrap();
        for (key, expected) in [
            ("remote-ip", Some("10.0.0.1")),
            ("result.inner.big", Some("9007199254740993")),
            ("result", Some(r#"{"type":"ok","inner":{"big":9007199254740993}}"#)),
            ("span_id", Some("18446744073709551615")),
            ("id", Some("7")),
            ("missing", None),
        ] {
            let found = event.find(&Key::new(key).unwrap()).map(plain);
            assert_eq!(found.as_deref(), expected, "{key}");
        }
    }
}
