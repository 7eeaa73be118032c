//! What a browser can show in place of a token, as its `EventSource` sends no headers of anybody's choosing: a ticket in the URL,
//! which is good for a minute, and after it a session in a cookie, so that the browser's own reconnects outlive the ticket.
//!
//! Both are JWTs by a key that only this process has: nothing is kept of them, however many there are. Each is good for the one
//! signal that it was made for, and grants no more than the token with which the ticket was asked for.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::EncodingKey;
use warp::http::HeaderMap;
use warp::http::header::{COOKIE, HeaderValue};

use super::jwt::{Claims, JwtKey};
use super::{Grant, Scope, Scopes};

/// How long a ticket is good: it is checked when the stream opens.
const TICKET_LIFE: Duration = Duration::from_secs(60);

/// How long a browser may reconnect. After that its page asks for another ticket.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// The keys of this process, for its tickets and its sessions.
pub(super) struct Tickets {
    tickets: Own,
    sessions: Own,
    /// Browsers come by TLS, and are to send the cookie by nothing else.
    is_secure: bool,
}

struct Own {
    audience: &'static str,
    encoding: EncodingKey,
    decoding: JwtKey,
}

impl Tickets {
    pub(super) fn new(is_secure: bool) -> Self {
        Self { tickets: Own::new("ticket"), sessions: Own::new("session"), is_secure }
    }

    /// A ticket for a signal, for whoever has been granted it.
    pub(super) fn ticket(&self, grant: &Grant, signal: Scope, now: Timestamp) -> String {
        let grant = Grant { scopes: Scopes::from_iter([signal]), ..grant.clone() };
        self.tickets.sign(&grant, now + TICKET_LIFE)
    }

    /// What a ticket grants.
    pub(super) fn admit(&self, ticket: &str) -> Option<Grant> {
        self.tickets.decoding.grant(ticket)
    }

    /// The cookie with which the same browser may come again.
    pub(super) fn cookie(&self, grant: &Grant, signal: Scope, now: Timestamp) -> HeaderValue {
        let session = self.sessions.sign(grant, now + SESSION_LIFE);
        let secure = if self.is_secure { "; Secure" } else { "" };
        let name = cookie_name(signal);
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
        let mut pairs = cookies.flat_map(|cookies| cookies.split("; "));
        let session = pairs.find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            (name == cookie_name(signal)).then_some(value)
        });
        self.sessions.decoding.grant(session?)
    }
}

impl Own {
    fn new(audience: &'static str) -> Self {
        let (encoding, decoding) = JwtKey::own(audience);
        Self { audience, encoding, decoding }
    }

    fn sign(&self, grant: &Grant, exp: Timestamp) -> String {
        Claims::of(grant, self.audience, exp).sign(&self.encoding)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// One cookie for each signal: a browser may watch both.
fn cookie_name(signal: Scope) -> String {
    format!("telemetry-hub-{signal}")
}
