//! The two encodings of OTLP: protobuf, and JSON as "JSON Protobuf Encoding" in the OTLP specification has it.
//!
//! JSON is read by the messages' own descriptors, which know every field, and then is protobuf like the rest: what is wrong
//! anywhere in a record is an error of that record, never a member left out. OTLP departs from protobuf's JSON in one
//! thing: ids are hex, not base64.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, EnumDescriptor, Kind, MessageDescriptor,
    Value,
};
use telemetry_hub_actors as hub;

use super::Unreadable;

/// How a request is encoded, and so its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

/// A message that stands in a request on its own.
pub(super) trait Part: Message + Default {
    /// Its full name, by which its descriptor is found.
    const NAME: &'static str;
}

impl Part for Resource {
    const NAME: &'static str = "opentelemetry.proto.resource.v1.Resource";
}

impl Part for InstrumentationScope {
    const NAME: &'static str = "opentelemetry.proto.common.v1.InstrumentationScope";
}

impl Part for LogRecord {
    const NAME: &'static str = "opentelemetry.proto.logs.v1.LogRecord";
}

impl Part for Span {
    const NAME: &'static str = "opentelemetry.proto.trace.v1.Span";
}

impl Part for Metric {
    const NAME: &'static str = "opentelemetry.proto.metrics.v1.Metric";
}

static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(opentelemetry_proto::DESCRIPTORS).expect("they come with the messages")
});

impl Encoding {
    /// Reads a message of no more than so many bytes: what it becomes can be many times as large.
    pub(super) fn decode<T: Part>(self, bytes: &[u8], limit: usize) -> Result<T, Unreadable> {
        Ok(T::decode(&*self.to_protobuf::<T>(bytes, limit)?)?)
    }

    /// The message in protobuf.
    pub(super) fn to_protobuf<T: Part>(
        self,
        bytes: &[u8],
        limit: usize,
    ) -> Result<Cow<'_, [u8]>, Unreadable> {
        if bytes.len() > limit {
            return Err(Unreadable::TooLarge { size: bytes.len(), limit });
        }
        match self {
            Self::Protobuf => Ok(bytes.into()),
            Self::Json => {
                let message = read_json(descriptor(T::NAME), bytes)?;
                Ok(message.encode_to_vec().into())
            }
        }
    }
}

fn descriptor(name: &str) -> MessageDescriptor {
    DESCRIPTORS.get_message_by_name(name).expect("the names are those of the messages")
}

fn read_json(descriptor: MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, Unreadable> {
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let message =
        DynamicMessage::deserialize_with_options(descriptor.clone(), &mut deserializer, &options);
    let mut message = message?;
    check_members(&descriptor, &serde_json::from_slice(json)?)?;
    read_ids_as_hex(&mut message)?;
    Ok(message)
}

/// What a lenient reader lets pass: unknown names of enums, which are ignored with the unknown fields (ProtoJSON), and a field
/// that is there twice, of which the first is lost. Here they are mistakes.
fn check_members(descriptor: &MessageDescriptor, json: &hub::Value) -> Result<(), Unreadable> {
    let hub::Value::Object(members) = json else { return Ok(()) };
    let mut seen = HashSet::new();
    for (name, value) in members.iter() {
        let field = descriptor.get_field_by_json_name(name);
        let Some(field) = field.or_else(|| descriptor.get_field_by_name(name)) else { continue };
        if !seen.insert(field.number()) {
            return Err(Unreadable::bad("a member", "once"));
        }
        match (field.kind(), value) {
            (Kind::Enum(names), hub::Value::String(name)) if !has_name(&names, name) => {
                return Err(Unreadable::bad("an enum", "a name or number that it has"));
            }
            (Kind::Message(inner), hub::Value::Array(items)) => {
                items.iter().try_for_each(|item| check_members(&inner, item))?;
            }
            (Kind::Message(inner), value) => check_members(&inner, value)?,
            _ => {}
        }
    }
    Ok(())
}

fn has_name(names: &EnumDescriptor, name: &str) -> bool {
    names.get_value_by_name(name).is_some()
}

/// Ids have been read as base64, as all other bytes are. That is undone, and they are read as hex.
fn read_ids_as_hex(message: &mut DynamicMessage) -> Result<(), Unreadable> {
    for (field, value) in message.fields_mut() {
        match value {
            Value::Bytes(id)
                if matches!(field.name(), "trace_id" | "span_id" | "parent_span_id") =>
            {
                let text = BASE64_STANDARD.encode(&id);
                let bytes = const_hex::decode(text);
                *id = bytes.map_err(|_| Unreadable::bad("an id", "hex digits"))?.into();
            }
            Value::Message(inner) => read_ids_as_hex(inner)?,
            Value::List(items) => {
                for item in items.iter_mut().filter_map(Value::as_message_mut) {
                    read_ids_as_hex(item)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
