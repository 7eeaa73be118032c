//! Where a request comes from.

use std::net::{IpAddr, SocketAddr};

/// The address of whoever sent a request, for its extensions: [`Server`](crate::Server) puts it there, and a host that mounts
/// [`HubService`](crate::HubService) or [`routes`](crate::routes()) may do the same. Subscribers are listed and limited by it; without it
/// their addresses are unknown, and not limited.
///
/// It is that of the connection. Nothing is taken from `X-Forwarded-For` or `Forwarded`, which anybody can send: a host that stands
/// behind a proxy and trusts it can put in what that proxy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address.ip())
    }
}
