//! Events and filters made so that they nearly match: the same few texts, numbers, addresses and keys in all spellings and
//! at all depths. As text, so that the crate's own tests can have them too: JSON for an event, a query for a filter.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const WORDS: [&str; 52] = [
    "a",
    "aa",
    "aaa",
    "ab",
    "Ab",
    "AB",
    "b",
    "ba",
    "k",
    "auth",
    "auth.failed",
    "Auth.Failed",
    "type",
    "true",
    "TRUE",
    "false",
    "null",
    "25",
    "2525",
    "25.0",
    "2.5e1",
    "025",
    "-0",
    "0",
    "-0.0",
    "0.5",
    "-0.50",
    "1e39",
    "1e300",
    "18446744073709551615",
    "18446744073709551616",
    "10.0.0.7",
    "10.0.0.70",
    "10.0.0.0/8",
    "10.0.0.5/30",
    "0.0.0.0/0",
    "::1",
    "0:0::1",
    "::ffff:10.0.0.7",
    "2001:db8::/32",
    "2001:DB8:1::5",
    "ü",
    "Ü",
    "\u{130}",
    "i\u{307}",
    "warn",
    "INFO",
    "k=a",
    "a-b=aa",
    "level=warn",
    "k=",
    " ",
];

const KEYS: [&str; 18] = [
    "k",
    "K",
    "a-b",
    "aB",
    "a_b",
    "a.b",
    "AB",
    "a",
    "b",
    "type",
    "text",
    "trace-id",
    "spanId",
    "data.k",
    "data.type",
    "data.a-b",
    "\u{130}b",
    "i\u{307}b",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        1 => (prop::sample::select(&WORDS[..]), prop::sample::select(&WORDS[..])).prop_map(|(a, b)| format!("{a}{b}")),
        // Longer than what is looked for, and told apart at one end only.
        1 => prop::sample::select(&["x", "xa", "xb"][..]).prop_map(|end| format!("{}{end}", "x".repeat(70))),
        1 => prop::sample::select(&["x", "ax", "bx"][..]).prop_map(|begin| format!("{begin}{}", "x".repeat(70))),
    ]
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&KEYS[..])
}

fn condition() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        4 => word().prop_map(|word| ("filter".to_owned(), word)),
        1 => Just(("filter".to_owned(), String::new())),
        1 => (key(), word()).prop_map(|(key, word)| ("filter".to_owned(), format!("{key}={word}"))),
        5 => (key(), word()).prop_map(|(key, word)| (key.to_owned(), word)),
        1 => key().prop_map(|key| (key.to_owned(), String::new())),
        1 => prop::sample::select(&["trace", "info", "warn", "fatal"][..])
            .prop_map(|level| ("level".to_owned(), level.to_owned())),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    prop_oneof![
        word().prop_map(|word| format!("type == '{word}'")),
        word().prop_map(|word| format!("text.contains('{word}') || data.k == '{word}'")),
        (key(), word()).prop_map(|(key, word)| format!("data['{key}'] == '{word}'")),
        key().prop_map(|key| format!("'{key}' in data")),
        key().prop_map(|key| format!("data['{key}'] == 25 || data['{key}'].exists(x, x == 25)")),
        Just("severity >= 13".to_owned()),
        Just("!(level == 'INFO')".to_owned()),
        Just("size(data) < 2".to_owned()),
        Just("data.k".to_owned()),
    ]
}

/// The query of a filter.
pub(crate) fn query() -> impl Strategy<Value = String> {
    let follow = option::of(prop::sample::select(&["none", "span", "trace"][..]));
    // On the heap: strategies within strategies take much of a stack.
    let expression = option::weighted(0.2, expression().boxed());
    (vec(condition(), 0..4), expression, follow).prop_map(|(conditions, expression, follow)| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(conditions);
        query.extend_pairs(expression.map(|expression| ("where", expression)));
        query.extend_pairs(follow.map(|follow| ("follow", follow)));
        query.finish()
    })
}

fn value() -> impl Strategy<Value = Value> {
    let number = prop::sample::select(vec![
        json!(25),
        json!(25.0),
        json!(0),
        json!(-0.0),
        json!(0.5),
        json!(-0.5),
        json!(1e39),
        json!(1e300),
        json!(u64::MAX),
        json!(18_446_744_073_709_551_616.0_f64),
    ]);
    let leaf = prop_oneof![
        4 => word().prop_map(Value::String),
        2 => number,
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            object(inner).prop_map(Value::Object)
        ]
    })
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let key =
        prop_oneof![4 => key().prop_map(str::to_owned), 1 => word(), 1 => Just("-".to_owned())];
    vec((key, value), 0..4).prop_map(|members| members.into_iter().collect())
}

/// An event's JSON. Few spans and traces, so that they meet again.
pub(crate) fn event() -> impl Strategy<Value = String> {
    let id = |ids: &'static [&'static str]| option::of(prop::sample::select(ids));
    let level = option::of(prop::sample::select(&["debug", "info", "warn"][..]));
    let fields = (option::of(word()), option::of(word()), level);
    let ids = (id(&["s1", "s2", "s3", "s4", "a"]), id(&["t1", "t2", "a"]));
    (fields, ids, object(value())).prop_map(|((kind, text, level), (span, trace), data)| {
        let mut event =
            json!({ "type": kind, "text": text, "level": level, "spanId": span, "traceId": trace });
        event.as_object_mut().expect("it is one").retain(|_, value| !value.is_null());
        event["data"] = Value::Object(data);
        event.to_string()
    })
}
