//! What came of a run: what was answered 200 is held against what each subscriber saw.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::time::Duration;

use crate::events::Wish;
use crate::publisher::Ledger;
use crate::subscriber::Record;

/// All that is not as it should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Events that were answered 200, match, and never came: summed over all subscribers.
    pub(crate) lost: usize,
    /// Events that came again.
    pub(crate) doubled: usize,
    pub(crate) findings: Vec<String>,
}

impl Verdict {
    /// Every subscriber has every event that was answered 200 and matches, once, in the one order that ids have.
    pub(crate) fn of(ledger: &Ledger, records: &[Record]) -> Self {
        let mut verdict = Self { findings: ledger.findings.clone(), ..Self::default() };
        // Ids that rise with every subscriber, and are the same for the same event: that is one order for all.
        let mut ids = HashMap::new();
        for record in records {
            verdict.check_order(record, &mut ids);
            verdict.check_events(ledger, record);
            if let Some(gap) = record.gaps.first() {
                verdict.findings.push(format!("{}: a gap: {gap:?}", record.name));
            }
            if !record.is_complete {
                verdict.findings.push(format!("{} never saw the last event", record.name));
            }
        }
        verdict
    }

    fn check_order<'a>(&mut self, record: &'a Record, ids: &mut HashMap<u64, &'a str>) {
        for pair in record.seen.windows(2) {
            if pair[0].0 >= pair[1].0 {
                self.findings.push(format!("{}: {pair:?} in this order", record.name));
            }
        }
        for (id, number) in &record.seen {
            let known = ids.entry(*number).or_insert(id);
            if *known != id {
                self.findings.push(format!("{}: {number} is {id}, and {known}", record.name));
            }
        }
    }

    fn check_events(&mut self, ledger: &Ledger, record: &Record) {
        let name = &record.name;
        let mut seen = BTreeSet::new();
        for (_, number) in &record.seen {
            let is_posted = ledger.accepted.contains(number) || ledger.open.contains(number);
            if !is_posted || !record.wish.matches(*number) {
                self.findings.push(format!("{name}: {number} should not come"));
            }
            if !seen.insert(*number) {
                self.doubled += 1;
                self.findings.push(format!("{name}: {number} came again"));
            }
        }
        let matching = ledger.accepted.iter().filter(|number| record.wish.matches(**number));
        let lost: Vec<&u64> = matching.filter(|number| !seen.contains(number)).collect();
        if let [first, .., last] | [first @ last] = lost.as_slice() {
            let count = lost.len();
            self.findings.push(format!("{name}: {count} never came, from {first} to {last}"));
        }
        self.lost += lost.len();
    }

    /// Fails if there is anything.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        let first: Vec<&String> = self.findings.iter().take(20).collect();
        assert!(self.findings.is_empty(), "{} findings: {first:#?}", self.findings.len());
    }
}

/// Prints a row of the table of faults.
pub(crate) fn print_row(fault: &str, ledger: &Ledger, records: &[Record], verdict: &Verdict) {
    let breaks: u32 = records.iter().map(|record| record.breaks).sum();
    let watches_all = |record: &&Record| record.wish == Wish::All;
    let silences = records.iter().filter(watches_all).map(|record| record.longest_silence);
    let silence = silences.max().unwrap_or(Duration::ZERO);
    let row = format!(
        "| {fault} | {} accepted, {} × 503, {} unreached, {} unanswered; {} clients, {breaks} reconnects, longest silence {:.1} s | {} | {} |\n",
        ledger.accepted.len(),
        ledger.refused_posts,
        ledger.unreached_posts,
        ledger.unknown_posts,
        records.len(),
        silence.as_secs_f32(),
        verdict.lost,
        verdict.doubled,
    );
    std::io::stdout().write_all(row.as_bytes()).unwrap();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.accepted.extend(1..=200);
        ledger.open.insert(201);
        ledger
    }

    fn record(wish: Wish, numbers: impl IntoIterator<Item = u64>) -> Record {
        let mut record = Record::new(format!("{wish:?}"), wish);
        record.seen =
            numbers.into_iter().map(|number| (format!("id-{number:03}"), number)).collect();
        record.is_complete = true;
        record
    }

    #[track_caller]
    fn check(records: &[Record], lost: usize, doubled: usize, findings: usize) {
        let verdict = Verdict::of(&ledger(), records);
        let found = (verdict.lost, verdict.doubled, verdict.findings.len());
        assert_eq!(found, (lost, doubled, findings), "{verdict:?}");
    }

    #[test]
    fn what_is_as_it_should_be_is_clean() {
        check(&[record(Wish::All, 1..=200), record(Wish::Errors, [100, 200])], 0, 0, 0);
        // What was not answered may be there.
        check(&[record(Wish::All, 1..=201)], 0, 0, 0);
    }

    #[test]
    fn what_is_lost_or_foreign_or_comes_twice_is_found() {
        check(&[record(Wish::All, 1..=190)], 10, 0, 1);
        check(&[record(Wish::Errors, [100])], 1, 0, 1);
        check(&[record(Wish::Errors, [100, 150, 200])], 0, 0, 1);
        check(&[record(Wish::All, 1..=202)], 0, 0, 1);
        // It is out of order as well.
        check(&[record(Wish::All, (1..=200).chain([200]))], 0, 1, 2);
    }

    #[test]
    fn another_order_and_another_id_are_found() {
        check(&[record(Wish::All, (1..=100).chain([102, 101]).chain(103..=200))], 0, 0, 1);
        let mut other = record(Wish::Errors, [100, 200]);
        other.seen[1].0 = "id-201".to_owned();
        check(&[record(Wish::All, 1..=200), other], 0, 0, 1);
    }

    #[test]
    fn gaps_and_an_end_that_never_came_are_found() {
        let mut record = record(Wish::All, 1..=200);
        record.gaps.push((3, json!({"reason": "expired"})));
        check(std::slice::from_ref(&record), 0, 0, 1);
        record.is_complete = false;
        check(&[record], 0, 0, 2);
    }
}
