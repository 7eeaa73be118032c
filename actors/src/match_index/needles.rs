//! The texts that filters look for, all found in one pass over an event's own.

use std::collections::HashMap;

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, PatternID};

use super::filter_index::Found;

/// What is longer is found by its end: to find a filter once too often costs asking it. Bounds both the automaton and
/// how many texts can end at one place of an event.
const LONGEST: usize = 64;

/// How many bytes all distinct texts may have. Each may become a state of the automaton: 24 bytes, and four times that
/// while it is built. It is enough for 100,000 filters of 40 bytes each.
const MAX_BYTES: usize = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct Needles {
    /// `None` if there is nothing to find.
    automaton: Option<NFA>,
    /// Who is found by each pattern of the automaton.
    found: Vec<Found>,
}

/// Which patterns an event has shown; empty between two events.
#[derive(Debug, Default)]
pub(super) struct Seen {
    bits: Vec<u64>,
    patterns: Vec<PatternID>,
}

impl Needles {
    /// A text as it is looked for.
    pub(super) fn key(text: String) -> Box<[u8]> {
        end(text.as_bytes(), LONGEST).into()
    }

    /// Returns the filters that cannot be found by their texts.
    pub(super) fn build(&mut self, mut needles: HashMap<Box<[u8]>, Found>) -> Found {
        let mut longest = LONGEST;
        while needles.keys().map(|needle| needle.len()).sum::<usize>() > MAX_BYTES {
            longest /= 2;
            needles = shorten(needles, longest);
        }
        if needles.is_empty() {
            return Found::new();
        }
        let (needles, found): (Vec<Box<[u8]>>, Vec<Found>) = needles.into_iter().unzip();
        // A prefilter does not serve a search that goes through every byte.
        match NFA::builder().prefilter(false).build(needles) {
            Ok(automaton) => {
                (self.automaton, self.found) = (Some(automaton), found);
                Found::new()
            }
            Err(error) => {
                tracing::warn!(%error, "filters are asked one by one: their texts are too many");
                found.into_iter().flatten().collect()
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// Calls `report` with the filters of every needle that stands in `haystack`.
    pub(super) fn find(&self, haystack: &[u8], seen: &mut Seen, mut report: impl FnMut(&Found)) {
        let Some(automaton) = &self.automaton else {
            return;
        };
        seen.search(automaton, haystack);
        for pattern in seen.patterns.drain(..) {
            report(&self.found[pattern]);
        }
    }
}

impl Seen {
    /// Collects the patterns of the automaton that stand in `haystack`, each once.
    ///
    /// Of those that end at one place each ends with the next, and so brings the next wherever it stands. One that was seen
    /// before ends the search at that place: all in all it takes as many steps as the haystack has bytes and as there are
    /// patterns in it, also in "aaaa" with the needles "a", "aa", "aaa" and so on.
    fn search(&mut self, automaton: &NFA, haystack: &[u8]) {
        self.bits.resize(automaton.patterns_len().div_ceil(64), 0);
        let unanchored = automaton.start_state(Anchored::No);
        let mut state = unanchored.expect("every such automaton searches unanchored");
        for byte in haystack {
            state = automaton.next_state(Anchored::No, state, *byte);
            if automaton.is_match(state) {
                let ending = 0..automaton.match_len(state);
                let mut patterns = ending.map(|index| automaton.match_pattern(state, index));
                while patterns.next().is_some_and(|pattern| self.insert(pattern)) {}
            }
        }
        for pattern in &self.patterns {
            self.bits[pattern.as_usize() / 64] = 0;
        }
    }

    /// Whether it was not seen before.
    fn insert(&mut self, pattern: PatternID) -> bool {
        let (word, bit) = (&mut self.bits[pattern.as_usize() / 64], 1 << (pattern.as_usize() % 64));
        let is_new = *word & bit == 0;
        if is_new {
            *word |= bit;
            self.patterns.push(pattern);
        }
        is_new
    }
}

/// The last bytes of a text. They need not be characters: bytes are looked for.
fn end(text: &[u8], longest: usize) -> &[u8] {
    &text[text.len().saturating_sub(longest)..]
}

fn shorten(needles: HashMap<Box<[u8]>, Found>, longest: usize) -> HashMap<Box<[u8]>, Found> {
    let mut shorter: HashMap<Box<[u8]>, Found> = HashMap::new();
    for (needle, found) in needles {
        shorter.entry(end(&needle, longest).into()).or_default().extend(found);
    }
    shorter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(texts: impl IntoIterator<Item = String>) -> Needles {
        let mut map: HashMap<Box<[u8]>, Found> = HashMap::new();
        for (number, text) in (0..).zip(texts) {
            map.entry(Needles::key(text)).or_default().push(number);
        }
        let mut needles = Needles::default();
        assert!(needles.build(map).is_empty());
        needles
    }

    fn find(needles: &Needles, haystack: &str) -> Vec<u32> {
        let mut found = Vec::new();
        let mut seen = Seen::default();
        needles.find(haystack.as_bytes(), &mut seen, |numbers| found.extend(numbers));
        assert!(seen.bits.iter().all(|bits| *bits == 0) && seen.patterns.is_empty());
        found.sort_unstable();
        found
    }

    #[test]
    fn each_that_is_there_is_found_once() {
        let needles = build(["aa", "a", "aaa", "ba", "b", "c", "aab"].map(str::to_owned));
        assert_eq!(find(&needles, "aaaaaaaa"), [0, 1, 2]);
        assert_eq!(find(&needles, "ba"), [1, 3, 4]);
        assert_eq!(find(&needles, "aab"), [0, 1, 4, 6]);
        assert!(find(&needles, "").is_empty());
    }

    #[test]
    fn needles_within_needles_cost_no_more_than_text_and_needles() {
        let needles = build((1..=1000).map(|length| "a".repeat(length)));
        let mut reports = 0;
        let haystack = vec![b'a'; 1 << 20];
        needles.find(&haystack, &mut Seen::default(), |_| reports += 1);
        assert_eq!(reports, LONGEST);
    }

    #[test]
    fn needles_beyond_all_bounds_are_shortened_and_found() {
        let needle = |number: usize| format!("{:a>1000}{number:b>20}", "");
        let needles = build((0..100_000).map(needle));
        let automaton = needles.automaton.as_ref().unwrap();
        assert!(automaton.memory_usage() < 150 << 20, "{}", automaton.memory_usage());
        assert!(find(&needles, &needle(77_777)).contains(&77_777));
    }
}
