//! The events of a run. What stands in one follows from the seed, its publisher and its number, so that whoever sees these knows
//! the rest, and whom the event should have reached.

use serde_json::{Value, json};
use telemetry_hub_actors::Follow;

/// Events are posted in whole spans of so many numbers: what a filter follows then depends on no other post.
pub(super) const SPAN: u64 = 8;

/// An event as its publisher made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Numbered {
    pub(super) publisher: usize,
    pub(super) number: u64,
}

/// The publisher of the event that ends a run, which every filter matches.
pub(super) const LAST: usize = usize::MAX;

/// What a subscriber asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wish {
    Everything,
    Publisher(usize),
    Red,
    RedSomewhere,
    Warn,
}

/// What stands in the events of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Events {
    pub(super) seed: u64,
}

impl Events {
    /// The event as it is posted.
    pub(super) fn body(self, event: Numbered) -> Value {
        let Numbered { publisher, number } = event;
        let color = if self.is_red(event) { "red" } else { "blue" };
        let mut body = json!({
            "type": "chaos",
            "text": "x".repeat(self.draw(event, "padding", 1500)),
            "data": {"p": publisher, "n": number, "color": color},
        });
        if self.is_warn(event) {
            body["level"] = json!("warn");
        }
        if self.has_span(event) {
            body["spanId"] = json!(format!("{publisher}-{}", number / SPAN));
            body["traceId"] = json!(format!("trace-{publisher}-{}", number / SPAN));
        }
        body
    }

    /// The event that ends a run.
    pub(super) fn last(publishers: usize) -> Value {
        let everyone: Vec<usize> = (0..publishers).collect();
        json!({"type": "chaos", "level": "error", "data": {"p": everyone, "n": 0, "color": "red"}})
    }

    /// Which event it is, by its data; `None` if nobody here posted it.
    pub(super) fn recognise(data: &Value) -> Option<Numbered> {
        let number = data["n"].as_u64()?;
        let publisher = match &data["p"] {
            Value::Array(_) => LAST,
            publisher => usize::try_from(publisher.as_u64()?).ok()?,
        };
        Some(Numbered { publisher, number })
    }

    /// Whether the filter itself matches.
    pub(super) fn matches(self, wish: Wish, event: Numbered) -> bool {
        event.publisher == LAST
            || match wish {
                Wish::Everything => true,
                Wish::Publisher(publisher) => publisher == event.publisher,
                Wish::Red | Wish::RedSomewhere => self.is_red(event),
                Wish::Warn => self.is_warn(event),
            }
    }

    /// The events because of which this one is followed: those before it in its span that match.
    pub(super) fn followed_for(
        self,
        (wish, follow): (Wish, Follow),
        event: Numbered,
    ) -> impl Iterator<Item = Numbered> {
        let follows = event.publisher != LAST && follow != Follow::None && self.has_span(event);
        let first = event.number - event.number % SPAN;
        let before = if follows { first..event.number } else { 0..0 };
        let before = before.map(move |number| Numbered { number, ..event });
        before.filter(move |earlier| self.matches(wish, *earlier))
    }

    pub(super) fn passes(self, wanted: (Wish, Follow), event: Numbered) -> bool {
        self.matches(wanted.0, event) || self.followed_for(wanted, event).next().is_some()
    }

    fn is_red(self, event: Numbered) -> bool {
        self.draw(event, "color", 4) == 0
    }

    fn is_warn(self, event: Numbered) -> bool {
        self.draw(event, "level", 10) == 0
    }

    fn has_span(self, event: Numbered) -> bool {
        let first = Numbered { number: event.number - event.number % SPAN, ..event };
        self.draw(first, "span", 2) == 0
    }

    /// A number below `below` that is always the same for this event and purpose.
    fn draw(self, event: Numbered, purpose: &str, below: u64) -> usize {
        let drawn = super::script::hash(&(self.seed, event, purpose)) % below;
        usize::try_from(drawn).unwrap()
    }
}

/// The query that asks for it.
pub(super) fn query((wish, follow): (Wish, Follow)) -> String {
    let wish = match wish {
        Wish::Everything => String::new(),
        Wish::Publisher(publisher) => format!("p={publisher}&"),
        Wish::Red => "color=red&".to_owned(),
        Wish::RedSomewhere => "filter=red&".to_owned(),
        Wish::Warn => "level=warn&".to_owned(),
    };
    format!("{wish}follow={}", format!("{follow:?}").to_lowercase())
}
