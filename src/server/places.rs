//! How many connections there may be, in all and from one address: who finds no place is told so and left.
//!
//! An address is counted as the network it stands for, and this machine's own are not: behind them stands a proxy, or somebody who
//! could do worse.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use telemetry_hub_actors::Client;

/// The places that there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub(super) in_all: usize,
    pub(super) per_address: usize,
}

/// Who has a place.
#[derive(Debug)]
pub(super) struct Taken {
    places: Places,
    taken: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    in_all: usize,
    /// Of addresses that have any.
    by_address: HashMap<IpAddr, usize>,
}

/// One place, for as long as it is held.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Taken>,
    address: Option<IpAddr>,
}

impl Taken {
    pub(super) fn new(places: Places) -> Arc<Self> {
        Arc::new(Self { places, taken: Mutex::default() })
    }

    /// A place for whoever comes from this address, if there is one.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = Client { address: Some(address), ..Client::default() }.counted_address();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.in_all >= self.places.in_all {
            return None;
        }
        if let Some(address) = address {
            let of_address = taken.by_address.entry(address).or_default();
            if *of_address >= self.places.per_address {
                return None;
            }
            *of_address += 1;
        }
        taken.in_all += 1;
        Some(Place { taken: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.in_all -= 1;
        if let Some(address) = self.address
            && let Some(of_address) = taken.by_address.get_mut(&address)
        {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_run_out_and_come_back() {
        let taken = Taken::new(Places { in_all: 5, per_address: 2 });
        let take = |address: &str| taken.take(address.parse().unwrap());
        let one = take("203.0.113.7").unwrap();
        let _mapped = take("::ffff:203.0.113.7").unwrap();
        assert!(take("203.0.113.7").is_none());
        drop(one);
        let _again = take("203.0.113.7").unwrap();
        assert!(take("203.0.113.7").is_none());
        let _own: Vec<_> = (0..3).map(|_| take("127.0.0.1").unwrap()).collect();
        assert!(take("127.0.0.1").is_none(), "there is no place for anybody");
        drop((_own, _mapped, _again));
        let count = taken.taken.lock().unwrap();
        assert_eq!((count.in_all, count.by_address.len()), (0, 0));
    }
}
