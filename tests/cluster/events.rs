//! The numbered events of a run, and what subscribers ask for.

use serde_json::{Value, json};

/// The event that is posted when all others have been answered: it matches every wish.
pub(crate) const LAST: u64 = 0;

/// What a subscriber watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    All,
    /// By level: one in a hundred.
    Errors,
    /// Of one service: one in a hundred, and all by one subject.
    Service,
    /// By a key of the data: one in a hundred.
    Part,
    /// All, of a hub that reads one service alone.
    Served,
    /// Of one service, so that it can be told that it is of no other.
    Named,
}

/// The one service that such a hub reads.
pub(crate) const SERVICE: &str = "s-07";

impl Wish {
    pub(crate) const EACH: [Self; 4] = [Self::All, Self::Errors, Self::Service, Self::Part];

    pub(crate) fn query(self) -> &'static str {
        match self {
            Self::All | Self::Served => "",
            Self::Errors => "level=error",
            Self::Service => "service.name=s-07",
            Self::Named => "follow=none&where=data%5B%22service.name%22%5D%20%3D%3D%20%22s-07%22",
            Self::Part => "part=p-42",
        }
    }

    pub(crate) fn matches(self, number: u64) -> bool {
        number == LAST
            || match self {
                Self::All => true,
                Self::Errors => number.is_multiple_of(100),
                Self::Service | Self::Served | Self::Named => service(number) == 7,
                Self::Part => part(number) == 42,
            }
    }
}

/// Neighbours are of different services.
fn service(number: u64) -> u64 {
    if number == LAST { 7 } else { number % 100 }
}

fn part(number: u64) -> u64 {
    if number == LAST { 42 } else { number / 3 % 100 }
}

/// The event with this number, and so many bytes of text.
pub(crate) fn event(number: u64, text: usize) -> Value {
    let level = if Wish::Errors.matches(number) { "ERROR" } else { "INFO" };
    json!({
        "type": "cluster.tick",
        "level": level,
        "text": "x".repeat(text),
        "data": {
            "number": number,
            "service.name": format!("s-{:02}", service(number)),
            "part": format!("p-{:02}", part(number)),
        },
    })
}
