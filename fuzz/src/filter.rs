//! Input: a query string, then a line feed, then an event in JSON.
//!
//! Nothing panics. The canonical form of a filter is a query that says the same filter, and both match what the rules say.

use telemetry_hub::actors::event::json;
use telemetry_hub::actors::{Event, Filter, MetricsQuery, QueryFault, Selection, TraceQuery};

use crate::hub::accepted;
use crate::oracle;

/// Checks one input.
pub fn check(data: &[u8]) {
    let (query, event) =
        data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let Ok(query) = str::from_utf8(query) else { return };
    MetricsQuery::parse(query).ok();
    query.parse::<Selection>().ok();
    let filter = query.parse::<Filter>();
    let trace = TraceQuery::parse(query, None);
    TraceQuery::parse("", Some(query)).ok();
    let Ok(filter) = filter else { return };
    let trace = trace.expect("a filter is a query as well");
    assert_eq!((&trace.filter, trace.replay), (&filter, None), "{query}");
    let Some(again) = parse_canonical(&filter) else { return };
    assert_eq!(again.canonical(), filter.canonical());
    assert_eq!((&again, again.follow()), (&filter, filter.follow()));
    let Ok(event) = json::read(event, 4096) else { return };
    let [event] = &accepted(vec![event])[..] else { panic!("one event comes of one") };
    check_matching(query, event, &filter, &again);
}

/// The filter that the canonical form of another says. It may be longer than a query may be.
fn parse_canonical(filter: &Filter) -> Option<Filter> {
    match filter.canonical().parse() {
        Ok(again) => Some(again),
        Err(error) if error.fault == QueryFault::TooLong => None,
        Err(error) => panic!("{}: {error}", filter.canonical()),
    }
}

fn check_matching(query: &str, event: &Event, filter: &Filter, again: &Filter) {
    let matches = filter.matches(event);
    assert_eq!(again.matches(event), matches, "{query} in its canonical form on {event:?}");
    assert_eq!(oracle::matches(event, &parameters(query)), matches, "{query} on {event:?}");
    assert!(Filter::everything().matches(event));
    let limited = Filter::everything().within(filter);
    assert_eq!(limited.matches(event), matches, "{query} as a limit on {event:?}");
}

/// The parameters of a query string that has been found good, decoded.
fn parameters(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// `+` is a space, `%` and two hex digits are a byte.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(|hex| {
            let hex = str::from_utf8(hex).ok().filter(|hex| !hex.starts_with('+'))?;
            u8::from_str_radix(hex, 16).ok()
        });
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).expect("what is not UTF-8 is refused")
}
