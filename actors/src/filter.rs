//! Filters: which events a subscriber wants. Pure: parsed once, matched often.
//!
//! A [`Filter`] decides about one event by itself. Following a span takes memory of earlier events, and is the
//! business of the [`FilterGroup`](crate::filter_group::FilterGroup).

use std::fmt;
use std::sync::Arc;

use crate::event::{Data, Event};
use crate::key::{Key, PathProgress};
use crate::level::Level;
use crate::value::{SmolStr, Value};

mod expression;
mod handle;
mod parse;
mod services;
mod text;

use expression::Expression;
pub(crate) use handle::Handle;
pub(crate) use parse::FilterBuilder;
use text::Text;
pub(crate) use text::{ExactNumber, address};

/// A filter that cannot be wrong. Two filters that ask for the same in other words are equal.
#[derive(Debug, Clone)]
pub struct Filter {
    broad: Vec<Broad>,
    keys: Vec<KeyFilter>,
    expressions: Vec<Arc<Expression>>,
    follow: Follow,
    canonical: Box<str>,
    /// What nothing may pass that does not match it, not even by following. Their conditions are among the above.
    within: Vec<Filter>,
}

/// What else passes once an event has matched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Follow {
    /// Nothing.
    None,
    /// Later events of the same span.
    #[default]
    Span,
    /// Later events of the same trace, or of the same span where an event has no trace.
    Trace,
}

/// Looks for its text everywhere in an event.
#[derive(Debug, Clone)]
struct Broad {
    text: Text,
    /// What the text says if read as `key=value`.
    pair: Option<KeyFilter>,
}

/// Looks for one of its texts under one key.
#[derive(Debug, Clone)]
enum KeyFilter {
    /// This level or above.
    Level(Level),
    Key {
        scope: Scope,
        key: Key,
        texts: Vec<Text>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// A built-in field, or a key in `data`.
    Everywhere,
    /// Only a key in `data`.
    Data,
}

impl Filter {
    /// The filter that every event matches.
    pub fn everything() -> Self {
        FilterBuilder::default().build()
    }

    /// The same of those events alone that match another filter as well, each by itself: `follow` lets none past it.
    #[must_use]
    pub fn within(mut self, limit: &Self) -> Self {
        // No filter has a space in its canonical form: none is mistaken for a limited one.
        self.canonical = format!("{} within {}", self.canonical, limit.canonical).into();
        self.broad.extend(limit.broad.iter().cloned());
        self.keys.extend(limit.keys.iter().cloned());
        self.expressions.extend(limit.expressions.iter().cloned());
        self.within.push(limit.clone());
        self
    }

    /// Whether an event may pass at all, if not by matching then by following.
    pub(crate) fn admits(&self, event: &Event) -> bool {
        self.within.iter().all(|limit| limit.matches(event))
    }

    /// Whether it is held to the limits of another.
    pub(crate) fn is_limited(&self) -> bool {
        !self.within.is_empty()
    }

    /// Whether an event matches by itself, whatever came before it.
    pub fn matches(&self, event: &Event) -> bool {
        self.may_match(event) && self.expressions.iter().all(|expression| expression.matches(event))
    }

    /// Whether an event matches if its expressions, which may cost more than all else, are true of it.
    pub(crate) fn may_match(&self, event: &Event) -> bool {
        self.keys.iter().all(|key| key.matches(event))
            && self.broad.iter().all(|broad| broad.matches(event))
    }

    /// Whether it asks for nothing in particular.
    pub fn matches_everything(&self) -> bool {
        self.broad.is_empty() && self.keys.is_empty() && self.expressions.is_empty()
    }

    /// What passes beside the events that match.
    pub fn follow(&self) -> Follow {
        self.follow
    }

    /// The same query string for all filters that ask for the same.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Filter {}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

impl Follow {
    /// What an event must share with one that matched to pass as well, and whether it has it.
    pub(crate) fn subject(self, event: &Event) -> Option<&str> {
        match self {
            // An event that was taken down is not put in words for this.
            Self::None => None,
            Self::Span | Self::Trace => {
                let content = event.content();
                self.choose(content.span_id.as_deref(), content.trace_id.as_deref())
            }
        }
    }

    /// Which of an event's span and trace it is.
    pub(crate) fn choose<T>(self, span: Option<T>, trace: Option<T>) -> Option<T> {
        match self {
            Self::None => None,
            Self::Span => span,
            Self::Trace => trace.or(span),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Span => "span",
            Self::Trace => "trace",
        }
    }
}

impl Broad {
    fn matches(&self, event: &Event) -> bool {
        fields(event).any(|(_, field)| self.text.matches_str(field))
            || event.content().data.iter().any(|(_, value)| self.text.matches(value))
            || self.pair.as_ref().is_some_and(|pair| pair.matches(event))
    }
}

impl KeyFilter {
    fn matches(&self, event: &Event) -> bool {
        match self {
            Self::Level(least) => event.content().level.unwrap_or(Level::ASSUMED) >= *least,
            Self::Key { scope, key, texts } => {
                let in_fields = || {
                    fields(event).any(|(name, field)| {
                        key.as_str() == name && texts.iter().any(|text| text.matches_str(field))
                    })
                };
                (*scope == Scope::Everywhere && in_fields())
                    || data_matches(&event.content().data, key, texts)
            }
        }
    }
}

/// The built-in fields that an event has, by their canonical keys.
pub(crate) fn fields(event: &Event) -> impl Iterator<Item = (&'static str, &str)> {
    let content = event.content();
    [
        ("type", content.kind.as_deref()),
        ("text", content.text.as_deref()),
        ("level", content.level.map(Level::as_str)),
        ("trace-id", content.trace_id.as_deref()),
        ("span-id", content.span_id.as_deref()),
    ]
    .into_iter()
    .filter_map(|(name, field)| field.map(|field| (name, field)))
}

fn data_matches(data: &Data, key: &Key, texts: &[Text]) -> bool {
    data.parts().any(|members| one_matches(members, key.path(), texts))
}

/// Whether the rest of a key stands somewhere among these members, or inside one of them, with a value that a text matches.
fn one_matches(members: &[(SmolStr, Value)], key: PathProgress<'_>, texts: &[Text]) -> bool {
    members.iter().any(|(name, value)| {
        let Some(here) = key.over(name) else {
            return false;
        };
        let is_wanted = |text: &Text| text.as_str().is_empty() || text.matches(value);
        if here.is_complete() && texts.iter().any(is_wanted) {
            return true;
        }
        match value {
            Value::Object(object) => one_matches(object.members(), here.inside(), texts),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => false,
        }
    })
}
