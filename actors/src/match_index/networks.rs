//! The networks that filters look for. An address is looked up once for each length of prefix that there is.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::filter_index::Found;

#[derive(Debug, Default)]
pub(super) struct Networks {
    /// By networks without bits beyond their prefix.
    found: HashMap<IpNet, Found>,
    prefixes_v4: BTreeSet<u8>,
    prefixes_v6: BTreeSet<u8>,
}

impl Networks {
    /// Who is found by a network.
    pub(super) fn entry(&mut self, network: IpNet) -> &mut Found {
        let prefixes = match network {
            IpNet::V4(_) => &mut self.prefixes_v4,
            IpNet::V6(_) => &mut self.prefixes_v6,
        };
        prefixes.insert(network.prefix_len());
        self.found.entry(network.trunc()).or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Calls `report` with the filters of every network that has this address.
    pub(super) fn find(&self, address: IpAddr, report: impl FnMut(&Found)) {
        let prefixes = match address {
            IpAddr::V4(_) => &self.prefixes_v4,
            IpAddr::V6(_) => &self.prefixes_v6,
        };
        let networks = prefixes.iter().filter_map(|prefix| IpNet::new(address, *prefix).ok());
        networks.filter_map(|network| self.found.get(&network.trunc())).for_each(report);
    }
}
