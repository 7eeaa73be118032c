//! Webhook signatures: `X-Signature`, the HMAC-SHA256 of the body as it was sent, in base64 (Stalwart, "Webhooks").
//!
//! Several keys may be good at once, so that one can be replaced by another without losing an event.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use warp::http::HeaderMap;
use warp::http::header::HeaderValue;

use crate::reply::Problem;

/// The header that carries the signature.
pub(crate) const HEADER: &str = "x-signature";

/// A key that bodies are signed with.
#[derive(Clone)]
pub(crate) struct WebhookKey(Hmac<Sha256>);

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey")
    }
}

impl WebhookKey {
    pub(crate) fn new(key: &str) -> Self {
        Self(Hmac::new_from_slice(key.as_bytes()).expect("an HMAC takes keys of any length"))
    }

    /// What stands in the header.
    pub(crate) fn sign(&self, body: &[u8]) -> String {
        BASE64_STANDARD.encode(self.over(body).finalize().into_bytes())
    }

    /// Whether a body was signed with this key; in a time that does not tell how much of it is right.
    fn has_signed(&self, body: &[u8], signature: &[u8]) -> bool {
        self.over(body).verify_slice(signature).is_ok()
    }

    fn over(&self, body: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(body)
    }
}

/// The keys of which one must have signed a body. None: nobody need sign.
#[derive(Debug, Clone, Default)]
pub(crate) struct WebhookKeys(Arc<[WebhookKey]>);

impl WebhookKeys {
    pub(crate) fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(WebhookKey::new).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses a body that none of the keys has signed.
    pub(crate) fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
        let Some(signature) = headers.get(HEADER) else {
            return Err(unauthorized("X-Signature is missing"));
        };
        let signature = BASE64_STANDARD.decode(signature.as_bytes().trim_ascii());
        let signature = signature
            .map_err(|_| unauthorized("X-Signature: expected the HMAC-SHA256 in base64"))?;
        // All keys are tried, whichever it is.
        let is_good =
            self.0.iter().fold(false, |is_good, key| is_good | key.has_signed(body, &signature));
        if is_good { Ok(()) } else { Err(unauthorized("X-Signature is not by any key known here")) }
    }
}

fn unauthorized(detail: &str) -> Problem {
    let challenge = HeaderValue::from_static("HMAC-SHA256 header=\"X-Signature\"");
    Problem::unauthorized(detail, challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(signature: &str) -> HeaderMap {
        [(HEADER.parse().unwrap(), signature.parse().unwrap())].into_iter().collect()
    }

    /// RFC 4231, section 4.3, test case 2.
    const JEFE: &str = "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";

    #[test]
    fn a_signature_is_that_of_the_standard() {
        assert_eq!(WebhookKey::new("Jefe").sign(b"what do ya want for nothing?"), JEFE);
    }

    #[test]
    fn any_of_the_keys_will_do_and_no_other() {
        let body = b"what do ya want for nothing?";
        for (keys, is_good) in [
            (vec!["Jefe"], true),
            (vec!["new", "Jefe"], true),
            (vec!["Jefe", "new"], true),
            (vec!["jefe"], false),
            (vec![""], false),
        ] {
            let keys = WebhookKeys::new(keys);
            assert_eq!(keys.verify(&signed(JEFE), body).is_ok(), is_good, "{keys:?}");
            assert!(keys.verify(&signed(JEFE), b"something else").is_err());
            assert!(keys.verify(&signed(""), body).is_err());
            assert!(keys.verify(&signed("W9zB"), body).is_err());
            assert!(keys.verify(&signed("not base64"), body).is_err());
            assert!(keys.verify(&HeaderMap::new(), body).is_err());
        }
    }

    #[test]
    fn keys_are_never_shown() {
        assert_eq!(format!("{:?}", WebhookKeys::new(["s3cret"])), "WebhookKeys([WebhookKey])");
    }
}
