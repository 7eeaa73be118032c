//! Where a request comes from, for a hub that asks for no credentials: anything on this machine may use it, but a page of another
//! site in a browser on this machine must not.
//!
//! Such a page may point a name of its own here (DNS rebinding), which `Host` tells; or ask across sites, which browsers tell by
//! `Sec-Fetch-Site` (W3C Fetch Metadata) and `Origin` (RFC 6454).

use std::net::IpAddr;

use warp::http::Uri;
use warp::http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use warp::http::uri::Authority;

use super::Cors;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whom a request takes this server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// It does not say; browsers always do.
    Unnamed,
    Named(Authority),
    /// It says two things, or nothing that could be a name.
    Malformed,
}

impl Host {
    /// By the URI, as HTTP/2 has it, or the header `Host`.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        if Self::is_named_twice(headers) {
            return Self::Malformed;
        }
        let header = headers.get(HOST).map(|host| Authority::try_from(host.as_bytes()));
        match (uri.authority(), header) {
            (None, None) => Self::Unnamed,
            (Some(named), None) => Self::Named(named.clone()),
            (None, Some(Ok(named))) => Self::Named(named),
            (Some(one), Some(Ok(other))) if *one == other => Self::Named(other),
            (Some(_), Some(Ok(_))) | (_, Some(Err(_))) => Self::Malformed,
        }
    }

    /// Whether there are two headers `Host`, of which others may take another one (RFC 9112, section 3.2).
    pub(crate) fn is_named_twice(headers: &HeaderMap) -> bool {
        headers.get_all(HOST).iter().nth(1).is_some()
    }
}

/// Fails with the reason if a request was not sent to this machine by a name of its own.
pub(super) fn check_host(host: &Host) -> Result<(), String> {
    match host {
        Host::Unnamed => Ok(()),
        Host::Named(host) if is_loopback(host.host()) => Ok(()),
        Host::Named(host) => Err(format!(
            "{host} is no name of this machine's own, and this hub asks for no tokens: use localhost, or configure tokens"
        )),
        Host::Malformed => Err("sent to nothing that could be this machine".to_owned()),
    }
}

/// Fails with the reason if a browser sends a request for a page that is neither the hub's own nor one that may. Programs that are
/// no browsers send none of these headers.
pub(super) fn check_page(host: &Host, headers: &HeaderMap, cors: &Cors) -> Result<(), String> {
    if cors.allows(headers) {
        return Ok(());
    }
    let site = headers.get(SEC_FETCH_SITE).map(|site| site.as_bytes());
    if site.is_some_and(|site| !matches!(site, b"same-origin" | b"none")) {
        return Err("sent for a page of another site".to_owned());
    }
    let is_own = |origin: &[u8]| {
        let authority =
            origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        let authority = authority.and_then(|authority| Authority::try_from(authority).ok());
        authority.is_some_and(|authority| *host == Host::Named(authority))
    };
    match headers.get(ORIGIN) {
        Some(origin) if !is_own(origin.as_bytes()) => {
            Err("sent for a page of another origin".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a name can be nothing but this machine (RFC 6761, section 6.3).
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match address {
        Ok(address) => address.is_loopback(),
        Err(_) => {
            let name = host.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &Host, headers: &HeaderMap) -> Result<(), String> {
        check_host(host)?;
        check_page(host, headers, &Cors::default())
    }

    #[track_caller]
    fn check_one(host: Option<&str>, headers: &[(&str, &str)], is_good: bool) {
        let host = host.map_or(Host::Unnamed, |host| Host::Named(host.parse().unwrap()));
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let outcome = check(&host, &headers.collect());
        assert_eq!(outcome.is_ok(), is_good, "{host:?}: {outcome:?}");
    }

    #[test]
    fn a_host_is_a_name_of_this_machine() {
        for host in [
            "localhost",
            "localhost:8787",
            "127.0.0.1:8787",
            "127.8.9.1",
            "[::1]:8787",
            "LOCALHOST",
            "hub.localhost.",
            "localhost.",
        ] {
            check_one(Some(host), &[], true);
        }
        for host in [
            "evil.example",
            "evil.example:8787",
            "10.0.0.1",
            "0.0.0.0:8787",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
        ] {
            check_one(Some(host), &[], false);
        }
        check_one(None, &[], true);
    }

    #[test]
    fn a_request_names_one_host() {
        let named = |host: &str| Host::Named(host.parse().unwrap());
        for (uri, header, expected) in [
            ("/x", None, Host::Unnamed),
            ("/x", Some("localhost:1"), named("localhost:1")),
            ("http://localhost:1/x", None, named("localhost:1")),
            ("http://localhost:1/x", Some("localhost:1"), named("localhost:1")),
            ("http://localhost:1/x", Some("evil.example"), Host::Malformed),
            ("/x", Some("a b"), Host::Malformed),
            ("/x", Some(""), Host::Malformed),
        ] {
            let header = header.map(|host| (HOST, host.parse().unwrap()));
            let found = Host::of(&uri.parse().unwrap(), &header.into_iter().collect());
            assert_eq!(found, expected, "{uri} {found:?}");
        }
        let twice = ["localhost", "evil.example"].map(|host| (HOST, host.parse().unwrap()));
        let found = Host::of(&"/x".parse().unwrap(), &twice.into_iter().collect());
        assert_eq!(found, Host::Malformed);
        assert!(check(&Host::Malformed, &HeaderMap::new()).is_err());
    }

    #[test]
    fn a_browser_says_for_whom_it_asks() {
        let host = Some("localhost:8787");
        for site in ["same-origin", "none"] {
            check_one(host, &[("sec-fetch-site", site)], true);
        }
        for site in ["cross-site", "same-site", "", "x"] {
            check_one(host, &[("sec-fetch-site", site)], false);
        }
        check_one(host, &[("origin", "http://localhost:8787")], true);
        for origin in [
            "null",
            "http://localhost:3000",
            "http://localhost",
            "https://evil.example",
            "http://evil.example:8787",
            "",
            "localhost:8787",
        ] {
            check_one(host, &[("origin", origin)], false);
        }
        check_one(None, &[("origin", "http://localhost:8787")], false);
        check_one(
            host,
            &[("origin", "http://localhost:8787"), ("sec-fetch-site", "cross-site")],
            false,
        );
    }
}
