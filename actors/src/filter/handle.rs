//! What a filter can be found by: something that every event that matches it has, and that can be looked up.
//!
//! Asked by the match index when it is built, never for an event. Nothing that matches may lack its filter's handle:
//! what the index does not find is not sent.

use ipnet::IpNet;

use super::text::{ExactNumber, Text};
use super::{Broad, Filter, KeyFilter};
use crate::key::Key;
use crate::level::Level;

/// Something that an event has or has not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Handle<'a> {
    /// A string with this text in it; both in small letters.
    Needle(String),
    /// A string that is an address of this network, which has no bits beyond its prefix.
    Network(IpNet),
    Number(ExactNumber),
    Boolean(bool),
    /// A key, of whatever value.
    Key(&'a Key),
    /// This level or above.
    Level(Level),
}

impl Filter {
    /// The conditions of which something can be looked up. Every event that matches has, of each of them, one handle at
    /// least: those of one condition are enough to find the filter by.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = Vec<Handle<'_>>> {
        let keys = self.keys.iter().map(KeyFilter::handles);
        let broad = self.broad.iter().map(Broad::handles);
        keys.chain(broad).filter(|handles| !handles.is_empty())
    }
}

impl Broad {
    fn handles(&self) -> Vec<Handle<'_>> {
        // The empty text stands in every string.
        if self.text.as_str().is_empty() {
            return Vec::new();
        }
        let pair = self.pair.iter().flat_map(KeyFilter::handles);
        self.text.handles().chain(pair).collect()
    }
}

impl KeyFilter {
    fn handles(&self) -> Vec<Handle<'_>> {
        match self {
            Self::Level(least) => vec![Handle::Level(*least)],
            // The empty text matches whatever the key has, null too.
            Self::Key { key, texts, .. } if texts.iter().any(|text| text.as_str().is_empty()) => {
                vec![Handle::Key(key)]
            }
            Self::Key { texts, .. } => texts.iter().flat_map(Text::handles).collect(),
        }
    }
}

impl Text {
    fn handles(&self) -> impl Iterator<Item = Handle<'_>> {
        let needle = Handle::Needle(self.as_str().to_ascii_lowercase());
        let network = self.network().map(|network| Handle::Network(network.trunc()));
        let number = self.number().map(Handle::Number);
        let boolean = self.boolean().map(Handle::Boolean);
        [Some(needle), network, number, boolean].into_iter().flatten()
    }
}

impl Handle<'_> {
    /// How few events have it, by guess: each step halves them, about.
    pub(crate) fn rarity(&self) -> u32 {
        const MOST: u32 = 32;
        match self {
            Self::Needle(text) => u32::try_from(text.len()).map_or(MOST, |length| length.min(MOST)),
            Self::Network(network) => {
                MOST * u32::from(network.prefix_len()) / u32::from(network.max_prefix_len())
            }
            Self::Number(_) => 6,
            Self::Key(_) => 2,
            Self::Level(_) | Self::Boolean(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::TraceQuery;

    #[track_caller]
    fn check(query: &str, expected: &[&[&str]]) {
        let query = TraceQuery::parse(query, None).unwrap();
        let show = |handles: Vec<Handle<'_>>| -> Vec<String> {
            handles.iter().map(|handle| format!("{handle:?}")).collect()
        };
        let shown: Vec<Vec<String>> = query.filter.conditions().map(show).collect();
        assert_eq!(shown, expected, "{}", query.filter);
    }

    #[test]
    fn handles_of_conditions() {
        check("", &[]);
        check("filter=", &[]);
        check("level=warn", &[&["Level(Warn)"]]);
        check("type=Auth.Failed", &[&[r#"Needle("auth.failed")"#]]);
        check(
            "level=warn&type=auth&filter=ab",
            &[&["Level(Warn)"], &[r#"Needle("auth")"#], &[r#"Needle("ab")"#]],
        );
        check("account=&account=alice", &[&["Key(Key(\"account\"))"]]);
        check("account=bob&account=alice", &[&[r#"Needle("alice")"#, r#"Needle("bob")"#]]);
        check("on=TRUE", &[&[r#"Needle("true")"#, "Boolean(true)"]]);
        check("ip=10.0.0.7/8", &[&[r#"Needle("10.0.0.7/8")"#, "Network(10.0.0.0/8)"]]);
        check("port=25.0", &[&[r#"Needle("25.0")"#, "Number(Integer(25))"]]);
        check("filter=level=warn", &[&[r#"Needle("level=warn")"#, "Level(Warn)"]]);
        check("filter=user=bob", &[&[r#"Needle("user=bob")"#, r#"Needle("bob")"#]]);
        check("where=type=='a'&level=warn", &[&["Level(Warn)"]]);
        check("filter=user=", &[&[r#"Needle("user=")"#, "Key(Key(\"user\"))"]]);
    }
}
