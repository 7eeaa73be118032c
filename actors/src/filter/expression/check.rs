//! What an expression may consist of, so that no event makes it costly. The rule:
//!
//! - no more than [`MAX_NODES`] parts, [`MAX_DEPTH`] deep, [`MAX_LOOP_NODES`] of them in loops (`all`, `exists`, `exists_one`,
//!   `map`, `filter`), for these are evaluated once for each element;
//! - no loop within another or over the result of another, of which the lengths would multiply;
//! - no more than [`MAX_ADDITIONS`], each of which may copy two texts or lists as long as the event;
//! - only the functions of [`FUNCTIONS`], of which none costs more than reading its texts;
//! - `matches` and `timestamp` of constants alone: they are read once, here. A pattern is bounded in size.
//!
//! How often an element of a list in the event may be come by is then the business of the budget.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr, operators};
use regex::{Regex, RegexBuilder};

use super::refused;
use super::values::Time;
use crate::error::QueryFault;

/// What an expression may name.
pub(super) const VARIABLES: [&str; 8] =
    ["type", "level", "severity", "text", "trace_id", "span_id", "created_at", "data"];

const FUNCTIONS: [&str; 11] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "timestamp",
];

const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NEGATE,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::INDEX,
];

/// A kilobyte of comparisons has about as many.
const MAX_NODES: usize = 400;

/// Evaluation goes down as deep on the stack.
const MAX_DEPTH: usize = 32;

const MAX_LOOP_NODES: usize = 100;
const MAX_ADDITIONS: usize = 8;

/// What a pattern may take, in bytes: one that does is a text of several hundred characters, or counts to fifty.
const MAX_PATTERN_BYTES: usize = 32 * 1024;

/// What a pattern may use while it is matched: it is faster with more.
const PATTERN_CACHE_BYTES: usize = 64 * 1024;

/// How the names begin that macros and this check make. No expression can spell them.
const MADE: char = '@';

/// A macro's result while it is worked out.
const RESULT: &str = "@result";

/// Something worked out beforehand. It goes by `@` and its number.
pub(super) enum Constant {
    Pattern(Regex),
    Time(Time),
}

/// The expression as it is evaluated, if it keeps the rule.
pub(super) fn checked(mut root: IdedExpr) -> Result<(IdedExpr, Vec<Constant>), QueryFault> {
    let mut check = Check::default();
    check.expression(&mut root, 0)?;
    Ok((root, check.constants))
}

#[derive(Default)]
struct Check {
    nodes: usize,
    loop_nodes: usize,
    additions: usize,
    /// The variable of the loop that it is in.
    loop_variable: Option<String>,
    /// In a loop or in what one goes over.
    is_in_loop: bool,
    constants: Vec<Constant>,
}

impl Check {
    fn expression(&mut self, expression: &mut IdedExpr, depth: usize) -> Result<(), QueryFault> {
        self.count(depth)?;
        match &mut expression.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::List(list) => self.each(&mut list.elements, depth),
            Expr::Select(select) => {
                self.expression(&mut select.operand, depth + 1)?;
                if !select.test {
                    expression.expr = indexed(std::mem::take(select));
                }
                Ok(())
            }
            Expr::Call(call) => match self.constant(call)? {
                Some(constant) => {
                    expression.expr = constant;
                    Ok(())
                }
                None => self.call(call, depth),
            },
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::Map(_) => Err(refused("maps cannot be written in it")),
            Expr::Struct(_) | Expr::Unspecified => Err(refused("messages cannot be written in it")),
        }
    }

    fn count(&mut self, depth: usize) -> Result<(), QueryFault> {
        self.nodes += 1;
        self.loop_nodes += usize::from(self.is_in_loop);
        if self.nodes > MAX_NODES {
            return Err(refused(&format!("it has more than {MAX_NODES} parts")));
        }
        if self.loop_nodes > MAX_LOOP_NODES {
            let what = format!(
                "its `all`, `exists`, `map` and `filter` have more than {MAX_LOOP_NODES} parts"
            );
            return Err(refused(&what));
        }
        if depth > MAX_DEPTH {
            return Err(refused(&format!("it is more than {MAX_DEPTH} parts deep")));
        }
        Ok(())
    }

    fn name(&self, name: &str) -> Result<(), QueryFault> {
        let is_known = VARIABLES.contains(&name)
            || name.starts_with(MADE)
            || self.loop_variable.as_deref() == Some(name);
        if is_known {
            return Ok(());
        }
        Err(refused(&format!("`{name}` is unknown; known are {}", VARIABLES.join(", "))))
    }

    fn each(&mut self, expressions: &mut [IdedExpr], depth: usize) -> Result<(), QueryFault> {
        expressions.iter_mut().try_for_each(|expression| self.expression(expression, depth + 1))
    }

    fn call(&mut self, call: &mut CallExpr, depth: usize) -> Result<(), QueryFault> {
        let name = call.func_name.as_str();
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
            let known = FUNCTIONS.join(", ");
            return Err(refused(&format!("the function `{name}` is unknown; known are {known}")));
        }
        if name == operators::ADD && !adds_to_result(call) {
            self.additions += 1;
            if self.additions > MAX_ADDITIONS {
                return Err(refused(&format!("it has more than {MAX_ADDITIONS} additions")));
            }
        }
        if let Some(target) = &mut call.target {
            self.expression(target, depth + 1)?;
        }
        self.each(&mut call.args, depth)
    }

    /// What the macros make: their beginning, condition and result are their own.
    fn comprehension(
        &mut self,
        comprehension: &mut ComprehensionExpr,
        depth: usize,
    ) -> Result<(), QueryFault> {
        if std::mem::replace(&mut self.is_in_loop, true) {
            return Err(refused("no `all`, `exists`, `map` or `filter` may be in or over another"));
        }
        self.expression(&mut comprehension.iter_range, depth + 1)?;
        self.loop_variable = Some(comprehension.iter_var.clone());
        self.expression(&mut comprehension.loop_step, depth + 1)?;
        self.loop_variable = None;
        self.is_in_loop = false;
        Ok(())
    }

    /// What takes the place of a call that can be worked out now.
    fn constant(&mut self, call: &mut CallExpr) -> Result<Option<Expr>, QueryFault> {
        let literal = call.args.last().and_then(text_of);
        match (call.func_name.as_str(), literal) {
            ("matches", Some(pattern)) => {
                let pattern = Constant::Pattern(compiled(pattern)?);
                call.args.pop();
                let texts = call.target.take().map(|target| *target).into_iter();
                let args = texts.chain(call.args.drain(..)).chain([self.keep(pattern)]).collect();
                let (func_name, target) = (operators::IN.to_owned(), None);
                *call = CallExpr { func_name, target, args };
                if call.args.len() == 2 {
                    Ok(None)
                } else {
                    Err(refused("`matches` takes one pattern"))
                }
            }
            ("timestamp", Some(time)) if call.args.len() == 1 && call.target.is_none() => {
                let time = time.parse().map_err(|_| {
                    refused("`timestamp` takes a time as in RFC 3339: 2026-11-22T10:12:19Z")
                })?;
                Ok(Some(self.keep(Constant::Time(Time(time))).expr))
            }
            (function @ ("matches" | "timestamp"), _) => {
                Err(refused(&format!("`{function}` takes a text as it is written, in quotes")))
            }
            _ => Ok(None),
        }
    }

    fn keep(&mut self, constant: Constant) -> IdedExpr {
        let name = format!("{MADE}{}", self.constants.len());
        self.constants.push(constant);
        IdedExpr { id: 0, expr: Expr::Ident(name) }
    }
}

/// `a.b` is `a["b"]`, and looked up with fewer detours.
fn indexed(select: SelectExpr) -> Expr {
    let field = LiteralValue::String(select.field.into());
    let field = IdedExpr { id: 0, expr: Expr::Literal(field) };
    let func_name = operators::INDEX.to_owned();
    Expr::Call(CallExpr { func_name, target: None, args: vec![*select.operand, field] })
}

/// As the macros do, once for each element.
fn adds_to_result(call: &CallExpr) -> bool {
    matches!(call.args.first(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name == RESULT)
}

fn text_of(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn compiled(pattern: &str) -> Result<Regex, QueryFault> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(MAX_PATTERN_BYTES).dfa_size_limit(PATTERN_CACHE_BYTES).nest_limit(16);
    builder.build().map_err(|error| {
        // The last line says what, those before it where, with marks under the text.
        let error = error.to_string();
        let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        refused(&format!("a pattern that cannot be: {what}"))
    })
}
