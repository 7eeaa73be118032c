//! Texts with places to fill: `{n}` and its forms for a number, `{stamp}` and `{pad}` for an event.
//!
//! Parsed once; what is between braces and unknown stays as it is, since bodies are JSON more often than not.

/// A text with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Number(NumberForm),
    Stamp,
    Pad,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberForm {
    /// `17`
    Decimal,
    /// `000011`: of a fixed length, so that none is found within another.
    Hexadecimal,
    /// `10.0.0.17`
    Ipv4,
}

/// How many numbers have an address and a hexadecimal form of their own.
pub(super) const MAX_NUMBERS: u32 = 1 << 24;

/// What a template's number is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberName {
    /// In what a subscriber asks for.
    N,
    /// In what a publisher sends.
    Target,
}

impl Template {
    pub(super) fn parse(text: &str, number: NumberName) -> Self {
        let name = match number {
            NumberName::N => "n",
            NumberName::Target => "target",
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut literal = String::new();
        while let Some(open) = rest.find('{') {
            literal.push_str(&rest[..open]);
            let place = rest[open + 1..].split_once('}');
            let found =
                place.and_then(|(inside, behind)| Some((Piece::named(inside, name)?, behind)));
            if let Some((piece, behind)) = found {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
                pieces.push(piece);
                rest = behind;
            } else {
                literal.push('{');
                rest = &rest[open + 1..];
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Text(literal));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Self(pieces)
    }

    /// Whether it differs from number to number.
    pub(super) fn has_number(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Number(_)))
    }

    /// How many stamps it has.
    pub(super) fn stamps(&self) -> usize {
        self.0.iter().filter(|piece| **piece == Piece::Stamp).count()
    }

    /// For one subscriber, or for the address that a publisher sends to.
    pub(super) fn numbered(&self, number: u32) -> String {
        let mut text = String::new();
        self.fill(&mut text, number, "", 0);
        text
    }

    /// An event, appended to `text`: filled up to so many bytes at the first `{pad}`, if it has one and is shorter.
    pub(super) fn event(&self, text: &mut String, number: u32, stamp: &str, bytes: usize) {
        let begin = text.len();
        self.fill(text, number, stamp, 0);
        let missing = bytes.saturating_sub(text.len() - begin);
        if missing > 0 && self.0.contains(&Piece::Pad) {
            text.truncate(begin);
            self.fill(text, number, stamp, missing);
        }
    }

    fn fill(&self, text: &mut String, number: u32, stamp: &str, mut pad: usize) {
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Number(form) => text.push_str(&form.write(number)),
                Piece::Stamp => text.push_str(stamp),
                Piece::Pad => text.extend(std::iter::repeat_n('x', std::mem::take(&mut pad))),
            }
        }
    }
}

impl Piece {
    fn named(name: &str, number: &str) -> Option<Self> {
        match name {
            "stamp" => return Some(Self::Stamp),
            "pad" => return Some(Self::Pad),
            _ => {}
        }
        let form = match name.strip_prefix(number)? {
            "" => NumberForm::Decimal,
            ".hex" => NumberForm::Hexadecimal,
            ".ip" => NumberForm::Ipv4,
            _ => return None,
        };
        Some(Self::Number(form))
    }
}

impl NumberForm {
    fn write(self, number: u32) -> String {
        match self {
            Self::Decimal => number.to_string(),
            Self::Hexadecimal => format!("{number:06x}"),
            Self::Ipv4 => {
                let [_, a, b, c] = number.to_be_bytes();
                format!("10.{a}.{b}.{c}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, number: u32, expected: &str) {
        assert_eq!(Template::parse(template, NumberName::N).numbered(number), expected);
    }

    #[test]
    fn numbers_take_their_forms() {
        check("/live?remote-ip={n.ip}", 0, "/live?remote-ip=10.0.0.0");
        check("/live?remote-ip={n.ip}", 0x01_02_03, "/live?remote-ip=10.1.2.3");
        check("{n.ip}", MAX_NUMBERS - 1, "10.255.255.255");
        check("/sub/{n}/{n.hex}x", 17, "/sub/17/000011x");
        check("", 1, "");
    }

    #[test]
    fn other_braces_stay() {
        check("{\"a\":{\"n\":{n}}}", 5, "{\"a\":{\"n\":5}}");
        check("{target} {n.x} {{n} {", 5, "{target} {n.x} {5 {");
    }

    #[track_caller]
    fn check_event(template: &str, bytes: usize, expected: &str) {
        let mut text = "before ".to_owned();
        Template::parse(template, NumberName::Target).event(&mut text, 7, "STAMP", bytes);
        assert_eq!(text, format!("before {expected}"));
    }

    #[test]
    fn events_are_filled_up() {
        check_event("{stamp} {target.ip} {pad}.", 20, "STAMP 10.0.0.7 xxxx.");
        check_event("{pad}{stamp}{pad}", 8, "xxxSTAMP");
        check_event("{stamp} {pad}", 3, "STAMP ");
        check_event("{stamp}", 30, "STAMP");
    }

    #[test]
    fn places_are_counted() {
        let template = |text| Template::parse(text, NumberName::Target);
        assert!(template("x{target.hex}").has_number() && !template("x{n}").has_number());
        assert_eq!(template("{stamp}{pad}{stamp}").stamps(), 2);
    }
}
