//! What all who watch ask for, of a hub that reads no more than that of the stream which joins it to others.
//!
//! Each subscriber wants some services' events, and is let in once the log has these: from then on it misses nothing. What the log had of
//! them before is not to be relied on: there it is *covered* only from the place on at which the hub began to read them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::lock;
use crate::services::Services;

/// Who wants more services than that gets them by way of all: each costs the server a comparison, and the hub a question when nothing comes.
const MOST_SERVICES: usize = 32;

#[derive(Debug)]
pub(crate) struct Demand {
    state: Mutex<DemandState>,
    /// Something else is wanted.
    pub(crate) changed: Notify,
    /// Something else is covered.
    covered: Notify,
}

#[derive(Debug)]
struct DemandState {
    /// How many want all.
    all: usize,
    /// How many want a service.
    named: BTreeMap<String, usize>,
    /// What the log has all events of that come from now on.
    covered: Services,
    is_being_read: bool,
}

/// How what is wanted differs from what is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Same,
    More,
    Less,
}

impl Default for Demand {
    /// At first all is read.
    fn default() -> Self {
        let (all, named, covered) = (0, BTreeMap::new(), Services::All);
        let state = DemandState { all, named, covered, is_being_read: false };
        Self { state: Mutex::new(state), changed: Notify::new(), covered: Notify::new() }
    }
}

impl Demand {
    pub(crate) fn covered(&self) -> Services {
        lock(&self.state).covered.clone()
    }

    pub(crate) fn wish(&self) -> Wish {
        let state = lock(&self.state);
        match state.wanted() {
            wanted if wanted == state.covered => Wish::Same,
            wanted if state.covered.contain(&wanted) => Wish::Less,
            _ => Wish::More,
        }
    }

    /// The stream is read from now on, until the value is dropped: all that is wanted. `widen` as for [`cover`](Self::cover).
    pub(crate) fn begin(self: &Arc<Self>, widen: impl FnOnce()) -> Reading {
        self.cover(widen);
        lock(&self.state).is_being_read = true;
        Reading(Arc::clone(self))
    }

    /// What is wanted now is read from the next message on. If the log has not had all of it, `widen` notes where that begins. To be
    /// called by who reads the stream, between two messages.
    pub(crate) fn cover(&self, widen: impl FnOnce()) {
        lock(&self.state).cover(widen);
        self.covered.notify_waiters();
    }
}

impl DemandState {
    /// What it has been, if nobody wants anything.
    fn wanted(&self) -> Services {
        if self.all > 0 || self.named.len() > MOST_SERVICES {
            Services::All
        } else if self.named.is_empty() {
            self.covered.clone()
        } else {
            Services::named(self.named.keys())
        }
    }

    fn cover(&mut self, widen: impl FnOnce()) {
        let wanted = self.wanted();
        if !self.covered.contain(&wanted) {
            widen();
        }
        let is_news = (wanted == Services::All) != (self.covered == Services::All);
        self.covered = wanted;
        if is_news {
            let services: Vec<_> = self.covered.names().collect();
            tracing::info!(
                ?services,
                "reads the events of these services alone, or of all if none is named"
            );
        }
    }
}

/// The stream is being read.
#[derive(Debug)]
pub(crate) struct Reading(Arc<Demand>);

impl Drop for Reading {
    fn drop(&mut self) {
        lock(&self.0.state).is_being_read = false;
        self.0.covered.notify_waiters();
    }
}

/// Somebody wants these services' events, as long as it is held.
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

    /// Resolves once the log gets all of them. While nobody reads the stream that is at once: whoever begins to reads them, too.
    pub(crate) async fn is_covered(&self, widen: impl Fn()) {
        loop {
            let mut news = std::pin::pin!(self.demand.covered.notified());
            news.as_mut().enable();
            {
                let mut state = lock(&self.demand.state);
                if !state.is_being_read {
                    state.cover(&widen);
                }
                if state.covered.contain(&self.services) {
                    return;
                }
            }
            news.await;
        }
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let mut state = lock(&self.demand.state);
        match &self.services {
            Services::All => state.all -= 1,
            Services::Named(names) => {
                for name in names {
                    if let Some(holders) = state.named.get_mut(name) {
                        *holders -= 1;
                        if *holders == 0 {
                            state.named.remove(name);
                        }
                    }
                }
            }
        }
        drop(state);
        self.demand.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;

    use super::*;

    fn some(names: &[&str]) -> Services {
        Services::named(names.iter().copied())
    }

    #[test]
    fn what_all_who_are_there_want_is_covered_and_no_more() {
        let demand = Arc::new(Demand::default());
        let widened = Cell::new(0);
        let widen = || widened.set(widened.get() + 1);
        let _reading = demand.begin(widen);
        assert_eq!((demand.wish(), demand.covered()), (Wish::Same, Services::All));
        let shop = Wanted::new(&demand, some(&["shop"]));
        let cart = Wanted::new(&demand, some(&["cart", "shop"]));
        assert_eq!(demand.wish(), Wish::Less);
        demand.cover(widen);
        assert_eq!((demand.wish(), demand.covered()), (Wish::Same, some(&["cart", "shop"])));
        drop(cart);
        assert_eq!(demand.wish(), Wish::Less);
        demand.cover(widen);
        assert_eq!((demand.covered(), widened.get()), (some(&["shop"]), 0));
        let all = Wanted::new(&demand, Services::All);
        assert_eq!(demand.wish(), Wish::More);
        demand.cover(widen);
        assert_eq!((demand.covered(), widened.get()), (Services::All, 1));
        drop((shop, all));
        // As long as nobody asks for anything else, it stays as it is.
        assert_eq!(demand.wish(), Wish::Same);
    }

    #[test]
    fn a_newcomer_waits_until_what_it_wants_is_read_or_will_be() {
        let demand = Arc::new(Demand::default());
        let reading = demand.begin(|| {});
        let _shop = Wanted::new(&demand, some(&["shop"]));
        demand.cover(|| {});
        let widened = Cell::new(0);
        let cart = Wanted::new(&demand, some(&["cart"]));
        let is_covered = |wanted: &Wanted| {
            let covered = wanted.is_covered(|| widened.set(widened.get() + 1));
            covered.now_or_never().is_some()
        };
        assert!(!is_covered(&cart));
        demand.cover(|| widened.set(widened.get() + 1));
        assert!(is_covered(&cart));
        assert_eq!(widened.get(), 1);
        drop(reading);
        let all = Wanted::new(&demand, Services::All);
        assert!(is_covered(&all));
        assert_eq!((widened.get(), demand.covered()), (2, Services::All));
    }

    #[test]
    fn too_many_services_are_all() {
        let demand = Arc::new(Demand::default());
        let names = (0..=MOST_SERVICES).map(|n| n.to_string());
        let _many = Wanted::new(&demand, Services::named(names));
        assert_eq!(demand.wish(), Wish::Same);
    }
}
