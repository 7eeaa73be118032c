//! What is compared: how many hubs, how many servers of NATS, and who comes where.

/// Hubs, and what joins them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setup {
    /// One hub without NATS: what all others are divided by.
    Alone,
    /// One hub that writes to a stream, and reads it.
    Joined,
    /// The same, with a stream in memory.
    Memory,
    /// Two hubs: events come to one, and all subscribers are at the other.
    Other,
    /// Three hubs, and a stream on three servers; publishers and subscribers are at all of them.
    Three,
}

impl Setup {
    pub(crate) const ALL: [Self; 5] =
        [Self::Alone, Self::Joined, Self::Memory, Self::Other, Self::Three];

    /// What stands above its column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Joined => "joined",
            Self::Memory => "in memory",
            Self::Other => "other hub",
            Self::Three => "three hubs",
        }
    }

    pub(crate) fn hubs(self) -> usize {
        match self {
            Self::Alone | Self::Joined | Self::Memory => 1,
            Self::Other => 2,
            Self::Three => 3,
        }
    }

    /// How many servers of NATS there are, each of which has the whole stream.
    pub(crate) fn servers(self) -> usize {
        match self {
            Self::Alone => 0,
            Self::Joined | Self::Memory | Self::Other => 1,
            Self::Three => 3,
        }
    }

    /// Where the stream is, as the hubs' setting has it.
    pub(crate) fn storage(self) -> &'static str {
        if self == Self::Memory { "memory" } else { "file" }
    }

    /// Those of the hubs that are published to.
    pub(crate) fn published_to<T>(self, hubs: &[T]) -> &[T] {
        if self == Self::Other { &hubs[..1] } else { hubs }
    }

    /// Those of the hubs that have subscribers.
    pub(crate) fn watched<T>(self, hubs: &[T]) -> &[T] {
        if self == Self::Other { &hubs[1..] } else { hubs }
    }
}
