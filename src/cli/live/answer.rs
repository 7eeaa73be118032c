//! What an answer that is no stream means for whoever asked for one. Pure: status, `Retry-After` and body in, verdict out.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

/// How much of a body that is no JSON is shown.
const MAX_SHOWN_CHARS: usize = 200;

/// As clap has it for options.
const BAD_OPTION: u8 = 2;

/// The same request will never be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Refusal {
    pub(in crate::cli) reason: String,
    pub(in crate::cli) exit_code: u8,
}

impl Refusal {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), exit_code: 1 }
    }
}

/// No stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not now; perhaps in a while.
    Busy {
        reason: String,
        retry_after: Option<Duration>,
    },
    Refused(Refusal),
}

/// The parts of a `problem+json` body (RFC 9457) that say more than the status.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    parameter: Option<String>,
}

/// Reads it.
pub(super) fn read(
    status: StatusCode,
    retry_after: Option<&str>,
    body: &[u8],
    has_token: bool,
) -> Answer {
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    let reason = reason(status, problem.as_ref(), body);
    let refusal = match status {
        StatusCode::BAD_REQUEST => bad_request(problem, reason),
        StatusCode::UNAUTHORIZED if has_token => {
            Refusal::new(format!("the hub does not take this token: {reason}"))
        }
        StatusCode::UNAUTHORIZED => Refusal::new(format!(
            "the hub asks for a token, by TELEMETRY_HUB_TOKEN in the environment or --token-file: {reason}"
        )),
        StatusCode::FORBIDDEN => {
            Refusal::new(format!("this is more than one may see with this token: {reason}"))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            return busy(reason, retry_after);
        }
        _ if status.is_server_error() => return busy(reason, retry_after),
        _ if status.is_success() => {
            Refusal::new("there is an answer, but not that of a telemetry hub: no event stream")
        }
        _ => Refusal::new(format!("no live stream there: {reason}")),
    };
    Answer::Refused(refusal)
}

fn bad_request(problem: Option<Problem>, reason: String) -> Refusal {
    let reason = match problem {
        Some(Problem { parameter: Some(parameter), detail, .. }) => {
            format!("the hub refuses the parameter `{parameter}`: {detail}")
        }
        _ => reason,
    };
    Refusal { reason, exit_code: BAD_OPTION }
}

fn busy(reason: String, retry_after: Option<&str>) -> Answer {
    // The other form, a date, is not what a hub sends; the usual wait does for it.
    let seconds = retry_after.and_then(|text| text.trim().parse::<u32>().ok());
    let retry_after = seconds.map(|seconds| Duration::from_secs(seconds.into()));
    Answer::Busy { reason, retry_after }
}

/// The status, and what the body adds to it.
fn reason(status: StatusCode, problem: Option<&Problem>, body: &[u8]) -> String {
    let shown = match problem {
        Some(Problem { detail, .. }) if !detail.is_empty() => detail.clone(),
        Some(Problem { title, .. }) => title.clone(),
        None => String::from_utf8_lossy(body).trim().chars().take(MAX_SHOWN_CHARS).collect(),
    };
    if shown.is_empty() { status.to_string() } else { format!("{status}: {shown}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, exit_code: u8, told: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        match read(status, None, body.as_bytes(), false) {
            Answer::Refused(refusal) => {
                assert_eq!(refusal.exit_code, exit_code);
                assert!(refusal.reason.contains(told), "{}", refusal.reason);
            }
            busy @ Answer::Busy { .. } => panic!("{busy:?}"),
        }
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let body = r#"{"title":"Bad Request","detail":"unknown level","parameter":"level"}"#;
        check(400, body, 2, "the parameter `level`: unknown level");
        check(400, "what?", 2, "400 Bad Request: what?");
        check(401, r#"{"detail":"no token"}"#, 1, "TELEMETRY_HUB_TOKEN");
        check(403, r#"{"detail":"the token has not the scope `traces`"}"#, 1, "scope `traces`");
        check(404, "", 1, "no live stream there: 404 Not Found");
        check(308, "", 1, "308 Permanent Redirect");
        check(200, "<html>", 1, "not that of a telemetry hub");
        let Answer::Refused(refusal) = read(StatusCode::UNAUTHORIZED, None, b"", true) else {
            panic!("expected a refusal");
        };
        assert!(refusal.reason.starts_with("the hub does not take this token"));
    }

    #[test]
    fn busy_hub_says_when() {
        for (status, header, seconds) in [
            (503, Some("7"), Some(7)),
            (429, Some(" 1 "), Some(1)),
            (500, None, None),
            (408, None, None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let retry_after = seconds.map(Duration::from_secs);
            let expected = Answer::Busy { reason: status.to_string(), retry_after };
            assert_eq!(read(status, header, b"", false), expected);
        }
    }
}
