//! Who a subscriber is, as far as its host knows. The hub trusts what it is told here: it shows it to those who ask who is there, and
//! counts by it.

use std::net::{IpAddr, Ipv6Addr};

use serde::Serialize;

use crate::value::SmolStr;

/// Who subscribes. By default nobody known, who is held to no limit of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Client {
    /// The address that it comes from.
    pub address: Option<IpAddr>,
    /// What its credentials are called.
    pub name: Option<SmolStr>,
}

impl Client {
    /// The same, with an IPv4 address in the guise of IPv6 (RFC 4291, section 2.5.5.2) shown as what it is.
    pub(crate) fn canonical(self) -> Self {
        Self { address: self.address.map(|address| address.to_canonical()), ..self }
    }

    /// What stands for whoever has this address when subscribers are counted: of IPv6 the first 64 bits, of which every customer has
    /// all addresses. None for this machine's own: behind a loopback address stands a proxy, or somebody who could do worse.
    pub fn counted_address(&self) -> Option<IpAddr> {
        match self.address?.to_canonical() {
            address if address.is_loopback() => None,
            address @ IpAddr::V4(_) => Some(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << 64);
                Some(Ipv6Addr::from_bits(network).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_by_whose_they_are() {
        for (address, counted) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.8", Some("203.0.113.8")),
            ("::ffff:203.0.113.7", Some("203.0.113.7")),
            ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1:2::")),
            ("2001:db8:1:2:ffff::", Some("2001:db8:1:2::")),
            ("2001:db8:1:3::1", Some("2001:db8:1:3::")),
            ("127.0.0.1", None),
            ("127.8.9.10", None),
            ("::1", None),
            ("::ffff:127.0.0.1", None),
        ] {
            let client = Client { address: Some(address.parse().unwrap()), name: None };
            let counted = counted.map(|counted| counted.parse().unwrap());
            assert_eq!(client.counted_address(), counted, "{address}");
        }
        assert_eq!(Client::default().counted_address(), None);
    }
}
