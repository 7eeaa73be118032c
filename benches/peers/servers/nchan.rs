//! nginx with nchan: two workers, messages in shared memory only, and no time after which anything is cut.
//!
//! nginx stays in the foreground. Its workers outlive a master that is killed, so it is stopped by its own means.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use tokio::process::Command;

use super::Recipe;
use crate::install::{NCHAN_MODULE, NGINX};

/// What the configuration is called in nginx's folder.
const FILE: &str = "nginx.conf";

pub(super) fn recipe(address: SocketAddr, folder: &Path) -> anyhow::Result<Recipe> {
    let file = folder.join(FILE);
    fs::write(&file, configuration(address))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let arguments = |rest: &[&str]| {
        let mut command = std::process::Command::new(NGINX);
        command.arg("-p").arg(folder).args(["-c", FILE, "-e", "stderr"]).args(rest);
        command
    };
    let mut stop = arguments(&["-q", "-s", "stop"]);
    stop.stderr(std::process::Stdio::null());
    Ok(Recipe {
        command: Command::from(arguments(&[])),
        stop: Some(stop),
        subscribe_path: "/subscribe",
        publish_path: "/publish",
        is_made: false,
    })
}

/// The kernel spreads the connections over the workers (`reuseport`): left to themselves, one takes nearly all. The buffer of
/// messages is short, but long enough that a worker which is behind finds what it has not sent yet.
fn configuration(address: SocketAddr) -> String {
    format!(
        "\
load_module {NCHAN_MODULE};
daemon off;
pid nginx.pid;
worker_processes 2;
events {{
  worker_connections 19000;
}}
http {{
  access_log off;
  tcp_nodelay on;
  send_timeout 1h;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  nchan_shared_memory_size 128m;
  server {{
    listen {address} reuseport backlog=4096;
    location = /publish {{
      nchan_publisher http;
      nchan_channel_id load;
      nchan_message_buffer_length 100;
      nchan_message_timeout 1m;
    }}
    location = /subscribe {{
      nchan_subscriber eventsource;
      nchan_channel_id load;
      nchan_subscriber_first_message newest;
      nchan_subscriber_timeout 0;
    }}
  }}
}}
"
    )
}
