//! What an exporter is answered: how much was taken, or why nothing was, in the encoding of its request.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use prost::Message;
use prost_reflect::prost_types::Any;
use serde_json::json;
use tonic_types::pb::{RetryInfo, Status};
use warp::http::StatusCode;

use super::{Encoding, Outcome, Signal};
use crate::reply::{self, HttpResponse, Problem};

/// The media type of an encoding.
pub(crate) fn content_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    }
}

/// The answer over HTTP.
pub(crate) fn respond(
    signal: Signal,
    encoding: Encoding,
    result: Result<Outcome, Problem>,
) -> HttpResponse {
    match result {
        Ok(outcome) => {
            let body = match encoding {
                Encoding::Protobuf => protobuf(&outcome).encode_to_vec(),
                Encoding::Json => json(signal, &outcome).to_string().into_bytes(),
            };
            reply::with_type(StatusCode::OK, content_type(encoding), body)
        }
        Err(problem) => {
            let status = status(&problem);
            let body = match encoding {
                Encoding::Protobuf => status.encode_to_vec(),
                Encoding::Json => json_status(&status, problem.retry_after()).to_string().into(),
            };
            problem.respond_as(content_type(encoding), body)
        }
    }
}

/// In protobuf the answers to all three signals are one: they number their fields alike.
pub(super) fn protobuf(outcome: &Outcome) -> ExportLogsServiceResponse {
    let partial_success = (outcome.rejected > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: i64::try_from(outcome.rejected).unwrap_or(i64::MAX),
        error_message: outcome.reasons(),
    });
    ExportLogsServiceResponse { partial_success }
}

fn json(signal: Signal, outcome: &Outcome) -> serde_json::Value {
    if outcome.rejected == 0 {
        return json!({});
    }
    // 64-bit integers are strings in protobuf's JSON.
    let rejected = outcome.rejected.to_string();
    json!({"partialSuccess": {
        signal.rejected_member(): rejected,
        "errorMessage": outcome.reasons(),
    }})
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

fn status(problem: &Problem) -> Status {
    let retry_info = |delay: Duration| Any {
        type_url: RETRY_INFO.to_owned(),
        value: RetryInfo { retry_delay: delay.try_into().ok() }.encode_to_vec(),
    };
    Status {
        code: code(problem.status()),
        message: problem.detail().to_owned(),
        details: problem.retry_after().map(retry_info).into_iter().collect(),
    }
}

fn json_status(status: &Status, retry_after: Option<Duration>) -> serde_json::Value {
    let retry_info = |delay: Duration| json!({"@type": RETRY_INFO, "retryDelay": format!("{}s", delay.as_secs())});
    let details: Vec<_> = retry_after.map(retry_info).into_iter().collect();
    json!({"code": status.code, "message": status.message, "details": details})
}

/// The code of gRPC for a status of HTTP (google.rpc.Code). Which of them are worth a retry, the OTLP specification says.
pub(super) fn code(status: StatusCode) -> i32 {
    let code = match status {
        StatusCode::UNAUTHORIZED => tonic::Code::Unauthenticated,
        StatusCode::FORBIDDEN => tonic::Code::PermissionDenied,
        StatusCode::REQUEST_TIMEOUT => tonic::Code::DeadlineExceeded,
        // Without `RetryInfo`: the same request will be too large again.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => {
            tonic::Code::ResourceExhausted
        }
        StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
        _ => tonic::Code::InvalidArgument,
    };
    code as i32
}
