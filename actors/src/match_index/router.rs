//! Finds the candidates of a batch: for each group that may want something of it, which of its events.
//!
//! Asked by the collector alone. Over-approximates; the group decides.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::followers::{Followers, Speculation, Subjects};
use super::terms::{EventTerms, Needs};
use super::{MatchIndex, View};
use crate::event::Event;
use crate::event_log::EventBatch;
use crate::filter::Follow;
use crate::filter_group::FilterGroup;

/// Memory that is used for one batch after the other.
#[derive(Debug, Default)]
pub(crate) struct Router {
    terms: EventTerms,
    following: Vec<Weak<FilterGroup>>,
}

/// A group that may want something of a batch.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) group: Arc<FilterGroup>,
    pub(crate) concern: Concern,
}

/// What of a batch may concern a group.
#[derive(Debug)]
pub(crate) struct Concern {
    /// The indices of the events, in order.
    pub(crate) events: Vec<u32>,
    /// What it may come to follow by them.
    pub(crate) speculation: Speculation,
}

/// Where a group stands among the candidates of a batch. The collector's own note.
#[derive(Debug, Default)]
pub(crate) struct Place {
    batch: AtomicU64,
    index: AtomicUsize,
}

impl Router {
    /// The groups that may want something of a batch.
    pub(crate) fn candidates(&mut self, index: &MatchIndex, batch: &EventBatch) -> Vec<Candidate> {
        let view = index.view();
        let recent: Vec<Arc<FilterGroup>> = view.recent.iter().filter_map(Weak::upgrade).collect();
        let number = index.batches.fetch_add(1, Ordering::Relaxed) + 1;
        let mut candidates = Candidates { number, followers: &index.followers, list: Vec::new() };
        for (position, event) in (0..).zip(&batch.events) {
            let mut asked = Asked { event, position, subjects: None };
            view.joining.iter().for_each(|group| candidates.note(group, position));
            self.find_followers(&mut asked, &mut candidates);
            for group in recent.iter().filter(|group| group.filter().may_match(event)) {
                candidates.found(Arc::clone(group), &mut asked);
            }
            self.look_up(&view, &mut asked, &mut candidates);
        }
        candidates.list
    }

    fn find_followers(&mut self, asked: &mut Asked<'_>, candidates: &mut Candidates<'_>) {
        // No subject is added but by this thread, or by one that sees to it that the group is a candidate meanwhile.
        if candidates.followers.is_empty() {
            return;
        }
        let subjects = asked.subjects(candidates.followers);
        candidates.followers.find(subjects, &mut self.following);
        self.following.drain(..).for_each(|group| candidates.note(&group, asked.position));
    }

    fn look_up(&mut self, view: &View, asked: &mut Asked<'_>, candidates: &mut Candidates<'_>) {
        if view.generations.iter().all(|generation| generation.filters.is_empty()) {
            return;
        }
        let needs = view.generations.iter().map(|generation| generation.filters.needs());
        self.terms.read(asked.event, needs.fold(Needs::default(), Needs::and));
        for generation in &view.generations {
            generation.filters.find(&mut self.terms, |number| {
                if let Some(group) = generation.group(number) {
                    candidates.found(group, asked);
                }
            });
        }
    }
}

/// An event of a batch.
struct Asked<'a> {
    event: &'a Event,
    position: u32,
    subjects: Option<Subjects>,
}

impl Asked<'_> {
    /// Read when first asked for: an event that nobody follows is not put in words for this.
    fn subjects(&mut self, followers: &Followers) -> Subjects {
        *self.subjects.get_or_insert_with(|| followers.subjects_of(self.event))
    }
}

struct Candidates<'a> {
    /// That of the batch, or of another go at it.
    number: u64,
    followers: &'a Arc<Followers>,
    list: Vec<Candidate>,
}

impl Candidates<'_> {
    /// A group that may want the event because it matches: then it follows its span or trace from here on.
    fn found(&mut self, group: Arc<FilterGroup>, asked: &mut Asked<'_>) {
        let followers = self.followers;
        let subject = match group.filter().follow() {
            Follow::None => None,
            follow @ (Follow::Span | Follow::Trace) => asked.subjects(followers).chosen_by(follow),
        };
        let Candidate { group, concern } = self.candidate(group, asked.position);
        if let Some(subject) = subject {
            concern.speculation.add(followers, &Arc::downgrade(group), subject);
        }
    }

    /// A group that may want the event for another reason.
    fn note(&mut self, group: &Weak<FilterGroup>, position: u32) {
        if let Some(group) = group.upgrade() {
            self.candidate(group, position);
        }
    }

    fn candidate(&mut self, group: Arc<FilterGroup>, position: u32) -> &mut Candidate {
        let index = group.place.find(self.number).unwrap_or_else(|| {
            group.place.set(self.number, self.list.len());
            self.list.len()
        });
        if index == self.list.len() {
            let speculation = Speculation::new(group.serial);
            let concern = Concern { events: Vec::new(), speculation };
            self.list.push(Candidate { group, concern });
        }
        let candidate = &mut self.list[index];
        if candidate.concern.events.last() != Some(&position) {
            candidate.concern.events.push(position);
        }
        candidate
    }
}

impl Place {
    fn find(&self, batch: u64) -> Option<usize> {
        let is_known = self.batch.load(Ordering::Relaxed) == batch;
        is_known.then(|| self.index.load(Ordering::Relaxed))
    }

    fn set(&self, batch: u64, index: usize) {
        self.index.store(index, Ordering::Relaxed);
        self.batch.store(batch, Ordering::Relaxed);
    }
}
