//! Protobuf as it stands on the wire: the fields of a message, one after the other, with nothing copied.

use std::borrow::Cow;

use prost::encoding::decode_varint;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("a field is cut off, or of no type that there is")]
    NoField,
    #[error("a field is of another type than its number says")]
    OtherType,
    #[error("a text is not UTF-8")]
    Text,
    #[error("a value with too many others in one another")]
    TooDeep,
}

/// The fields of a message, with their numbers. Ends after what is no field.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

/// A field as it is encoded (protobuf's "Encoding", "Message Structure").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    I64(u64),
    Len(&'a [u8]),
    I32(u32),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    #[inline]
    fn field(&mut self) -> Result<(u32, Wire<'a>), WireError> {
        let key = u32::try_from(self.varint()?).map_err(|_| WireError::NoField)?;
        let number = key >> 3;
        if number == 0 {
            return Err(WireError::NoField);
        }
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::I64(u64::from_le_bytes(*self.chunk()?)),
            2 => {
                let length = usize::try_from(self.varint()?);
                let length = length.map_err(|_| WireError::NoField)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(WireError::NoField)?;
                self.0 = rest;
                Wire::Len(bytes)
            }
            5 => Wire::I32(u32::from_le_bytes(*self.chunk()?)),
            _ => return Err(WireError::NoField),
        };
        Ok((number, wire))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        // Most are short: field numbers, lengths.
        if let [byte @ ..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok((*byte).into());
        }
        decode_varint(&mut self.0).map_err(|_| WireError::NoField)
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], WireError> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(WireError::NoField)?;
        self.0 = rest;
        Ok(chunk)
    }
}

/// What a known field has to be.
impl<'a> Wire<'a> {
    pub(super) fn varint(self) -> Result<u64, WireError> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(WireError::OtherType) }
    }

    pub(super) fn fixed64(self) -> Result<u64, WireError> {
        if let Self::I64(value) = self { Ok(value) } else { Err(WireError::OtherType) }
    }

    pub(super) fn fixed32(self) -> Result<u32, WireError> {
        if let Self::I32(value) = self { Ok(value) } else { Err(WireError::OtherType) }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], WireError> {
        if let Self::Len(bytes) = self { Ok(bytes) } else { Err(WireError::OtherType) }
    }

    pub(super) fn text(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Text)
    }
}

/// The messages in the fields of one number.
#[derive(Debug, Clone)]
pub(super) struct Repeated<'a> {
    fields: Fields<'a>,
    number: u32,
}

impl<'a> Repeated<'a> {
    pub(super) fn of(message: &'a [u8], number: u32) -> Self {
        Self { fields: Fields::of(message), number }
    }
}

impl<'a> Iterator for Repeated<'a> {
    type Item = Result<&'a [u8], WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let wanted = self.number;
        self.fields.find_map(|field| match field {
            Ok((number, wire)) => (number == wanted).then(|| wire.bytes()),
            Err(error) => Some(Err(error)),
        })
    }
}

/// The bytes of a message of which there should be one. Given in parts, it is their sum: that is how protobuf merges messages.
pub(super) fn merge<'a>(message: &mut Option<Cow<'a, [u8]>>, part: &'a [u8]) {
    match message {
        None => *message = Some(Cow::Borrowed(part)),
        Some(message) => message.to_mut().extend_from_slice(part),
    }
}

/// The message in the fields of one number.
pub(super) fn merged(message: &[u8], number: u32) -> Result<Option<Cow<'_, [u8]>>, WireError> {
    let mut sum = None;
    for part in Repeated::of(message, number) {
        merge(&mut sum, part?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], expected: Result<&[(u32, Wire<'_>)], WireError>) {
        let fields: Result<Vec<_>, _> = Fields::of(message).collect();
        assert_eq!(fields, expected.map(<[_]>::to_vec));
    }

    #[test]
    fn fields_of_every_type_are_found() {
        check(b"", Ok(&[]));
        let (ab, none, c) = (Wire::Len(b"ab"), Wire::Len(b""), Wire::Len(b"c"));
        check(b"\x0a\x02ab\x12\x00\x0a\x01c", Ok(&[(1, ab), (2, none), (1, c)]));
        // A varint of ten bytes, eight bytes, four bytes, and field 1000.
        check(
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x11\x01\0\0\0\0\0\0\x80\x1d\x01\0\0\x80\xc2\x3e\x01x",
            Ok(&[
                (1, Wire::Varint(u64::MAX)),
                (2, Wire::I64(1 << 63 | 1)),
                (3, Wire::I32(1 << 31 | 1)),
                (1000, Wire::Len(b"x")),
            ]),
        );
    }

    #[test]
    fn what_is_no_field_is_an_error() {
        // Cut off; a group; types 6 and 7; number 0; longer than anything.
        for message in
            [&b"\x0a\x03ab"[..], b"\x11abc", b"\x1dabc", b"\x0b", b"\x0e", b"\x0f", b"\x02\0"]
        {
            check(message, Err(WireError::NoField));
        }
        check(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Err(WireError::NoField));
        check(b"\x0a\x80", Err(WireError::NoField));
        check(b"\x08", Err(WireError::NoField));
        let mut fields = Fields::of(b"\x0a\x01a\x0e\x0a\x01b");
        assert!(fields.next().is_some_and(|field| field.is_ok()));
        assert!(fields.next().is_some_and(|field| field.is_err()));
        assert!(fields.next().is_none(), "nothing after what is no field");
    }

    #[test]
    fn parts_of_one_message_are_merged() {
        let check = |message: &'static [u8], expected: Option<&'static [u8]>| {
            assert_eq!(merged(message, 1).unwrap().as_deref(), expected);
        };
        check(b"\x12\x01x", None);
        check(b"\x0a\x00", Some(b""));
        check(b"\x0a\x01a\x12\x01x", Some(b"a"));
        check(b"\x0a\x01a\x12\x01x\x0a\x00\x0a\x02bc", Some(b"abc"));
        assert!(merged(b"\x0a\x01a\x0a\x05", 1).is_err());
        assert!(merged(b"\x0a\x01a\x08\x05", 1).is_err(), "a number where a message should be");
    }

    #[test]
    fn a_field_of_another_type_is_an_error() {
        assert!(Wire::Varint(1).fixed64().is_err() && Wire::Varint(1).bytes().is_err());
        assert!(Wire::I64(1).varint().is_err() && Wire::I32(1).fixed64().is_err());
        assert!(Wire::Len(b"a").fixed32().is_err() && Wire::Len(b"\xff").text().is_err());
        assert_eq!(Wire::Len("ü".as_bytes()).text().unwrap(), "ü");
    }
}
