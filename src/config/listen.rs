//! Where to listen besides the hub's own address.

use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address to listen on besides the hub's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listen {
    pub(crate) address: SocketAddr,
    /// Whether somebody asked for it. If not, the hub goes without it if it is taken.
    pub(crate) is_wanted: bool,
}

/// Where to listen besides: on the usual port of the hub's own address, nowhere, or on an address of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ExtraListen {
    Auto,
    Off,
    At(SocketAddr),
}

impl Serialize for ExtraListen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Off => serializer.serialize_str("off"),
            Self::At(address) => serializer.collect_str(address),
        }
    }
}

impl<'de> Deserialize<'de> for ExtraListen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for ExtraListen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            address => address
                .parse()
                .map(Self::At)
                .map_err(|_| "expected \"auto\", \"off\" or ADDRESS:PORT"),
        }
    }
}
