//! The settings of the server: defaults, then a TOML file, then the environment, then the command line; the last one wins.
//!
//! Every setting has one name, in all of them: `replay_bytes` in the file, `TELEMETRY_HUB_REPLAY_BYTES` outside. A name that
//! nothing has is refused.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use figment::Figment;
use figment::providers::{Env, Serialized};
use serde::{Deserialize, Serialize};
use telemetry_hub_actors::{Clock, HubConfig, NatsConfig, Storage, Value};

use nats::NatsStorage;
use secret::Secrets;
use toml_file::TomlFile;

use crate::access::{Access, AccessSettings, JwtKeySettings, Origin, TokenSettings};
use crate::intake::{Limits, RouteOptions};
use crate::server::{ConnectionLimits, ServerError, TlsFiles};
use crate::watched_file::FileError;

mod check;
mod listen;
mod nats;
mod secret;
mod time;
mod toml_file;

pub(crate) use listen::{ExtraListen, Listen};
pub(crate) use secret::Secret;
pub(crate) use time::Time;

/// What every environment variable begins with.
const ENV_PREFIX: &str = "TELEMETRY_HUB_";

/// Whether a variable with that beginning is no setting here: the command line or another part of the program reads it, or
/// Kubernetes has set it because there is a Service called `telemetry-hub`.
fn is_something_else(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "config" | "log" | "url" | "token" | "webhook_key" | "port")
        || name.starts_with("service_")
        || name.starts_with("port_")
}

/// Where the hub listens unless told otherwise.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);

/// The ports that exporters of OTLP know (OTLP specification, "Default Port").
const OTLP_HTTP_PORT: u16 = 4318;
const OTLP_GRPC_PORT: u16 = 4317;

/// All settings. The bounds of the hub are explained at [`HubConfig`]. Serialised, they have no keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    otlp_http: ExtraListen,
    otlp_grpc: ExtraListen,
    tokens: Vec<TokenSettings>,
    jwt_keys: Vec<JwtKeySettings>,
    cors_origins: Vec<Origin>,
    tls_certificate: PathBuf,
    tls_key: PathBuf,
    tls_client_ca: PathBuf,
    webhook_keys: Secrets,
    ticket_key: Secrets,
    drain_timeout: Time,
    head_timeout: Time,
    idle_timeout: Time,
    write_timeout: Time,
    body_timeout: Time,
    max_connections: usize,
    max_connections_per_address: usize,
    max_head_bytes: ByteSize,
    max_streams_per_connection: u32,
    max_body_bytes: ByteSize,
    max_decompression_ratio: usize,
    max_items_per_second_per_token: u32,
    max_bytes_per_second_per_token: ByteSize,
    max_event_bytes: ByteSize,
    ingest_queue_bytes: ByteSize,
    ingest_patience: Time,
    subscriber_queue_bytes: ByteSize,
    stall_timeout: Time,
    replay_bytes: ByteSize,
    linger: Time,
    batch_bytes: ByteSize,
    follow_capacity: usize,
    max_subscribers: usize,
    max_subscribers_per_address: usize,
    max_subscribers_per_token: usize,
    max_series: usize,
    max_event_types: usize,
    ping_interval: Time,
    retry: Time,
    hub_name: String,
    nats: Secrets,
    nats_credentials: PathBuf,
    nats_nkey: PathBuf,
    nats_ca: PathBuf,
    nats_client_certificate: PathBuf,
    nats_client_key: PathBuf,
    nats_prefix: String,
    nats_stream: String,
    nats_services: Vec<String>,
    nats_narrow: bool,
    nats_storage: NatsStorage,
    nats_replicas: usize,
    nats_max_age: Time,
    nats_max_bytes: ByteSize,
    nats_patience: Time,
    #[serde(skip, default = "Clock::system")]
    clock: Clock,
}

/// Settings that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(Box<figment::Error>);

impl Default for Settings {
    fn default() -> Self {
        let (hub, limits) = (HubConfig::default(), Limits::default());
        let nats = NatsConfig::default();
        let bytes = |bytes: usize| ByteSize::b(bytes as u64);
        Self {
            listen: DEFAULT_LISTEN,
            otlp_http: ExtraListen::Auto,
            otlp_grpc: ExtraListen::Auto,
            tokens: Vec::new(),
            jwt_keys: Vec::new(),
            cors_origins: Vec::new(),
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            tls_client_ca: PathBuf::new(),
            webhook_keys: Secrets::default(),
            ticket_key: Secrets::default(),
            drain_timeout: Time(Duration::from_secs(10)),
            head_timeout: Time(Duration::from_secs(30)),
            idle_timeout: Time(Duration::from_secs(300)),
            write_timeout: Time(Duration::from_secs(30)),
            body_timeout: Time(limits.body_timeout),
            max_connections: 150_000,
            max_connections_per_address: 10_000,
            max_head_bytes: bytes(64 * 1024),
            max_streams_per_connection: 200,
            max_body_bytes: bytes(limits.max_body_bytes),
            max_decompression_ratio: limits.max_decompression_ratio,
            max_items_per_second_per_token: limits.max_items_per_second,
            max_bytes_per_second_per_token: bytes(limits.max_bytes_per_second as usize),
            max_event_bytes: bytes(hub.max_event_bytes),
            ingest_queue_bytes: bytes(hub.ingest_queue_bytes),
            ingest_patience: Time(hub.ingest_patience),
            subscriber_queue_bytes: bytes(hub.subscriber_queue_bytes),
            stall_timeout: Time(hub.stall_timeout),
            replay_bytes: bytes(hub.replay_bytes),
            linger: Time(hub.linger),
            batch_bytes: bytes(hub.batch_bytes),
            follow_capacity: hub.follow_capacity,
            max_subscribers: hub.max_subscribers,
            max_subscribers_per_address: hub.max_subscribers_per_address,
            max_subscribers_per_token: hub.max_subscribers_per_token,
            max_series: hub.max_series,
            max_event_types: hub.max_event_types,
            ping_interval: Time(hub.ping_interval),
            retry: Time(hub.retry),
            hub_name: String::new(),
            nats: Secrets::default(),
            nats_credentials: PathBuf::new(),
            nats_nkey: PathBuf::new(),
            nats_ca: PathBuf::new(),
            nats_client_certificate: PathBuf::new(),
            nats_client_key: PathBuf::new(),
            nats_prefix: nats.prefix,
            nats_stream: nats.stream,
            nats_services: nats.services,
            nats_narrow: nats.narrow,
            nats_storage: match nats.storage {
                Storage::File => NatsStorage::File,
                Storage::Memory => NatsStorage::Memory,
            },
            nats_replicas: nats.replicas,
            nats_max_age: Time(nats.max_age),
            nats_max_bytes: ByteSize::b(nats.max_bytes),
            nats_patience: Time(nats.patience),
            clock: hub.clock,
        }
    }
}

impl Settings {
    /// Puts the settings together. `options` are those of the command line that were given.
    pub fn load(file: Option<&Path>, options: &impl Serialize) -> Result<Self, SettingsError> {
        let mut settings = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            settings = settings.merge(TomlFile(file));
        }
        settings
            .merge(Env::prefixed(ENV_PREFIX).filter(|name| !is_something_else(name.as_str())))
            .merge(Serialized::defaults(options))
            .extract()
            .map_err(|error| SettingsError(Box::new(error)))
            .and_then(Self::checked)
    }

    /// Refuses what would make a hub that cannot work.
    fn checked(self) -> Result<Self, SettingsError> {
        match self.check() {
            Ok(()) => Ok(self),
            Err(error) => Err(SettingsError(Box::new(error.into()))),
        }
    }

    /// Where else to listen for OTLP, HTTP and gRPC alike: the ports that its exporters know.
    pub(crate) fn otlp_listen(&self) -> [Option<Listen>; 2] {
        let at = |extra: ExtraListen, port| match extra {
            ExtraListen::Auto => {
                let address = SocketAddr::new(self.listen.ip(), port);
                // Who gave the port to the hub itself has it already.
                (address != self.listen).then_some(Listen { address, is_wanted: false })
            }
            ExtraListen::At(address) => Some(Listen { address, is_wanted: true }),
            ExtraListen::Off => None,
        };
        [at(self.otlp_http, OTLP_HTTP_PORT), at(self.otlp_grpc, OTLP_GRPC_PORT)]
    }

    /// An address that could be reached from other machines, if there is one.
    pub(crate) fn exposed(&self) -> Option<SocketAddr> {
        let otlp = self.otlp_listen().into_iter().flatten().map(|listen| listen.address);
        [self.listen].into_iter().chain(otlp).find(|address| !address.ip().is_loopback())
    }

    /// Refuses to let others reach a hub that asks nobody who they are.
    pub(crate) fn check_exposed(&self, exposed: Option<SocketAddr>) -> Result<(), ServerError> {
        match exposed {
            Some(address) if !self.asks_for_tokens() => Err(ServerError::Exposed { address }),
            Some(_) | None => Ok(()),
        }
    }

    /// With another clock for the hub's time of day than the system's: tests bring their own.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// How long the end may take.
    pub fn drain_timeout(&self) -> Duration {
        self.drain_timeout.0
    }

    /// Who may what. Reads the files of keys.
    pub(crate) fn access(&self) -> Result<Access, FileError> {
        Access::open(&AccessSettings {
            tokens: &self.tokens,
            jwt_keys: &self.jwt_keys,
            cors_origins: &self.cors_origins,
            is_secure: self.tls().is_some(),
            ticket_key: self.ticket_key.0.first(),
        })
    }

    pub(crate) fn tokens(&self) -> &[TokenSettings] {
        &self.tokens
    }

    pub(crate) fn jwt_keys(&self) -> &[JwtKeySettings] {
        &self.jwt_keys
    }

    pub(crate) fn cors_origins(&self) -> &[Origin] {
        &self.cors_origins
    }

    /// How many there are.
    pub(crate) fn webhook_keys(&self) -> usize {
        self.webhook_keys.0.len()
    }

    /// The files for TLS, if it is to be spoken.
    pub(crate) fn tls(&self) -> Option<TlsFiles> {
        let given = |file: &PathBuf| (!file.as_os_str().is_empty()).then(|| file.clone());
        Some(TlsFiles {
            certificate: given(&self.tls_certificate)?,
            key: given(&self.tls_key)?,
            client_ca: given(&self.tls_client_ca),
        })
    }

    /// What the routes may take.
    pub(crate) fn routes(&self, access: Access) -> RouteOptions {
        let keys = self.webhook_keys.0.iter().map(Secret::as_str);
        RouteOptions::default().access(access).limits(self.limits()).webhook_keys(keys)
    }

    fn limits(&self) -> Limits {
        let per_second = self.max_bytes_per_second_per_token.as_u64();
        Limits {
            max_body_bytes: bytes(self.max_body_bytes),
            body_timeout: self.body_timeout.0,
            max_decompression_ratio: self.max_decompression_ratio,
            max_items_per_second: self.max_items_per_second_per_token,
            max_bytes_per_second: u32::try_from(per_second).unwrap_or(u32::MAX),
        }
    }

    /// What each connection may cost, and how many there may be.
    pub(crate) fn connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            head_timeout: self.head_timeout.0,
            idle_timeout: self.idle_timeout.0,
            write_timeout: self.write_timeout.0,
            max_head_bytes: bytes(self.max_head_bytes),
            max_streams: self.max_streams_per_connection,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
        }
    }

    /// Whether everybody has to show a token.
    pub(crate) fn asks_for_tokens(&self) -> bool {
        !self.tokens.is_empty() || !self.jwt_keys.is_empty()
    }

    /// The bounds of the hub.
    pub(crate) fn hub(&self) -> HubConfig {
        HubConfig {
            max_event_bytes: bytes(self.max_event_bytes),
            ingest_queue_bytes: bytes(self.ingest_queue_bytes),
            ingest_patience: self.ingest_patience.0,
            subscriber_queue_bytes: bytes(self.subscriber_queue_bytes),
            stall_timeout: self.stall_timeout.0,
            replay_bytes: bytes(self.replay_bytes),
            linger: self.linger.0,
            batch_bytes: bytes(self.batch_bytes),
            follow_capacity: self.follow_capacity,
            max_subscribers: self.max_subscribers,
            max_subscribers_per_address: self.max_subscribers_per_address,
            max_subscribers_per_token: self.max_subscribers_per_token,
            max_series: self.max_series,
            max_event_types: self.max_event_types,
            ping_interval: self.ping_interval.0,
            retry: self.retry.0,
            clock: self.clock.clone(),
        }
    }

    /// Every setting with its default, as they stand in a file.
    pub fn defaults_as_toml() -> String {
        let json = serde_json::to_string(&Self::default()).expect("settings are valid JSON");
        let defaults: Value = serde_json::from_str(&json).expect("it has just been written");
        let Value::Object(defaults) = defaults else { unreachable!("settings have names") };
        // Strings and numbers are the same in TOML as in JSON.
        let written = |value| serde_json::to_string(value).expect("it has just been read");
        defaults.iter().map(|(name, value)| format!("{name} = {}\n", written(value))).collect()
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use figment::Jail;
    use figment::providers::{Format, Toml};
    use serde_json::json;

    use super::*;

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's own test harness")]
    fn the_last_one_wins() {
        Jail::expect_with(|jail| {
            let toml =
                "listen = \"127.0.0.1:1\"\nlinger = \"2ms\"\nretry = 7\nreplay_bytes = \"1 MiB\"";
            jail.create_file("hub.toml", toml)?;
            jail.set_env("TELEMETRY_HUB_LISTEN", "127.0.0.1:2");
            jail.set_env("TELEMETRY_HUB_LINGER", "3ms");
            jail.set_env("TELEMETRY_HUB_MAX_SERIES", "5");
            jail.set_env("TELEMETRY_HUB_LOG", "debug");
            jail.set_env("TELEMETRY_HUB_PORT", "tcp://10.0.0.1:80");
            jail.set_env("TELEMETRY_HUB_SERVICE_HOST", "10.0.0.1");
            jail.set_env("TELEMETRY_HUB_PORT_80_TCP_ADDR", "10.0.0.1");
            let options = json!({"listen": "127.0.0.1:3"});
            let settings = Settings::load(Some(Path::new("hub.toml")), &options).unwrap();
            assert_eq!(settings.listen.port(), 3);
            let hub = settings.hub();
            assert_eq!(hub.linger, Duration::from_millis(3));
            assert_eq!(hub.retry, Duration::from_secs(7));
            assert_eq!(hub.replay_bytes, 1 << 20);
            assert_eq!(hub.max_series, 5);
            assert_eq!(hub.max_subscribers, HubConfig::default().max_subscribers);
            Ok(())
        });
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's own test harness")]
    fn what_cannot_be_is_refused_by_name() {
        Jail::expect_with(|jail| {
            let refusal = |name: &str| {
                let error = Settings::load(None, &json!({})).unwrap_err().to_string();
                assert!(error.to_lowercase().contains(name), "{error}");
            };
            jail.set_env("TELEMETRY_HUB_LISTEN", "nowhere");
            refusal("listen");
            jail.set_env("TELEMETRY_HUB_LISTEN", "127.0.0.1:1");
            jail.set_env("TELEMETRY_HUB_LINGER", "soon");
            refusal("linger");
            jail.set_env("TELEMETRY_HUB_LINGER", "5ms");
            for (name, value) in [
                ("PING_INTERVAL", "0s"),
                ("BATCH_BYTES", "0"),
                ("RETRY", "9000h"),
                ("MAX_SUBSCRIBERS_PER_ADDRESS", "0"),
                ("MAX_SUBSCRIBERS_PER_TOKEN", "0"),
            ] {
                let variable = format!("TELEMETRY_HUB_{name}");
                jail.set_env(&variable, value);
                refusal(&name.to_lowercase());
                jail.set_env(&variable, "1");
            }
            jail.set_env("TELEMETRY_HUB_REPLAY_BITES", "1");
            refusal("replay_bites");
            Ok(())
        });
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's own test harness")]
    fn every_setting_can_stand_in_the_environment() {
        Jail::expect_with(|jail| {
            let defaults = Settings::defaults_as_toml();
            for line in defaults.lines() {
                let (name, value) = line.split_once(" = ").unwrap();
                let variable = format!("{ENV_PREFIX}{}", name.to_uppercase());
                jail.set_env(variable, value.trim_matches('"'));
            }
            assert!(defaults.lines().count() > 15);
            let settings = Settings::load(None, &json!({})).unwrap();
            assert_eq!(format!("{settings:?}"), format!("{:?}", Settings::default()));
            Ok(())
        });
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's own test harness")]
    fn keys_are_texts_and_never_shown() {
        Jail::expect_with(|jail| {
            let variable = "TELEMETRY_HUB_WEBHOOK_KEYS";
            let load = || Settings::load(None, &json!({}));
            for (written, keys) in
                [("s3cret", 1), (r#"["old", "new"]"#, 2), (r#""0123""#, 1), ("[]", 0)]
            {
                jail.set_env(variable, written);
                let settings = load().unwrap();
                assert_eq!(settings.webhook_keys.0.len(), keys, "{written}");
                assert!(!format!("{settings:?}").contains("s3cret"));
                assert_eq!(json!(settings)["webhook_keys"], json!([]));
            }
            for written in ["12345", r#"["good", 12345]"#, r#"["good", ""]"#, "{a=12345}"] {
                jail.set_env(variable, written);
                let error = load().unwrap_err().to_string();
                assert!(error.to_lowercase().contains("webhook_keys"), "{error}");
                assert!(!error.contains("12345") && !error.contains("good"), "{error}");
            }
            Ok(())
        });
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's own test harness")]
    fn a_key_for_tickets_is_one_and_long_and_never_shown() {
        Jail::expect_with(|jail| {
            let good = "0123456789abcdef0123456789abcdef";
            for (written, is_good) in [
                (good, true),
                ("[]", true),
                (&good[1..], false),
                (&format!("[{good:?}, {good:?}]"), false),
            ] {
                jail.set_env("TELEMETRY_HUB_TICKET_KEY", written);
                let told = match Settings::load(None, &json!({})) {
                    Ok(settings) if is_good => format!("{settings:?}"),
                    Err(error) if !is_good => error.to_string(),
                    other => panic!("{written}: {other:?}"),
                };
                assert!(!told.contains("cdef"), "{told}");
                assert!(told.contains("ticket_key"), "{told}");
            }
            Ok(())
        });
    }

    #[test]
    #[expect(clippy::result_large_err, reason = "figment's own test harness")]
    fn a_file_that_is_no_toml_is_told_by_its_place_and_not_its_text() {
        Jail::expect_with(|jail| {
            for (text, place) in [
                ("retry = 7\nwebhook_keys = [\"s3cret\"", "line 2, column 25"),
                ("webhook_keys = [\"s3cret\", é]", "line 1, column 27"),
                ("webhook_keys = \"s3cret", "line 1, column 23"),
            ] {
                jail.create_file("hub.toml", text)?;
                let file = Some(Path::new("hub.toml"));
                let error = Settings::load(file, &json!({})).unwrap_err().to_string();
                assert!(error.starts_with(place) && error.contains("hub.toml"), "{error}");
                assert!(!error.contains("s3cret") && !error.contains('\n'), "{error}");
            }
            Ok(())
        });
    }

    #[test]
    fn defaults_can_be_read_back() {
        let toml = Settings::defaults_as_toml();
        let read: Settings = Figment::from(Toml::string(&toml)).extract().unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", Settings::default()));
    }

    /// What stands in the table of limits, but for thousands and spaces.
    fn same(written: &str, default: &serde_json::Value) -> bool {
        let plain = written.replace([',', ' '], "");
        let plain = plain.split(':').next().unwrap();
        let Some(text) = default.as_str() else {
            return plain.parse().ok() == default.as_u64();
        };
        match (text.parse::<Time>(), text.parse::<ByteSize>()) {
            (Ok(time), _) => plain.parse::<Time>().is_ok_and(|written| written.0 == time.0),
            (_, Ok(size)) => plain.parse() == Ok(size),
            (Err(_), Err(_)) => false,
        }
    }

    #[test]
    fn the_readme_has_the_limits_as_they_are() {
        let defaults = serde_json::to_value(Settings::default()).unwrap();
        let readme = include_str!("../README.md");
        let (_, table) = readme.split_once("\n## Limits\n").unwrap();
        let (table, _) = table.split_once("\n## ").unwrap();
        let mut rows = 0;
        for row in table.lines().filter(|row| row.starts_with("| `")) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let name = cells[1].split('`').nth(1).unwrap();
            if let Some(default) = defaults.get(name) {
                assert!(same(cells[2], default), "{name}: {} is {default}", cells[2]);
                rows += 1;
            }
        }
        assert!(rows >= 17, "{rows}");
    }
}
