//! Input: a letter that says what the rest is, a letter that says how JSON is to be spelt, then the body of an export.
//!
//! `l` logs, `t` traces, `m` metrics, `o` any, in protobuf; the capitals in JSON.
//!
//! Nothing panics, and the answer is 200 or 400. A request in protobuf that is valid as a whole comes to the same in JSON, whatever
//! freedoms ProtoJSON leaves: the same answer, the same events, the same series.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::StatusCode;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use prost::encoding::WireType;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use telemetry_hub::actors::{NewEvent, Sample};

use crate::hub::{TestHub, run};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Deeper values are refused, in JSON sooner than in protobuf: there each level has several of its own.
const DEEP: usize = 60;

/// Checks one input.
pub fn check(data: &[u8]) {
    let [letter, spelling, body @ ..] = data else { return };
    let Some((path, message)) = signal(*letter) else { return };
    if letter.is_ascii_uppercase() {
        run(post(path, JSON, body.to_vec()));
        return;
    }
    let said = run(post(path, PROTOBUF, body.to_vec()));
    let Some(message) =
        message.and_then(|name| DynamicMessage::decode(descriptor(name), body).ok())
    else {
        return;
    };
    if has_group(&message) {
        return;
    }
    let json = to_json(&message, *spelling);
    if depth(&json) > DEEP {
        return;
    }
    let said_to_json = run(post(path, JSON, json.to_string().into_bytes()));
    assert_eq!(said_to_json, said, "{json}");
}

/// Where it is sent, and the message that it is.
fn signal(letter: u8) -> Option<(&'static str, Option<&'static str>)> {
    Some(match letter.to_ascii_lowercase() {
        b'l' => ("/v1/logs", Some("logs.v1.LogsData")),
        b't' => ("/v1/traces", Some("trace.v1.TracesData")),
        b'm' => ("/v1/metrics", Some("metrics.v1.MetricsData")),
        b'o' => ("/v1/otel", None),
        _ => return None,
    })
}

fn descriptor(name: &str) -> MessageDescriptor {
    thread_local! {
        static DESCRIPTORS: DescriptorPool = DescriptorPool::decode(opentelemetry_proto::DESCRIPTORS)
            .expect("they come with the messages");
    }
    let name = format!("opentelemetry.proto.{name}");
    DESCRIPTORS.with(|pool| pool.get_message_by_name(&name)).expect("there is such a message")
}

/// What came of a request, in whatever encoding.
#[derive(Debug, PartialEq)]
struct Said {
    status: StatusCode,
    rejected: Option<i64>,
    events: Vec<NewEvent>,
    series: Vec<String>,
}

async fn post(path: &str, content_type: &str, body: Vec<u8>) -> Said {
    let mut hub = TestHub::start().await;
    let (status, answer) = hub.post(path, &[("content-type", content_type)], body).await;
    let rejected = match status {
        StatusCode::OK if content_type == JSON => Some(rejected_in_json(&answer)),
        StatusCode::OK => Some(rejected_in_protobuf(&answer)),
        StatusCode::BAD_REQUEST => None,
        other => panic!("{other}: {answer:?}"),
    };
    let events = hub.events().await;
    let events = events.iter().map(|event| event.content().clone()).collect();
    let series = hub.hub.metrics().iter().filter(|sample| !is_own(sample)).map(in_words).collect();
    hub.stop().await;
    Said { status, rejected, events, series }
}

fn rejected_in_protobuf(answer: &Bytes) -> i64 {
    let answer = ExportLogsServiceResponse::decode(answer.clone()).expect("it is a response");
    answer.partial_success.map_or(0, |partial| partial.rejected_log_records)
}

fn rejected_in_json(answer: &[u8]) -> i64 {
    let answer: Value = serde_json::from_slice(answer).expect("it is JSON");
    let Some(partial) = answer.get("partialSuccess") else { return 0 };
    let names = ["rejectedLogRecords", "rejectedSpans", "rejectedDataPoints"];
    let number = names.into_iter().find_map(|name| partial.get(name)?.as_str()?.parse().ok());
    number.expect("a partial success counts")
}

fn is_own(sample: &Sample) -> bool {
    let id = sample.id();
    id.starts_with("hub.") || id.starts_with("server.") || id == "queue.count"
}

fn in_words(sample: &Sample) -> String {
    serde_json::to_string(sample).expect("a sample is JSON")
}

/// The message as ProtoJSON, but with its ids in hex, as OTLP has it. The bits of `spelling` choose among what both allow.
fn to_json(message: &DynamicMessage, spelling: u8) -> Value {
    let chosen = |bit: u8| spelling & 1 << bit != 0;
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(chosen(0))
        .use_enum_numbers(chosen(1))
        .use_proto_field_name(chosen(2))
        .skip_default_fields(chosen(3));
    let json = message.serialize_with_options(serde_json::value::Serializer, &options);
    let mut json = json.expect("what was read can be written");
    ids_in_hex(&mut json);
    json
}

fn ids_in_hex(json: &mut Value) {
    match json {
        Value::Array(items) => items.iter_mut().for_each(ids_in_hex),
        Value::Object(members) => {
            for (name, value) in members {
                let is_id = matches!(
                    name.as_str(),
                    "traceId"
                        | "trace_id"
                        | "spanId"
                        | "span_id"
                        | "parentSpanId"
                        | "parent_span_id"
                );
                match value {
                    Value::String(id) if is_id => {
                        *id = const_hex::encode(BASE64_STANDARD.decode(&*id).expect("base64"));
                    }
                    value => ids_in_hex(value),
                }
            }
        }
        _ => {}
    }
}

/// Whether there is a group among the fields that nobody knows. OTLP has none; the hub takes one for no field, others skip it.
fn has_group(message: &DynamicMessage) -> bool {
    let is_in = |value: &prost_reflect::Value| match value {
        prost_reflect::Value::Message(inner) => has_group(inner),
        prost_reflect::Value::List(items) => {
            items.iter().filter_map(|item| item.as_message()).any(has_group)
        }
        _ => false,
    };
    message.unknown_fields().any(|field| field.wire_type() == WireType::StartGroup)
        || message.fields().any(|(_, value)| is_in(value))
}

fn depth(json: &Value) -> usize {
    let inner = match json {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(members) => members.values().map(depth).max(),
        _ => return 0,
    };
    inner.unwrap_or(0) + 1
}
