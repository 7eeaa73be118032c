//! Severity levels, by OpenTelemetry's names, and the spellings of other systems that mean the same.

use std::fmt;

use serde::Serialize;

/// How severe an event is. The order is OpenTelemetry's: `Trace` is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    /// What an event without a level counts as when somebody filters by level.
    pub const ASSUMED: Self = Self::Info;

    /// The name as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// Reads a level that a client asks for: the six names and `warning`, in any case.
    pub fn from_query(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" => Self::Error,
            "fatal" => Self::Fatal,
            _ => return None,
        })
    }

    /// Reads a level as loggers spell it: also syslog's names (RFC 5424), and the shorthands in common use.
    pub fn from_source(text: &str) -> Option<Self> {
        Self::from_query(text).or_else(|| {
            Some(match text.to_ascii_lowercase().as_str() {
                "verbose" => Self::Trace,
                "dbg" => Self::Debug,
                "information" | "informational" | "notice" => Self::Info,
                "wrn" => Self::Warn,
                "err" | "severe" => Self::Error,
                "critical" | "crit" | "alert" | "emergency" | "emerg" | "panic" => Self::Fatal,
                _ => return None,
            })
        })
    }

    /// Reads a number in the convention of pino and bunyan: 10 (trace) to 60 (fatal).
    pub fn from_tens(number: i64) -> Option<Self> {
        Some(match number {
            10 => Self::Trace,
            20 => Self::Debug,
            30 => Self::Info,
            40 => Self::Warn,
            50 => Self::Error,
            60 => Self::Fatal,
            _ => return None,
        })
    }

    /// Reads OpenTelemetry's severity number, 1 to 24 (Logs Data Model, "Field: SeverityNumber").
    pub fn from_severity_number(number: i64) -> Option<Self> {
        Some(match number {
            1..=4 => Self::Trace,
            5..=8 => Self::Debug,
            9..=12 => Self::Info,
            13..=16 => Self::Warn,
            17..=20 => Self::Error,
            21..=24 => Self::Fatal,
            _ => return None,
        })
    }

    /// OpenTelemetry's severity number, the least of those that are this level.
    pub(crate) fn severity_number(self) -> i64 {
        match self {
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
