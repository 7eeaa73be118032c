//! Who may do what: every request is asked here, before anything of it is read, whether it may have what it asks for.
//!
//! It is granted that, or answered 401 (nobody known here) or 403 (not that); every decision is counted. The stand-alone server
//! without credentials takes whoever is on this machine, but nothing that a browser sends for another site. A hub inside a host
//! program asks nobody: what stands before its routes is the host's.

use std::sync::Arc;

use jiff::Timestamp;
use telemetry_hub_actors::{Filter, MetricsQuery, Selection, TraceQuery};
use warp::http::header::{AUTHORIZATION, HeaderMap};

use token::Tokens;

mod origin;
mod scope;
mod token;

pub(crate) use origin::Host;
pub(crate) use scope::{Scope, Scopes};
pub(crate) use token::{NewToken, TokenSettings};

/// What is asked of everybody.
#[derive(Debug, Clone)]
pub(crate) struct Access(Policy);

#[derive(Debug, Clone)]
enum Policy {
    /// Nothing: a host has done so before.
    HostDecides,
    /// To be on this machine.
    Local,
    Credentials(Arc<Tokens>),
}

/// What somebody may do, and how much of it all they may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
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
        Self(Policy::HostDecides)
    }

    /// Those who have one of these tokens; if there are none, those on this machine.
    pub(crate) fn new(tokens: &[TokenSettings]) -> Self {
        Self(match tokens {
            [] => Policy::Local,
            tokens => Policy::Credentials(Arc::new(Tokens::new(tokens))),
        })
    }

    /// Whether a request may have what needs this scope.
    pub(crate) fn check(
        &self,
        host: &Host,
        headers: &HeaderMap,
        scope: Scope,
        now: Timestamp,
    ) -> Result<Arc<Grant>, Denial> {
        let grant = match &self.0 {
            Policy::HostDecides => Arc::new(Grant::everything()),
            Policy::Local => {
                origin::check(host, headers).map_err(Denial::Foreign)?;
                Arc::new(Grant::everything())
            }
            Policy::Credentials(tokens) => tokens
                .find(bearer(headers)?)
                .ok_or(Denial::Unauthorized("the token is not known here"))?,
        };
        if grant.expires.is_some_and(|expires| expires <= now) {
            return Err(Denial::Unauthorized("the token has expired"));
        }
        if grant.scopes.contain(scope) { Ok(grant) } else { Err(Denial::MissingScope(scope)) }
    }
}

impl Grant {
    fn everything() -> Self {
        Self { scopes: Scopes::all(), filter: None, metrics: None, expires: None }
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

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Denial> {
    const EXPECTED: &str = "expected `Authorization: Bearer TOKEN`";
    let header = headers.get(AUTHORIZATION).ok_or(Denial::Unauthorized("a token is needed"))?;
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
        (token, Access::new(&[settings]))
    }

    fn ask(access: &Access, authorization: Option<&str>, scope: Scope) -> Result<(), Denial> {
        let header = authorization.map(|value| (AUTHORIZATION, value.parse().unwrap()));
        let headers = header.into_iter().collect();
        access.check(&Host::Unnamed, &headers, scope, Timestamp::MIN).map(|_| ())
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
            let outcome = access.check(&Host::Unnamed, &headers, Scope::Traces, now);
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
        assert!(Access::host_decides().check(&host, &headers, Scope::Admin, now).is_ok());
        assert!(Access::new(&[]).check(&host, &headers, Scope::Admin, now).is_err());
    }
}
