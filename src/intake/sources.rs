//! Who has brought something lately: each address, token, program and way in, with what came of it. A person who looks at the hub asks
//! this first, and the events themselves do not tell.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use telemetry_hub_actors::SmolStr;
use warp::http::HeaderMap;
use warp::http::header::USER_AGENT;

/// How many are known. One more takes the place of the one that has been silent for longest: what stays is who matters now.
const MAX_SOURCES: usize = 1024;

/// How much of its name a program may take.
const MAX_AGENT_LENGTH: usize = 120;

/// Whoever brings something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Source {
    /// Absent where a host does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    /// Of its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<SmolStr>,
    /// As it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    via: Via,
}

/// The way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Via {
    Events,
    Metrics,
    Otlp,
}

/// What one request brought.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Brought {
    /// Of its body, decompressed.
    pub(crate) bytes: usize,
    pub(crate) accepted: usize,
    pub(crate) rejected: usize,
}

/// What a source has brought since it is known.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    #[serde(flatten)]
    source: Source,
    since: Timestamp,
    last_seen: Timestamp,
    requests: u64,
    items: u64,
    rejected: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    accounts: HashMap<Source, Account>,
    forgotten: u64,
}

/// All that are known, those that brought something last first, and how many were known once.
#[derive(Debug, Serialize)]
pub(crate) struct SourceList {
    sources: Vec<Account>,
    forgotten: u64,
}

impl Source {
    pub(crate) fn new(
        address: Option<IpAddr>,
        name: Option<SmolStr>,
        headers: &HeaderMap,
        via: Via,
    ) -> Self {
        let agent = headers.get(USER_AGENT).map(|agent| {
            String::from_utf8_lossy(agent.as_bytes()).chars().take(MAX_AGENT_LENGTH).collect()
        });
        Self { address, name, agent, via }
    }
}

impl Sources {
    pub(crate) fn note(&self, source: &Source, brought: Brought, now: Timestamp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = known.accounts.get_mut(source) {
            account.add(brought, now);
            return;
        }
        if known.accounts.len() >= MAX_SOURCES {
            known.forget_the_most_silent();
        }
        let mut account = Account::new(source.clone(), now);
        account.add(brought, now);
        known.accounts.insert(source.clone(), account);
    }

    pub(crate) fn list(&self) -> SourceList {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sources: Vec<_> = known.accounts.values().cloned().collect();
        let forgotten = known.forgotten;
        drop(known);
        sources.sort_by_key(|account| std::cmp::Reverse(account.last_seen));
        SourceList { sources, forgotten }
    }
}

impl Known {
    fn forget_the_most_silent(&mut self) {
        let silent = self.accounts.values().min_by_key(|account| account.last_seen);
        if let Some(source) = silent.map(|account| account.source.clone()) {
            self.accounts.remove(&source);
            self.forgotten += 1;
        }
    }
}

impl Account {
    fn new(source: Source, now: Timestamp) -> Self {
        Self { source, since: now, last_seen: now, requests: 0, items: 0, rejected: 0, bytes: 0 }
    }

    fn add(&mut self, brought: Brought, now: Timestamp) {
        self.last_seen = now;
        self.requests += 1;
        self.items += brought.accepted as u64;
        self.rejected += brought.rejected as u64;
        self.bytes += brought.bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use warp::http::HeaderValue;

    use super::*;

    fn source(number: usize) -> Source {
        let name = Some(SmolStr::from(number.to_string()));
        Source::new(None, name, &HeaderMap::new(), Via::Events)
    }

    #[test]
    fn of_more_than_can_be_known_the_most_silent_is_forgotten() {
        let sources = Sources::default();
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        for number in 0..MAX_SOURCES {
            sources.note(&source(number), Brought::default(), at(number as i64));
        }
        sources.note(&source(0), Brought::default(), at(5000));
        sources.note(&source(MAX_SOURCES), Brought::default(), at(6000));
        let SourceList { sources: list, forgotten } = sources.list();
        assert_eq!(forgotten, 1);
        assert_eq!(list.len(), MAX_SOURCES);
        assert_eq!(list[0].source, source(MAX_SOURCES), "the last to be seen comes first");
        let is_known = |number| list.iter().any(|account| account.source == source(number));
        assert!(is_known(0) && !is_known(1) && is_known(2));
    }

    #[test]
    fn a_program_may_call_itself_anything() {
        let long = HeaderValue::from_bytes(&b"\xff".repeat(1000)).unwrap();
        let headers = [(USER_AGENT, long)].into_iter().collect();
        let agent = Source::new(None, None, &headers, Via::Otlp).agent.unwrap();
        assert_eq!(agent, "\u{fffd}".repeat(MAX_AGENT_LENGTH));
    }
}
