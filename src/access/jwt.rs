//! JSON Web Tokens (RFC 7519): made by whoever has a key that the settings name; the claims say what their bearer may do.
//!
//! A key is good for one algorithm, whatever a token says of itself, and for one issuer and audience (RFC 8725, sections 3.1, 3.8
//! and 3.9). Claims that cannot be understood let nobody in: a limit that is misread would be none.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Denial, Grant, Scope, Scopes};
use crate::watched_file::{FileError, Watched};

/// How far the clocks of those who make tokens may be ahead of the hub's.
const LEEWAY_SECONDS: u64 = 30;

/// The least that a secret may have (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A key as the settings have it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JwtKeySettings {
    algorithm: Algorithm,
    /// A public key in PEM; for HS256 the secret itself.
    pub(crate) file: PathBuf,
    /// What `iss` must be.
    pub(crate) issuer: String,
    /// What `aud` must name.
    pub(crate) audience: String,
    /// What `kid` must be, if a token has one.
    #[serde(default)]
    key_id: Option<String>,
}

/// What tokens may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    HS256,
    ES256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    RS256,
}

/// What a token says. Other claims mean nothing here.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    exp: f64,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<serde_json::Value>,
    /// Scopes, with spaces between them (RFC 8693, section 4.2). Others have theirs there, too.
    scope: String,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
    /// When what a ticket grants ends, which may be long after the ticket, or never. Elsewhere it is `exp` that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant_exp: Option<f64>,
}

/// A limit that is there must be one: null is not the same as none.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// A key, with all that a token must have to be good by it.
pub(super) struct JwtKey {
    /// Empty for those of this process.
    issuer: String,
    key_id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

/// Keys, each in a file of its own.
#[derive(Debug, Clone)]
pub(super) struct JwtKeys(Arc<[Arc<Watched<JwtKey>>]>);

impl Algorithm {
    fn key(self, text: &[u8]) -> Result<DecodingKey, Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::HS256 => {
                // An editor ends a file with a new line.
                let secret = text.strip_suffix(b"\n").unwrap_or(text);
                if secret.len() < MIN_SECRET_BYTES {
                    return Err(format!("a secret needs at least {MIN_SECRET_BYTES} bytes").into());
                }
                Ok(DecodingKey::from_secret(secret))
            }
            Self::ES256 => Ok(DecodingKey::from_ec_pem(text)?),
            Self::EdDsa => Ok(DecodingKey::from_ed_pem(text)?),
            Self::RS256 => Ok(DecodingKey::from_rsa_pem(text)?),
        }
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HS256 => Self::HS256,
            Algorithm::ES256 => Self::ES256,
            Algorithm::EdDsa => Self::EdDSA,
            Algorithm::RS256 => Self::RS256,
        }
    }
}

impl JwtKeys {
    pub(super) fn open(settings: &[JwtKeySettings]) -> Result<Self, FileError> {
        settings.iter().map(|key| open_key(key).map(Arc::new)).collect::<Result<_, _>>().map(Self)
    }

    /// The files, to be looked at now and then.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<Watched<JwtKey>>> {
        self.0.iter()
    }

    /// What a token grants by any of the keys.
    pub(super) fn verify(&self, token: &str) -> Result<Grant, Denial> {
        const UNKNOWN: Denial = Denial::Unauthorized("the token is not known here");
        let header = jsonwebtoken::decode_header(token).map_err(|_| UNKNOWN)?;
        let keys = self.0.iter().map(|key| key.get()).filter(|key| {
            key.validation.algorithms.contains(&header.alg)
                && (key.key_id.is_none() || header.kid.is_none() || key.key_id == header.kid)
        });
        // The most telling failure: a key that has signed the token knows more than one that has not.
        let mut denial = UNKNOWN;
        for key in keys {
            match key.verify(token, &header) {
                Ok(claims) => {
                    let (sub, grant_exp) = (key.name(&claims), Some(claims.exp));
                    let claims = Claims { sub: Some(sub), grant_exp, ..claims };
                    return claims.grant().map_err(Denial::Unauthorized);
                }
                Err(Unverified::Foreign) => {}
                Err(Unverified::Bad(reason)) => denial = Denial::Unauthorized(reason),
            }
        }
        Err(denial)
    }
}

fn open_key(settings: &JwtKeySettings) -> Result<Watched<JwtKey>, FileError> {
    let settings = settings.clone();
    Watched::open(vec![settings.file.clone()], move |texts| {
        let JwtKeySettings { algorithm, file, issuer, audience, key_id } = &settings;
        let key = algorithm.key(&texts[0]);
        let key = key.map_err(|source| bad_key(file, *algorithm, &*source))?;
        let mut validation = Validation::new((*algorithm).into());
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        Ok(JwtKey { issuer: issuer.clone(), key_id: key_id.clone(), key, validation })
    })
}

fn bad_key(file: &Path, algorithm: Algorithm, source: &dyn std::error::Error) -> FileError {
    FileError::new(file, format!("no key for {algorithm:?}: {source}"))
}

/// Why a token is not good by a key.
enum Unverified {
    /// Another key may have signed it.
    Foreign,
    /// It was signed, but is not good.
    Bad(&'static str),
}

impl JwtKey {
    /// A key that only this process has, for what it gives to browsers.
    pub(super) fn own(audience: &str, secret: &[u8; 32]) -> (EncodingKey, Self) {
        let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.leeway = 0;
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        let (issuer, key) = (String::new(), DecodingKey::from_secret(secret));
        let key = Self { issuer, key_id: None, key, validation };
        (EncodingKey::from_secret(secret), key)
    }

    /// What a bearer is called: another issuer's of the same name is somebody else.
    fn name(&self, claims: &Claims) -> String {
        match &claims.sub {
            Some(sub) => format!("{sub} ({})", self.issuer),
            None => self.issuer.clone(),
        }
    }

    pub(super) fn grant(&self, token: &str) -> Option<Grant> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        self.verify(token, &header).ok()?.grant().ok()
    }

    fn verify(&self, token: &str, header: &Header) -> Result<Claims, Unverified> {
        // Nothing that a token could demand to be understood is (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(Unverified::Foreign);
        }
        let token = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        token.map(|token| token.claims).map_err(|error| error.kind().into())
    }
}

impl From<&ErrorKind> for Unverified {
    fn from(error: &ErrorKind) -> Self {
        Self::Bad(match error {
            ErrorKind::ExpiredSignature => "the token has expired",
            ErrorKind::ImmatureSignature => "the token is not good yet",
            ErrorKind::InvalidIssuer => "the token is by another issuer",
            ErrorKind::InvalidAudience => "the token is for another audience",
            ErrorKind::MissingRequiredClaim(_) => {
                "one of the token's `exp`, `iss`, `aud` is missing or cannot be read"
            }
            ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
                "the token's claims cannot be read: expected `exp`, and `scope` with names in one text"
            }
            _ => return Self::Foreign,
        })
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtKey")
    }
}

impl Claims {
    /// What gives the same again, for this audience, until `exp`.
    pub(super) fn of(grant: &Grant, audience: &str, exp: Timestamp) -> Self {
        let seconds = |time: Timestamp| time.as_duration().as_secs_f64();
        Self {
            exp: seconds(exp),
            sub: grant.name().map(Into::into),
            aud: Some(audience.into()),
            scope: grant.scopes.to_string(),
            filter: grant.filter.as_ref().map(|filter| filter.canonical().to_owned()),
            metrics: grant.metrics.as_ref().map(ToString::to_string),
            grant_exp: grant.expires.map(seconds),
        }
    }

    pub(super) fn sign(&self, key: &EncodingKey) -> String {
        jsonwebtoken::encode(&Header::default(), self, key).expect("claims are valid JSON")
    }

    fn grant(self) -> Result<Grant, &'static str> {
        let time = |seconds: f64| {
            let seconds = jiff::SignedDuration::try_from_secs_f64(seconds);
            seconds.ok().and_then(|since| Timestamp::from_duration(since).ok())
        };
        const OUT_OF_RANGE: &str = "the token's `exp` is out of range";
        let expires = self.grant_exp.map(|exp| time(exp).ok_or(OUT_OF_RANGE)).transpose()?;
        let filter = self.filter.map(|filter| super::parse_limit(&filter)).transpose();
        let metrics = self.metrics.map(|metrics| metrics.parse()).transpose();
        let filter = filter.map_err(|_| "the token's `filter` cannot be read, or is no limit")?;
        let metrics = metrics.map_err(|_| "the token's `metrics` cannot be read")?;
        let mut scopes = Scopes::named_in(&self.scope);
        if super::tells_of_others(filter.as_ref(), metrics.as_ref()) {
            scopes = scopes.without(Scope::Metrics);
        }
        Ok(Grant { name: self.sub.map(Into::into), scopes, filter, metrics, expires })
    }
}
