//! The fields of events and spans, in one piece: written on the thread that logs, without an allocation for each, and read
//! when somebody wants to see them.
//!
//! One field after the other: its name, a byte that says what kind of value it has, the value. Texts stand behind their
//! length. It is written and read in this file only, and leaves the process in no other form than JSON.

use std::error::Error;
use std::fmt::{self, Debug, Write};
use std::str;

use tracing::field::{Field, Visit};

use super::Unfit;
use crate::value::{Number, Value};

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const I64: u8 = 2;
const U64: u8 = 3;
const F64: u8 = 4;
const TEXT: u8 = 5;

/// Writes fields, up to a bound.
#[derive(Debug)]
pub(super) struct FieldWriter {
    bytes: Vec<u8>,
    count: usize,
    limit: usize,
    is_too_large: bool,
}

impl FieldWriter {
    /// Writes into a buffer, over what is in there, no more than so many bytes.
    pub(super) fn new(mut buffer: Vec<u8>, limit: usize) -> Self {
        buffer.clear();
        // Lengths are written in 32 bits.
        let limit = limit.min(u32::MAX as usize);
        Self { bytes: buffer, count: 0, limit, is_too_large: false }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many fields there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// All that was written, if there was room for it.
    pub(super) fn finish(&self) -> Result<&Self, Unfit> {
        if self.is_too_large { Err(Unfit) } else { Ok(self) }
    }

    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Adds fields that were written before.
    pub(super) fn append(&mut self, fields: &[u8], count: usize) {
        if self.has_room(fields.len()) {
            self.bytes.extend_from_slice(fields);
            self.count += count;
        }
    }

    fn has_room(&mut self, more: usize) -> bool {
        self.is_too_large |= self.bytes.len() + more > self.limit;
        !self.is_too_large
    }

    fn put(&mut self, field: &Field, kind: u8, value: &[u8]) {
        let name = field.name().as_bytes();
        if self.has_room(size_of::<u32>() + name.len() + 1 + value.len()) {
            self.bytes.extend_from_slice(&length(name));
            self.bytes.extend_from_slice(name);
            self.bytes.push(kind);
            self.bytes.extend_from_slice(value);
            self.count += 1;
        }
    }

    /// Writes a text while it is being made.
    fn put_text(&mut self, field: &Field, write: impl FnOnce(&mut Self) -> fmt::Result) {
        self.put(field, TEXT, &length(&[]));
        let begin = self.bytes.len();
        // A `Debug` may fail by itself: what it wrote before stands.
        write(self).ok();
        let (before, text) = self.bytes.split_at_mut(begin);
        if let Some(place) = before.last_chunk_mut() {
            *place = length(text);
        }
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// Fails once there is no room: then whoever writes stops.
impl Write for FieldWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !self.has_room(text.len()) {
            return Err(fmt::Error);
        }
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl Visit for FieldWriter {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, F64, &value.to_le_bytes());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, I64, &value.to_le_bytes());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, U64, &value.to_le_bytes());
    }

    /// A number if JSON's readers can be trusted with it, else its digits.
    fn record_i128(&mut self, field: &Field, value: i128) {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => self.record_i64(field, value),
            (_, Ok(value)) => self.record_u64(field, value),
            _ => self.put_text(field, |text| write!(text, "{value}")),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.put_text(field, |text| write!(text, "{value}")),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, if value { TRUE } else { FALSE }, &[]);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, |text| text.write_str(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put_text(field, |text| {
            write!(text, "{value}")?;
            let mut cause = value.source();
            while let Some(error) = cause {
                write!(text, ": {error}")?;
                cause = error.source();
            }
            Ok(())
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put_text(field, |text| write!(text, "{value:?}"));
    }
}

/// A field as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) name: &'a str,
    kind: u8,
    value: &'a [u8],
    /// All of it.
    bytes: &'a [u8],
}

/// The fields in their order.
pub(super) fn read(mut bytes: &[u8]) -> impl Iterator<Item = Written<'_>> {
    std::iter::from_fn(move || {
        let (field, rest) = Written::read(bytes)?;
        bytes = rest;
        Some(field)
    })
}

/// The fields of a span after more of them were recorded: a new value stands in the place of the old one.
pub(super) fn merge(earlier: &[u8], later: &[u8]) -> Vec<u8> {
    let mut merged = Vec::with_capacity(earlier.len() + later.len());
    for field in read(earlier) {
        let latest = read(later).filter(|other| other.name == field.name).last();
        merged.extend_from_slice(latest.unwrap_or(field).bytes);
    }
    for field in read(later) {
        if read(earlier).all(|other| other.name != field.name) {
            merged.extend_from_slice(field.bytes);
        }
    }
    merged
}

impl<'a> Written<'a> {
    /// The first field, and what comes after it.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (name, rest) = split_text(bytes)?;
        let (&kind, rest) = rest.split_first()?;
        let (value, rest) = match kind {
            FALSE | TRUE => (&[][..], rest),
            I64 | U64 | F64 => rest.split_at_checked(size_of::<u64>())?,
            _ => split_text(rest)?,
        };
        let bytes = &bytes[..bytes.len() - rest.len()];
        Some((Self { name: str::from_utf8(name).ok()?, kind, value, bytes }, rest))
    }

    pub(super) fn value(&self) -> Value {
        match self.kind {
            FALSE => false.into(),
            TRUE => true.into(),
            I64 => i64::from_le_bytes(self.number()).into(),
            U64 => u64::from_le_bytes(self.number()).into(),
            F64 => float(f64::from_le_bytes(self.number())),
            _ => self.text().unwrap_or_default().into(),
        }
    }

    /// The value, if it is a text.
    pub(super) fn text(&self) -> Option<&'a str> {
        str::from_utf8(self.value).ok().filter(|_| self.kind == TEXT)
    }

    fn number(&self) -> [u8; 8] {
        self.value.try_into().expect("a number has been read with its eight bytes")
    }
}

/// A text behind its length, and what comes after it.
fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// JSON has no number for some floats.
fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}
