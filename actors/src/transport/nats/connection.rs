//! Finding the servers, and the stream on them.

use std::fs::File;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State as ConnectionState;
use async_nats::datetime::DateTime;
use async_nats::jetstream::context::{ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{self, DiscardPolicy, Info, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{
    Auth, AuthError, Client, ClientError, ConnectErrorKind, ConnectOptions, Event,
    ReconnectToServer, Server, ServerAddr,
};
use jiff::Timestamp;
use nkeys::KeyPair;
use percent_encoding::percent_decode_str;
use rand::seq::IndexedRandom;
use rand::{random, random_range, rng};
use tokio::time::Instant;

use super::place::StreamIds;
use super::session::{Session, check_led};
use super::{Identity, Link, NatsConfig, Storage, subject};
use crate::lock;

/// How long the servers may take to answer a question about the stream.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// After how long without an answer a connection is taken for dead, in two.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// How many messages may be on their way from the server to this hub: as many as it asks for at once, and the servers' own words.
const IN_FLIGHT: usize = 8192;

/// How long the stream remembers the ids of messages, so that what is published again is there once: much longer than any patience.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The server takes so much of a message for its headers and subject.
const ENVELOPE_BYTES: usize = 512;

/// What the stream's metadata says that the ids of its events are veiled by. It must stay as it is.
const KEY: &str = "telemetry-hub.key";

/// Why a hub is not joined.
pub(super) type Reason = String;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Answers a server's nonce by what stands in a file.
type Answer = fn(&str, &[u8]) -> Result<Auth, BoxError>;

/// Opens a connection, which then lasts: when it breaks, it is opened again.
pub(super) async fn connect(link: &Arc<Link>) -> Result<Client, Reason> {
    let options = options(link)?;
    let servers: Vec<_> = link.config.servers.iter().map(|server| without_user(server)).collect();
    options.connect(servers).await.map_err(|error| told(failure(error.kind()), &error))
}

/// What one has to look after if there is no connection: who the hub is, or whether NATS is there.
fn failure(kind: ConnectErrorKind) -> &'static str {
    match kind {
        ConnectErrorKind::AuthorizationViolation => "NATS does not let this hub in",
        ConnectErrorKind::Authentication => "NATS cannot be shown who this hub is",
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => "no server of NATS can be reached",
    }
}

fn options(link: &Arc<Link>) -> Result<ConnectOptions, Reason> {
    let NatsConfig { ca, certificate, hub_name, .. } = &link.config;
    let mut options = known_by(&link.config);
    // Of a file that is not there NATS's client does not tell which one it is.
    for file in
        ca.iter().chain(certificate.iter().flat_map(|(certificate, key)| [certificate, key]))
    {
        File::open(file).map_err(|error| unusable(file, &error))?;
    }
    if let Some(ca) = ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((certificate, key)) = certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    let link = Arc::downgrade(link);
    let leaving = link.clone();
    let next_server = move |servers: Vec<Server>, _| {
        let leaves =
            leaving.upgrade().is_some_and(|link| link.leaves_server.swap(false, Ordering::Relaxed));
        // By itself the client prefers the one that it has just left: it was never in vain.
        let any = servers.choose(&mut rng()).filter(|_| leaves).map(|server| server.addr.clone());
        async move { any.map(|addr| ReconnectToServer { addr, delay: None }) }
    };
    let on_event = move |event: Event| {
        let link = link.clone();
        async move {
            if let Some(link) = link.upgrade() {
                link.notice(&event);
            }
        }
    };
    Ok(options
        .name(hub_name)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(ANSWERED_WITHIN)
        .subscription_capacity(IN_FLIGHT)
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay)
        .reconnect_to_server_callback(next_server)
        .event_callback(on_event))
}

/// By what the hub is known. A file is read anew for each connection: what expires is replaced in time.
fn known_by(config: &NatsConfig) -> ConnectOptions {
    let (file, answer): (_, Answer) = match &config.identity {
        Identity::Address => return by_address(&config.servers),
        Identity::Credentials(file) => (file.clone(), by_credentials),
        Identity::Nkey(file) => (file.clone(), by_nkey),
    };
    ConnectOptions::with_auth_callback(move |nonce| {
        let text = std::fs::read_to_string(&file).map_err(BoxError::from);
        let auth = text.and_then(|text| answer(&text, &nonce));
        // It tells of the file, and never what stands in it.
        ready(auth.map_err(|error| AuthError::new(unusable(&file, &*error))))
    })
}

/// By the JWT of a user, and the seed of its nkey.
fn by_credentials(text: &str, nonce: &[u8]) -> Result<Auth, BoxError> {
    let below = |mark: &str| text.lines().skip_while(|line| !line.contains(mark)).nth(1);
    let jwt = below("BEGIN NATS USER JWT").ok_or("there is no JWT of a user")?;
    let seed = below("BEGIN USER NKEY SEED").ok_or("there is no seed of a user")?;
    let mut auth = by_nkey(seed, nonce)?;
    (auth.jwt, auth.nkey) = (Some(jwt.trim().to_owned()), None);
    Ok(auth)
}

fn by_nkey(seed: &str, nonce: &[u8]) -> Result<Auth, BoxError> {
    let key = KeyPair::from_seed(seed.trim())?;
    let mut auth = Auth::new();
    auth.nkey = Some(key.public_key());
    auth.signature = Some(key.sign(nonce)?);
    Ok(auth)
}

fn unusable(file: &Path, error: &dyn std::error::Error) -> Reason {
    format!("{} cannot be used: {error}", file.display())
}

/// By the user or the token that stands in the first address that has one: the servers of one cluster know the same.
fn by_address(servers: &[String]) -> ConnectOptions {
    let mut addresses = servers.iter().filter_map(|server| server.parse::<ServerAddr>().ok());
    let known = addresses
        .find_map(|address| Some((decoded(address.username()?), address.password().map(decoded))));
    match known {
        None => ConnectOptions::new(),
        Some((user, Some(password))) => ConnectOptions::with_user_and_password(user, password),
        Some((token, None)) => ConnectOptions::with_token(token),
    }
}

/// The address alone: NATS's client writes it to the log.
fn without_user(server: &str) -> String {
    let Ok(address) = server.parse::<ServerAddr>() else {
        return server.to_owned();
    };
    let mut url = address.into_inner();
    // Fails only for addresses that cannot have a user.
    url.set_username("").and_then(|()| url.set_password(None)).ok();
    url.into()
}

/// As it was before it was made part of an address.
fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// Longer and longer, up to four seconds, a little more or less for each hub.
fn reconnect_delay(attempts: usize) -> Duration {
    let most = 100u64 << attempts.saturating_sub(1).min(5);
    Duration::from_millis(random_range(most / 2..=most))
}

fn is_refusal(error: &ClientError) -> bool {
    *error == ClientError::Other(ConnectErrorKind::AuthorizationViolation.to_string())
}

impl Link {
    fn notice(&self, event: &Event) {
        match event {
            // Nobody has it any more, so there is another one.
            Event::Closed => {}
            Event::Disconnected => {
                self.counters.disconnects.add(1);
                self.part("the connection to NATS is broken".to_owned());
                self.wake.notify_one();
            }
            Event::Connected => self.wake.notify_one(),
            Event::ServerError(error) => {
                tracing::warn!(%error, "NATS complains");
                *lock(&self.complaint) = Some((Instant::now(), error.to_string()));
            }
            Event::ClientError(error) => {
                tracing::warn!(%error, "no connection to NATS");
                // Else the hub would only say that the connection is broken, for as long as it is not let in again.
                if is_refusal(error) {
                    *lock(&self.complaint) = Some((Instant::now(), error.to_string()));
                }
            }
            Event::SlowConsumer(_) | Event::LameDuckMode | Event::Draining => {
                tracing::warn!(%event, "NATS");
            }
        }
    }
}

/// The stream on a connection, and how it stands. Creates it if it is not there.
pub(super) async fn find_stream(link: &Link, client: &Client) -> Result<(Session, Info), Reason> {
    if client.connection_state() != ConnectionState::Connected {
        return Err("the connection to NATS is broken".to_owned());
    }
    let context = ContextBuilder::new()
        .timeout(ANSWERED_WITHIN)
        .ack_timeout(ANSWERED_WITHIN)
        .build(client.clone());
    let info = stream_info(&context, &link.config).await?;
    check_led(&info)?;
    check_subjects(&info, &link.config.prefix)?;
    check_window(&info, &link.config)?;
    let created = info.created.unix_timestamp_nanos();
    let key = info.config.metadata.get(KEY);
    let max_payload = client.max_payload();
    let limit = match usize::try_from(info.config.max_message_size) {
        Ok(limit) if limit > 0 => limit.min(max_payload),
        Ok(_) | Err(_) => max_payload,
    };
    let session = Session {
        context,
        stream: link.config.stream.as_str().into(),
        ids: StreamIds::of(&link.config.stream, created, key.map(String::as_str)),
        max_payload: limit.saturating_sub(ENVELOPE_BYTES),
    };
    Ok((session, info))
}

async fn stream_info(context: &Context, config: &NatsConfig) -> Result<Info, Reason> {
    match context.get_stream(&config.stream).await {
        Ok(stream) => Ok(stream.cached_info().clone()),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(api)
                if api.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                create_stream(context, config).await
            }
            _ => Err(told("the stream cannot be reached", &error)),
        },
    }
}

/// Somebody else may have made the stream.
fn check_subjects(info: &Info, prefix: &str) -> Result<(), Reason> {
    let taken = &info.config.subjects;
    let is_taken = |subject: &String| taken.contains(subject);
    if taken.contains(&format!("{prefix}.>")) || subject::all(prefix).iter().all(is_taken) {
        return Ok(());
    }
    Err(format!(
        "the stream {} does not take {}, but {}",
        info.config.name,
        subject::all(prefix).join(", "),
        taken.join(", ")
    ))
}

/// A message that is published again within the patience of its source must be known again.
fn check_window(info: &Info, config: &NatsConfig) -> Result<(), Reason> {
    let window = info.config.duplicate_window;
    if window > config.patience {
        return Ok(());
    }
    Err(format!(
        "the stream {} knows messages again for {window:?} (duplicate window), and they are published for {:?}",
        info.config.name, config.patience
    ))
}

async fn create_stream(context: &Context, config: &NatsConfig) -> Result<Info, Reason> {
    let NatsConfig { stream, prefix, storage, replicas, max_age, max_bytes, .. } = config;
    let wanted = stream::Config {
        name: stream.clone(),
        subjects: subject::all(prefix).into(),
        storage: match storage {
            Storage::File => StorageType::File,
            Storage::Memory => StorageType::Memory,
        },
        num_replicas: *replicas,
        max_age: *max_age,
        max_bytes: i64::try_from(*max_bytes).unwrap_or(i64::MAX),
        discard: DiscardPolicy::Old,
        duplicate_window: DUPLICATE_WINDOW.min(*max_age),
        description: Some("events of telemetry-hub".to_owned()),
        metadata: [(KEY.to_owned(), format!("{:032x}", random::<u128>()))].into(),
        ..stream::Config::default()
    };
    match context.create_stream(wanted).await {
        Ok(stream) => {
            tracing::info!(stream = config.stream, "created the stream");
            Ok(stream.cached_info().clone())
        }
        // Another hub was first, and has given it another key.
        Err(error) if is_there(&error.kind()) => match context.get_stream(stream).await {
            Ok(stream) => Ok(stream.cached_info().clone()),
            Err(error) => Err(told("the stream cannot be reached", &error)),
        },
        Err(error) => Err(told("the stream cannot be created", &error)),
    }
}

fn is_there(error: &CreateStreamErrorKind) -> bool {
    matches!(error, CreateStreamErrorKind::JetStream(api) if api.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

pub(super) fn time_of(time: DateTime) -> Result<Timestamp, Reason> {
    Timestamp::from_nanosecond(time.unix_timestamp_nanos())
        .map_err(|error| told("not a time", &error))
}

/// What has failed, and why, with what lies behind it.
pub(super) fn told(what: &str, error: &dyn std::error::Error) -> Reason {
    let mut reason = format!("{what}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_told = cause.to_string();
        if !reason.contains(&cause_told) {
            reason = format!("{reason}: {cause_told}");
        }
        source = cause.source();
    }
    reason
}
