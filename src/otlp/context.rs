//! What a record has of its resource and of its scope.

use std::hash::{DefaultHasher, Hash, Hasher};

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use telemetry_hub_actors::{Object, SmolStr, Value};

use super::Unreadable;
use super::attributes::{Shared, object};
use super::encoding::{Encoding, Part};

/// The attributes of a resource that say who it is, to people as well: those of a service that tell its instances apart
/// (semantic conventions, "Service"), and its host.
const IDENTITY: [&str; 4] =
    ["service.name", "service.namespace", "service.instance.id", "host.name"];

/// How large the attributes may be that each series has of its resource: no series may have more in all.
const MAX_IDENTITY_BYTES: usize = 4096;

/// The scope of a record, and the resource above it.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) resource: &'a Shared,
    pub(super) scope: Shared,
    pub(super) scope_name: SmolStr,
    /// The attributes that say who the resource is.
    pub(super) identity: Shared,
    /// Tells sources apart: the same for the same resource and scope.
    pub(super) source: u64,
}

/// The attributes of a resource.
pub(super) fn resource(
    encoding: Encoding,
    bytes: Option<&[u8]>,
    limit: usize,
) -> Result<Shared, Unreadable> {
    let resource: Resource = head(encoding, bytes, limit)?;
    Ok(object(resource.attributes).into())
}

impl<'a> Context<'a> {
    pub(super) fn new(
        encoding: Encoding,
        resource: &'a Shared,
        scope: Option<&[u8]>,
        limit: usize,
    ) -> Result<Self, Unreadable> {
        let scope: InstrumentationScope = head(encoding, scope, limit)?;
        let attributes = Shared::from(object(scope.attributes));
        // Each record gets a copy of all that.
        let size = resource.object.heap_size() + attributes.object.heap_size();
        if size > limit {
            return Err(Unreadable::TooLarge { size, limit });
        }
        let mut hasher = DefaultHasher::new();
        canonical(&resource.object).hash(&mut hasher);
        (&scope.name, &scope.version, canonical(&attributes.object)).hash(&mut hasher);
        let is_identity = |(name, _): &(&str, &Value)| IDENTITY.contains(name);
        let identity = resource.object.iter().filter(is_identity);
        let identity: Object = identity.map(|(name, value)| (name.into(), value.clone())).collect();
        if identity.heap_size() > MAX_IDENTITY_BYTES {
            let size = identity.heap_size();
            return Err(Unreadable::TooLarge { size, limit: MAX_IDENTITY_BYTES });
        }
        Ok(Self {
            resource,
            identity: identity.into(),
            scope: attributes,
            scope_name: scope.name.into(),
            source: hasher.finish(),
        })
    }

    /// How many attributes each record has of its scope and its resource.
    pub(super) fn shared_count(&self) -> usize {
        self.scope.object.len() + self.resource.object.len()
    }
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
