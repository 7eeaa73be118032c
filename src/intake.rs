//! What requests may do, and what those that bring something may cost together: bytes of bodies, and parsing.
//!
//! A byte is paid for before it is kept. Who finds no room waits a little, then gets 503.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use telemetry_hub_actors::{HubHandle, IngestError, SmolStr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::http::{HeaderMap, StatusCode};

use rate::{Excess, Rate};
use sources::Sources;

use crate::access::{Access, Admission, Asking, Cors, Denial, Grant, Scope};
use crate::peer::PeerAddress;
use crate::reply::Problem;
use crate::signature::{self, WebhookKeys};
use crate::watched_file::Reloaded;

pub(crate) use body::{Incoming, unknown_type};
pub(crate) use sources::{Brought, Source, SourceList, Via};

mod body;
mod rate;
mod sources;

/// How long a request waits for others to finish before it is refused.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much the bodies may take that are being read or parsed, in whole bodies of the largest size.
const LARGEST_BODIES: usize = 8;

/// The same for bodies that nobody stands for before their signature has been verified: whoever sends them takes no room of others.
const UNVERIFIED_BODIES: usize = 2;

/// How many bodies are parsed at once: parsing does nothing but compute, and what it makes can be many times the body.
const PARSED_AT_ONCE: usize = 2;

/// What the names of all series below begin with, and of those of the connections: nobody else can write to them.
const OWN: [&str; 7] = [
    "server.access.",
    "server.bodies.",
    "server.connections.",
    "server.files.",
    "server.otlp.",
    "server.responses.",
    "server.signatures.",
];

/// How many snapshots of all series are taken and written down at once: that does nothing but compute, and takes the memory of a page each.
const PAGES_AT_ONCE: usize = 2;

/// The series that counts the bodies refused for lack of room.
const REFUSED: &str = "server.bodies.refused";

/// The series that counts the bodies refused because their sender brings too much.
const LIMITED: &str = "server.bodies.limited";

/// The series that counts the records of OTLP that could not be taken.
pub(crate) const REJECTED: &str = "server.otlp.rejected";

/// The series that counts the bodies refused because their signature was wrong or missing.
const UNSIGNED: &str = "server.signatures.refused";

/// The series that count the files of keys and certificates that were replaced: those that were taken, and those that could not be.
const RELOADED: &str = "server.files.reloaded";
const BAD_FILES: &str = "server.files.failed";

/// What the names of the series begin with that count failures, one for each status.
const ANSWERS: &str = "server.responses.";

/// The series that count what was decided: let in; turned away because nobody is known by these credentials; because they are not
/// good for that; because a browser asked for another site.
const GRANTED: &str = "server.access.granted";
const UNAUTHORIZED: &str = "server.access.unauthorized";
const FORBIDDEN: &str = "server.access.forbidden";
const FOREIGN: &str = "server.access.foreign";

/// What the routes may take, beside the bounds of the hub itself.
#[derive(Debug, Clone)]
pub struct RouteOptions {
    access: Access,
    limits: Limits,
    webhook_keys: WebhookKeys,
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            access: Access::host_decides(),
            limits: Limits::default(),
            webhook_keys: WebhookKeys::default(),
        }
    }
}

impl RouteOptions {
    /// What is asked of everybody.
    #[must_use]
    pub(crate) fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// How large a request's body may be, decompressed; a larger one is answered 413. 16 MiB unless set.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_body_bytes = bytes;
        self
    }

    /// What is asked of each body, and of whoever sends it.
    #[must_use]
    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The keys of which one must have signed what is posted as events (`X-Signature`); anything else is answered 401. Several
    /// keys let one be replaced by another. None, unless set: nobody need sign.
    #[must_use]
    pub fn webhook_keys<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Self {
        self.webhook_keys = WebhookKeys::new(keys);
        self
    }
}

/// What may be brought.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Of a body, decompressed.
    pub(crate) max_body_bytes: usize,
    /// How long a whole body may take.
    pub(crate) body_timeout: Duration,
    /// How many times as large as it was sent a body may become.
    pub(crate) max_decompression_ratio: usize,
    /// Of one token. 0 for no limit.
    pub(crate) max_items_per_second: u32,
    pub(crate) max_bytes_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Some fifty thousand log lines in one request: more than any publisher gathers before it sends.
            max_body_bytes: 16 << 20,
            // 16 MiB in a minute is two megabits a second.
            body_timeout: Duration::from_secs(60),
            // Logs become ten times as large, seldom fifty.
            max_decompression_ratio: 500,
            max_items_per_second: 0,
            max_bytes_per_second: 0,
        }
    }
}

/// Whether anybody stands for what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    Vouched,
    /// Its signature will tell.
    Unverified,
}

/// Where requests bring things to.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    pub(crate) hub: HubHandle,
    pub(crate) limits: Limits,
    pub(crate) webhook_keys: WebhookKeys,
    access: Access,
    body_bytes: Arc<Semaphore>,
    unverified_bytes: Arc<Semaphore>,
    parsers: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    item_rate: Option<Arc<Rate>>,
    byte_rate: Option<Arc<Rate>>,
    sources: Arc<Sources>,
    /// Whose token it is for. None if nobody has one.
    holder: Option<SmolStr>,
    /// Who brings what this takes, where that is somebody.
    source: Option<Arc<Source>>,
}

impl Intake {
    pub(crate) fn new(hub: &HubHandle, options: &RouteOptions) -> Self {
        let limits = options.limits.clone();
        let room = |bodies: usize| {
            let bytes = limits.max_body_bytes.saturating_mul(bodies).min(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(bytes))
        };
        let (body_bytes, unverified_bytes) = (room(LARGEST_BODIES), room(UNVERIFIED_BODIES));
        let intake = Self {
            hub: hub.clone(),
            item_rate: Rate::new(limits.max_items_per_second, "items").map(Arc::new),
            byte_rate: Rate::new(limits.max_bytes_per_second, "bytes").map(Arc::new),
            limits,
            sources: Arc::default(),
            holder: None,
            source: None,
            webhook_keys: options.webhook_keys.clone(),
            access: options.access.clone(),
            body_bytes,
            unverified_bytes,
            parsers: Arc::new(Semaphore::new(PARSED_AT_ONCE)),
            pages: Arc::new(Semaphore::new(PAGES_AT_ONCE)),
        };
        OWN.iter().for_each(|names| hub.reserve(names));
        // A counter is there before it counts anything.
        let decisions = [GRANTED, UNAUTHORIZED, FORBIDDEN, FOREIGN];
        let others = [REFUSED, LIMITED, UNSIGNED, REJECTED, RELOADED, BAD_FILES];
        for series in others.into_iter().chain(decisions) {
            intake.count(series, 0);
        }
        intake
    }

    /// Adds to one of the server's own counters.
    pub(crate) fn count(&self, series: &str, number: usize) {
        self.hub.count(series, number as u64);
    }

    /// Counts what was answered, under its status, if it is a failure.
    pub(crate) fn count_answer(&self, status: StatusCode) {
        if status.is_client_error() || status.is_server_error() {
            self.count(&format!("{ANSWERS}{}", status.as_u16()), 1);
        }
    }

    /// Counts what became of a file that was looked at again.
    pub(crate) fn count_reload(&self, outcome: Reloaded) {
        match outcome {
            Reloaded::Unchanged => {}
            Reloaded::Replaced => self.count(RELOADED, 1),
            Reloaded::Failed => self.count(BAD_FILES, 1),
        }
    }

    /// Whether a request may have what needs this scope.
    pub(crate) fn authorize(&self, asking: Asking<'_>, scope: Scope) -> Result<Admission, Problem> {
        let decision = self.access.check(asking, scope, Timestamp::now());
        self.count(
            match &decision {
                Ok(_) => GRANTED,
                Err(Denial::Unauthorized(_)) => UNAUTHORIZED,
                Err(Denial::MissingScope(_)) => FORBIDDEN,
                Err(Denial::Foreign(_)) => FOREIGN,
            },
            1,
        );
        Ok(decision?)
    }

    /// Whether it is the signature of what a request brings that will tell whether it may: senders of webhooks can sign, and
    /// mostly nothing else.
    pub(crate) fn awaits_signature(&self, headers: &HeaderMap) -> bool {
        !self.webhook_keys.is_empty()
            && self.access.takes_signatures(headers)
            && headers.contains_key(signature::HEADER)
    }

    /// A ticket for the streams of a signal.
    pub(crate) fn ticket(&self, grant: &Grant, signal: Scope) -> String {
        self.access.ticket(grant, signal, Timestamp::now())
    }

    /// One that begins no session.
    pub(crate) fn ticket_alone(&self, grant: &Grant, signal: Scope) -> String {
        self.access.ticket_alone(grant, signal, Timestamp::now())
    }

    /// Which pages of other origins may.
    pub(crate) fn cors(&self) -> &Cors {
        &self.access.cors
    }

    /// The same for the holder of a token, who may bring no more than one.
    pub(crate) fn on_behalf_of(&self, grant: &Grant) -> Self {
        Self { holder: grant.name(), ..self.clone() }
    }

    /// The same for whoever signs what they send, all of them together.
    pub(crate) fn on_behalf_of_signers(&self) -> Self {
        Self { holder: Some(SmolStr::new_static(signature::HEADER)), ..self.clone() }
    }

    /// The same for what one request brings.
    pub(crate) fn brought_by(
        self,
        peer: Option<PeerAddress>,
        headers: &HeaderMap,
        via: Via,
    ) -> Self {
        let address = peer.map(|PeerAddress(address)| address);
        let source = Source::new(address, self.holder.clone(), headers, via);
        Self { source: Some(Arc::new(source)), ..self }
    }

    /// Notes what has been brought.
    pub(crate) fn note(&self, brought: Brought) {
        if let Some(source) = &self.source {
            self.sources.note(source, brought, Timestamp::now());
        }
    }

    /// Who has brought something lately.
    pub(crate) fn sources(&self) -> SourceList {
        self.sources.list()
    }

    /// Refuses more items than the holder of a token may bring.
    pub(crate) fn spend_items(&self, number: usize) -> Result<(), Problem> {
        self.spend(self.item_rate.as_deref(), number)
    }

    /// Refuses more bytes than the holder of a token may bring.
    pub(crate) fn spend_bytes(&self, number: usize) -> Result<(), Problem> {
        self.spend(self.byte_rate.as_deref(), number)
    }

    fn spend(&self, rate: Option<&Rate>, number: usize) -> Result<(), Problem> {
        let (Some(rate), Some(holder)) = (rate, &self.holder) else {
            return Ok(());
        };
        rate.spend(holder, number).map_err(|excess| {
            self.count(LIMITED, 1);
            match excess {
                Excess::Wait(wait) => Problem::too_many(format!("over {}", rate.told()), wait),
                Excess::TooMany => {
                    let detail = format!("over {}, all at once; send smaller batches", rate.told());
                    Problem::too_large(detail)
                }
            }
        })
    }

    /// Refuses what the hub itself would not: measurements that would go with it.
    pub(crate) fn check_ready(&self) -> Result<(), Problem> {
        if self.hub.is_ready() { Ok(()) } else { Err(IngestError::ShuttingDown.into()) }
    }

    /// Refuses a body without a good signature.
    pub(crate) fn verify_signature(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        let verified = self.webhook_keys.verify(headers, body);
        self.count(UNSIGNED, usize::from(verified.is_err()));
        if self.awaits_signature(headers) {
            self.count(if verified.is_ok() { GRANTED } else { UNAUTHORIZED }, 1);
        }
        verified
    }

    /// Room for more bytes of a body, for as long as the permit is held.
    pub(crate) async fn pay_for_bytes(
        &self,
        trust: Trust,
        bytes: usize,
    ) -> Result<OwnedSemaphorePermit, Problem> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = match trust {
            Trust::Vouched => &self.body_bytes,
            Trust::Unverified => &self.unverified_bytes,
        };
        let room = in_time(Arc::clone(room).acquire_many_owned(bytes)).await;
        room.ok_or_else(|| self.refuse_body())
    }

    /// A turn to parse, for as long as it is held.
    pub(crate) async fn turn_to_parse(&self) -> Result<ParsingTurn, Problem> {
        let parsers = Arc::clone(&self.parsers);
        let permit = in_time(Arc::clone(&parsers).acquire_owned()).await;
        let permit = permit.ok_or_else(|| self.refuse_body())?;
        Ok(ParsingTurn { parsers, permit: Some(permit) })
    }

    /// A turn to write down all series, for as long as the permit is held.
    pub(crate) async fn turn_to_page(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = in_time(Arc::clone(&self.pages).acquire_owned()).await;
        turn.ok_or_else(|| Problem::no_room("too many ask for all metrics at once"))
    }

    fn refuse_body(&self) -> Problem {
        self.count(REFUSED, 1);
        Problem::no_room("too many bodies at once")
    }
}

/// A turn to parse, which others may have meanwhile when there is something to wait for.
#[derive(Debug)]
pub(crate) struct ParsingTurn {
    parsers: Arc<Semaphore>,
    /// None while others may have it.
    permit: Option<OwnedSemaphorePermit>,
}

impl ParsingTurn {
    /// Waits, without the turn unless there is nothing to wait for.
    pub(crate) async fn wait_for<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        if let Some(output) = future.as_mut().now_or_never() {
            return output;
        }
        self.permit = None;
        future.await
    }

    /// Has the turn again. However long that takes: nobody who has one waits for anything, and some of what the body brings may have been taken.
    pub(crate) async fn go_on(&mut self) {
        if self.permit.is_none() {
            // It is never closed.
            self.permit = Arc::clone(&self.parsers).acquire_owned().await.ok();
        }
    }
}

/// A permit, if it comes before patience ends.
async fn in_time<E>(
    permit: impl Future<Output = Result<OwnedSemaphorePermit, E>>,
) -> Option<OwnedSemaphorePermit> {
    tokio::time::timeout(PATIENCE, permit).await.ok()?.ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use telemetry_hub_actors::{HubConfig, NatsConfig};

    use super::*;

    #[tokio::test]
    async fn a_turn_is_for_others_while_there_is_something_to_wait_for() {
        let intake = intake_of_a_hub_apart().await;
        let mut turn = intake.turn_to_parse().await.unwrap();
        let left = || intake.parsers.available_permits();
        assert_eq!(turn.wait_for(async { left() }).await, PARSED_AT_ONCE - 1);
        turn.go_on().await;
        assert_eq!(left(), PARSED_AT_ONCE - 1);
        let yielded = async {
            tokio::task::yield_now().await;
            left()
        };
        assert_eq!(turn.wait_for(yielded).await, PARSED_AT_ONCE);
        turn.go_on().await;
        assert_eq!(left(), PARSED_AT_ONCE - 1);
        drop(turn);
        assert_eq!(left(), PARSED_AT_ONCE);
    }

    /// What brings things to a hub that waits for others, and will for long: nobody listens there.
    pub(crate) async fn intake_of_a_hub_apart() -> Intake {
        let nats = NatsConfig {
            servers: vec!["nats://127.0.0.1:1".to_owned()],
            patience: Duration::from_secs(3600),
            ..NatsConfig::default()
        };
        let hub = HubHandle::start_joined(HubConfig::default(), nats).await.unwrap();
        Intake::new(&hub, &RouteOptions::default())
    }
}
