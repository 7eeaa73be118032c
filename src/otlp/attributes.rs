//! Attributes: OTLP's values as those of an event's `data`.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use telemetry_hub_actors::{CreatedAt, Data, Object, SharedMembers, SmolStr, Value};

use super::Unreadable;

/// The value, as JSON has it. Bytes are base64; numbers that JSON does not know are strings, as in protobuf's own JSON.
pub(super) fn value(any: Option<AnyValue>) -> Value {
    match any.and_then(|any| any.value) {
        None | Some(AnyValueKind::StringValueStrindex(_)) => Value::Null,
        Some(AnyValueKind::StringValue(text)) => text.into(),
        Some(AnyValueKind::BoolValue(value)) => value.into(),
        Some(AnyValueKind::IntValue(number)) => number.into(),
        Some(AnyValueKind::DoubleValue(number)) => float(number),
        Some(AnyValueKind::ArrayValue(array)) => {
            array.values.into_iter().map(|item| value(Some(item))).collect::<Vec<_>>().into()
        }
        Some(AnyValueKind::KvlistValue(list)) => object(list.values).into(),
        Some(AnyValueKind::BytesValue(bytes)) => BASE64_STANDARD.encode(bytes).into(),
    }
}

pub(super) fn float(number: f64) -> Value {
    match number {
        _ if number.is_finite() => number.into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        _ => "NaN".into(),
    }
}

/// Attributes as they stand.
pub(super) fn object(attributes: Vec<KeyValue>) -> Object {
    let mut members = Members::with_capacity(attributes.len());
    members.add(attributes);
    members.into_object()
}

/// How many members are searched one by one; with more, a set is faster, and many more would take for ever.
const SEARCHED: usize = 32;

/// The members of `data` while they come together: the first of a name wins.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    members: Vec<(SmolStr, Value)>,
    /// A bit for each name: most names that are new are told so by one look, which makes a record a tenth cheaper.
    seen: u64,
    /// All names, once there are many.
    names: HashSet<SmolStr>,
    /// What it has in common with others, and how many members come before that.
    shared: Option<(&'a Shared, usize)>,
}

impl<'a> Members<'a> {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { members: Vec::with_capacity(capacity), ..Self::default() }
    }

    /// Adds attributes.
    pub(super) fn add(&mut self, attributes: Vec<KeyValue>) {
        for attribute in attributes {
            self.push(attribute.key.into(), || value(attribute.value));
        }
    }

    /// Adds an attribute.
    pub(super) fn add_one(&mut self, name: &str, value: Value) {
        self.push(name.into(), || value);
    }

    /// Adds a copy of what others have as well.
    pub(super) fn add_copies(&mut self, members: &Object) {
        for (name, value) in members.members() {
            self.push(name.clone(), || value.clone());
        }
    }

    /// Adds what it has in common with other records, once. Where no name is taken, as is nearly always so, it is not
    /// copied.
    pub(super) fn share(&mut self, shared: &'a Shared) {
        if self.is_disjoint(shared) {
            self.seen |= shared.seen;
            self.shared = Some((shared, self.members.len()));
        } else {
            self.add_copies(shared.members());
        }
    }

    fn is_disjoint(&self, shared: &Shared) -> bool {
        self.seen & shared.seen == 0 || !shared.members().iter().any(|(name, _)| self.has(name))
    }

    /// Adds a member of the record's own that is no attribute. One whose name is taken gets a prefix.
    pub(super) fn add_own(&mut self, prefix: &str, name: &str, value: impl Into<Value>) {
        let mut name = SmolStr::new(name);
        while self.has(&name) {
            name = format!("{prefix}.{name}").into();
        }
        self.push(name, || value.into());
    }

    /// The value of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        if !self.may_have(name) {
            return None;
        }
        self.members.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Takes out the first that is wanted.
    pub(super) fn take(&mut self, is_wanted: impl Fn(&str, &Value) -> bool) -> Option<Value> {
        let position = self.members.iter().position(|(name, value)| is_wanted(name, value))?;
        let (name, value) = self.members.remove(position);
        self.names.remove(&name);
        Some(value)
    }

    fn push(&mut self, name: SmolStr, value: impl FnOnce() -> Value) {
        if self.has(&name) {
            return;
        }
        if self.members.len() == SEARCHED && self.names.is_empty() {
            self.names = self.members.iter().map(|(name, _)| name.clone()).collect();
        }
        if !self.names.is_empty() {
            self.names.insert(name.clone());
        }
        self.seen |= bit(&name);
        self.members.push((name, value()));
    }

    fn has(&self, name: &str) -> bool {
        self.may_have(name) && (self.has_own(name) || self.has_shared(name))
    }

    fn has_own(&self, name: &str) -> bool {
        if self.names.is_empty() {
            self.members.iter().any(|(other, _)| *other == name)
        } else {
            self.names.contains(name)
        }
    }

    fn has_shared(&self, name: &str) -> bool {
        self.shared.is_some_and(|(shared, _)| shared.members().get(name).is_some())
    }

    fn may_have(&self, name: &str) -> bool {
        self.seen & bit(name) != 0
    }

    /// All of them, with copies of what others have as well.
    pub(super) fn into_object(self) -> Object {
        self.into_data().into()
    }

    /// All of them, sharing what others have as well.
    pub(super) fn into_data(mut self) -> Data {
        // What was guessed too much would be kept, and count, for as long as the event is.
        if self.members.capacity() > 2 * self.members.len() {
            self.members.shrink_to_fit();
        }
        let own: Object = self.members.into_iter().collect();
        match self.shared {
            Some((shared, before)) => Data::with_shared(own, before, Arc::clone(&shared.members)),
            None => own.into(),
        }
    }
}

/// Attributes that many records have.
#[derive(Debug)]
pub(super) struct Shared {
    members: Arc<SharedMembers>,
    /// The bits of all names.
    seen: u64,
}

impl Shared {
    pub(super) fn members(&self) -> &Object {
        self.members.members()
    }

    pub(super) fn heap_size(&self) -> usize {
        self.members.heap_size()
    }
}

impl From<Object> for Shared {
    fn from(members: Object) -> Self {
        let seen = members.iter().fold(0, |seen, (name, _)| seen | bit(name));
        Self { members: Arc::new(members.into()), seen }
    }
}

/// One of 64 bits, by the length of a name and its ends.
fn bit(name: &str) -> u64 {
    let ends = match name.as_bytes() {
        [] => 0,
        [only] => usize::from(*only),
        [first, .., last] => usize::from(*first) + 5 * usize::from(*last),
    };
    1 << ((ends + 11 * name.len()) % 64)
}

/// An instant; 0 is none.
pub(super) fn time(nanoseconds: u64) -> Option<CreatedAt> {
    let timestamp = jiff::Timestamp::from_nanosecond(nanoseconds.into()).ok()?;
    (nanoseconds > 0).then(|| CreatedAt::exact(timestamp))
}

/// An id in hex; none if it is empty or all zero, which OTLP has for none.
pub(super) fn id<const LENGTH: usize>(
    member: &'static str,
    bytes: &[u8],
) -> Result<Option<SmolStr>, Unreadable> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let expected = if LENGTH == 16 { "16 bytes" } else { "8 bytes" };
    match <[u8; LENGTH]>::try_from(bytes) {
        Ok(id) => {
            let mut hex = [0; 32];
            let hex = &mut hex[..2 * LENGTH];
            const_hex::encode_to_slice(id, hex).expect("two digits a byte");
            Ok(Some(std::str::from_utf8(hex).expect("digits are ASCII").into()))
        }
        Err(_) => Err(Unreadable::bad(member, expected)),
    }
}
