//! Which services' events are wanted, or read: those of all, or of some that are known by name.

use std::collections::BTreeSet;

/// The attribute that names the service (OpenTelemetry semantic conventions, "Service").
pub(crate) const SERVICE: &str = "service.name";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Services {
    /// Also of those that nobody has heard of yet, and what is of no service.
    All,
    Named(BTreeSet<String>),
}

impl Services {
    pub(crate) fn named(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Named(names.into_iter().map(Into::into).collect())
    }

    pub(crate) fn none() -> Self {
        Self::Named(BTreeSet::new())
    }

    /// Whether it has all that another has.
    pub(crate) fn contain(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Named(_), Self::All) => false,
            (Self::Named(own), Self::Named(others)) => own.is_superset(others),
        }
    }

    /// How many they are; `None` if they are all.
    #[cfg(feature = "nats")]
    pub(crate) fn count(&self) -> Option<usize> {
        match self {
            Self::All => None,
            Self::Named(names) => Some(names.len()),
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Named(own), Self::Named(others)) => Self::Named(&own | &others),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, some) | (some, Self::All) => some,
            (Self::Named(own), Self::Named(others)) => Self::Named(&own & &others),
        }
    }

    /// Their names; none if they are all.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::All => None,
            Self::Named(names) => Some(names),
        };
        names.into_iter().flatten().map(String::as_str)
    }
}
