//! What the commands that are clients of a hub have in common: its URL, how they connect, and in which words they say that it
//! did not answer.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Url, redirect};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The URL of a hub; paths are appended to it.
#[derive(Debug, Clone)]
pub(super) struct HubUrl(Url);

/// Why a URL is not one of a hub.
#[derive(Debug, thiserror::Error)]
pub(super) enum HubUrlError {
    #[error("not a URL like http://127.0.0.1:8787: {0}")]
    NotAUrl(String),
    #[error("{0}: expected http or https")]
    NotHttp(String),
}

impl FromStr for HubUrl {
    type Err = HubUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| HubUrlError::NotAUrl(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(HubUrlError::NotHttp(url.scheme().to_owned()));
        }
        Ok(Self(url))
    }
}

/// Its origin alone: in what stands behind it may be something secret.
impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

impl HubUrl {
    /// The URL of what is under this path there.
    pub(super) fn at(&self, path: &[&str]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// A client for this hub.
    pub(super) fn client(&self) -> ClientBuilder {
        let builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirected POST may arrive as a GET, and a token at somebody else's.
            .redirect(redirect::Policy::none());
        if self.is_on_this_host() { builder.no_proxy() } else { builder }
    }

    /// Why no answer came, without what a URL may hold that is secret.
    pub(super) fn explain(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer from {self}");
        }
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
        let cause = causes.last().map(ToString::to_string).unwrap_or_default();
        if error.is_connect() {
            format!("cannot reach {self}: {cause}")
        } else {
            format!("the connection to {self} broke: {cause}")
        }
    }

    /// Whether it can be nowhere else than on this machine.
    pub(super) fn is_on_this_host(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        let found = match url.parse::<HubUrl>() {
            Ok(hub) => hub.at(&["api", "telemetry", "events"]).to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn path_is_appended() {
        check("http://127.0.0.1:8787", "http://127.0.0.1:8787/api/telemetry/events");
        check("https://hub", "https://hub/api/telemetry/events");
        check("http://hub/", "http://hub/api/telemetry/events");
        check("http://hub/behind/proxy/", "http://hub/behind/proxy/api/telemetry/events");
        check("http://[::1]:1?token=x", "http://[::1]:1/api/telemetry/events?token=x");
    }

    #[test]
    fn other_urls_are_refused() {
        check("localhost:8787", "localhost: expected http or https");
        check("hub", "not a URL like http://127.0.0.1:8787: relative URL without a base");
    }

    #[test]
    fn proxies_are_for_other_hosts() {
        for (url, expected) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://10.0.0.1", false),
            ("http://hub", false),
        ] {
            assert_eq!(url.parse::<HubUrl>().unwrap().is_on_this_host(), expected, "{url}");
        }
    }
}
