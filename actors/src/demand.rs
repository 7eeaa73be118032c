//! What all who watch ask for, of a hub that reads no more than that of the stream which joins it to others.
//!
//! Each subscriber wants some services' events, and is let in once they are *covered*: once the log gets all of them that come. Since when
//! that is so, is known of each service: what came before is to be had from the stream alone, though the log may have some of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::event::EventId;
use crate::lock;
use crate::services::Services;

/// If those who watch want more services than that, all are read: each costs the server a comparison, and the hub a question when nothing comes.
const MOST_SERVICES: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Demand {
    state: Mutex<DemandState>,
    /// Something else is wanted.
    pub(crate) changed: Notify,
    /// Something else is covered, or nobody reads.
    news: Notify,
}

#[derive(Debug)]
struct DemandState {
    /// How many want all.
    all: usize,
    /// How many want a service.
    named: BTreeMap<String, usize>,
    covered: Services,
    /// The place after which the log has all events of a service, if that is later than its beginning.
    since: BTreeMap<String, Option<EventId>>,
    /// The same for all others, if they are covered.
    others_since: Option<EventId>,
    /// Who reads the stream: one at most, and for a moment one that has failed.
    readers: usize,
}

/// How what is wanted differs from what is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Same,
    More,
    Less,
}

impl Demand {
    pub(crate) fn covered(&self) -> Services {
        lock(&self.state).covered.clone()
    }

    pub(crate) fn wanted(&self) -> Services {
        lock(&self.state).wanted()
    }

    pub(crate) fn wish(&self) -> Wish {
        lock(&self.state).wish()
    }

    /// The stream is read from now on, until the value is dropped: what was covered, and all that is wanted. `mark` as for
    /// [`widen`](Self::widen).
    pub(crate) fn begin(self: &Arc<Self>, mark: impl FnOnce() -> Option<EventId>) -> Reading {
        let mut state = lock(&self.state);
        state.widen(mark);
        state.readers += 1;
        drop(state);
        self.news.notify_waiters();
        Reading(Arc::clone(self))
    }

    /// What is wanted is covered from here on, too. `mark` is the place up to which the stream has been read. To be called by who reads
    /// it, between two messages.
    pub(crate) fn widen(&self, mark: impl FnOnce() -> Option<EventId>) {
        lock(&self.state).widen(mark);
        self.news.notify_waiters();
    }

    /// No more is covered than is wanted.
    pub(crate) fn narrow(&self) {
        lock(&self.state).narrow();
    }
}

impl Default for DemandState {
    /// At first all is read.
    fn default() -> Self {
        Self {
            all: 0,
            named: BTreeMap::new(),
            covered: Services::All,
            since: BTreeMap::new(),
            others_since: None,
            readers: 0,
        }
    }
}

impl DemandState {
    /// What is covered, if nobody wants anything.
    fn wanted(&self) -> Services {
        if self.all > 0 {
            Services::All
        } else if self.named.is_empty() {
            self.covered.clone()
        } else {
            few(Services::named(self.named.keys()))
        }
    }

    fn wish(&self) -> Wish {
        match self.wanted() {
            wanted if wanted == self.covered => Wish::Same,
            wanted if self.covered.contain(&wanted) => Wish::Less,
            _ => Wish::More,
        }
    }

    fn widen(&mut self, mark: impl FnOnce() -> Option<EventId>) {
        if self.wish() != Wish::More {
            return;
        }
        let mark = mark();
        let wider = few(self.covered.clone().or(self.wanted()));
        match &wider {
            Services::All => self.others_since = mark,
            Services::Named(names) => {
                for name in names {
                    self.since.entry(name.clone()).or_insert(mark);
                }
            }
        }
        let was_some = self.covered != Services::All;
        self.covered = wider;
        if was_some && self.covered == Services::All {
            tracing::info!("reads the events of all services again");
        }
    }

    fn narrow(&mut self) {
        if self.wish() != Wish::Less {
            return;
        }
        if self.covered == Services::All {
            tracing::info!("reads the events of those services alone that are asked for");
        }
        self.covered = self.wanted();
        let names = self.covered.names().map(|name| (name.to_owned(), self.covered_since(name)));
        self.since = names.collect();
    }

    /// Of a service that is covered.
    fn covered_since(&self, name: &str) -> Option<EventId> {
        self.since.get(name).copied().unwrap_or(self.others_since)
    }
}

/// As they are, or all if they are too many.
fn few(services: Services) -> Services {
    if services.names().count() > MOST_SERVICES { Services::All } else { services }
}

/// The stream is being read.
#[derive(Debug)]
pub(crate) struct Reading(Arc<Demand>);

impl Drop for Reading {
    fn drop(&mut self) {
        lock(&self.0.state).readers -= 1;
        self.0.news.notify_waiters();
    }
}

/// Somebody wants these services' events, as long as it is there.
#[derive(Debug)]
pub(crate) struct Wanted {
    demand: Arc<Demand>,
    services: Services,
}

impl Wanted {
    pub(crate) fn new(demand: &Arc<Demand>, services: Services) -> Self {
        let wanted = Self { demand: Arc::clone(demand), services };
        let mut state = lock(&demand.state);
        match &wanted.services {
            Services::All => state.all += 1,
            Services::Named(names) => {
                names.iter().for_each(|name| *state.named.entry(name.clone()).or_default() += 1);
            }
        }
        drop(state);
        demand.changed.notify_one();
        wanted
    }

    /// Resolves once all of them are covered, to the place after which the log has them, if that is later than its beginning. While nobody
    /// reads the stream they are covered at once: whoever begins to reads them, too. `mark` as for [`Demand::widen`].
    pub(crate) async fn covered(&self, mark: impl Fn() -> Option<EventId>) -> Option<EventId> {
        loop {
            let mut news = std::pin::pin!(self.demand.news.notified());
            news.as_mut().enable();
            if let Some(since) = self.covered_by_now(&mark) {
                return since;
            }
            news.await;
        }
    }

    fn covered_by_now(&self, mark: impl FnOnce() -> Option<EventId>) -> Option<Option<EventId>> {
        let mut state = lock(&self.demand.state);
        if state.readers == 0 {
            state.widen(mark);
        }
        state.covered.contain(&self.services).then(|| match &self.services {
            Services::All => state.others_since,
            Services::Named(names) => {
                names.iter().map(|name| state.covered_since(name)).max().flatten()
            }
        })
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut state = lock(&self.demand.state);
        match &self.services {
            Services::All => state.all -= 1,
            Services::Named(names) => names.iter().for_each(|name| state.let_go(name)),
        }
        drop(state);
        self.demand.changed.notify_one();
    }
}

impl DemandState {
    /// One less wants this service.
    fn let_go(&mut self, name: &str) {
        if let Some(holders) = self.named.get_mut(name) {
            *holders -= 1;
            if *holders == 0 {
                self.named.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::tick::Tick;

    fn some(names: &[&str]) -> Services {
        Services::named(names.iter().copied())
    }

    /// A place in the stream.
    fn place(number: u64) -> Option<EventId> {
        Some(Tick::some(number).id(0))
    }

    /// Since when somebody is let in that wants this, if at once.
    fn let_in(wanted: &Wanted, at: u64) -> Option<Option<EventId>> {
        wanted.covered(|| place(at)).now_or_never()
    }

    #[test]
    fn what_all_who_are_there_want_is_covered_and_no_more() {
        let demand = Arc::new(Demand::default());
        let _reading = demand.begin(|| place(1));
        assert_eq!((demand.wish(), demand.covered()), (Wish::Same, Services::All));
        let shop = Wanted::new(&demand, some(&["shop"]));
        let cart = Wanted::new(&demand, some(&["cart", "shop"]));
        assert_eq!(demand.wish(), Wish::Less);
        demand.narrow();
        assert_eq!((demand.wish(), demand.covered()), (Wish::Same, some(&["cart", "shop"])));
        drop(cart);
        // What is not wanted just now is covered until it is given up.
        let book = Wanted::new(&demand, some(&["book"]));
        assert_eq!(demand.wish(), Wish::More);
        demand.widen(|| place(2));
        assert_eq!(demand.covered(), some(&["book", "cart", "shop"]));
        assert_eq!(demand.wish(), Wish::Less);
        demand.narrow();
        assert_eq!(demand.covered(), some(&["book", "shop"]));
        drop((shop, book));
        // As long as nobody asks for anything else, it stays as it is.
        assert_eq!(demand.wish(), Wish::Same);
    }

    #[test]
    fn since_when_the_log_has_it_is_known_of_each_service() {
        let demand = Arc::new(Demand::default());
        let _reading = demand.begin(|| place(1));
        let shop = Wanted::new(&demand, some(&["shop"]));
        demand.narrow();
        let cart = Wanted::new(&demand, some(&["cart"]));
        demand.widen(|| place(2));
        let both = Wanted::new(&demand, some(&["cart", "shop"]));
        let all = Wanted::new(&demand, Services::All);
        demand.widen(|| place(3));
        let other = Wanted::new(&demand, some(&["other"]));
        assert_eq!(
            [&shop, &cart, &both, &all, &other].map(|wanted| let_in(wanted, 9)),
            [Some(None), Some(place(2)), Some(place(2)), Some(place(3)), Some(place(3))]
        );
        drop(all);
        demand.narrow();
        assert_eq!(demand.covered(), some(&["cart", "other", "shop"]));
        assert_eq!(
            [&shop, &cart, &both, &other].map(|wanted| let_in(wanted, 9)),
            [Some(None), Some(place(2)), Some(place(2)), Some(place(3))]
        );
        // Given up, it begins anew.
        drop((cart, both));
        demand.narrow();
        let cart = Wanted::new(&demand, some(&["cart"]));
        demand.widen(|| place(5));
        assert_eq!(let_in(&cart, 9), Some(place(5)));
    }

    #[test]
    fn a_newcomer_waits_until_what_it_wants_is_read_or_will_be() {
        let demand = Arc::new(Demand::default());
        let reading = demand.begin(|| None);
        let _shop = Wanted::new(&demand, some(&["shop"]));
        demand.narrow();
        let cart = Wanted::new(&demand, some(&["cart"]));
        assert_eq!(let_in(&cart, 1), None);
        demand.widen(|| place(2));
        assert_eq!(let_in(&cart, 3), Some(place(2)));
        // One that has failed goes after its successor has begun.
        let successor = demand.begin(|| place(4));
        drop(reading);
        let all = Wanted::new(&demand, Services::All);
        assert_eq!(let_in(&all, 5), None);
        drop(successor);
        assert_eq!((let_in(&all, 6), demand.covered()), (Some(place(6)), Services::All));
    }

    #[test]
    fn too_many_services_are_all() {
        let demand = Arc::new(Demand::default());
        let names = (0..=MOST_SERVICES).map(|n| n.to_string());
        let _many = Wanted::new(&demand, Services::named(names));
        assert_eq!(demand.wish(), Wish::Same);
    }
}
