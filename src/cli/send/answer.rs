//! What a hub's answer means for the batch it answers.
//!
//! Pure: status, `Retry-After` and body in, verdict out. An answer that does not account for every event of the batch is
//! none: something else than a hub may listen there.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

/// How much of a body that is no JSON is shown.
const MAX_SHOWN_CHARS: usize = 200;

/// What became of a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// The hub has read the batch.
    Read(Receipt),
    /// The batch is more than the hub takes at once.
    TooLarge(String),
    /// Not now; perhaps in a while.
    Busy { reason: String, retry_after: Option<Duration> },
    /// Not this, nor the next one.
    Refused(String),
}

/// What the hub took of a batch.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Receipt {
    pub(super) accepted: usize,
    #[serde(default)]
    pub(super) rejected: usize,
    /// May name fewer events than were rejected.
    #[serde(default)]
    pub(super) errors: Vec<Rejection>,
}

/// Why the hub did not take one event.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Rejection {
    /// Its place in the batch.
    pub(super) index: usize,
    pub(super) error: String,
}

/// The part of a `problem+json` body (RFC 9457) that says more than the status.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<Rejection>,
}

/// Reads the answer to a batch of `sent` events.
pub(super) fn read(
    status: StatusCode,
    retry_after: Option<&str>,
    body: &[u8],
    sent: usize,
) -> Answer {
    match status {
        _ if status.is_success() => read_receipt(status, body, sent),
        StatusCode::BAD_REQUEST => read_bad_request(body, sent),
        StatusCode::PAYLOAD_TOO_LARGE => Answer::TooLarge(reason(status, body)),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            busy(status, retry_after, body)
        }
        _ if status.is_server_error() => busy(status, retry_after, body),
        _ => Answer::Refused(reason(status, body)),
    }
}

fn read_receipt(status: StatusCode, body: &[u8], sent: usize) -> Answer {
    let Ok(receipt) = serde_json::from_slice::<Receipt>(body) else {
        let shown = shorten(&String::from_utf8_lossy(body));
        return Answer::Refused(format!("{status}, but not from a telemetry hub: {shown:?}"));
    };
    let Receipt { accepted, rejected, errors } = &receipt;
    if accepted.checked_add(*rejected) != Some(sent) || errors.len() > *rejected {
        return Answer::Refused(format!(
            "{status}, but {accepted} accepted and {rejected} rejected of {sent} events sent"
        ));
    }
    Answer::Read(receipt)
}

/// All were bad, and each is named; or the request itself was.
fn read_bad_request(body: &[u8], sent: usize) -> Answer {
    match serde_json::from_slice::<Problem>(body) {
        Ok(Problem { errors, .. }) if !errors.is_empty() && errors.len() <= sent => {
            Answer::Read(Receipt { accepted: 0, rejected: sent, errors })
        }
        _ => Answer::Refused(reason(StatusCode::BAD_REQUEST, body)),
    }
}

fn busy(status: StatusCode, retry_after: Option<&str>, body: &[u8]) -> Answer {
    // The other form, a date, is not what a hub sends; the usual backoff does for it. Zero is no wait at all.
    let seconds = retry_after.and_then(|text| text.trim().parse::<u32>().ok()).filter(|s| *s > 0);
    let retry_after = seconds.map(|seconds| Duration::from_secs(seconds.into()));
    Answer::Busy { reason: reason(status, body), retry_after }
}

/// The status, and what the body adds to it.
fn reason(status: StatusCode, body: &[u8]) -> String {
    let shown = match serde_json::from_slice::<Problem>(body) {
        Ok(Problem { detail, .. }) if !detail.is_empty() => detail,
        Ok(Problem { title, .. }) => title,
        Err(_) => shorten(&String::from_utf8_lossy(body)),
    };
    if shown.is_empty() { status.to_string() } else { format!("{status}: {shown}") }
}

fn shorten(text: &str) -> String {
    text.trim().chars().take(MAX_SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to two events.
    #[track_caller]
    fn check(status: u16, body: &str, expected: Answer) {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(read(status, None, body.as_bytes(), 2), expected, "{status} {body}");
    }

    #[track_caller]
    fn check_busy(status: u16, header: Option<&str>, seconds: Option<u64>) {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = seconds.map(Duration::from_secs);
        let expected = Answer::Busy { reason: status.to_string(), retry_after };
        assert_eq!(read(status, header, b"", 2), expected);
    }

    fn rejection(index: usize, error: &str) -> Rejection {
        Rejection { index, error: error.to_owned() }
    }

    fn refused(reason: &str) -> Answer {
        Answer::Refused(reason.to_owned())
    }

    #[test]
    fn receipts() {
        check(
            200,
            r#"{"accepted":2}"#,
            Answer::Read(Receipt { accepted: 2, rejected: 0, errors: vec![] }),
        );
        let errors = vec![rejection(1, "bad")];
        check(
            200,
            r#"{"accepted":1,"rejected":1,"errors":[{"index":1,"error":"bad"}]}"#,
            Answer::Read(Receipt { accepted: 1, rejected: 1, errors }),
        );
        check(
            200,
            r#"{"accepted":0,"rejected":2}"#,
            Answer::Read(Receipt { accepted: 0, rejected: 2, errors: vec![] }),
        );
    }

    #[test]
    fn receipts_that_do_not_add_up_are_none() {
        check(
            200,
            r#"{"accepted":1}"#,
            refused("200 OK, but 1 accepted and 0 rejected of 2 events sent"),
        );
        check(
            200,
            r#"{"accepted":18446744073709551615,"rejected":3}"#,
            refused("200 OK, but 18446744073709551615 accepted and 3 rejected of 2 events sent"),
        );
        check(200, "<html>", refused(r#"200 OK, but not from a telemetry hub: "<html>""#));
        check(204, "", refused(r#"204 No Content, but not from a telemetry hub: """#));
    }

    #[test]
    fn bad_request_names_every_event_or_is_final() {
        let errors = vec![rejection(0, "a"), rejection(1, "b")];
        check(
            400,
            r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"none","rejected":2,
                "errors":[{"index":0,"error":"a"},{"index":1,"error":"b"}]}"#,
            Answer::Read(Receipt { accepted: 0, rejected: 2, errors }),
        );
        check(400, r#"{"detail":"bad encoding"}"#, refused("400 Bad Request: bad encoding"));
    }

    #[test]
    fn busy_hub_says_when() {
        check_busy(429, Some("7"), Some(7));
        check_busy(503, Some(" 1 "), Some(1));
        check_busy(503, Some("0"), None);
        check_busy(503, Some("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        check_busy(500, None, None);
        check_busy(408, None, None);
    }

    #[test]
    fn other_statuses() {
        check(413, "", Answer::TooLarge("413 Payload Too Large".to_owned()));
        check(
            401,
            r#"{"title":"Unauthorized","detail":""}"#,
            refused("401 Unauthorized: Unauthorized"),
        );
        check(404, " no such page\n", refused("404 Not Found: no such page"));
        check(308, "", refused("308 Permanent Redirect"));
    }
}
