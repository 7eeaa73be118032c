//! Where the load goes: a URL, checked and resolved once, before anything is sent.
//!
//! Only loopback, unless `--allow-remote`: this tool is made to exhaust servers. What is connected to is the very address that
//! was checked; names are not asked for a second time, redirects are not followed and proxies not used.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;

/// A server to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// As it stands in `Host` and `:authority`.
    pub(super) authority: String,
}

/// Why nothing is sent to a URL.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("not a URL like http://127.0.0.1:8787: {0}")]
    NotAUrl(String),
    #[error("{0}: only http is built in")]
    NotHttp(String),
    #[error("a user name or a password in the URL is not sent; leave it out")]
    Credentials,
    #[error(
        "{0} is not a loopback address; --allow-remote lifts this, for servers that are yours to exhaust"
    )]
    Remote(String),
    #[error("cannot find {host}: {source}")]
    Unknown { host: String, source: std::io::Error },
}

/// What of a URL can be checked without asking for names.
fn checked(url: &str, allow_remote: bool) -> Result<Url, TargetError> {
    let url = Url::parse(url).map_err(|error| TargetError::NotAUrl(error.to_string()))?;
    if url.scheme() != "http" {
        return Err(TargetError::NotHttp(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Credentials);
    }
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if is_local || allow_remote { Ok(url) } else { Err(TargetError::Remote(host.to_owned())) }
}

impl Target {
    /// Checks a URL and finds its address.
    pub(super) async fn find(url: &str, allow_remote: bool) -> Result<(Self, Url), TargetError> {
        let url = checked(url, allow_remote)?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let unknown = |source| TargetError::Unknown { host: host.to_owned(), source };
        let name = (host.trim_matches(['[', ']']), port);
        let addresses: Vec<_> = tokio::net::lookup_host(name).await.map_err(unknown)?.collect();
        // Servers that listen on one kind of address mostly take the older one.
        let best = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let address = *best.ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))?;
        if !allow_remote && !address.ip().is_loopback() {
            return Err(TargetError::Remote(format!("{host}, which is {}", address.ip())));
        }
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok((Self { address, authority }, url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let found = match checked(url, false) {
            Ok(url) => {
                format!("{}:{}", url.host_str().unwrap(), url.port_or_known_default().unwrap())
            }
            Err(error) => error.to_string().split([';', ':']).next().unwrap().to_owned(),
        };
        assert_eq!(found, expected, "{url}");
    }

    #[test]
    fn loopback_is_taken() {
        check("http://127.0.0.1:8787/x?y", "127.0.0.1:8787");
        check("http://127.9.9.9", "127.9.9.9:80");
        check("http://[::1]:1", "[::1]:1");
        check("http://LOCALHOST:2", "localhost:2");
        check("http://127.1:3", "127.0.0.1:3");
        check("http://0x7f000001", "127.0.0.1:80");
        check("http://127.0.0.1\\@evil.example", "127.0.0.1:80");
    }

    #[test]
    fn all_else_is_refused() {
        let remote = |host: &str| format!("{host} is not a loopback address");
        check("http://10.0.0.1", &remote("10.0.0.1"));
        check("http://0.0.0.0:1", &remote("0.0.0.0"));
        check("http://127.0.0.1.evil.example", &remote("127.0.0.1.evil.example"));
        check("http://localhost.evil.example", &remote("localhost.evil.example"));
        check("http://evil.localhost", &remote("evil.localhost"));
        check("http://evil#@127.0.0.1", &remote("evil"));
        check("http://evil?@127.0.0.1", &remote("evil"));
        check("http://127.0.0.1@evil", "a user name or a password in the URL is not sent");
        check("http://127.0.0.1:80@evil", "a user name or a password in the URL is not sent");
        check("https://127.0.0.1", "https");
        check("127.0.0.1:80", "not a URL like http");
        check("file:///etc/passwd", "file");
        assert!(matches!(checked("http://[::]:1", false), Err(TargetError::Remote(_))));
        assert!(matches!(checked("http://[::ffff:127.0.0.1]", false), Err(TargetError::Remote(_))));
    }

    #[test]
    fn remote_can_be_allowed() {
        assert!(checked("http://10.0.0.1", true).is_ok());
        assert!(checked("http://127.0.0.1@evil", true).is_err());
    }

    #[tokio::test]
    async fn the_address_that_was_checked_is_the_one_to_connect_to() {
        let (target, url) = Target::find("http://localhost:81/live?x=1", false).await.unwrap();
        assert!(target.address.ip().is_loopback() && target.address.port() == 81);
        assert_eq!((target.authority.as_str(), url.path()), ("localhost:81", "/live"));
        let (target, _) = Target::find("http://[::1]:82", false).await.unwrap();
        assert_eq!(
            (target.address.to_string(), target.authority),
            ("[::1]:82".into(), "[::1]:82".into())
        );
    }
}
