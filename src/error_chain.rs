//! An error and its causes on one line: for those who read it, not for matching.

use std::error::Error;

/// What went wrong, and why, as far down as it is known.
pub(crate) fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
