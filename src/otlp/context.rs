//! What a record has of its resource and of its scope.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use telemetry_hub_actors::{Object, SmolStr, Value};

use super::Unreadable;
use super::attributes::{Members, Shared, object};
use super::encoding::{Encoding, Part};

/// The attributes of a resource that say who it is, to people as well: those of a service that tell its instances apart
/// (semantic conventions, "Service"), and its host.
const IDENTITY: [&str; 4] =
    ["service.name", "service.namespace", "service.instance.id", "host.name"];

/// How large the attributes may be that each series has of its resource: no series may have more in all.
const MAX_IDENTITY_BYTES: usize = 4096;

/// What a resource says of itself.
#[derive(Debug)]
pub(super) struct ResourceContext {
    attributes: Shared,
    /// The attributes that say who it is.
    pub(super) identity: Object,
    hash: u64,
}

/// The scope of a record, and the resource above it.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) resource: &'a ResourceContext,
    scope: Object,
    pub(super) scope_name: SmolStr,
    /// Tells sources apart: the same for the same resource and scope.
    pub(super) source: u64,
    /// The attributes of both, once a record has asked.
    both: OnceLock<Shared>,
}

impl ResourceContext {
    pub(super) fn new(
        encoding: Encoding,
        bytes: Option<&[u8]>,
        limit: usize,
    ) -> Result<Self, Unreadable> {
        let resource: Resource = head(encoding, bytes, limit)?;
        let attributes = object(resource.attributes);
        check_size(attributes.heap_size(), limit)?;
        let mut hasher = DefaultHasher::new();
        canonical(&attributes).hash(&mut hasher);
        let is_identity = |(name, _): &&(SmolStr, Value)| IDENTITY.contains(&&**name);
        let identity: Object = attributes.members().iter().filter(is_identity).cloned().collect();
        check_size(identity.heap_size(), MAX_IDENTITY_BYTES)?;
        Ok(Self { attributes: attributes.into(), identity, hash: hasher.finish() })
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(
        encoding: Encoding,
        resource: &'a ResourceContext,
        scope: Option<&[u8]>,
        limit: usize,
    ) -> Result<Self, Unreadable> {
        let scope: InstrumentationScope = head(encoding, scope, limit)?;
        let attributes = object(scope.attributes);
        // All that is part of each record.
        check_size(resource.attributes.heap_size() + attributes.heap_size(), limit)?;
        let mut hasher = DefaultHasher::new();
        (resource.hash, &scope.name, &scope.version, canonical(&attributes)).hash(&mut hasher);
        let (scope, scope_name, source) = (attributes, scope.name.into(), hasher.finish());
        Ok(Self { resource, scope, scope_name, source, both: OnceLock::new() })
    }

    /// The attributes that each record has of its scope and its resource, the first of a name.
    ///
    /// They are put together for the first record, which counts them: a request with many scopes and no records would have
    /// them for nothing.
    pub(super) fn shared(&self) -> &Shared {
        if self.scope.is_empty() {
            return &self.resource.attributes;
        }
        self.both.get_or_init(|| {
            let mut members = Members::default();
            members.add_copies(&self.scope);
            members.add_copies(self.resource.attributes.members());
            members.into_object().into()
        })
    }
}

fn check_size(size: usize, limit: usize) -> Result<(), Unreadable> {
    if size > limit { Err(Unreadable::TooLarge { size, limit }) } else { Ok(()) }
}

fn head<T: Part>(encoding: Encoding, bytes: Option<&[u8]>, limit: usize) -> Result<T, Unreadable> {
    bytes.map_or_else(|| Ok(T::default()), |bytes| encoding.decode(bytes, limit))
}

/// One text for the same attributes in any order: some sources give them in another order each time.
fn canonical(attributes: &Object) -> Vec<String> {
    let line = |(name, value): (&str, &Value)| {
        serde_json::to_string(&(name, value)).expect("attributes are valid JSON")
    };
    let mut lines: Vec<String> = attributes.iter().map(line).collect();
    lines.sort_unstable();
    lines
}
