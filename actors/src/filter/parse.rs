//! Builds a [`Filter`] from the parameters of a query, in whatever order and spelling they come.

use std::sync::Arc;

use form_urlencoded::Serializer;

use super::{Broad, Expression, Filter, Follow, KeyFilter, Scope, Text};
use crate::error::QueryFault;
use crate::key::Key;
use crate::level::Level;

/// How many filters one query may have. Each is evaluated for every event that the hub cannot rule out faster.
const MAX_FILTERS: usize = 32;

/// Collects the parameters that say what matches.
#[derive(Debug, Default)]
pub(crate) struct FilterBuilder {
    broad: Vec<Text>,
    keys: Vec<(Scope, Key, Text)>,
    level: Option<Level>,
    expression: Option<Arc<Expression>>,
    follow: Option<Follow>,
    count: usize,
}

impl FilterBuilder {
    /// A parameter that says which events, by the canonical form of its name and as it was written.
    pub(crate) fn parameter(
        &mut self,
        key: &str,
        name: &str,
        value: &str,
    ) -> Result<(), QueryFault> {
        match key {
            "filter" => self.broad(value),
            "level" => self.level(value),
            "follow" => self.follow(value),
            "where" => self.expression(value),
            _ => self.key(name, value),
        }
    }

    /// `filter=TEXT`.
    fn broad(&mut self, text: &str) -> Result<(), QueryFault> {
        self.count()?;
        self.broad.push(Text::new(text));
        Ok(())
    }

    /// `level=NAME`; the same again is OR, which the lower level wins.
    fn level(&mut self, name: &str) -> Result<(), QueryFault> {
        self.count()?;
        let level = Level::from_query(name).ok_or(QueryFault::UnknownLevel)?;
        self.level = Some(self.level.map_or(level, |least| least.min(level)));
        Ok(())
    }

    /// `where=EXPR`. More of them can be written as one.
    fn expression(&mut self, text: &str) -> Result<(), QueryFault> {
        self.count()?;
        let expression = Expression::parse(text)?;
        match self.expression.replace(expression.into()) {
            Some(_) => Err(QueryFault::Repeated),
            None => Ok(()),
        }
    }

    /// `follow=span|trace|none`.
    fn follow(&mut self, name: &str) -> Result<(), QueryFault> {
        let follow = match name {
            "none" => Follow::None,
            "span" => Follow::Span,
            "trace" => Follow::Trace,
            _ => return Err(QueryFault::UnknownFollow),
        };
        if self.follow.replace(follow).is_some() {
            return Err(QueryFault::Repeated);
        }
        Ok(())
    }

    /// `<key>=TEXT`.
    fn key(&mut self, name: &str, text: &str) -> Result<(), QueryFault> {
        self.count()?;
        let (scope, key) = scoped_key(name).ok_or(QueryFault::MalformedKey)?;
        self.keys.push((scope, key, Text::new(text)));
        Ok(())
    }

    fn count(&mut self) -> Result<(), QueryFault> {
        self.count += 1;
        if self.count > MAX_FILTERS { Err(QueryFault::TooManyFilters) } else { Ok(()) }
    }

    /// Sorts what order and repetition do not change, so that equal filters come out equal.
    pub(crate) fn build(mut self) -> Filter {
        self.broad.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        self.broad.dedup_by(|a, b| a.as_str() == b.as_str());
        self.keys.sort_by(|a, b| (a.0, &a.1, a.2.as_str()).cmp(&(b.0, &b.1, b.2.as_str())));
        self.keys.dedup_by(|a, b| (a.0, &a.1, a.2.as_str()) == (b.0, &b.1, b.2.as_str()));
        let matches_everything = self.broad.is_empty()
            && self.keys.is_empty()
            && self.level.is_none()
            && self.expression.is_none();
        let follow =
            if matches_everything { Follow::None } else { self.follow.unwrap_or_default() };
        Filter {
            canonical: self.canonical(follow),
            broad: self.broad.into_iter().map(Broad::new).collect(),
            keys: key_filters(self.level, self.keys),
            expressions: self.expression.into_iter().collect(),
            follow,
            within: Vec::new(),
        }
    }

    fn canonical(&self, follow: Follow) -> Box<str> {
        let mut query = Serializer::new(String::new());
        for text in &self.broad {
            query.append_pair("filter", text.as_str());
        }
        if let Some(level) = self.level {
            query.append_pair("level", level.as_str());
        }
        for (scope, key, text) in &self.keys {
            match scope {
                Scope::Everywhere => query.append_pair(key.as_str(), text.as_str()),
                Scope::Data => query.append_pair(&format!("data.{key}"), text.as_str()),
            };
        }
        if let Some(expression) = &self.expression {
            query.append_pair("where", expression.as_str());
        }
        query.append_pair("follow", follow.as_str());
        query.finish().into()
    }
}

/// Different keys are AND, the texts of one key are OR.
fn key_filters(level: Option<Level>, sorted: Vec<(Scope, Key, Text)>) -> Vec<KeyFilter> {
    let mut filters: Vec<KeyFilter> = level.map(KeyFilter::Level).into_iter().collect();
    for (scope, key, text) in sorted {
        match filters.last_mut() {
            Some(KeyFilter::Key { scope: last_scope, key: last_key, texts })
                if *last_scope == scope && *last_key == key =>
            {
                texts.push(text);
            }
            _ => filters.push(KeyFilter::Key { scope, key, texts: vec![text] }),
        }
    }
    filters
}

impl Broad {
    fn new(text: Text) -> Self {
        let pair = text.as_str().split_once('=').and_then(|(name, value)| pair(name, value));
        Self { text, pair }
    }
}

/// The granular filter that a broad text spells, if it spells one.
fn pair(name: &str, value: &str) -> Option<KeyFilter> {
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !name.bytes().all(is_key) {
        return None;
    }
    let (scope, key) = scoped_key(name)?;
    if scope == Scope::Everywhere && key.as_str() == "level" {
        return Level::from_query(value).map(KeyFilter::Level);
    }
    Some(KeyFilter::Key { scope, key, texts: vec![Text::new(value)] })
}

/// `data.KEY` names only `data`; any other key names a built-in field as well.
fn scoped_key(name: &str) -> Option<(Scope, Key)> {
    if name.chars().any(char::is_control) {
        return None;
    }
    match name.split_at_checked("data.".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("data.") => {
            Some((Scope::Data, Key::new(rest)?))
        }
        _ => Some((Scope::Everywhere, Key::new(name)?)),
    }
}
