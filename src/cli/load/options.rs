//! The options of `load`, each with the cap that keeps it from harming the machine it runs on.

use std::path::PathBuf;
use std::time::Duration;

use clap::value_parser;

use crate::cli::send::parse_duration;
use crate::config::Secret;

/// Options for loading a server.
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(in crate::cli) struct LoadOptions {
    /// The hub to load
    #[arg(
        long,
        value_name = "URL",
        env = "TELEMETRY_HUB_URL",
        default_value = "http://127.0.0.1:8787"
    )]
    pub(super) url: String,
    /// Subscribe here instead of at the hub's /api/telemetry/traces/live; may have the number of the subscriber's filter in it; may be
    /// repeated: connections take turns
    #[arg(long = "subscribe-url", value_name = "URL")]
    pub(super) subscribe_urls: Vec<String>,
    /// The token to show the hub at --url, if it asks for one; no other server is shown it. Other users of the machine can see it here;
    /// the environment hides it
    #[arg(long, value_name = "TOKEN", env = "TELEMETRY_HUB_TOKEN", hide_env_values = true)]
    pub(super) token: Option<Secret>,
    /// Publish here instead of at the hub's /api/telemetry/events; may have {target} in it, the number of the event's filter; may be
    /// repeated: publishers take turns
    #[arg(long = "publish-url", value_name = "URL")]
    pub(super) publish_urls: Vec<String>,
    /// An event, with {stamp} once, and {target} and {pad} if you like [default: an event of the hub]
    #[arg(long, value_name = "TEXT")]
    pub(super) publish_body: Option<String>,
    /// What the events are sent as
    #[arg(long, value_name = "TYPE", default_value = "application/x-ndjson")]
    pub(super) publish_content_type: String,
    /// A header of each POST; may be repeated
    #[arg(long = "publish-header", value_name = "NAME: VALUE")]
    pub(super) publish_headers: Vec<String>,
    /// How events are sent
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    pub(super) publish_method: String,
    /// A query that each subscriber adds, such as `remote-ip={n.ip}`
    #[arg(long, value_name = "QUERY")]
    pub(super) filter: Option<String>,
    /// How many different filters there are; subscriber i has filter i modulo this [default: one each, if filters have
    /// numbers]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=super::template::MAX_NUMBERS as i64))]
    pub(super) filters: Option<u32>,

    /// How many subscribers
    // Each costs the tool 1 to 2 KiB, and the server more: a million is 2 GiB here.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(super) subscribers: u32,
    /// Subscribe over cleartext HTTP/2, many streams to a connection, instead of HTTP/1.1, a connection each
    #[arg(long)]
    pub(super) http2: bool,
    /// How many subscribers share a connection of HTTP/2
    // Servers rarely allow more; a window of 64 KiB for each has to fit into the connection's own, 2 GiB at most.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(super) streams_per_connection: u32,
    /// Connect from so many loopback addresses: 127.0.0.1, 127.0.0.2 … Each has some 28,000 ports to one server
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u8).range(1..=254))]
    pub(super) sources: u8,
    /// How many threads read [default: half as many as there are cores, 8 at most]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u8).range(1..=64))]
    pub(super) threads: Option<u8>,

    /// How many publishers, each with a connection of its own, a thread, and one POST under way at a time
    // Each is a thread, and a column in the books of every subscriber.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u8).range(1..=64))]
    pub(super) publishers: u8,
    /// How many events a second, all publishers together; 0 to publish nothing
    #[arg(long, value_name = "EVENTS", default_value = "100", value_parser = parse_rate)]
    pub(super) rate: f64,
    /// How many events in a POST, one a line
    #[arg(long, value_name = "EVENTS", default_value_t = 1, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(super) batch: u32,
    /// How long an event is, filled up at {pad}
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = value_parser!(u32).range(0..=1_048_576))]
    pub(super) event_bytes: u32,

    /// Spread the connecting over this time
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = at_most_10_minutes)]
    pub(super) ramp_up: Duration,
    /// Stay idle for so long when all are connected; at its end the server's memory is read
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = at_most_10_minutes)]
    pub(super) idle: Duration,
    /// Publish for so long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = at_most_1_hour)]
    pub(super) duration: Duration,
    /// Afterwards, wait for what is still to come until nothing has come for so long; publishers that are behind have so
    /// long to catch up
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = at_most_10_minutes)]
    pub(super) settle: Duration,

    /// So many of a hundred subscribers read slowly
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = parse_percent)]
    pub(super) slow: u32,
    /// How fast these read
    #[arg(long, value_name = "BYTES/S", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub(super) slow_rate: u32,
    /// So many of a hundred read nothing until all has been published, then what is left
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = parse_percent)]
    pub(super) stalled: u32,
    /// How much the system takes in for a slow or stalled reader's socket, so that the server notices soon
    #[arg(long, value_name = "BYTES", default_value_t = 16_384, value_parser = value_parser!(u32).range(1024..=16_777_216))]
    pub(super) receive_buffer: u32,

    /// A process of the server, to be measured; may be repeated [default: those that listen on the port]
    #[arg(long = "server-pid", value_name = "PID")]
    pub(super) server_pids: Vec<u32>,
    /// Write the report as JSON, too; `-` is standard output, and then people's goes to standard error
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Take URLs that are not of this machine. For servers that are yours to exhaust
    #[arg(long)]
    pub(super) allow_remote: bool,
}

/// clap takes braces round an n for a line break; an escape sequence between them, which ends no colour at all, keeps it from that.
const AFTER_HELP: &str = "\
Examples:
  telemetry-hub load --subscribers 1000 --rate 100 --duration 10s
  telemetry-hub load --subscribers 10000 --filter 'remote-ip={n.ip}' \\
       --rate 2000 --batch 20 --publishers 4
  telemetry-hub load --subscribers 100000 --http2 --rate 1 --json report.json
  telemetry-hub load --subscribers 1000 --stalled 10 --rate 200 --duration 1m
  telemetry-hub load --subscribe-url http://127.0.0.1:8080/sub/x \\
       --publish-url http://127.0.0.1:8080/pub/x --publish-content-type text/plain
  telemetry-hub load --publish-url http://127.0.0.1:8787/api/telemetry/events \\
       --subscribe-url http://127.0.0.1:8788/api/telemetry/traces/live \\
       --subscribe-url http://127.0.0.1:8789/api/telemetry/traces/live

What happens:
  All subscribers connect; they stay idle for a moment; publishers send events
  at fixed times; then the tool waits for what is still to come. A subscriber
  expects every event that the server took, or, if the filter, --subscribe-url
  or --publish-url has a number, those for its own filter.

Templates:
  {\u{1b}[0mn}      in --filter and --subscribe-url: the number of the filter, from 0
  {n.ip}   the same as an address, 10.0.0.0 and on; {n.hex} as six digits, so
           that none is a part of another
  {target} {target.ip} {target.hex}  in events and --publish-url: the number of
           the filter that the event is for; all have their turn
  {stamp}  38 characters that tell the event from all others
  {pad}    as many x as make the event --event-bytes long

Latency:
  It is counted from the time at which the schedule has an event sent, not from
  when it left: while a server is slow to answer, the events that have to wait
  for it count their waiting, too. Otherwise a server that stalls would choose
  which of its delays are measured (\"coordinated omission\").

Report:
  unexplained = expected - delivered - missed (told by `gap`) - cut off (the
  server ended the stream), summed over subscribers; it must be 0. An event whose
  POST got no answer is unknown, and then nothing can be said of unexplained.
  The server's processes are those that listen on the port of a --subscribe-url;
  their CPU time is that from the first event to the last delivery.

Exit codes:
  0  every event was accepted, and is explained for every subscriber
  1  not so; the report says what is wrong
  2  a bad option
";

/// Events a second. The caps on rate and duration keep all events of a run in 32 bits.
fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1e6).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("expected a number from 0 to 1000000".to_owned()),
    }
}

/// A hundredth of what it is a percentage of: `12.5` and `12.5%` are 1250.
fn parse_percent(text: &str) -> Result<u32, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok((percent * 100.0).round() as u32),
        Ok(_) | Err(_) => Err("expected a number from 0 to 100".to_owned()),
    }
}

fn at_most_10_minutes(text: &str) -> Result<Duration, String> {
    at_most(text, Duration::from_secs(600), "10m")
}

fn at_most_1_hour(text: &str) -> Result<Duration, String> {
    at_most(text, Duration::from_secs(3600), "1h")
}

/// No run goes on unnoticed for days.
fn at_most(text: &str, most: Duration, name: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    if duration <= most { Ok(duration) } else { Err(format!("at most {name}")) }
}
