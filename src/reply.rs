//! What routes answer: JSON, problems (RFC 9457), and which failure has which status.

use std::time::Duration;

use serde::Serialize;
use telemetry_hub_actors::{IngestError, NoSuchSubscriber, QueryError, SubscribeError};
use warp::Reply;
use warp::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{Response, StatusCode};

use crate::access::Denial;

/// What warp sends.
pub(crate) type HttpResponse = warp::reply::Response;

/// When to try again after a refusal for lack of room: the queue empties in well under a second.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// When to try again, in seconds, after a refusal for lack of places: they come free as others leave, and not all who wait
/// should come back at once.
const RETRY_LATER: std::ops::Range<u64> = 5..15;

/// An error as RFC 9457 has it: `application/problem+json`.
#[derive(Debug)]
pub(crate) struct Problem(Box<Details>);

#[derive(Debug, Serialize)]
struct Details {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "status_number")]
    status: StatusCode,
    detail: String,
    /// The query parameter to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// The item of the batch to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// How many items of the batch were rejected, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ItemError>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why one item of a batch was rejected.
#[derive(Debug, Serialize)]
pub(crate) struct ItemError {
    pub(crate) index: usize,
    pub(crate) error: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status,
            detail: detail.into(),
            parameter: None,
            index: None,
            rejected: None,
            errors: Vec::new(),
            headers: Vec::new(),
        }))
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Nobody is known by what was shown; the challenge says what would do (RFC 9110, section 11.6.1).
    pub(crate) fn unauthorized(detail: impl Into<String>, challenge: HeaderValue) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail).with_header(WWW_AUTHENTICATE, challenge)
    }

    /// The path would be good, but there is nothing of that name.
    pub(crate) fn nothing_there(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The client took too long.
    pub(crate) fn too_slow(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, detail)
    }

    /// It will never be taken as large as it is.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// It cannot be read here; the header says what can.
    pub(crate) fn unreadable(
        detail: impl Into<String>,
        header: HeaderName,
        accepted: &'static str,
    ) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
            .with_header(header, HeaderValue::from_static(accepted))
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// How long to wait before trying again, if that is worth it.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let mut headers = self.0.headers.iter();
        let (_, value) = headers.find(|(name, _)| *name == RETRY_AFTER)?;
        value.to_str().ok()?.parse().ok().map(Duration::from_secs)
    }

    /// The same, said in another form.
    pub(crate) fn respond_as(self, content_type: &'static str, body: Vec<u8>) -> HttpResponse {
        let mut response = with_type(self.0.status, content_type, body);
        response.headers_mut().extend(self.0.headers);
        response
    }

    /// A batch of which nothing could be taken.
    pub(crate) fn all_rejected(rejected: usize, errors: Vec<ItemError>) -> Self {
        let detail = match errors.as_slice() {
            [only] if rejected == 1 => only.error.clone(),
            _ => format!("none of the {rejected} items could be taken"),
        };
        let index = if rejected == 1 { errors.first().map(|error| error.index) } else { None };
        let mut problem = Self::bad_request(detail);
        problem.0.index = index;
        problem.0.rejected = Some(rejected);
        problem.0.errors = errors;
        problem
    }

    /// Not now; perhaps after a while.
    pub(crate) fn unavailable(detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::for_now(StatusCode::SERVICE_UNAVAILABLE, detail, retry_after)
    }

    fn for_now(status: StatusCode, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(status, detail).with_header(RETRY_AFTER, HeaderValue::from(retry_after.as_secs()))
    }

    /// Too much at once of one client's, who may come back.
    pub(crate) fn too_many(detail: impl Into<String>, retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs_f64().ceil().max(1.0) as u64;
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
            .with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// No room now, but very soon.
    pub(crate) fn no_room(detail: &str) -> Self {
        Self::unavailable(detail, RETRY_SOON)
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let mut problem = Self::bad_request(error.to_string());
        problem.0.parameter = Some(error.parameter);
        problem
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unauthorized(reason) => {
                let challenge = HeaderValue::from_static("Bearer realm=\"telemetry-hub\"");
                Self::unauthorized(reason, challenge)
            }
            Denial::MissingScope(scope) => {
                // RFC 6750, section 3.1.
                let challenge = format!(
                    "Bearer realm=\"telemetry-hub\", error=\"insufficient_scope\", scope=\"{scope}\""
                );
                let challenge = HeaderValue::try_from(challenge).expect("scopes are plain words");
                let detail = format!("the token has not the scope `{scope}`");
                Self::new(StatusCode::FORBIDDEN, detail).with_header(WWW_AUTHENTICATE, challenge)
            }
            Denial::Foreign(reason) => Self::new(StatusCode::FORBIDDEN, reason),
        }
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        let later = Duration::from_secs(rand::random_range(RETRY_LATER));
        match error {
            SubscribeError::ShuttingDown
            | SubscribeError::NotJoined
            | SubscribeError::NotCovered
            | SubscribeError::Failed => Self::unavailable(error.to_string(), RETRY_SOON),
            SubscribeError::TooMany { .. } | SubscribeError::TooManyIntervals { .. } => {
                Self::unavailable(error.to_string(), later)
            }
            // The client's own doing (RFC 6585, section 4).
            SubscribeError::TooManyFromAddress { .. } | SubscribeError::TooManyOfToken { .. } => {
                Self::for_now(StatusCode::TOO_MANY_REQUESTS, error.to_string(), later)
            }
        }
    }
}

impl From<NoSuchSubscriber> for Problem {
    fn from(error: NoSuchSubscriber) -> Self {
        Self::new(StatusCode::NOT_FOUND, error.to_string())
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::QueueFull | IngestError::Unavailable | IngestError::ShuttingDown => {
                Self::unavailable(error.to_string(), RETRY_SOON)
            }
            IngestError::EventTooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            IngestError::BatchTooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{error}; send smaller batches"))
            }
        }
    }
}

impl Reply for Problem {
    fn into_response(self) -> HttpResponse {
        let body = serde_json::to_vec(&self.0).expect("a problem is always valid JSON");
        self.respond_as("application/problem+json", body)
    }
}

/// 200 with a JSON body.
pub(crate) fn json(body: &impl Serialize) -> HttpResponse {
    let body = serde_json::to_vec(body).expect("replies are always valid JSON");
    with_type(StatusCode::OK, "application/json", body)
}

/// What every answer says to browsers: it is what its type says, it may load nothing, no page may frame it, and nobody is told its URL, in
/// which a ticket may stand.
pub(crate) const FOR_BROWSERS: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// A whole body of a type, which nobody may keep: it tells of now.
pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
) -> HttpResponse {
    let mut response = Response::new(body).into_response();
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().extend(FOR_BROWSERS);
    response
}

/// What a browser is answered that asks beforehand whether it may send something.
pub(crate) fn preflight(headers: HeaderMap) -> HttpResponse {
    let mut response = done();
    response.headers_mut().extend(headers);
    response
}

/// It has been done, and there is nothing to say.
pub(crate) fn done() -> HttpResponse {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().extend(FOR_BROWSERS);
    response
}

/// The path is right, the method is not.
pub(crate) fn method_not_allowed(allow: &'static str) -> HttpResponse {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {allow}"))
        .with_header(ALLOW, HeaderValue::from_static(allow))
        .into_response()
}

/// No such path.
pub(crate) fn not_found() -> HttpResponse {
    // A host may have put them behind a prefix, which nobody knows here.
    let detail = "no such path; those of the live streams end in /api/telemetry/traces/live and \
                  /api/telemetry/metrics/live";
    Problem::new(StatusCode::NOT_FOUND, detail).into_response()
}

fn status_number<S: serde::Serializer>(
    status: &StatusCode,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
