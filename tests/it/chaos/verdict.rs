//! What came of a run: all that is not as it should be, and how much there was of everything.
//!
//! The hub's own order of events, as the scribe has it, is held against what publishers were answered, and each stream against both.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::ops::Range;

use telemetry_hub_actors::{EventId, Follow};

use super::events::{Events, LAST, Numbered, Wish};
use super::journal::{Answer, Journal, Marks};
use super::subscriber::{End, Record, Said, Start, Visit};

/// So many events the replay buffer holds at least.
const RETAINED: usize = 800;

/// All events of a run, in the hub's order.
pub(super) struct Truth {
    events: Events,
    all: Vec<(EventId, Numbered)>,
    place: HashMap<Numbered, usize>,
}

/// All findings, and all counts.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) findings: Vec<String>,
    pub(super) counts: BTreeMap<String, u64>,
}

/// One stream that is being followed through what should have come by it.
struct Walk<'a> {
    truth: &'a Truth,
    wanted: (Wish, Follow),
    /// The places of the events that are to come.
    rest: &'a [usize],
    /// What was known of spans up to this event may be forgotten.
    forgotten: Option<EventId>,
    told: u64,
}

impl Truth {
    pub(super) fn new(events: Events, all: Vec<(EventId, Numbered)>) -> Self {
        let place = all.iter().enumerate().map(|(place, (_, event))| (*event, place)).collect();
        Self { events, all, place }
    }

    /// Holds what the publishers were answered against it.
    pub(super) fn check_posts(&self, journal: &Journal, received: u64, verdict: &mut Verdict) {
        verdict.expect("events of the hub, by its counter", received, self.all.len() as u64);
        verdict.expect("distinct events", self.place.len(), self.all.len());
        verdict.expect("ids that increase", self.all.is_sorted_by(|a, b| a.0 < b.0), true);
        for (publisher, ledger) in journal.ledgers().enumerate() {
            let mut last = None;
            for (numbers, answer) in &ledger.posts {
                let places = self.places_of(publisher, numbers.clone());
                let is_right = match answer {
                    Answer::Accepted => places.clone().is_some(),
                    Answer::Refused => {
                        numbers.clone().all(|n| self.place_of(publisher, n).is_none())
                    }
                    Answer::Unknown => true,
                };
                verdict.expect(&format!("{numbers:?} of {publisher}, {answer:?}"), is_right, true);
                if let (Answer::Accepted, Some(places)) = (answer, places) {
                    let is_later = last.is_none_or(|last| last < places.start);
                    verdict.expect(&format!("{numbers:?} of {publisher} in order"), is_later, true);
                    last = Some(places.start);
                }
                verdict.count(&format!("posts {answer:?}"), 1);
            }
        }
    }

    fn place_of(&self, publisher: usize, number: u64) -> Option<usize> {
        self.place.get(&Numbered { publisher, number }).copied()
    }

    /// Where the events of a post are, if they are all there and stand together in order.
    fn places_of(&self, publisher: usize, numbers: Range<u64>) -> Option<Range<usize>> {
        let first = self.place_of(publisher, numbers.start)?;
        let mut expected = (first..).zip(numbers.clone());
        let stand = expected.all(|(place, number)| self.place_of(publisher, number) == Some(place));
        stand.then(|| first..first + numbers.count())
    }

    /// Checks all that a subscriber saw.
    pub(super) fn check(&self, record: &Record, verdict: &mut Verdict) {
        let passing = |place: &usize| self.events.passes(record.wanted, self.all[*place].1);
        let expected: Vec<usize> = (0..self.all.len()).filter(passing).collect();
        for (index, visit) in record.visits.iter().enumerate() {
            verdict.tally(visit);
            match self.follow(visit, record.wanted, &expected) {
                Ok(rest) if index + 1 == record.visits.len() && rest > 0 => {
                    verdict.finding(format!(
                        "{}, {:?}, stream {index}: {rest} events never came",
                        record.name, record.wanted
                    ));
                }
                Ok(_) => {}
                Err(error) => verdict.finding(format!(
                    "{}, {:?}, stream {index} from {:?}: {error}",
                    record.name, record.wanted, visit.start
                )),
            }
            if visit.end == End::Unexplained {
                let said = &visit.said[visit.said.len().saturating_sub(3)..];
                let name = &record.name;
                verdict
                    .finding(format!("{name}, stream {index} ended for no reason after {said:?}"));
            }
        }
        // One that was cut at the very end cannot come back.
        let is_told = record.visits.last().is_some_and(|visit| {
            visit.end == End::Cut || visit.has_said("shutdown") || visit.has_said("stalled")
        });
        verdict.expect(&format!("{} is told of the end", record.name), is_told, true);
        verdict.count("refused streams", u64::from(record.refusals));
    }

    /// Follows a stream. Returns how many events are still to come at its end.
    fn follow(
        &self,
        visit: &Visit,
        wanted: (Wish, Follow),
        expected: &[usize],
    ) -> Result<usize, String> {
        let (from, forgotten) = self.begin(visit, wanted, expected)?;
        let mut walk = Walk { truth: self, wanted, rest: &expected[from..], forgotten, told: 0 };
        for (index, said) in visit.said.iter().enumerate() {
            walk.step(said, visit).map_err(|error| {
                let around = &visit.said[index.saturating_sub(2)..visit.said.len().min(index + 2)];
                format!("{error}, amid {around:?}")
            })?;
        }
        Ok(walk.rest.iter().filter(|place| !walk.is_optional(**place)).count())
    }

    /// Which of the expected events a stream begins with, and what it need not know of.
    fn begin(
        &self,
        visit: &Visit,
        wanted: (Wish, Follow),
        expected: &[usize],
    ) -> Result<(usize, Option<EventId>), String> {
        let index_of = |place: usize| expected.partition_point(|expected| *expected < place);
        // Between these it was let in.
        let let_in =
            self.place_after(&visit.accepted_before)..self.place_before(&visit.posted_before);
        let old = |id: EventId| {
            let is_old = self.place_after_id(id) + RETAINED < let_in.end;
            is_old.then_some(id)
        };
        let first = match visit.said.iter().find(|said| !matches!(said, Said::CaughtUp(_))) {
            Some(Said::Event(id, _) | Said::Slow(_, id, _)) => Some(self.place_after_id(*id) - 1),
            Some(Said::Expired(to)) => Some(self.place_after_id(*to)),
            _ => None,
        };
        match (visit.start, first) {
            (Start::After(id), _) => Ok((index_of(self.place_after_id(id)), old(id))),
            // It has said nothing of events: then none was due but those since the latest moment.
            (Start::Live | Start::Last(_), None) => Ok((index_of(let_in.end), None)),
            (Start::Live, Some(first)) => {
                let first = index_of(first);
                let may = index_of(let_in.start)..=index_of(let_in.end);
                if may.contains(&first) {
                    Ok((first, None))
                } else {
                    Err(format!("it begins with {first} of {may:?} that it may"))
                }
            }
            // What came before was evicted, while it was read.
            (Start::Last(_), Some(first))
                if matches!(visit.said.first(), Some(Said::Expired(_))) =>
            {
                Ok((index_of(first), None))
            }
            (Start::Last(count), Some(first)) => {
                let begun = index_of(first);
                let fewest = index_of(let_in.start) - begun.min(index_of(let_in.start));
                let retained = index_of(let_in.end.saturating_sub(RETAINED));
                let latest = index_of(let_in.end).saturating_sub(count).max(retained);
                let before = first.checked_sub(1).and_then(|before| old(self.all[before].0));
                let walk = Walk { truth: self, wanted, rest: &[], forgotten: before, told: 0 };
                let certain = expected[latest.min(begun)..begun].iter();
                let left_out = certain.filter(|place| !walk.is_optional(**place)).count();
                if fewest > count {
                    Err(format!("it was to begin with the last {count}, and begins with {fewest}"))
                } else if left_out > 0 && begun > latest {
                    Err(format!(
                        "it was to begin with the last {count}, and {left_out} are left out"
                    ))
                } else {
                    Ok((begun, before))
                }
            }
        }
    }

    /// The place after all that had been accepted.
    fn place_after(&self, accepted: &Marks) -> usize {
        let last = |(publisher, end): (usize, &u64)| self.place_of(publisher, end.checked_sub(1)?);
        let last = accepted.iter().enumerate().filter_map(last).max();
        last.map_or(0, |place| place + 1)
    }

    /// The place of the first that had not been posted.
    fn place_before(&self, posted: &Marks) -> usize {
        let is_new = |(_, event): &(EventId, Numbered)| {
            event.publisher == LAST || posted[event.publisher] <= event.number
        };
        self.all.iter().position(is_new).unwrap_or(self.all.len())
    }

    fn place_after_id(&self, id: EventId) -> usize {
        self.all.partition_point(|(other, _)| *other <= id)
    }
}

impl Walk<'_> {
    fn step(&mut self, said: &Said, visit: &Visit) -> Result<(), String> {
        match said {
            Said::Event(id, event) => {
                self.skip_forgotten(*id);
                let next = self.take(1)?;
                self.told += 1;
                same("the event", *id, next.0)?;
                same(
                    "what stands in it",
                    *event,
                    self.truth.all[self.truth.place_after_id(*id) - 1].1,
                )
            }
            Said::Slow(missed, from, to) => {
                self.skip_forgotten(*from);
                let (first, last) = self.take(usize::try_from(*missed).unwrap())?;
                same("the gap's beginning", *from, first)?;
                same("the gap's end", *to, last)
            }
            Said::Expired(to) => {
                let lost = self.truth.place_after_id(*to);
                self.rest = &self.rest[self.rest.partition_point(|place| *place < lost)..];
                self.forgotten = self.forgotten.max(Some(*to));
                Ok(())
            }
            Said::CaughtUp(replayed) => {
                let is_due = !matches!(visit.start, Start::Live);
                same("whether there is a replay", true, is_due)?;
                same("replayed", *replayed, self.told)
            }
            Said::Bye(reason) => match reason.as_str() {
                "shutdown" | "stalled" => Ok(()),
                _ => Err(format!("a farewell because of {reason}")),
            },
        }
    }

    /// The ids of the first and the last of the next few.
    fn take(&mut self, count: usize) -> Result<(EventId, EventId), String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("there are no more events")?;
        self.rest = rest;
        let id = |place: Option<&usize>| place.map(|place| self.truth.all[*place].0);
        id(taken.first()).zip(id(taken.last())).ok_or_else(|| "a gap of none".to_owned())
    }

    /// Steps over what came before an event and need not come.
    fn skip_forgotten(&mut self, id: EventId) {
        while let [next, rest @ ..] = self.rest
            && self.truth.all[*next].0 < id
            && self.is_optional(*next)
        {
            self.rest = rest;
        }
    }

    /// Whether an event passes only because of others that may be forgotten.
    fn is_optional(&self, place: usize) -> bool {
        let (_, event) = self.truth.all[place];
        let events = self.truth.events;
        !events.matches(self.wanted.0, event)
            && events.followed_for(self.wanted, event).all(|earlier| {
                let place = self.truth.place_of(earlier.publisher, earlier.number);
                place.is_none_or(|place| Some(self.truth.all[place].0) <= self.forgotten)
            })
    }
}

impl Verdict {
    pub(super) fn finding(&mut self, finding: String) {
        self.findings.push(finding);
    }

    pub(super) fn count(&mut self, what: &str, number: u64) {
        *self.counts.entry(what.to_owned()).or_default() += number;
    }

    pub(super) fn expect<T: PartialEq + Debug>(&mut self, what: &str, found: T, expected: T) {
        if let Err(finding) = same(what, found, expected) {
            self.finding(finding);
        }
    }

    fn tally(&mut self, visit: &Visit) {
        self.count("streams", 1);
        self.count(&format!("streams ended: {:?}", visit.end), 1);
        for said in &visit.said {
            match said {
                Said::Event(..) => self.count("events read", 1),
                Said::Slow(missed, ..) => {
                    self.count("gaps slow", 1);
                    self.count("events told as missed", *missed);
                }
                Said::Expired(_) => self.count("gaps expired", 1),
                Said::CaughtUp(replayed) => self.count("events replayed", *replayed),
                Said::Bye(reason) => self.count(&format!("farewells {reason}"), 1),
            }
        }
    }

    /// Fails if there is anything that is not as it should be in the run of this seed.
    #[track_caller]
    pub(super) fn pronounce(&self, seed: u64) {
        println!("{self}");
        assert!(self.findings.is_empty(), "CHAOS_SEED={seed}\n{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.counts {
            writeln!(f, "{count:>9} {what}")?;
        }
        self.findings.iter().try_for_each(|finding| writeln!(f, "FINDING {finding}"))
    }
}

fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, not {expected:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a subscriber to everything was told after the first of five events, and what is found wrong with it.
    #[track_caller]
    fn check(said: impl Fn(&[EventId]) -> Vec<Said>, finding: Option<&str>) {
        let events = Events { seed: 1 };
        let id = |n: u64| format!("0199aaaa-bbbb-7ccc-8ddd-eeeeffff000{n}").parse().unwrap();
        let all = (0..5).map(|number| (id(number), Numbered { publisher: 0, number }));
        let truth = Truth::new(events, all.collect());
        let ids: Vec<EventId> = (0..5).map(id).collect();
        let mut said = said(&ids);
        said.push(Said::Bye("shutdown".to_owned()));
        let visit = Visit {
            start: Start::After(ids[0]),
            accepted_before: vec![5],
            posted_before: vec![5],
            said,
            end: End::Bye,
        };
        let wanted = (Wish::Everything, Follow::None);
        let record = Record { name: "one".to_owned(), wanted, visits: vec![visit], refusals: 0 };
        let mut verdict = Verdict::default();
        truth.check(&record, &mut verdict);
        match finding {
            None => assert!(verdict.findings.is_empty(), "{verdict}"),
            Some(finding) => assert!(verdict.findings.concat().contains(finding), "{verdict}"),
        }
    }

    fn event(ids: &[EventId], number: usize) -> Said {
        Said::Event(ids[number], Numbered { publisher: 0, number: number as u64 })
    }

    #[test]
    fn what_is_lost_doubled_or_told_wrongly_is_found() {
        let of = |numbers: &'static [usize]| {
            move |ids: &[EventId]| {
                let caught_up = Said::CaughtUp(numbers.len() as u64);
                numbers.iter().map(|number| event(ids, *number)).chain([caught_up]).collect()
            }
        };
        check(of(&[1, 2, 3, 4]), None);
        check(of(&[1, 2, 4]), Some("the event"));
        check(of(&[2, 3, 4]), Some("the event"));
        check(of(&[1, 2, 3]), Some("1 events never came"));
        check(of(&[1, 2, 2, 3, 4]), Some("the event"));
        check(of(&[1, 3, 2, 4]), Some("the event"));
        check(of(&[0, 1, 2, 3, 4]), Some("the event"));
        let slow = |missed, from: usize, to: usize| {
            move |ids: &[EventId]| {
                vec![event(ids, 1), Said::Slow(missed, ids[from], ids[to]), event(ids, 4)]
            }
        };
        check(slow(2, 2, 3), None);
        check(slow(1, 2, 3), Some("the gap's end"));
        check(slow(2, 1, 3), Some("the gap's beginning"));
        check(slow(4, 2, 3), Some("there are no more events"));
        check(|ids| vec![Said::Expired(ids[3]), event(ids, 4)], None);
        check(|ids| vec![Said::Expired(ids[2]), event(ids, 4)], Some("the event"));
        check(|ids| vec![event(ids, 1), Said::CaughtUp(2)], Some("replayed"));
    }
}
