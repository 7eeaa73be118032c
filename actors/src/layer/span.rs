//! What is known of a span while it is open: kept in the registry, beside what other layers keep there.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::value::SmolStr;
use jiff::Timestamp;
use tracing::Metadata;

use super::Unfit;
use super::fields::{self, FieldWriter};
use super::record::{ClosedSpan, Record};

/// The ids of a span. Its children share that of the trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpanIds {
    trace: [NonZeroU64; 2],
    span: NonZeroU64,
}

/// Makes ids that nobody can guess: keyed hashes of 1, 2, 3. It takes no system call, and nothing of a thread that may be at
/// its end.
#[derive(Debug, Default)]
pub(super) struct IdSource {
    keys: RandomState,
    made: AtomicU64,
}

impl IdSource {
    fn next(&self) -> NonZeroU64 {
        loop {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            if let Some(id) = NonZeroU64::new(self.keys.hash_one(number)) {
                return id;
            }
        }
    }

    /// The ids of a new span, in the trace of its parent if it has one.
    pub(super) fn ids(&self, parent: Option<SpanIds>) -> SpanIds {
        let new_trace = || [self.next(), self.next()];
        let trace = parent.map_or_else(new_trace, |parent| parent.trace);
        SpanIds { trace, span: self.next() }
    }
}

impl SpanIds {
    /// 32 hexadecimal digits.
    pub(super) fn trace_id(self) -> SmolStr {
        let [high, low] = self.trace;
        format!("{high:016x}{low:016x}").into()
    }

    /// 16 hexadecimal digits.
    pub(super) fn span_id(self) -> SmolStr {
        format!("{:016x}", self.span).into()
    }
}

/// A span that has not closed yet.
#[derive(Debug)]
pub(super) struct OpenSpan {
    pub(super) ids: SpanIds,
    parent: Option<SpanIds>,
    start: Timestamp,
    fields: Vec<u8>,
    count: usize,
    /// Whether the fields are all that the program gave.
    is_whole: bool,
}

impl OpenSpan {
    pub(super) fn new(ids: SpanIds, parent: Option<SpanIds>, start: Timestamp) -> Self {
        Self { ids, parent, start, fields: Vec::new(), count: 0, is_whole: true }
    }

    /// Takes fields on, if they could be read and are not too many.
    pub(super) fn record(&mut self, fields: Result<&FieldWriter, Unfit>, limit: usize) {
        let merged = fields.map(|fields| fields::merge(&self.fields, fields.bytes()));
        match merged {
            Ok(merged) if merged.len() <= limit => {
                self.count = fields::read(&merged).count();
                self.fields = merged;
            }
            Ok(_) | Err(Unfit) => self.is_whole = false,
        }
    }

    /// Adds its fields to those of an event.
    pub(super) fn lend(&self, fields: &mut FieldWriter) {
        fields.append(&self.fields, self.count);
    }

    /// Takes down its end.
    pub(super) fn close(
        &self,
        metadata: &'static Metadata<'static>,
        now: Timestamp,
    ) -> Result<Record, Unfit> {
        if !self.is_whole {
            return Err(Unfit);
        }
        Ok(Record {
            metadata,
            created_at: now,
            ids: Some(self.ids),
            span: Some(ClosedSpan { parent: self.parent, start: self.start }),
            log_target: None,
            fields: self.fields.as_slice().into(),
            inherited_from: self.fields.len(),
            field_count: self.count,
            content: OnceLock::new(),
        })
    }
}
