//! An event's `data`: the members of its own, and among them those that it shares with other events of its source.
//!
//! What is shared stands in memory once. A log record of OpenTelemetry has most of its members from its resource; with a
//! copy of them it took a tenth longer to take in (`cargo bench -- otlp`).

use std::sync::Arc;

use serde::ser::{Serialize, Serializer};

use crate::value::{Object, SmolStr, Value};

/// The members of an event's `data`, in order.
#[derive(Debug, Clone, Default)]
pub struct Data {
    own: Object,
    shared: Option<Arc<SharedMembers>>,
    /// How many of its own come before those that it shares.
    before: usize,
}

/// Members that many events have.
#[derive(Debug)]
pub struct SharedMembers {
    members: Object,
    /// About how many bytes they occupy on the heap.
    size: usize,
}

impl From<Object> for SharedMembers {
    fn from(members: Object) -> Self {
        Self { size: members.heap_size(), members }
    }
}

impl SharedMembers {
    /// The members in order.
    pub fn members(&self) -> &Object {
        &self.members
    }

    /// About how many bytes they occupy on the heap.
    pub fn heap_size(&self) -> usize {
        self.size
    }
}

/// What is shared is copied.
impl From<Data> for Object {
    fn from(data: Data) -> Self {
        if data.shared.is_none() {
            return data.own;
        }
        data.parts().flatten().cloned().collect()
    }
}

impl From<Object> for Data {
    fn from(own: Object) -> Self {
        Self { own, shared: None, before: 0 }
    }
}

impl Data {
    /// Members of an event's own, and after the first so many of them those that it shares. A name that is among both is
    /// there twice.
    pub fn with_shared(own: Object, before: usize, shared: Arc<SharedMembers>) -> Self {
        Self { before: before.min(own.len()), own, shared: Some(shared) }
    }

    /// Appends a member of the event's own. What it shares stays where it is.
    pub fn push(&mut self, key: impl Into<SmolStr>, value: impl Into<Value>) {
        self.own.push(key, value);
    }

    /// The value of the first member whose name is `key` to the letter.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.parts().flatten().map(|(key, value)| (&**key, value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.parts().map(<[_]>::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts().all(<[_]>::is_empty)
    }

    /// About how many bytes they occupy on the heap. What is shared counts in full: nobody knows who will hold it last.
    pub fn heap_size(&self) -> usize {
        self.own.heap_size() + self.shared.as_ref().map_or(0, |shared| shared.size)
    }

    /// Its members in order, in three parts.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[(SmolStr, Value)]> {
        let (before, after) = self.own.members().split_at(self.before);
        let shared = self.shared.as_ref().map_or(&[][..], |shared| shared.members.members());
        [before, shared, after].into_iter()
    }
}

/// The same members in the same order, however they are kept.
impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(members: &[(&str, i64)]) -> Object {
        members.iter().map(|(name, number)| ((*name).into(), (*number).into())).collect()
    }

    #[test]
    fn shared_members_look_like_its_own() {
        let shared = Arc::new(SharedMembers::from(object(&[("a", 3), ("c", 4)])));
        let mut data = Data::with_shared(object(&[("b", 1)]), 9, Arc::clone(&shared));
        data.push("d", 2i64);
        let flat = Data::from(object(&[("b", 1), ("a", 3), ("c", 4), ("d", 2)]));
        assert_eq!(data, flat);
        assert_eq!(serde_json::to_string(&data).unwrap(), r#"{"b":1,"a":3,"c":4,"d":2}"#);
        assert_eq!((data.len(), data.is_empty()), (4, false));
        assert_eq!((data.get("c"), data.get("e")), (Some(&Value::from(4i64)), None));
        assert!(!Data::with_shared(Object::default(), 0, shared).is_empty());
        assert!(Data::default().is_empty());
        assert_ne!(data, Data::from(object(&[("b", 1), ("d", 2)])));
    }
}
