//! Who may do what: every request is asked here, before anything of it is read, whether it may have what it asks for.
//!
//! It is granted that, or answered 401 (nobody known here) or 403 (not that); every decision is counted. The stand-alone server
//! without credentials takes whoever is on this machine, but nothing that a browser sends for another site. A hub inside a host
//! program asks nobody: what stands before its routes is the host's.

use std::sync::Arc;

use jiff::Timestamp;
use telemetry_hub_actors::{Filter, MetricsQuery, QueryError, Selection, SmolStr, TraceQuery};
use warp::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use jwt::JwtKeys;
use ticket::Tickets;
use token::Tokens;

use crate::config::Secret;
use crate::watched_file::{FileError, Reload};

mod cors;
mod jwt;
mod origin;
mod scope;
mod ticket;
mod token;

pub(crate) use cors::{Cors, Origin};
pub(crate) use jwt::JwtKeySettings;
pub(crate) use origin::Host;
pub(crate) use scope::{Scope, Scopes};
pub(crate) use token::{NewToken, TokenSettings};

/// What is asked of everybody.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    policy: Policy,
    tickets: Arc<Tickets>,
    pub(crate) cors: Cors,
}

#[derive(Debug, Clone)]
enum Policy {
    /// Nothing: a host has done so before.
    HostDecides,
    /// To be on this machine.
    Local,
    /// A token.
    Credentials { tokens: Arc<Tokens>, jwt_keys: JwtKeys },
}

/// Who may, as the settings say.
#[derive(Debug)]
pub(crate) struct AccessSettings<'a> {
    pub(crate) tokens: &'a [TokenSettings],
    pub(crate) jwt_keys: &'a [JwtKeySettings],
    pub(crate) cors_origins: &'a [Origin],
    /// The server speaks TLS.
    pub(crate) is_secure: bool,
    /// For tickets and sessions that other hubs take as well.
    pub(crate) ticket_key: Option<&'a Secret>,
}

/// A request for something, as far as it tells who sends it.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) host: &'a Host,
    pub(crate) headers: &'a HeaderMap,
    /// The query string where a stream is asked for, which may carry a ticket; there a browser's session will do as well.
    pub(crate) stream: Option<&'a str>,
}

/// Somebody who may, and the session of their browser, if it is to have one.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) grant: Arc<Grant>,
    pub(crate) session: Option<Session>,
}

/// What a browser gets with its stream, if that is granted.
pub(crate) struct Session {
    tickets: Arc<Tickets>,
    ticket: String,
    signal: Scope,
}

impl Session {
    /// The cookie that the browser is to keep. None for a ticket that has begun a session already.
    pub(crate) fn begin(self, grant: &Grant, now: Timestamp) -> Option<HeaderValue> {
        self.tickets.cookie(&self.ticket, grant, self.signal, now)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

/// What somebody may do, and how much of it all they may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// What the credentials are called.
    name: Option<SmolStr>,
    scopes: Scopes,
    filter: Option<Filter>,
    metrics: Option<Selection>,
    expires: Option<Timestamp>,
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// No credentials, or none that are known here. What is wrong with them.
    Unauthorized(&'static str),
    /// They are not good for this.
    MissingScope(Scope),
    /// A browser asks for another site.
    Foreign(String),
}

impl Access {
    /// A host asks who it is.
    pub(crate) fn host_decides() -> Self {
        Self::with(Policy::HostDecides, Cors::default(), Tickets::new(false, None))
    }

    /// Those who have one of these tokens, or one by one of these keys; if there are none, those on this machine.
    pub(crate) fn open(settings: &AccessSettings<'_>) -> Result<Self, FileError> {
        let AccessSettings { tokens, jwt_keys, cors_origins, is_secure, ticket_key } = settings;
        let policy = if tokens.is_empty() && jwt_keys.is_empty() {
            Policy::Local
        } else {
            let tokens = Arc::new(Tokens::new(tokens));
            Policy::Credentials { tokens, jwt_keys: JwtKeys::open(jwt_keys)? }
        };
        let tickets = Tickets::new(*is_secure, *ticket_key);
        Ok(Self::with(policy, Cors::new(cors_origins), tickets))
    }

    fn with(policy: Policy, cors: Cors, tickets: Tickets) -> Self {
        Self { policy, tickets: Arc::new(tickets), cors }
    }

    /// The files that it has read, to be looked at now and then.
    pub(crate) fn files(&self) -> Vec<Arc<dyn Reload>> {
        match &self.policy {
            Policy::HostDecides | Policy::Local => Vec::new(),
            Policy::Credentials { jwt_keys, .. } => {
                jwt_keys.files().map(|file| Arc::clone(file) as Arc<dyn Reload>).collect()
            }
        }
    }

    /// Whether a signature may stand for a token. Without tokens there is nothing for it to stand for.
    pub(crate) fn takes_signatures(&self, headers: &HeaderMap) -> bool {
        matches!(self.policy, Policy::Credentials { .. }) && !headers.contains_key(AUTHORIZATION)
    }

    /// Whether a request may have what needs this scope.
    pub(crate) fn check(
        &self,
        asking: Asking<'_>,
        scope: Scope,
        now: Timestamp,
    ) -> Result<Admission, Denial> {
        let Admission { grant, session } = self.identify(asking, scope)?;
        if grant.expires.is_some_and(|expires| expires <= now) {
            return Err(Denial::Unauthorized("the token has expired"));
        }
        if grant.scopes.contain(scope) {
            Ok(Admission { grant, session })
        } else {
            Err(Denial::MissingScope(scope))
        }
    }

    fn identify(&self, asking: Asking<'_>, scope: Scope) -> Result<Admission, Denial> {
        let Asking { host, headers, stream } = asking;
        let granted = |grant| Ok(Admission { grant, session: None });
        match &self.policy {
            Policy::HostDecides => granted(Arc::new(Grant::everything())),
            Policy::Local => {
                origin::check_host(host).map_err(Denial::Foreign)?;
                origin::check_page(host, headers, &self.cors).map_err(Denial::Foreign)?;
                granted(Arc::new(Grant::everything()))
            }
            Policy::Credentials { tokens, jwt_keys } => {
                match (stream, headers.get(AUTHORIZATION)) {
                    (Some(query), None) => self.identify_browser(asking, query, scope),
                    (_, header) => {
                        let token = bearer(header)?;
                        granted(match tokens.find(token) {
                            Some(grant) => grant,
                            None => Arc::new(jwt_keys.verify(token)?),
                        })
                    }
                }
            }
        }
    }

    /// By its ticket; or by its session, which began with a ticket.
    fn identify_browser(
        &self,
        asking: Asking<'_>,
        query: &str,
        scope: Scope,
    ) -> Result<Admission, Denial> {
        let Asking { host, headers, .. } = asking;
        let ticket = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
        if let Some((_, ticket)) = &ticket
            && let Some(grant) = self.tickets.admit(ticket)
        {
            let (tickets, ticket) = (Arc::clone(&self.tickets), ticket.to_string());
            let session = Some(Session { tickets, ticket, signal: scope });
            return Ok(Admission { grant: Arc::new(grant), session });
        }
        if let Some(grant) = self.tickets.readmit(headers, scope) {
            // A browser sends cookies whoever made it ask.
            origin::check_page(host, headers, &self.cors).map_err(Denial::Foreign)?;
            return Ok(Admission { grant: Arc::new(grant), session: None });
        }
        Err(Denial::Unauthorized(match ticket {
            Some(_) => "the ticket is not good, or not any more",
            None => "a token is needed",
        }))
    }

    /// A ticket for the streams of a signal, for whoever has been granted them.
    pub(crate) fn ticket(&self, grant: &Grant, signal: Scope, now: Timestamp) -> String {
        self.tickets.ticket(grant, signal, now)
    }

    /// One that begins no session.
    pub(crate) fn ticket_alone(&self, grant: &Grant, signal: Scope, now: Timestamp) -> String {
        self.tickets.ticket_alone(grant, signal, now)
    }
}

impl Grant {
    fn everything() -> Self {
        let scopes = Scopes::all();
        Self { name: None, scopes, filter: None, metrics: None, expires: None }
    }

    pub(crate) fn name(&self) -> Option<SmolStr> {
        self.name.clone()
    }

    /// What of a subscription to events may be had, and for how long.
    pub(crate) fn limit_traces(&self, query: TraceQuery) -> TraceQuery {
        let filter = match &self.filter {
            Some(limit) => query.filter.within(limit),
            None => query.filter,
        };
        TraceQuery { filter, expires: self.expires, ..query }
    }

    /// What of a subscription to metrics may be had, and for how long.
    pub(crate) fn limit_metrics(&self, query: MetricsQuery) -> MetricsQuery {
        let selection = self.limit_selection(query.selection);
        MetricsQuery { selection, expires: self.expires, ..query }
    }

    /// Which of these series may be seen.
    pub(crate) fn limit_selection(&self, selection: Selection) -> Selection {
        match &self.metrics {
            Some(limit) => selection.within(limit),
            None => selection,
        }
    }
}

/// A limit on events, of which it must leave some out: one that is empty was meant to be another.
pub(crate) fn parse_limit(query: &str) -> Result<Filter, String> {
    let filter: Filter =
        query.parse().map_err(|error: QueryError| format!("{}: {error}", error.parameter))?;
    if filter.matches_everything() {
        return Err("leaves nothing out; leave it away if that is meant".to_owned());
    }
    Ok(filter)
}

/// What is asked of a token that would tell of others' events.
pub(crate) const NEEDS_METRICS: &str = "a `filter` and the scope `metrics`: name the series that it may see in `metrics`, or their counts \
     would tell of the events that it may not";

/// Whether somebody who may see some events only could see from metrics how many others there are.
pub(crate) fn tells_of_others(filter: Option<&Filter>, metrics: Option<&Selection>) -> bool {
    filter.is_some() && metrics.is_none()
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(header: Option<&HeaderValue>) -> Result<&str, Denial> {
    const EXPECTED: &str = "expected `Authorization: Bearer TOKEN`";
    let header = header.ok_or(Denial::Unauthorized("a token is needed"))?;
    let header = header.to_str().map_err(|_| Denial::Unauthorized(EXPECTED))?;
    let (scheme, token) = header.split_once(' ').ok_or(Denial::Unauthorized(EXPECTED))?;
    if scheme.eq_ignore_ascii_case("Bearer") {
        Ok(token.trim())
    } else {
        Err(Denial::Unauthorized(EXPECTED))
    }
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    fn with_tokens(tokens: &[TokenSettings]) -> Access {
        let settings = AccessSettings {
            tokens,
            jwt_keys: &[],
            cors_origins: &[],
            is_secure: false,
            ticket_key: None,
        };
        Access::open(&settings).unwrap()
    }

    fn check(
        access: &Access,
        host: &Host,
        headers: &HeaderMap,
        scope: Scope,
        now: Timestamp,
    ) -> Result<(), Denial> {
        access.check(Asking { host, headers, stream: None }, scope, now).map(|_| ())
    }

    fn access(scopes: Scopes) -> (String, Access) {
        let NewToken { token, hash } = NewToken::make();
        let settings = TokenSettings {
            name: "a".to_owned(),
            hash,
            scopes,
            filter: None,
            metrics: None,
            expires: Some(Timestamp::UNIX_EPOCH),
        };
        (token, with_tokens(&[settings]))
    }

    fn ask(access: &Access, authorization: Option<&str>, scope: Scope) -> Result<(), Denial> {
        let header = authorization.map(|value| (AUTHORIZATION, value.parse().unwrap()));
        let headers = header.into_iter().collect();
        check(access, &Host::Unnamed, &headers, scope, Timestamp::MIN)
    }

    #[test]
    fn a_token_opens_what_its_scopes_say() {
        let (token, access) = access([Scope::Traces, Scope::Metrics].into_iter().collect());
        let header = format!("Bearer {token}");
        assert_eq!(ask(&access, Some(&header), Scope::Traces), Ok(()));
        assert_eq!(ask(&access, Some(&format!("bearer  {token}")), Scope::Metrics), Ok(()));
        for scope in [Scope::Ingest, Scope::Admin] {
            assert_eq!(ask(&access, Some(&header), scope), Err(Denial::MissingScope(scope)));
        }
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let (token, access) = access(Scopes::all());
        let header = format!("Bearer {token}").parse().unwrap();
        let headers = [(AUTHORIZATION, header)].into_iter().collect();
        let second = jiff::SignedDuration::from_secs(1);
        let epoch = Timestamp::UNIX_EPOCH;
        for (now, is_good) in [(epoch - second, true), (epoch, false), (epoch + second, false)] {
            let outcome = check(&access, &Host::Unnamed, &headers, Scope::Traces, now);
            assert_eq!(outcome.is_ok(), is_good, "{now}");
        }
    }

    #[test]
    fn without_a_good_token_nobody_gets_anything() {
        let (token, access) = access(Scopes::all());
        let mut other = token.clone();
        other.pop();
        for header in [
            None,
            Some(String::new()),
            Some("Bearer".to_owned()),
            Some("Bearer ".to_owned()),
            Some(token.clone()),
            Some(format!("Basic {token}")),
            Some(format!("Bearer {other}")),
            Some(format!("Bearer {token}x")),
            Some(format!("Bearer {}", token.to_uppercase())),
        ] {
            let denied = ask(&access, header.as_deref(), Scope::Traces).unwrap_err();
            assert!(matches!(denied, Denial::Unauthorized(_)), "{header:?}: {denied:?}");
        }
    }

    #[test]
    fn a_host_lets_in_whom_it_likes() {
        let foreign =
            [("origin".parse().unwrap(), HeaderValue::from_static("https://evil.example"))];
        let headers = foreign.into_iter().collect();
        let host = Host::Named("evil.example".parse().unwrap());
        let now = Timestamp::now();
        assert!(check(&Access::host_decides(), &host, &headers, Scope::Admin, now).is_ok());
        assert!(check(&with_tokens(&[]), &host, &headers, Scope::Admin, now).is_err());
    }
}
