//! The token in every event of a run: which event it is, and when it was to be sent.
//!
//! It is plain ASCII of a fixed length, so that it passes through any server unchanged, can be grepped for, and is found by
//! substring search wherever it stands:
//!
//! ```text
//! load-7f3a9c21-03-0000001f-0002540be400
//!      run      |  sequence nanoseconds from the run's begin to the intended time of sending
//!               publisher
//! ```
//!
//! What belongs to another run is passed over.

use std::fmt;

use memchr::memmem::Finder;

/// The length of every token.
pub(super) const STAMP_BYTES: usize = 38;

/// What distinguishes this run's events from everybody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunId(pub(super) u32);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One event of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) publisher: u32,
    /// Counted from 0 for each publisher.
    pub(super) sequence: u32,
    /// When the schedule had it sent, in nanoseconds since the run's begin.
    pub(super) intended: u64,
}

impl Stamp {
    /// Its token in a run. Two digits for the publisher and twelve for the time are enough for all that the options allow.
    pub(super) fn token(self, run: RunId) -> String {
        let Self { publisher, sequence, intended } = self;
        format!("load-{run}-{publisher:02x}-{sequence:08x}-{intended:012x}")
    }

    /// Reads what stands behind a token's `load-RUN-`.
    fn parse(text: &[u8]) -> Option<Self> {
        let (publisher, rest) = hexadecimal(text, 2)?;
        let (sequence, rest) = hexadecimal(rest.strip_prefix(b"-")?, 8)?;
        let (intended, _) = hexadecimal(rest.strip_prefix(b"-")?, 12)?;
        let (publisher, sequence) = (u32::try_from(publisher).ok()?, u32::try_from(sequence).ok()?);
        Some(Self { publisher, sequence, intended })
    }
}

/// A number of so many digits, and what follows.
fn hexadecimal(text: &[u8], digits: usize) -> Option<(u64, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let mut value = 0;
    for &byte in number {
        value = value << 4 | u64::from(char::from(byte).to_digit(16)?);
    }
    Some((value, rest))
}

/// Finds the tokens of one run.
#[derive(Debug, Clone)]
pub(super) struct StampFinder(Finder<'static>);

impl StampFinder {
    pub(super) fn new(run: RunId) -> Self {
        Self(Finder::new(format!("load-{run}-").as_bytes()).into_owned())
    }

    /// Finds all tokens that stand whole in `bytes`, in order.
    pub(super) fn find_all(&self, bytes: &[u8], mut found: impl FnMut(Stamp)) {
        let prefix = self.0.needle().len();
        let mut from = 0;
        while let Some(at) = self.0.find(&bytes[from..]) {
            let behind = from + at + prefix;
            match Stamp::parse(&bytes[behind..]) {
                Some(stamp) => {
                    found(stamp);
                    from = behind - prefix + STAMP_BYTES;
                }
                None => from = behind,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId(0x7f3a_9c21);

    fn found(text: &str) -> Vec<Stamp> {
        let mut stamps = Vec::new();
        StampFinder::new(RUN).find_all(text.as_bytes(), |stamp| stamps.push(stamp));
        stamps
    }

    #[test]
    fn tokens_are_found_wherever_they_stand() {
        let first = Stamp { publisher: 3, sequence: 31, intended: 10_000_000_000 };
        let last = Stamp { publisher: 255, sequence: u32::MAX, intended: (1 << 48) - 1 };
        let (a, b) = (first.token(RUN), last.token(RUN));
        assert_eq!(a, "load-7f3a9c21-03-0000001f-0002540be400");
        assert_eq!([a.len(), b.len()], [STAMP_BYTES; 2]);
        assert_eq!(found(&a), [first]);
        assert_eq!(found(&format!("[{{\"text\":\"{a}\"}},{b}{a}x")), [first, last, first]);
    }

    #[test]
    fn what_is_no_token_of_the_run_is_passed_over() {
        let stamp = Stamp { publisher: 0, sequence: 1, intended: 2 };
        let (token, foreign) = (stamp.token(RUN), stamp.token(RunId(1)));
        assert_eq!(found(&foreign), []);
        assert_eq!(found(&token[..STAMP_BYTES - 1]), []);
        assert_eq!(found("load-7f3a9c21-load-7f3a9c21-zz-0000001f-0002540be400"), []);
        assert_eq!(found(&format!("load-7f3a9c21-{token} {foreign}")), [stamp]);
    }
}
