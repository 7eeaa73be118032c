//! OTLP over gRPC: the three export methods, with gzip.
//!
//! tonic does the protocol; a message comes out of it as bytes, and goes the way of those that come over HTTP. The body is
//! read, paid for and limited by [`crate::intake`], as any other.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http_body_util::Full;
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use warp::http::header::{CONTENT_TYPE, HeaderMap};
use warp::http::{Method, Request, Response};

use super::{Encoding, Signal, accept, answer};
use crate::access::{Asking, Host, Scope};
use crate::intake::{Incoming, Intake, Trust, Via};
use crate::reply::Problem;

/// Whether a request is gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map_or(b"".as_slice(), |value| value.as_bytes());
    content_type.to_ascii_lowercase().strip_prefix(b"application/grpc").is_some_and(|rest| {
        // `application/grpc-web` is another protocol.
        rest.is_empty() || rest.starts_with(b"+proto") || rest.starts_with(b";")
    })
}

/// Answers a gRPC request.
pub(crate) async fn call(
    request: Request<()>,
    body: Incoming,
    intake: Intake,
) -> Response<tonic::body::Body> {
    let signal = Signal::ALL.into_iter().find(|signal| signal.grpc_path() == request.uri().path());
    let Some(signal) = signal.filter(|_| request.method() == Method::POST) else {
        return Status::unimplemented(
            "no such method; there is Export of logs, traces and metrics",
        )
        .into_http();
    };
    let host = Host::of(request.uri(), request.headers());
    let asking = Asking { host: &host, headers: request.headers(), stream: None };
    let intake = match intake.authorize(asking, Scope::Ingest) {
        Ok(admission) => {
            let peer = request.extensions().get().copied();
            intake.on_behalf_of(&admission.grant).brought_by(peer, request.headers(), Via::Otlp)
        }
        Err(problem) => return refused(&intake, problem).into_http(),
    };
    let limit = intake.limits.max_body_bytes;
    // What the frame adds to the message.
    const PREFIX_BYTES: usize = 5;
    let read = match body.read_as_sent(&intake, limit + PREFIX_BYTES).await {
        Ok(read) => read,
        Err(problem) => return refused(&intake, problem).into_http(),
    };
    let (bytes, room) = read.into_parts();
    // Whatever becomes of it.
    if let Err(problem) = intake.spend_bytes(bytes.len()) {
        return refused(&intake, problem).into_http();
    }
    // tonic inflates a message before anybody has paid for what it becomes.
    const COMPRESSED: u8 = 1;
    let inflated = match bytes.first() {
        Some(&COMPRESSED) => match intake.pay_for_bytes(Trust::Vouched, limit).await {
            Ok(room) => Some(room),
            Err(problem) => return refused(&intake, problem).into_http(),
        },
        _ => None,
    };
    let sent = bytes.len();
    let request = request.map(|()| Full::new(bytes));
    let mut grpc = Grpc::new(BytesCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(limit);
    let response = grpc.unary(Export { signal, sent, intake }, request).await;
    drop((room, inflated));
    response
}

/// One export method.
struct Export {
    signal: Signal,
    /// How large the message was before it was inflated.
    sent: usize,
    intake: Intake,
}

impl tonic::server::UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (signal, sent, intake) = (self.signal, self.sent, self.intake.clone());
        Box::pin(async move {
            let message = request.into_inner();
            let refused = |problem| refused(&intake, problem);
            intake.check_inflated(sent, message.len()).map_err(refused)?;
            let accepted = accept(Some(signal), Encoding::Protobuf, &message, &intake).await;
            let (_, outcome) = accepted.map_err(refused)?;
            Ok(tonic::Response::new(answer::protobuf(&outcome).encode_to_vec().into()))
        })
    }
}

/// A problem as gRPC has it; with the time to wait, if it is worth to come back.
fn refused(intake: &Intake, problem: Problem) -> Status {
    intake.count_answer(problem.status());
    status(problem)
}

/// The same, uncounted.
fn status(problem: Problem) -> Status {
    let code = Code::from(answer::code(problem.status()));
    let detail = problem.detail();
    match problem.retry_after() {
        Some(delay) => Status::with_error_details(code, detail, retry_info(delay)),
        None => Status::new(code, detail),
    }
}

fn retry_info(delay: Duration) -> ErrorDetails {
    ErrorDetails::with_retry_info(Some(delay))
}

/// Messages as they are on the wire: what is in them is read elsewhere.
#[derive(Debug, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
