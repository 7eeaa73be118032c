//! `where=EXPR`: an expression of CEL, the Common Expression Language (<https://cel.dev>), over an event's fields.
//!
//! The crate `cel` parses and evaluates it, and puts no bound on what that costs. So it is bounded here, from both sides: what
//! could grow out of hand is refused before it is ever evaluated ([`check`]), and every evaluation has a budget of what it may
//! read of its event ([`values`]). An expression that fails on an event, that comes to no boolean, or that runs out of its budget
//! does not match it.

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::types::CelBool;
use cel::parser::PrattParser;
use cel::{Context, Env, IdedExpr, Value};

use crate::error::QueryFault;
use crate::event::Event;

mod check;
mod values;

use check::{Constant, checked};
use values::{Budget, Variables};

/// As long as any parameter. A chain of sixteen times as many operators overflows the stack.
const MAX_BYTES: usize = 1024;

/// How deep brackets may be in one another, and how many question marks there may be: the parser goes down into each, on a stack
/// that another part of the program has begun. Those within texts count as well.
const MAX_BRACKETS: usize = 16;

/// The functions of CEL. Nothing in it changes, and every hub has the same.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// An expression that may be evaluated.
pub(super) struct Expression {
    text: Box<str>,
    root: IdedExpr,
    /// What was worked out when it was parsed.
    constants: Vec<Constant>,
}

impl Expression {
    /// Parses it. White space around it does not count.
    pub(super) fn parse(text: &str) -> Result<Self, QueryFault> {
        let text = text.trim();
        check_length(text)?;
        check_brackets(text)?;
        // Not the crate's other parser: at 1 KiB that overflows the stack of a thread.
        let root = PrattParser::default().parse(text).map_err(|errors| {
            let first = errors.errors.into_iter().next();
            first.map_or_else(|| refused("it is malformed"), |error| at(error.pos, &error.msg))
        })?;
        let (root, constants) = checked(root)?;
        Ok(Self { text: text.into(), root, constants })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn root(&self) -> &IdedExpr {
        &self.root
    }

    /// Whether it is true of an event.
    pub(super) fn matches(&self, event: &Event) -> bool {
        let budget = Budget::default();
        let variables = Variables::new(event, &self.constants, &budget);
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&variables);
        let result = Value::resolve_val(&self.root, &context);
        let is_true =
            result.is_ok_and(|value| value.downcast_ref::<CelBool>().is_some_and(|is| **is));
        is_true && !budget.is_spent()
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

fn check_length(text: &str) -> Result<(), QueryFault> {
    if text.len() > MAX_BYTES { Err(QueryFault::TooLong) } else { Ok(()) }
}

fn check_brackets(text: &str) -> Result<(), QueryFault> {
    let (mut depth, mut conditions) = (0_usize, 0);
    for (column, byte) in (1..).zip(text.bytes()) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'?' => conditions += 1,
            _ => {}
        }
        if depth > MAX_BRACKETS {
            return Err(at((1, column), &format!("more than {MAX_BRACKETS} brackets deep")));
        }
        if conditions > MAX_BRACKETS {
            return Err(at((1, column), &format!("more than {MAX_BRACKETS} question marks")));
        }
    }
    Ok(())
}

/// The parser's words are on one line, and may cite the text.
fn at((line, column): (isize, isize), what: &str) -> QueryFault {
    match line {
        1 => refused(&format!("at its character {column}: {what}")),
        0 => refused(what),
        _ => refused(&format!("in its line {line}, at character {column}: {what}")),
    }
}

fn refused(what: &str) -> QueryFault {
    QueryFault::BadExpression(what.into())
}

#[cfg(test)]
mod tests;
