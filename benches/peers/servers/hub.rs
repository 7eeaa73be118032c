//! Our hub, as it is built with this bench.

use std::net::SocketAddr;

use super::Recipe;
use crate::{hub, program};

pub(super) fn recipe(address: SocketAddr) -> Recipe {
    Recipe {
        command: program::serve(&hub(), address),
        stop: None,
        subscribe_path: "/api/telemetry/traces/live",
        publish_path: "/api/telemetry/events",
        is_made: false,
    }
}
