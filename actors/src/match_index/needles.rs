//! The texts that filters look for, all found in one pass over an event's own.

use std::collections::HashMap;

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, PatternID};

use super::filter_index::Found;

/// What is longer is looked for by its end alone: to find a filter once too often costs asking it. Bounds how many texts
/// can end at one place of an event, which the automaton lists for each of its states.
const LONGEST: usize = 64;

/// How many states the automaton may have, one for each byte that no other text has before it. Each takes 10 bytes or
/// more, and six times that and half a microsecond while it is built. It is enough for 100,000 texts with ten bytes each
/// that tell them apart; what goes beyond, [`Length`]s spare.
const MAX_STATES: usize = 1 << 20;

/// How much of its texts is looked for, the more the better. The last one is always short enough.
const LENGTHS: [Length; 9] = [
    Length { longest: LONGEST, apart: LONGEST },
    Length { longest: LONGEST, apart: 8 },
    Length { longest: LONGEST, apart: 4 },
    Length { longest: LONGEST, apart: 2 },
    Length { longest: 32, apart: 2 },
    Length { longest: 16, apart: 2 },
    Length { longest: 8, apart: 2 },
    Length { longest: 4, apart: 2 },
    Length { longest: 1, apart: 2 },
];

#[derive(Debug, Clone, Copy)]
struct Length {
    longest: usize,
    /// How many bytes beyond those that it has in common with any other.
    apart: usize,
}

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
    pub(super) fn build(&mut self, needles: HashMap<Box<[u8]>, Found>) -> Found {
        if needles.is_empty() {
            return Found::new();
        }
        let (texts, found) = shorten(needles.into_iter().collect());
        // A prefilter does not serve a search that goes through every byte.
        match NFA::builder().prefilter(false).build(texts) {
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

/// As much of each text as there can be states for, from its beginning, and who is found by it.
fn shorten(mut needles: Vec<(Box<[u8]>, Found)>) -> (Vec<Box<[u8]>>, Vec<Found>) {
    needles.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let lengths = lengths(&needles);
    let (mut texts, mut all_found): (Vec<Box<[u8]>>, Vec<Found>) = Default::default();
    for ((text, found), length) in needles.into_iter().zip(lengths) {
        match (texts.last(), all_found.last_mut()) {
            (Some(last), Some(same)) if **last == text[..length] => same.extend(found),
            _ => {
                texts.push(text[..length].into());
                all_found.push(found);
            }
        }
    }
    (texts, all_found)
}

/// How much of each text, which come in order, there can be states for.
fn lengths(needles: &[(Box<[u8]>, Found)]) -> Vec<usize> {
    let pairs = needles.windows(2).map(|pair| common(&pair[0].0, &pair[1].0));
    // With the text before it, and, one place further, with the text after it.
    let shared: Vec<usize> = std::iter::once(0).chain(pairs).chain([0]).collect();
    let mut lengths = Vec::new();
    for length in LENGTHS {
        let of_one = |(index, (text, _)): (usize, &(Box<[u8]>, Found))| {
            let apart = shared[index].max(shared[index + 1]) + length.apart;
            text.len().min(length.longest).min(apart)
        };
        lengths = needles.iter().enumerate().map(of_one).collect();
        if count_states(&lengths, &shared) <= MAX_STATES {
            break;
        }
    }
    lengths
}

/// How many bytes two texts have in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// How many states an automaton has for texts of these lengths, in order.
fn count_states(lengths: &[usize], shared: &[usize]) -> usize {
    let before = std::iter::once(&0).chain(lengths);
    let all = lengths.iter().zip(before).zip(shared);
    all.map(|((length, before), shared)| length - length.min(before).min(shared)).sum()
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

    #[track_caller]
    fn check_states(texts: impl Iterator<Item = String>, at_most: usize) -> Needles {
        let needles = build(texts);
        let memory = needles.automaton.as_ref().unwrap().memory_usage();
        assert!(memory < at_most << 20, "{memory}");
        needles
    }

    #[test]
    fn needles_are_shortened_to_what_tells_them_apart() {
        let number = |n: usize| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let texts = (0..50_000).map(|n| format!("{:016x}-and-so-on-and-so-on", number(n)));
        let needles = check_states(texts, 10);
        assert_eq!(needles.found.len(), 50_000);
        let haystack = format!("{:016x}-and-so-on-and-so-on", number(33_333));
        assert_eq!(find(&needles, &haystack), [33_333]);
    }

    #[test]
    fn needles_beyond_all_bounds_are_shortened_and_found() {
        let number = |n: usize| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let text =
            |n: usize| format!("{:016x}{}", number(n / 2), ["a", "b"][n % 2].repeat(40 + n % 2));
        let needles = check_states((0..60_000).map(text), 100);
        assert!(find(&needles, &text(33_333)).contains(&33_333));
        // With all but their ends in common, twice over.
        let text = |n: usize| format!("{:016x}{}{}", number(n / 2), "a".repeat(47), n % 2);
        let needles = check_states((0..60_000).map(text), 100);
        assert!(find(&needles, &text(33_333)).contains(&33_333));
        assert!(find(&needles, "b").is_empty());
    }
}
