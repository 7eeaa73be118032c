//! What a browser can show in place of a token, as its `EventSource` sends no headers of anybody's choosing: a ticket in the URL,
//! which is good for a minute, and after it a session in a cookie, so that the browser's own reconnects outlive the ticket.
//!
//! Both are JWTs by keys that only this process has, unless the settings name one for several hubs behind one address. Each is good for the one signal that it was made for, and grants no more than the
//! token with which the ticket was asked for. A ticket begins one session: who finds it in a log, and is quick, gets a stream and no more.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jsonwebtoken::EncodingKey;
use sha2::Sha256;
use warp::http::HeaderMap;
use warp::http::header::{COOKIE, HeaderValue};

use super::jwt::{Claims, JwtKey};
use super::token::TokenHash;
use super::{Grant, Scope, Scopes};
use crate::config::Secret;

/// How long a ticket is good: it is checked when the stream opens.
const TICKET_LIFE: Duration = Duration::from_secs(60);

/// How long a browser may reconnect. After that its page asks for another ticket.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// How many cookies of one name are looked at.
const MAX_COOKIES: usize = 4;

/// How many tickets are remembered that have begun a session. With more than that in a minute, further ones begin none.
const MAX_USED: usize = 10_000;

/// The keys for tickets and for sessions.
pub(super) struct Tickets {
    tickets: Own,
    sessions: Own,
    used: Mutex<Used>,
    /// Browsers come by TLS, and are to send the cookie by nothing else.
    is_secure: bool,
}

/// Tickets that have begun a session, until they are good no more.
#[derive(Default)]
struct Used {
    known: HashSet<TokenHash>,
    /// In the order of their first use, with the time after which they can be forgotten.
    order: VecDeque<(Timestamp, TokenHash)>,
}

struct Own {
    audience: &'static str,
    encoding: EncodingKey,
    decoding: JwtKey,
}

impl Tickets {
    /// By a key that others have as well, or by none.
    pub(super) fn new(is_secure: bool, key: Option<&Secret>) -> Self {
        let (tickets, sessions) = (Own::new("ticket", key), Own::new("session", key));
        Self { tickets, sessions, used: Mutex::default(), is_secure }
    }

    /// A ticket for a signal, for whoever has been granted it.
    pub(super) fn ticket(&self, grant: &Grant, signal: Scope, now: Timestamp) -> String {
        let grant = Grant { scopes: Scopes::from_iter([signal]), ..grant.clone() };
        self.tickets.sign(&grant, now + TICKET_LIFE)
    }

    /// One that begins no session, for a page that asks for a ticket each time.
    pub(super) fn ticket_alone(&self, grant: &Grant, signal: Scope, now: Timestamp) -> String {
        let ticket = self.ticket(grant, signal, now);
        self.is_first_use(&ticket, now);
        ticket
    }

    /// What a ticket grants.
    pub(super) fn admit(&self, ticket: &str) -> Option<Grant> {
        self.tickets.decoding.grant(ticket)
    }

    /// The cookie with which the same browser may come again. None for a ticket that has begun a session already.
    pub(super) fn cookie(
        &self,
        ticket: &str,
        grant: &Grant,
        signal: Scope,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        self.is_first_use(ticket, now).then(|| self.session(grant, signal, now))
    }

    fn is_first_use(&self, ticket: &str, now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.note(TokenHash::of(ticket), now)
    }

    fn session(&self, grant: &Grant, signal: Scope, now: Timestamp) -> HeaderValue {
        let session = self.sessions.sign(grant, now + SESSION_LIFE);
        let secure = if self.is_secure { "; Secure" } else { "" };
        let name = self.cookie_name(signal);
        let life = SESSION_LIFE.as_secs();
        let cookie =
            format!("{name}={session}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict{secure}");
        let mut cookie = HeaderValue::try_from(cookie).expect("a JWT is plain text");
        cookie.set_sensitive(true);
        cookie
    }

    /// What the cookie of a request grants.
    pub(super) fn readmit(&self, headers: &HeaderMap, signal: Scope) -> Option<Grant> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let pairs = cookies.flat_map(|cookies| cookies.split("; "));
        let own = self.cookie_name(signal);
        let sessions = pairs.filter_map(|pair| pair.strip_prefix(&*own)?.strip_prefix('='));
        // Another site of the same domain may have set one of that name.
        sessions.take(MAX_COOKIES).find_map(|session| self.sessions.decoding.grant(session))
    }

    /// One cookie for each signal: a browser may watch both. Under TLS no other host, and nothing without TLS, can set it (RFC 6265bis,
    /// section 4.1.3.2).
    fn cookie_name(&self, signal: Scope) -> String {
        let prefix = if self.is_secure { "__Host-" } else { "" };
        format!("{prefix}telemetry-hub-{signal}")
    }
}

impl Used {
    /// Whether this is its first use.
    fn note(&mut self, ticket: TokenHash, now: Timestamp) -> bool {
        while let Some((until, old)) = self.order.front()
            && *until < now
        {
            self.known.remove(old);
            self.order.pop_front();
        }
        if self.order.len() >= MAX_USED || !self.known.insert(ticket) {
            return false;
        }
        self.order.push_back((now + TICKET_LIFE, ticket));
        true
    }
}

impl Own {
    fn new(audience: &'static str, key: Option<&Secret>) -> Self {
        let secret = match key {
            Some(key) => derived(key, audience),
            None => rand::random(),
        };
        let (encoding, decoding) = JwtKey::own(audience, &secret);
        Self { audience, encoding, decoding }
    }

    fn sign(&self, grant: &Grant, exp: Timestamp) -> String {
        Claims::of(grant, self.audience, exp).sign(&self.encoding)
    }
}

/// A key for one purpose, which tells nothing of that for another.
fn derived(key: &Secret, audience: &str) -> [u8; 32] {
    let key = Hmac::<Sha256>::new_from_slice(key.as_str().as_bytes());
    let mut hmac = key.expect("an HMAC takes keys of any length");
    hmac.update(b"telemetry-hub ");
    hmac.update(audience.as_bytes());
    hmac.finalize().into_bytes().into()
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}
