//! The filter rules of README.md, once more and as simply as they can be said: slow, and sharing no code with the hub's but the levels'
//! names.

use std::net::IpAddr;

use telemetry_hub::actors::{Event, Level, Number, Object, Value};

/// The canonical form of a key: humps split, separators made one dash, lower case.
pub(crate) fn canonical(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut split = String::new();
    for (at, &c) in characters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| characters[at]);
        let after = characters.get(at + 1);
        let is_capital = c.is_ascii_uppercase();
        let ends_word = before.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let ends_acronym = before.is_some_and(|c| c.is_ascii_uppercase())
            && after.is_some_and(|c| c.is_ascii_lowercase());
        if is_capital && (ends_word || ends_acronym) {
            split.push('-');
        }
        split.push(c);
    }
    let words = split.split(['-', '_', '.', '/', ' ']).filter(|word| !word.is_empty());
    let joined = words.collect::<Vec<_>>().join("-");
    joined.chars().flat_map(char::to_lowercase).collect()
}

/// Whether an event matches a query string that says which events.
pub(crate) fn matches(event: &Event, query: &[(String, String)]) -> bool {
    let mut keys: Vec<(bool, String, Vec<&str>)> = Vec::new();
    for (name, text) in query {
        let (in_data, key) = scoped(name);
        match key.as_str() {
            "follow" if !in_data => {}
            "filter" if !in_data => {
                if !broad_matches(event, text) {
                    return false;
                }
            }
            _ => {
                match keys.iter_mut().find(|(scope, other, _)| (*scope, &*other) == (in_data, &key))
                {
                    Some((_, _, texts)) => texts.push(text),
                    None => keys.push((in_data, key, vec![text])),
                }
            }
        }
    }
    keys.iter().all(|(in_data, key, texts)| {
        texts.iter().any(|text| key_matches(event, *in_data, key, text))
    })
}

/// Whether a name means only `data`, and its key.
fn scoped(name: &str) -> (bool, String) {
    match name.split_at_checked(5) {
        Some((prefix, key)) if prefix.to_ascii_lowercase() == "data." => (true, canonical(key)),
        _ => (false, canonical(name)),
    }
}

fn key_matches(event: &Event, in_data: bool, key: &str, text: &str) -> bool {
    if key == "level" && !in_data {
        let Some(least) = Level::from_query(text) else { return false };
        return event.content().level.unwrap_or(Level::Info) >= least;
    }
    let fields = fields(event).into_iter().filter(|(name, _)| !in_data && *name == key);
    let mut members = Vec::new();
    let data: Object = event.content().data.clone().into();
    paths("", &data, &mut members);
    let members = members.into_iter().filter(|(name, _)| *name == key);
    let values = fields.map(|(_, field)| field).chain(members.map(|(_, value)| value));
    values.into_iter().any(|value| text.is_empty() || value_matches(&value, text))
}

fn broad_matches(event: &Event, text: &str) -> bool {
    let data: Object = event.content().data.clone().into();
    if fields(event).iter().any(|(_, field)| value_matches(field, text))
        || value_matches(&Value::Object(data), text)
    {
        return true;
    }
    let is_key = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    text.split_once('=').is_some_and(|(name, value)| {
        let (in_data, key) = scoped(name);
        name.chars().all(is_key) && !key.is_empty() && key_matches(event, in_data, &key, value)
    })
}

fn fields(event: &Event) -> Vec<(&'static str, Value)> {
    let content = event.content();
    let level = content.level.map(|level| level.as_str().into());
    let fields = [
        ("type", content.kind.clone()),
        ("text", content.text.clone()),
        ("level", level),
        ("trace-id", content.trace_id.clone()),
        ("span-id", content.span_id.clone()),
    ];
    fields.into_iter().filter_map(|(name, field)| Some((name, field?.into()))).collect()
}

/// Every member at any depth, by the canonical form of its path.
fn paths(parent: &str, object: &Object, found: &mut Vec<(String, Value)>) {
    for (name, value) in object.iter() {
        let path = format!("{parent}{name}");
        found.push((canonical(&path), value.clone()));
        if let Value::Object(inner) = value {
            paths(&format!("{path}."), inner, found);
        }
    }
}

fn value_matches(value: &Value, text: &str) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => text.to_ascii_lowercase() == value.to_string(),
        Value::Number(number) => is_number(text) && is_equal(number, text),
        Value::String(string) => string_matches(string, text),
        Value::Array(items) => items.iter().any(|item| value_matches(item, text)),
        Value::Object(object) => object.iter().any(|(_, value)| value_matches(value, text)),
    }
}

fn string_matches(string: &str, text: &str) -> bool {
    if let (Some((network, bits)), Ok(address)) = (network(text), string.parse::<IpAddr>()) {
        return is_in(address, network, bits);
    }
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        string.contains(text)
    } else {
        string.to_ascii_lowercase().contains(text)
    }
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address.parse().ok()?, Some(bits)),
        None => (text.parse().ok()?, None),
    };
    let most = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
    let Some(bits) = bits else { return Some((address, most)) };
    let bits = bits.parse().ok().filter(|_| bits.bytes().all(|byte| byte.is_ascii_digit()))?;
    (bits <= most).then_some((address, bits))
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let mask = |bits: u32, of: u32| u128::MAX.checked_shl(of - bits).unwrap_or(0);
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let (address, network) = (u128::from(address.to_bits()), u128::from(network.to_bits()));
            address & mask(bits, 32) == network & mask(bits, 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            address.to_bits() & mask(bits, 128) == network.to_bits() & mask(bits, 128)
        }
        _ => false,
    }
}

/// Whether a text is a number as JSON writes it.
fn is_number(text: &str) -> bool {
    !text.contains(|c: char| c.is_ascii_whitespace())
        && serde_json::from_str::<Number>(text).is_ok()
}

/// Whether a number is the one that a text says: as integers if both are, else as floats that are that very number.
fn is_equal(number: &Number, text: &str) -> bool {
    let wanted: Number = serde_json::from_str(text).expect("it has been looked at");
    let integer = |number: &Number| {
        let integer = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
        integer.or_else(|| {
            let float = number.as_f64()?;
            (float.fract() == 0.0 && float.abs() < 1e30).then_some(float as i128)
        })
    };
    match (integer(number), integer(&wanted)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => number.as_f64() == wanted.as_f64(),
        _ => false,
    }
}
