//! Which pages of other origins may read what the hub answers (Fetch Standard, "CORS protocol"): those that the settings name, to
//! the letter, and none otherwise.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use warp::http::{Method, Uri};

/// An origin as browsers write it (RFC 6454, section 6.2): `https://status.example`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Origin(HeaderValue);

/// The origins that may.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cors(Arc<[Origin]>);

impl Cors {
    pub(crate) fn new(origins: &[Origin]) -> Self {
        Self(origins.into())
    }

    /// Whether a request comes from a page that may.
    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        self.origin(headers).is_some()
    }

    /// What an answer says to the browser. Nothing if no origin may: then no answer depends on it.
    pub(crate) fn headers(&self, request: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.0.is_empty() {
            return headers;
        }
        headers.insert(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = self.origin(request) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let told = HeaderValue::from_static("retry-after, www-authenticate");
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, told);
            // For the session of a page on the same site; others are not sent its cookie.
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers
    }

    /// What is answered to a browser that asks beforehand; `None` if it does not, or may not.
    pub(crate) fn preflight(&self, method: &Method, request: &HeaderMap) -> Option<HeaderMap> {
        let asks = method == Method::OPTIONS && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || !self.allows(request) {
            return None;
        }
        let mut headers = self.headers(request);
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, DELETE"),
            (
                ACCESS_CONTROL_ALLOW_HEADERS,
                "authorization, content-encoding, content-type, last-event-id, x-signature",
            ),
            (ACCESS_CONTROL_MAX_AGE, "600"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Some(headers)
    }

    fn origin(&self, headers: &HeaderMap) -> Option<&HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.0.iter().map(|Origin(allowed)| allowed).find(|allowed| *allowed == origin)
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected an origin as browsers write it, such as \"https://status.example\" or \
                                \"http://localhost:3000\"";
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let (scheme, authority) = scheme.zip(uri.authority()).ok_or(EXPECTED)?;
        // A path, a user or a capital letter would make it one that no browser ever sends.
        if text != format!("{scheme}://{}", authority.as_str().to_ascii_lowercase())
            || authority.as_str().contains(['@', '*'])
        {
            return Err(EXPECTED);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| EXPECTED)
    }
}

impl TryFrom<String> for Origin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().expect("it has been read from text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in ["https://status.example", "http://localhost:3000", "http://[::1]:3000"] {
            assert_eq!(good.parse::<Origin>().map(String::from), Ok(good.to_owned()));
        }
        for bad in [
            "*",
            "null",
            "",
            "status.example",
            "https://status.example/",
            "https://status.example/x",
            "https://Status.example",
            "HTTPS://status.example",
            "https://a@status.example",
            "https://*.example",
            "ftp://status.example",
            "https://",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
