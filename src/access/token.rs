//! Static tokens: secrets of 256 random bits, of which the settings have the hash alone.
//!
//! Such a secret cannot be guessed from its hash, so that a fast one is enough; and as nobody can choose the hash of what they
//! try, looking it up tells nothing by its time.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use telemetry_hub_actors::{Filter, Selection};

use super::{Grant, Scopes, parse_limit};

/// What every token begins with, so that one that has got into a file or a log is found.
const PREFIX: &str = "thub_";

/// How the settings write a hash.
const ALGORITHM: &str = "sha256:";

/// A token as the settings know it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenSettings {
    /// Whose it is.
    pub(crate) name: String,
    pub(crate) hash: TokenHash,
    pub(crate) scopes: Scopes,
    /// The events that its holder may see, as a query string.
    #[serde(default, skip_serializing, deserialize_with = "filter")]
    pub(crate) filter: Option<Filter>,
    /// The series that its holder may see, as in `metrics=`.
    #[serde(default, skip_serializing, deserialize_with = "selection")]
    pub(crate) metrics: Option<Selection>,
    /// When it is good no more.
    #[serde(default)]
    pub(crate) expires: Option<Timestamp>,
}

fn filter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Filter>, D::Error> {
    let filter = parse_limit(&String::deserialize(deserializer)?);
    filter.map(Some).map_err(serde::de::Error::custom)
}

fn selection<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Selection>, D::Error> {
    let selection = String::deserialize(deserializer)?.parse();
    selection.map(Some).map_err(serde::de::Error::custom)
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", const_hex::encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits =
            text.strip_prefix(ALGORITHM).and_then(|hex| const_hex::decode_to_array(hex).ok());
        digits.map(Self).ok_or(
            "expected `sha256:` and 64 hexadecimal digits, as `telemetry-hub token` prints them",
        )
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A token that has just been made.
pub(crate) struct NewToken {
    pub(crate) token: String,
    pub(crate) hash: TokenHash,
}

impl NewToken {
    pub(crate) fn make() -> Self {
        let secret: [u8; 32] = rand::random();
        let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
        Self { hash: TokenHash::of(&token), token }
    }
}

/// The tokens that are good.
#[derive(Debug)]
pub(super) struct Tokens(HashMap<TokenHash, Arc<Grant>>);

impl Tokens {
    pub(super) fn new(settings: &[TokenSettings]) -> Self {
        let tokens = settings.iter().map(|token| {
            let grant = Grant {
                name: Some(token.name.as_str().into()),
                scopes: token.scopes,
                filter: token.filter.clone(),
                metrics: token.metrics.clone(),
                expires: token.expires,
            };
            (token.hash, Arc::new(grant))
        });
        Self(tokens.collect())
    }

    pub(super) fn find(&self, token: &str) -> Option<Arc<Grant>> {
        self.0.get(&TokenHash::of(token)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_that_of_sha256sum() {
        // printf %s secret | sha256sum
        let text = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(TokenHash::of("secret").to_string(), text);
        assert_eq!(text.parse(), Ok(TokenHash::of("secret")));
        for bad in ["", "sha256:", &text[7..], &text[..70], "md5:2bb80d"] {
            assert!(bad.parse::<TokenHash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_two_tokens_are_alike() {
        let (one, other) = (NewToken::make(), NewToken::make());
        assert_ne!(one.token, other.token);
        assert_eq!((one.token.len(), one.hash), (PREFIX.len() + 43, TokenHash::of(&one.token)));
    }
}
