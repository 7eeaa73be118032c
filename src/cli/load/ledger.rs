//! The books: for each subscriber what it got, what it was told it missed, and what is left to explain.
//!
//! Kept subscriber by subscriber, so that what one got twice never hides what another did not get. Each thread of readers keeps a
//! ledger of its own; after the run all are settled together against what the server accepted.
//!
//! A `gap` says how many were missed, not which. A server that tells one subscriber of more than it missed, and loses as many
//! without a word, is not found out; nor is what was lost before a `bye`, for all that is not accounted for by then is cut off.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::frames::Seen;
use super::schedule::Schedule;
use super::stamp::Stamp;

/// Reasons are text from outside: so many are told apart, the others share one.
const MAX_REASONS: usize = 20;

/// What a reader does with what is sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReaderClass {
    /// Reads as fast as it can.
    Healthy,
    /// Reads so many bytes a second.
    Slow,
    /// Reads nothing until all has been published.
    Stalled,
}

/// How a stream fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Unopened,
    Open,
    /// The server has announced the end.
    ByeSaid,
    EndedWithoutBye,
}

/// One subscriber's account.
#[derive(Debug)]
struct Account {
    filter: u32,
    class: ReaderClass,
    state: StreamState,
    /// Different events that are for it.
    delivered: u32,
    missed: u64,
    /// Gaps that do not say of how many.
    unknown_gaps: u32,
    /// What has been passed over, and may still come.
    holes: Vec<Hole>,
}

/// Ranks of one publisher that have not come, though higher ones have.
#[derive(Debug, Clone, Copy)]
struct Hole {
    publisher: u32,
    begin: u32,
    end: u32,
}

/// What all subscribers of a ledger have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct FrameCounts {
    pub(super) doubled: u64,
    pub(super) out_of_order: u64,
    /// Events for other filters than the subscriber's.
    pub(super) unwanted: u64,
    pub(super) gaps: u64,
    pub(super) pings: u64,
    pub(super) caught_up: u64,
    pub(super) byes: Reasons,
}

impl FrameCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.unwanted += other.unwanted;
        self.gaps += other.gaps;
        self.pings += other.pings;
        self.caught_up += other.caught_up;
        self.byes.add_all(&other.byes);
    }
}

/// The accounts of one thread's subscribers.
#[derive(Debug)]
pub(super) struct Ledger {
    schedule: Schedule,
    accounts: Vec<Account>,
    /// For each account and publisher, the rank that is next.
    next_ranks: Vec<u32>,
    pub(super) counts: FrameCounts,
    /// From the intended sending to the arrival at a healthy reader, in microseconds.
    pub(super) latency: Histogram<u64>,
    /// All that was delivered, and all that was told as missed, by now.
    pub(super) delivered: u64,
    pub(super) missed: u64,
    pub(super) failures: Reasons,
}

/// How often what went wrong.
#[derive(Debug, Clone, Default)]
pub(super) struct Reasons(pub(super) BTreeMap<String, u64>);

impl Reasons {
    pub(super) fn add(&mut self, reason: String, count: u64) {
        let is_new = !self.0.contains_key(&reason);
        let reason =
            if is_new && self.0.len() >= MAX_REASONS { "other reasons".to_owned() } else { reason };
        *self.0.entry(reason).or_default() += count;
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (reason, count) in &other.0 {
            self.add(reason.clone(), *count);
        }
    }
}

/// A histogram of microseconds up to an hour, which is longer than anything is waited for; three digits are exact.
pub(super) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are in order")
}

impl Ledger {
    /// For subscribers with these filters, in their order.
    pub(super) fn new(
        schedule: Schedule,
        subscribers: impl Iterator<Item = (u32, ReaderClass)>,
    ) -> Self {
        let account = |(filter, class)| Account {
            filter,
            class,
            state: StreamState::Unopened,
            delivered: 0,
            missed: 0,
            unknown_gaps: 0,
            holes: Vec::new(),
        };
        let accounts: Vec<_> = subscribers.map(account).collect();
        Self {
            next_ranks: vec![0; accounts.len() * schedule.publishers as usize],
            schedule,
            accounts,
            counts: FrameCounts::default(),
            latency: latency_histogram(),
            delivered: 0,
            missed: 0,
            failures: Reasons::default(),
        }
    }

    pub(super) fn class(&self, account: u32) -> ReaderClass {
        self.accounts[account as usize].class
    }

    /// The stream is there: from now on the subscriber expects all that is published. Returns its filter.
    pub(super) fn opened(&mut self, account: u32) -> u32 {
        let account = &mut self.accounts[account as usize];
        account.state = StreamState::Open;
        account.filter
    }

    /// The stream has ended.
    pub(super) fn ended(&mut self, account: u32) {
        let account = &mut self.accounts[account as usize];
        account.state = match account.state {
            StreamState::ByeSaid => StreamState::ByeSaid,
            StreamState::Unopened | StreamState::Open | StreamState::EndedWithoutBye => {
                StreamState::EndedWithoutBye
            }
        };
    }

    /// Enters what came, at a time in nanoseconds since the run's begin.
    pub(super) fn enter(&mut self, index: u32, seen: &Seen<'_>, now: u64) {
        let account = &mut self.accounts[index as usize];
        match *seen {
            Seen::Event(stamp) => self.enter_event(index, stamp, now),
            Seen::Gap(missed) => {
                self.counts.gaps += 1;
                account.unknown_gaps += u32::from(missed.is_none());
                account.missed += missed.unwrap_or(0);
                self.missed += missed.unwrap_or(0);
            }
            Seen::Bye(reason) => {
                account.state = StreamState::ByeSaid;
                self.counts.byes.add(reason.to_owned(), 1);
            }
            Seen::Ping => self.counts.pings += 1,
            Seen::CaughtUp => self.counts.caught_up += 1,
        }
    }

    fn enter_event(&mut self, index: u32, stamp: Stamp, now: u64) {
        let account = &mut self.accounts[index as usize];
        let Stamp { publisher, sequence, intended } = stamp;
        let is_ours = publisher < self.schedule.publishers;
        if !is_ours || self.schedule.target(publisher, sequence) != account.filter {
            self.counts.unwanted += 1;
            return;
        }
        let rank = self.schedule.rank(sequence);
        let next = &mut self.next_ranks[(index * self.schedule.publishers + publisher) as usize];
        if rank >= *next {
            if rank > *next {
                account.holes.push(Hole { publisher, begin: *next, end: rank });
            }
            *next = rank + 1;
        } else if account.fill_hole(publisher, rank) {
            self.counts.out_of_order += 1;
        } else {
            self.counts.doubled += 1;
            return;
        }
        account.delivered += 1;
        self.delivered += 1;
        if account.class == ReaderClass::Healthy {
            self.latency.saturating_record(now.saturating_sub(intended) / 1000);
        }
    }

    /// Closes the books: `accepted` says how many events of each filter the server took.
    pub(super) fn settle(&self, accepted: &[u32], totals: &mut BTreeMap<ReaderClass, ClassTotals>) {
        for account in &self.accounts {
            if account.state != StreamState::Unopened {
                let expected = u64::from(accepted[account.filter as usize]);
                account.settle(expected, totals.entry(account.class).or_default());
            }
        }
    }
}

impl Account {
    /// Whether a rank is one that was passed over; if so, it has come now.
    fn fill_hole(&mut self, publisher: u32, rank: u32) -> bool {
        let is_here =
            |hole: &Hole| hole.publisher == publisher && (hole.begin..hole.end).contains(&rank);
        let Some(at) = self.holes.iter().position(is_here) else {
            return false;
        };
        let hole = self.holes.swap_remove(at);
        let parts = [(hole.begin, rank), (rank + 1, hole.end)];
        let left = parts.into_iter().filter(|(begin, end)| begin < end);
        self.holes.extend(left.map(|(begin, end)| Hole { begin, end, ..hole }));
        true
    }

    fn settle(&self, expected: u64, totals: &mut ClassTotals) {
        let accounted = u64::from(self.delivered) + self.missed;
        let lost = expected.saturating_sub(accounted);
        totals.subscribers += 1;
        totals.expected += expected;
        totals.delivered += u64::from(self.delivered);
        totals.missed += self.missed;
        totals.unknown_gaps += u64::from(self.unknown_gaps);
        totals.overtold += accounted.saturating_sub(expected);
        let is_told = match self.state {
            StreamState::ByeSaid => true,
            // Who does not read may lose its connection, for there is no room left to say bye in.
            StreamState::EndedWithoutBye => self.class == ReaderClass::Stalled,
            StreamState::Open | StreamState::Unopened => false,
        };
        if is_told {
            totals.cut_off += lost;
        } else {
            totals.unexplained += lost;
        }
        totals.ended_with_bye += u64::from(self.state == StreamState::ByeSaid);
        totals.ended_without_bye += u64::from(self.state == StreamState::EndedWithoutBye);
    }
}

/// The sums over one class of readers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct ClassTotals {
    /// Those whose stream was opened.
    pub(super) subscribers: u64,
    pub(super) expected: u64,
    pub(super) delivered: u64,
    /// As told by `gap`.
    pub(super) missed: u64,
    /// Gaps that did not say of how many.
    pub(super) unknown_gaps: u64,
    /// What those did not get whose stream the server ended, as it has the right to.
    pub(super) cut_off: u64,
    /// What was lost without a word.
    pub(super) unexplained: u64,
    /// What came, or was told as missed, beyond what was expected.
    pub(super) overtold: u64,
    pub(super) ended_with_bye: u64,
    pub(super) ended_without_bye: u64,
}

impl ClassTotals {
    pub(super) fn add(&mut self, other: &Self) {
        self.subscribers += other.subscribers;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.missed += other.missed;
        self.unknown_gaps += other.unknown_gaps;
        self.cut_off += other.cut_off;
        self.unexplained += other.unexplained;
        self.overtold += other.overtold;
        self.ended_with_bye += other.ended_with_bye;
        self.ended_without_bye += other.ended_without_bye;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn schedule(filters: u32) -> Schedule {
        let duration = Duration::from_secs(1);
        Schedule { publishers: 2, batch: 1, rate: 100.0, duration, filters }
    }

    /// A ledger of one subscriber with an open stream.
    fn ledger(filters: u32, filter: u32, class: ReaderClass) -> Ledger {
        let mut ledger = Ledger::new(schedule(filters), std::iter::once((filter, class)));
        ledger.opened(0);
        ledger
    }

    fn event(publisher: u32, sequence: u32) -> Seen<'static> {
        Seen::Event(Stamp { publisher, sequence, intended: 0 })
    }

    fn enter(ledger: &mut Ledger, sequences: &[u32]) {
        for &sequence in sequences {
            ledger.enter(0, &event(0, sequence), 1_000_000);
        }
    }

    fn settled(ledger: &Ledger, accepted: u32) -> ClassTotals {
        let mut totals = BTreeMap::new();
        let accepted = vec![accepted; ledger.schedule.filters as usize];
        ledger.settle(&accepted, &mut totals);
        totals.into_values().next().unwrap()
    }

    /// What is delivered, doubled and out of order.
    #[track_caller]
    fn check(sequences: &[u32], expected: [u64; 3]) {
        let mut ledger = ledger(1, 0, ReaderClass::Healthy);
        enter(&mut ledger, sequences);
        let FrameCounts { doubled, out_of_order, .. } = ledger.counts;
        assert_eq!([ledger.delivered, doubled, out_of_order], expected, "{sequences:?}");
    }

    #[test]
    fn each_event_counts_once() {
        check(&[0, 1, 2], [3, 0, 0]);
        check(&[0, 0, 1, 0], [2, 2, 0]);
        check(&[0, 3, 1, 2], [4, 0, 2]);
        check(&[5, 0, 5, 3, 3, 4], [4, 2, 3]);
    }

    #[test]
    fn publishers_have_orders_of_their_own() {
        let mut ledger = ledger(1, 0, ReaderClass::Healthy);
        for (publisher, sequence) in [(0, 0), (1, 0), (1, 1), (0, 1), (2, 0)] {
            ledger.enter(0, &event(publisher, sequence), 0);
        }
        assert_eq!(
            (ledger.delivered, ledger.counts.out_of_order, ledger.counts.unwanted),
            (4, 0, 1)
        );
    }

    #[test]
    fn what_is_for_others_is_unwanted() {
        let mut ledger = ledger(10, 3, ReaderClass::Healthy);
        enter(&mut ledger, &[3, 13, 4, 23]);
        assert_eq!((ledger.delivered, ledger.counts.unwanted), (3, 1));
        assert_eq!(settled(&ledger, 3).unexplained, 0);
    }

    #[test]
    fn what_is_lost_is_unexplained_unless_it_was_told() {
        let mut ledger = ledger(1, 0, ReaderClass::Healthy);
        enter(&mut ledger, &[0, 1, 5]);
        assert_eq!(settled(&ledger, 6).unexplained, 3);
        ledger.enter(0, &Seen::Gap(Some(2)), 0);
        assert_eq!(settled(&ledger, 6).unexplained, 1);
        ledger.enter(0, &Seen::Gap(Some(1)), 0);
        let totals = settled(&ledger, 6);
        assert_eq!((totals.unexplained, totals.overtold, totals.missed), (0, 0, 3));
        ledger.enter(0, &Seen::Gap(Some(1)), 0);
        ledger.enter(0, &Seen::Gap(None), 0);
        let totals = settled(&ledger, 6);
        assert_eq!((totals.unexplained, totals.overtold, totals.unknown_gaps), (0, 1, 1));
    }

    #[test]
    fn a_stream_may_end_with_a_word() {
        for (class, bye, cut_off, unexplained) in [
            (ReaderClass::Healthy, true, 2, 0),
            (ReaderClass::Healthy, false, 0, 2),
            (ReaderClass::Stalled, true, 2, 0),
            (ReaderClass::Stalled, false, 2, 0),
            (ReaderClass::Slow, false, 0, 2),
        ] {
            let mut ledger = ledger(1, 0, class);
            enter(&mut ledger, &[0]);
            if bye {
                ledger.enter(0, &Seen::Bye("stalled"), 0);
            }
            ledger.ended(0);
            let totals = settled(&ledger, 3);
            assert_eq!((totals.cut_off, totals.unexplained), (cut_off, unexplained), "{class:?}");
            assert_eq!(
                (totals.ended_with_bye, totals.ended_without_bye),
                (bye.into(), (!bye).into())
            );
        }
    }

    #[test]
    fn one_subscribers_surplus_does_not_hide_anothers_loss() {
        let subscribers =
            [(0, ReaderClass::Healthy), (0, ReaderClass::Healthy), (0, ReaderClass::Healthy)];
        let mut ledger = Ledger::new(schedule(1), subscribers.into_iter());
        // The third never got a stream, and expects nothing.
        ledger.opened(0);
        ledger.opened(1);
        ledger.enter(0, &event(0, 0), 0);
        ledger.enter(0, &event(0, 1), 0);
        let totals = settled(&ledger, 1);
        assert_eq!((totals.expected, totals.delivered), (2, 2));
        assert_eq!((totals.unexplained, totals.overtold), (1, 1));
    }

    #[test]
    fn latency_is_that_of_healthy_readers() {
        for (class, count) in
            [(ReaderClass::Healthy, 2), (ReaderClass::Slow, 0), (ReaderClass::Stalled, 0)]
        {
            let mut ledger = ledger(1, 0, class);
            enter(&mut ledger, &[0, 1, 1]);
            assert_eq!(ledger.latency.len(), count);
            assert!(count == 0 || ledger.latency.max() == 1000);
        }
    }

    #[test]
    fn reasons_are_bounded() {
        let mut reasons = Reasons::default();
        for number in 0..100 {
            reasons.add(format!("reason {number}"), 1);
            reasons.add("reason 0".to_owned(), 1);
        }
        assert_eq!(reasons.0.len(), MAX_REASONS + 1);
        assert_eq!((reasons.0["reason 0"], reasons.0["other reasons"]), (101, 80));
    }

    proptest! {
        #[test]
        fn any_order_adds_up(sequences in prop::collection::vec(0_u32..30, 0..80)) {
            let mut ledger = ledger(1, 0, ReaderClass::Healthy);
            enter(&mut ledger, &sequences);
            let different: std::collections::BTreeSet<_> = sequences.iter().collect();
            prop_assert_eq!(ledger.delivered, different.len() as u64);
            prop_assert_eq!(ledger.counts.doubled, (sequences.len() - different.len()) as u64);
            prop_assert_eq!(settled(&ledger, 30).unexplained, 30 - different.len() as u64);
        }
    }
}
