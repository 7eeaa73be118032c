//! The register: which subscribers there are, who each is and how it stands with it, and whether there is a place for one more.
//!
//! [`Hub`](crate::hub::Hub) alone holds it, and strikes out whoever has exited, in whichever way. What it tells of a stream it reads
//! from between the subscriber and its client; no subscriber is asked.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ractor::{ActorId, ActorRef};
use serde::{Serialize, Serializer};

use crate::client::Client;
use crate::config::HubConfig;
use crate::error::SubscribeError;
use crate::metrics_slot::MetricsSlot;
use crate::metrics_subscriber::MetricsSubscriberMessage;
use crate::outbox::Outbox;
use crate::query::SubscribersQuery;
use crate::sse::ByeReason;
use crate::stats::SubscriptionStats;
use crate::subscriber::{SubscriberId, SubscriberMessage};
use crate::value::SmolStr;

/// A subscriber at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubscriberInfo {
    /// Tells it apart.
    pub id: SubscriberId,
    /// What it watches.
    pub signal: Watched,
    /// Who it is.
    #[serde(flatten)]
    pub client: Client,
    /// What it asked for, as a query string: the same for all who asked for the same. What it is limited to besides stands behind
    /// ` within `.
    pub filter: SmolStr,
    /// When it came.
    pub since: Timestamp,
    /// How it stands with its stream.
    #[serde(flatten)]
    pub status: StreamStatus,
}

/// What a stream is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Watched {
    /// Events.
    Traces,
    /// Metrics.
    Metrics,
}

/// A stream at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// How far it is.
    pub state: StreamState,
    /// What it has counted: events, or frames of metrics, of which one is missed when the next one takes its place.
    #[serde(flatten)]
    pub stats: SubscriptionStats,
    /// What its queued events take in memory; a frame of metrics is shared, and not counted.
    pub queued_bytes: Option<usize>,
    /// How long ago the oldest that is queued was accepted by the hub; zero if nothing is queued. Of a replay that is as old as what it
    /// replays.
    #[serde(serialize_with = "seconds")]
    pub lag: Duration,
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// It is given what the hub still has of the past.
    Replaying,
    /// It is given what comes.
    Live,
    /// It is given nothing any more: its client has not taken the last of it yet.
    Ending,
}

/// Some of the subscribers, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SubscriberPage {
    /// Those on this page.
    pub subscribers: Vec<SubscriberInfo>,
    /// How many there are in all.
    pub total: usize,
    /// After which one the next page begins; `None` if this is the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<SubscriberId>,
}

/// All subscribers there are.
#[derive(Debug, Default)]
pub(crate) struct Register {
    last_id: u64,
    entries: BTreeMap<SubscriberId, Entry>,
    ids: HashMap<ActorId, SubscriberId>,
    places: Places,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) child: Child,
    pub(crate) client: Client,
    filter: SmolStr,
    since: Timestamp,
    /// It has been told to end.
    is_ending: bool,
}

/// The actor of a subscriber, and what is between it and its client.
#[derive(Debug)]
pub(crate) enum Child {
    Traces(ActorRef<SubscriberMessage>, Arc<Outbox>),
    /// With the interval of its sampler.
    Metrics(ActorRef<MetricsSubscriberMessage>, Arc<MetricsSlot>, Duration),
}

/// How many subscribers each client has, of those that are counted.
#[derive(Debug, Default)]
struct Places {
    by_address: HashMap<IpAddr, usize>,
    by_name: HashMap<SmolStr, usize>,
}

impl Register {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An id for a newcomer, if there is a place.
    pub(crate) fn admit(
        &mut self,
        client: &Client,
        config: &HubConfig,
    ) -> Result<SubscriberId, SubscribeError> {
        let limit = config.max_subscribers;
        if self.entries.len() >= limit {
            return Err(SubscribeError::TooMany { limit });
        }
        self.places.check(client, config)?;
        self.last_id += 1;
        Ok(SubscriberId(self.last_id))
    }

    pub(crate) fn add(&mut self, id: SubscriberId, entry: Entry) {
        self.places.take(&entry.client);
        self.ids.insert(entry.child.actor(), id);
        self.entries.insert(id, entry);
    }

    /// Strikes out the subscriber whose actor has exited, if it was one.
    pub(crate) fn remove(&mut self, actor: ActorId) -> Option<Entry> {
        let id = self.ids.remove(&actor)?;
        let entry = self.entries.remove(&id)?;
        self.places.free(&entry.client);
        Some(entry)
    }

    pub(crate) fn get_mut(&mut self, id: SubscriberId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    pub(crate) fn children(&self) -> impl Iterator<Item = &Child> {
        self.entries.values().map(|entry| &entry.child)
    }

    pub(crate) fn describe(&self, id: SubscriberId, now: Timestamp) -> Option<SubscriberInfo> {
        self.entries.get(&id).map(|entry| entry.describe(id, now))
    }

    pub(crate) fn page(&self, query: SubscribersQuery, now: Timestamp) -> SubscriberPage {
        let first = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.entries.range((first, Bound::Unbounded));
        let limit = query.limit.clamp(1, SubscribersQuery::MAX_LIMIT);
        let page = rest.by_ref().take(limit).map(|(id, entry)| entry.describe(*id, now));
        let subscribers: Vec<_> = page.collect();
        let last = subscribers.last().map(|subscriber| subscriber.id);
        let next = last.filter(|_| rest.next().is_some());
        SubscriberPage { subscribers, total: self.entries.len(), next }
    }
}

impl Entry {
    pub(crate) fn new(child: Child, client: Client, filter: SmolStr, now: Timestamp) -> Self {
        // Nobody needs to read more digits than that.
        let since = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        Self { child, client: client.canonical(), filter, since, is_ending: false }
    }

    /// Tells it to end. False if it has been told so before.
    pub(crate) fn end(&mut self) -> bool {
        let is_news = !std::mem::replace(&mut self.is_ending, true);
        if is_news {
            self.child.close(ByeReason::ClosedByAdmin);
        }
        is_news
    }

    fn describe(&self, id: SubscriberId, now: Timestamp) -> SubscriberInfo {
        let (signal, mut status) = match &self.child {
            Child::Traces(_, outbox) => (Watched::Traces, outbox.status(now)),
            Child::Metrics(_, slot, _) => (Watched::Metrics, slot.status()),
        };
        if self.is_ending {
            status.state = StreamState::Ending;
        }
        let (client, filter, since) = (self.client.clone(), self.filter.clone(), self.since);
        SubscriberInfo { id, signal, client, filter, since, status }
    }
}

impl Child {
    fn actor(&self) -> ActorId {
        match self {
            Self::Traces(subscriber, _) => subscriber.get_id(),
            Self::Metrics(subscriber, ..) => subscriber.get_id(),
        }
    }

    pub(crate) fn close(&self, reason: ByeReason) {
        // One that is gone has ended its stream already.
        match self {
            Self::Traces(subscriber, _) => {
                subscriber.cast(SubscriberMessage::Close(reason)).ok();
            }
            Self::Metrics(subscriber, ..) => {
                subscriber.cast(MetricsSubscriberMessage::Close(reason)).ok();
            }
        }
    }
}

impl Places {
    fn check(&self, client: &Client, config: &HubConfig) -> Result<(), SubscribeError> {
        let limit = config.max_subscribers_per_address;
        if client.counted_address().is_some_and(|address| held(&self.by_address, &address) >= limit)
        {
            return Err(SubscribeError::TooManyFromAddress { limit });
        }
        let limit = config.max_subscribers_per_token;
        if client.name.as_ref().is_some_and(|name| held(&self.by_name, name) >= limit) {
            return Err(SubscribeError::TooManyOfToken { limit });
        }
        Ok(())
    }

    fn take(&mut self, client: &Client) {
        if let Some(address) = client.counted_address() {
            *self.by_address.entry(address).or_default() += 1;
        }
        if let Some(name) = &client.name {
            *self.by_name.entry(name.clone()).or_default() += 1;
        }
    }

    fn free(&mut self, client: &Client) {
        if let Some(address) = client.counted_address() {
            count_down(&mut self.by_address, &address);
        }
        if let Some(name) = &client.name {
            count_down(&mut self.by_name, name);
        }
    }
}

fn held<K: Hash + Eq>(counts: &HashMap<K, usize>, key: &K) -> usize {
    counts.get(key).copied().unwrap_or(0)
}

/// Keeps nothing of those who have none left: addresses come and go for ever.
fn count_down<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let milliseconds = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    serializer.serialize_f64(f64::from(milliseconds) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str, name: &str) -> Client {
        Client { address: address.parse().ok(), name: Some(name.into()) }
    }

    #[test]
    fn places_are_freed_and_nothing_is_kept_of_those_who_have_left() {
        let config = HubConfig {
            max_subscribers_per_address: 2,
            max_subscribers_per_token: 3,
            ..HubConfig::default()
        };
        let mut places = Places::default();
        let taken = [client("192.0.2.1", "a"), client("192.0.2.1", "a"), client("::1", "a")];
        for client in &taken {
            places.check(client, &config).unwrap();
            places.take(client);
        }
        let refused =
            |places: &Places, address, name| places.check(&client(address, name), &config).err();
        let of_address = Some(SubscribeError::TooManyFromAddress { limit: 2 });
        let of_token = Some(SubscribeError::TooManyOfToken { limit: 3 });
        assert_eq!(refused(&places, "192.0.2.1", "b"), of_address);
        assert_eq!(refused(&places, "192.0.2.2", "a"), of_token);
        assert_eq!(refused(&places, "192.0.2.2", "b"), None);
        assert_eq!(places.check(&Client::default(), &config), Ok(()));
        places.free(&taken[0]);
        assert_eq!(refused(&places, "192.0.2.1", "a"), None);
        taken[1..].iter().for_each(|client| places.free(client));
        assert!(places.by_address.is_empty() && places.by_name.is_empty(), "{places:?}");
    }
}
