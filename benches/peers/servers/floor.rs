//! The floor, which is this very program: see [`crate::floor`].

use std::net::SocketAddr;

use anyhow::Context;
use tokio::process::Command;

use super::Recipe;

pub(super) fn recipe(address: SocketAddr) -> anyhow::Result<Recipe> {
    let this_program = std::env::current_exe().context("this program cannot be found")?;
    let mut command = Command::new(this_program);
    command.args(["floor", "--listen"]).arg(address.to_string());
    Ok(Recipe {
        command,
        stop: None,
        subscribe_path: "/events",
        publish_path: "/events",
        is_made: false,
    })
}
