//! An event as expressions see it: its fields as values of CEL, which borrow from it and are looked up when they are asked for.
//!
//! `text`, `type`, `trace_id` and `span_id` are empty where the event has none; `level` is INFO where it has none, `severity` the
//! number of that level. A member of `data` that is not there is an error. Of two members with one name the first counts.
//!
//! Each look-up takes from the evaluation's [`Budget`].

use std::any::Any;
use std::cmp::Ordering;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cel::ExecutionError;
use cel::common::traits::{Comparer, Container, Indexer, Iterable, Iterator as CelIterator, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelNull, CelString, CelUInt, DYN_TYPE, MAP_TYPE,
    TIMESTAMP_TYPE, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use jiff::Timestamp;
use regex::Regex;

use super::check::Constant;
use crate::event::Event;
use crate::level::Level;
use crate::value::{SmolStr, Value};

/// What one evaluation may read: as many bytes of text, counted each time that the expression comes by them. The texts of the
/// largest event can be read eight times.
const BUDGET: usize = 16 * 1024 * 1024;

/// What looking at one member on the way to another is charged.
const MEMBER: usize = 8;

/// What an element of a list, or a name of a map that is gone through, is charged: the whole expression may be evaluated for it.
/// That leaves some four thousand of them.
const ELEMENT: usize = 4 * 1024;

/// What a byte is charged that a pattern is matched against, which may take a hundred times as long as reading it.
const MATCHED_BYTE: usize = 128;

type Failure = ExecutionError;

/// What is left of what one evaluation may read.
pub(super) struct Budget(AtomicUsize);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicUsize::new(BUDGET))
    }
}

impl Budget {
    /// Once it is spent, nothing more can be had.
    fn charge(&self, cost: usize) -> Result<(), Failure> {
        let left = self.0.load(Relaxed).saturating_sub(cost);
        self.0.store(left, Relaxed);
        if left == 0 { Err(spent()) } else { Ok(()) }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

fn spent() -> Failure {
    ExecutionError::function_error("where", "the event is too large for it")
}

/// What the names in an expression stand for.
pub(super) struct Variables<'a> {
    event: &'a Event,
    constants: &'a [Constant],
    budget: &'a Budget,
}

impl<'a> Variables<'a> {
    pub(super) fn new(event: &'a Event, constants: &'a [Constant], budget: &'a Budget) -> Self {
        Self { event, constants, budget }
    }

    fn text(&self, text: Option<&'a SmolStr>) -> Option<CowVal<'a, 'a>> {
        let text = text.map_or("", SmolStr::as_str);
        self.budget.charge(text.len()).ok()?;
        Some(CowVal::owned(CelString::from(text)))
    }

    fn constant(&self, name: &str) -> Option<CowVal<'a, 'a>> {
        let number: usize = name.strip_prefix('@')?.parse().ok()?;
        Some(match self.constants.get(number)? {
            Constant::Pattern(regex) => CowVal::owned(Pattern { regex, budget: self.budget }),
            Constant::Time(time) => CowVal::Borrowed(time),
        })
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let content = self.event.content();
        let level = content.level.unwrap_or(Level::ASSUMED);
        match name {
            "type" => self.text(content.kind.as_ref()),
            "level" => Some(CowVal::owned(CelString::from(level.as_str()))),
            "severity" => Some(CowVal::owned(CelInt::from(level.severity_number()))),
            "text" => self.text(content.text.as_ref()),
            "trace_id" => self.text(content.trace_id.as_ref()),
            "span_id" => self.text(content.span_id.as_ref()),
            "created_at" => Some(CowVal::owned(Time(self.event.created_at().timestamp()))),
            "data" => {
                let mut parts = content.data.parts();
                let parts = [(); 3].map(|()| parts.next().unwrap_or_default());
                Some(CowVal::owned(Members::new(parts, self.budget)))
            }
            name => self.constant(name),
        }
    }
}

/// A value of an event, with what is in it.
fn value<'a>(value: &'a Value, budget: &'a Budget) -> Result<Box<dyn Val + 'a>, Failure> {
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => {
            budget.charge(text.len())?;
            Box::new(CelString::from(text.as_str()))
        }
        Value::Array(items) => {
            budget.charge(items.len().saturating_mul(ELEMENT))?;
            let items = items.iter().map(|item| self::value(item, budget));
            Box::new(CelList::from(items.collect::<Result<Vec<_>, _>>()?))
        }
        Value::Object(object) => Box::new(Members::new([object.members(), &[], &[]], budget)),
    })
}

/// An object of an event: a map, of which each member is made a value when it is asked for.
struct Members<'a> {
    parts: [&'a [(SmolStr, Value)]; 3],
    budget: &'a Budget,
    /// For whoever goes through them.
    names: OnceLock<Vec<CelString<'a>>>,
}

impl<'a> Members<'a> {
    fn new(parts: [&'a [(SmolStr, Value)]; 3], budget: &'a Budget) -> Self {
        Self { parts, budget, names: OnceLock::new() }
    }

    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    fn iter(&self) -> impl Iterator<Item = &'a (SmolStr, Value)> {
        self.parts.into_iter().flatten()
    }

    fn find(&self, name: &dyn Val) -> Result<Option<&'a Value>, Failure> {
        let Some(name) = name.downcast_ref::<CelString<'_>>() else {
            return Ok(None);
        };
        self.budget.charge(self.len() * MEMBER)?;
        let is_it = |member: &&(SmolStr, Value)| member.0.as_str() == name.inner();
        Ok(self.iter().find(is_it).map(|(_, value)| value))
    }

    fn get_owned(&self, name: &dyn Val) -> Result<Box<dyn Val + 'a>, Failure> {
        match self.find(name)? {
            Some(found) => value(found, self.budget),
            None => Err(ExecutionError::no_such_key("")),
        }
    }

    /// Whether another map has the same members.
    fn is_like(&self, other: &dyn Val) -> Option<bool> {
        let (sizer, others) = (other.as_sizer()?, other.as_indexer()?);
        if other.get_type() != &MAP_TYPE || sizer.size() != self.size() {
            return Some(false);
        }
        for (name, own) in self.iter() {
            let other = others.get(&CelString::from(name.as_str())).ok()?;
            if !value(own, self.budget).ok()?.equals(other.as_ref()) {
                return Some(false);
            }
        }
        Some(true)
    }
}

impl std::fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, value))).finish()
    }
}

impl<'a> Val for Members<'a> {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        self.budget.charge(self.len().saturating_mul(ELEMENT)).ok()?;
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        self.is_like(other).unwrap_or(false)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(Self::new(self.parts, self.budget))
    }
}

impl Container for Members<'_> {
    fn contains(&self, name: &dyn Val) -> Result<bool, Failure> {
        Ok(self.find(name)?.is_some())
    }
}

impl Indexer for Members<'_> {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, Failure>
    where
        Self: 'v,
    {
        self.get_owned(name).map(CowVal::Owned)
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Box<dyn Val + 'v>, Failure>
    where
        Self: 'v,
    {
        self.get_owned(name).map(|value| value as _)
    }
}

impl Iterable for Members<'_> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        let names =
            || Members::iter(self).map(|(name, _)| CelString::from(name.as_str())).collect();
        Box::new(Names(self.names.get_or_init(names).iter()))
    }
}

impl Sizer for Members<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.len()).unwrap_or(i64::MAX))
    }
}

/// The names of a map's members, in order.
struct Names<'b, 'a>(std::slice::Iter<'b, CelString<'a>>);

impl<'b, 'a: 'v, 'v> CelIterator<'b, 'v> for Names<'b, 'a> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|name| name as _)
    }
}

/// The pattern of a `matches`, which has become `text in pattern`: no other operator has all that it takes.
#[derive(Debug)]
struct Pattern<'a> {
    regex: &'a Regex,
    budget: &'a Budget,
}

impl Val for Pattern<'_> {
    fn get_type(&self) -> &Type {
        &DYN_TYPE
    }

    fn cel_type() -> &'static Type {
        &DYN_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(Self { ..*self })
    }
}

impl Container for Pattern<'_> {
    fn contains(&self, text: &dyn Val) -> Result<bool, Failure> {
        let text = text.downcast_ref::<CelString<'_>>();
        let text = text.ok_or_else(ExecutionError::missing_argument_or_target)?.inner();
        self.budget.charge(text.len().saturating_mul(MATCHED_BYTE))?;
        Ok(self.regex.is_match(text))
    }
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.load(Relaxed).fmt(f)
    }
}

/// An instant. The crate's own would bring along a second library for times, and all time zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Timestamp);

impl StaticVal for Time {}

impl Val for Time {
    fn get_type(&self) -> &Type {
        &TIMESTAMP_TYPE
    }

    fn cel_type() -> &'static Type {
        &TIMESTAMP_TYPE
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl Comparer for Time {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, Failure> {
        let other = other.downcast_ref::<Self>();
        let other = other.ok_or_else(ExecutionError::missing_argument_or_target)?;
        Ok(self.0.cmp(&other.0))
    }
}
