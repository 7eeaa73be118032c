//! Replay: what the log still has of a subscriber's events, page by page as its client reads, and then the join with the
//! live events, with neither a hole nor a double.
//!
//! What the log no longer has is read from the stream that joins this hub to others, if one does, up to where the log begins.
//!
//! While it replays, a subscriber gets nothing live: what is accepted meanwhile is in the log, ahead of it. The last page
//! and the joining happen under the lock of the group's members, past which no batch can slip.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use self::resume::{entered, is_before, is_to_come, is_unclear, number, resume_after};
use self::search::Search;
use crate::event::{Event, EventId};
use crate::event_log::{EventLog, Expired, Page, Start};
use crate::filter::Follow;
use crate::filter_group::{FilterGroup, GroupHandle};
use crate::follow_set::FollowSet;
use crate::hub_core::HubCore;
use crate::matches::Matches;
use crate::outbox::{Item, Outbox};
use crate::query::{Replay, Since};
use crate::sse::{Gap, GapReason};
use crate::subscriber::{Member, SubscriberId};
use crate::transport::{Archive, ArchivePage, Broker, Fetched};

/// How much of the log one step reads: some 500 events, which one core filters in a fraction of a millisecond.
const PAGE_BYTES: usize = 256 * 1024;

/// How much of the stream is looked at before what is wanted of it, to know what to follow.
const LOOK_BACK_BYTES: usize = 4 * 1024 * 1024;

/// How long to wait before the stream is asked again that could not be read.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long to wait for the log to come as far as its client was at another hub.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The state of one subscriber's replay.
#[derive(Debug)]
pub(crate) struct Replayer {
    /// Before the log: while it is there, or is being read, that comes first.
    archive: Option<Source>,
    /// The place after which the log has all that is wanted, if that is later than its beginning.
    covered_since: Option<EventId>,
    /// The next batch to read.
    position: u64,
    /// What the archive has to begin with.
    since: Option<Since>,
    /// How many bytes of the archive are looked at before that, to know what to follow. Once something has been looked at, that is known.
    look_back: usize,
    /// How far the archive had been read when it last came to its end.
    ended_at: Option<u64>,
    /// The event after which the client wants to go on.
    asked: Option<EventId>,
    /// Events up to this one are not sent. They may still tell what to follow.
    after: EventId,
    /// While the last `n` matching events are being looked for.
    search: Option<Search>,
    follow: FollowSet,
    replayed: u64,
}

/// What comes before the log.
#[derive(Debug)]
enum Source {
    Idle(Box<dyn Archive>),
    BeingRead,
}

/// How a replay goes on.
#[derive(Debug)]
pub(crate) enum Step {
    /// With the next step, at once.
    Again,
    /// With the next step, after a while.
    Later(Duration),
    /// With what this brings.
    Fetch(Box<dyn Archive>),
    /// When the client has read some.
    Wait,
    /// It is over; the subscriber has joined the live events.
    Done,
}

impl Replayer {
    pub(crate) fn new(
        core: &HubCore,
        group: &GroupHandle,
        outbox: &Outbox,
        replay: Replay,
        covered_since: Option<EventId>,
    ) -> Self {
        let now = core.config.clock.now();
        let since = replay.since.map(|since| match since {
            Since::Event(id) => {
                Since::Event(resume_after(core, group, id, complete_from(core, covered_since)))
            }
            Since::Ago(duration) => {
                Since::Time(now.checked_sub(duration).unwrap_or(jiff::Timestamp::MIN))
            }
            Since::Time(_) => since,
        });
        let begin = core.log.start(since, now);
        let is_whole = is_covered(covered_since, since, begin.after);
        let start = if is_whole { begin } else { started(begin, covered_since) };
        let mut replayer = Self {
            covered_since,
            archive: None,
            position: first_position(&core.log, group, start.position),
            since,
            look_back: match group.filter().follow() {
                Follow::None => 0,
                Follow::Span | Follow::Trace => LOOK_BACK_BYTES,
            },
            ended_at: None,
            asked: replay.since.and_then(|since| match since {
                Since::Event(id) => Some(id),
                Since::Time(_) | Since::Ago(_) => None,
            }),
            after: start.after,
            search: replay.last.map(|last| Search::new(core, last, start.after)),
            follow: group.new_follow_set(),
            replayed: 0,
        };
        match (start.expired, since) {
            // Of those that the log has, it may not have all.
            (_, None) if !is_whole => {
                replayer.look_back_from(begin.after);
                replayer.open_archive_of_last(core);
            }
            (expired, Some(since)) if replayer.begins_in_archive(core, expired, since) => {
                replayer.look_back_from(first_wanted(since));
                replayer.open_archive(core, since);
            }
            (Some(expired), _) => tell_expired(core, group, outbox, expired, replayer.asked),
            (None, _) => {}
        }
        replayer
    }

    /// Whether the stream that joins this hub to others is asked before the log.
    fn begins_in_archive(&self, core: &HubCore, expired: Option<Expired>, since: Since) -> bool {
        if core.broker().is_none() {
            return false;
        }
        expired.is_some()
            || match since {
                // The event that was asked by may itself tell what to follow.
                Since::Event(id) if self.look_back > 0 && id == self.complete_from(core) => true,
                Since::Event(id) => is_unclear(core, id, self.complete_from(core)),
                Since::Time(_) | Since::Ago(_) => false,
            }
    }

    /// The event after which the log has all that is wanted.
    fn complete_from(&self, core: &HubCore) -> EventId {
        complete_from(core, self.covered_since)
    }

    /// Nothing up to there is wanted.
    fn look_back_from(&mut self, after: EventId) {
        self.after = after;
        if let Some(search) = &mut self.search {
            search.reached = after;
        }
    }

    fn open_archive_of_last(&mut self, core: &HubCore) {
        let bytes = core.config.replay_bytes;
        let open = |broker: &Arc<dyn Broker>| broker.archive_of_last(bytes, self.look_back);
        self.archive = core.broker().map(open).map(Source::Idle);
    }

    fn open_archive(&mut self, core: &HubCore, since: Since) {
        let open = |broker: &Arc<dyn Broker>| broker.archive(since, self.look_back);
        self.archive = core.broker().map(open).map(Source::Idle);
    }

    /// Reads a page. After the last one, calls `join` with the position from which the events are live.
    pub(crate) fn step(
        &mut self,
        core: &HubCore,
        group: &GroupHandle,
        outbox: &Outbox,
        join: impl FnOnce(&mut BTreeMap<SubscriberId, Arc<Member>>, u64),
    ) -> Step {
        match self.archive.take() {
            Some(Source::Idle(archive))
                if self.search.is_none() && !outbox.has_room_to_refill() =>
            {
                self.archive = Some(Source::Idle(archive));
                return Step::Wait;
            }
            Some(Source::Idle(archive)) => {
                self.archive = Some(Source::BeingRead);
                return Step::Fetch(archive);
            }
            Some(Source::BeingRead) => {
                self.archive = Some(Source::BeingRead);
                return Step::Wait;
            }
            None => {}
        }
        if self.search.is_some() {
            return self.search_page(core, group);
        }
        if !outbox.has_room_to_refill() {
            return Step::Wait;
        }
        let page = core.log.read(self.position, PAGE_BYTES);
        if self.must_go_back(core, &page, self.after) {
            return Step::Again;
        }
        let is_last = page.is_last;
        self.send_page(page, core, group, outbox);
        if !is_last {
            return Step::Again;
        }
        let mut members = group.members();
        let _watch = group.watch();
        let mark = core.mark(group.filter());
        let page = core.log.read(self.position, PAGE_BYTES);
        if !page.is_last || self.must_go_back(core, &page, self.after) {
            return Step::Again;
        }
        if core.log.last_id() < self.after && is_to_come(core, self.after) {
            return Step::Later(LOOK_AGAIN);
        }
        self.send_page(page, core, group, outbox);
        group.adopt(&self.follow);
        let mark = mark.and_then(|mark| {
            if is_before(core, mark, self.after) {
                // What has come since it was made may be another's.
                Some(self.after).filter(|_| !group.filter().is_limited())
            } else {
                Some(mark)
            }
        });
        outbox.push(Item::CaughtUp { replayed: self.replayed, mark });
        join(&mut members, self.position);
        Step::Done
    }

    /// Whether something that the log has evicted is still to be had elsewhere. Then that comes next.
    fn must_go_back(&mut self, core: &HubCore, page: &Page, reached: EventId) -> bool {
        // Nobody has looked yet at the event that was asked by: it may tell what to follow.
        let is_new = self.look_back > 0;
        let is_behind = page
            .lost_through
            .is_some_and(|lost| is_before(core, reached, lost) || lost == reached && is_new);
        let goes_back = is_behind && core.broker().is_some();
        if goes_back {
            self.open_archive(core, Since::Event(reached));
        }
        goes_back
    }

    /// Goes on with what the archive has brought.
    pub(crate) fn take_fetched(
        &mut self,
        archive: Box<dyn Archive>,
        fetched: Fetched,
        core: &HubCore,
        group: &GroupHandle,
        outbox: &Outbox,
    ) -> Step {
        self.archive = None;
        let begin = self.complete_from(core);
        match fetched {
            Fetched::Page(page) if number(core, begin).is_none() => {
                if self.take_until(begin, page, core, group, outbox) {
                    self.enter_old_log(core, group, outbox, begin);
                } else {
                    self.archive = Some(Source::Idle(archive));
                }
            }
            Fetched::End { expired, .. } if number(core, begin).is_none() => {
                if let Some(expired) = expired {
                    self.pass_over(self.until(begin, expired), core, group, outbox);
                }
                self.enter_old_log(core, group, outbox, begin);
            }
            Fetched::Page(ArchivePage { expired, events, through }) => {
                if let Some(expired) = expired {
                    self.pass_over(expired, core, group, outbox);
                }
                self.take_old(&events, group, outbox);
                if number(core, begin).is_some_and(|begin| begin <= through) {
                    self.enter_log(core, group, begin);
                } else {
                    self.archive = Some(Source::Idle(archive));
                }
            }
            Fetched::End { expired, through } => {
                if let Some(Expired { from, to }) = expired
                    && from.is_none_or(|from| from < begin)
                {
                    // What the log has is not gone.
                    let expired = Expired { from, to: to.map(|to| to.min(begin)) };
                    self.pass_over(expired, core, group, outbox);
                }
                if number(core, begin).is_some_and(|begin| begin > through) {
                    // The log may have gone on since the archive came to its end: what lies between is gone only if it is not there now.
                    if self.ended_at.replace(through) != Some(through) {
                        self.archive = Some(Source::Idle(archive));
                        return Step::Again;
                    }
                    let (from, to) = (Some(self.after), Some(begin));
                    tell_expired(core, group, outbox, Expired { from, to }, self.asked);
                }
                self.enter_log(core, group, begin);
            }
            Fetched::Foreign => {
                let start = core.log.start(self.since, core.config.clock.now());
                let is_whole = is_covered(self.covered_since, self.since, start.after);
                let start = if is_whole { start } else { started(start, self.covered_since) };
                // Wherever it lies in the log, that says nothing.
                let expired = Expired { from: self.asked, to: None };
                let expired = start.expired.unwrap_or(expired);
                tell_expired(core, group, outbox, expired, self.asked);
                (self.since, self.look_back) = (None, 0);
                self.look_back_from(start.after);
                self.position = first_position(&core.log, group, start.position);
            }
            Fetched::Failed => {
                self.archive = Some(Source::Idle(archive));
                return Step::Later(ASK_AGAIN);
            }
        }
        Step::Again
    }

    /// Tells what is gone of the stream, and goes on behind it.
    fn pass_over(
        &mut self,
        expired: Expired,
        core: &HubCore,
        group: &GroupHandle,
        outbox: &Outbox,
    ) {
        tell_expired(core, group, outbox, expired, self.asked);
        self.since = expired.to.map(Since::Event);
        let reached = match &mut self.search {
            Some(search) => &mut search.reached,
            None => &mut self.after,
        };
        *reached = expired.to.unwrap_or(*reached);
    }

    /// Of a stream that was made anew, or has lost its end, the log has what came before: takes of a page what came before that. Whether it
    /// reaches so far.
    fn take_until(
        &mut self,
        begin: EventId,
        page: ArchivePage,
        core: &HubCore,
        group: &GroupHandle,
        outbox: &Outbox,
    ) -> bool {
        let ArchivePage { expired, mut events, through: _ } = page;
        let is_far = events.last().is_some_and(|last| last.id > begin);
        events.retain(|event| event.id <= begin);
        if let Some(expired) = expired.filter(|_| !is_far) {
            self.pass_over(self.until(begin, expired), core, group, outbox);
        }
        self.take_old(&events, group, outbox);
        is_far
    }

    /// What is gone of that before the log begins, which still has what comes then.
    fn until(&self, begin: EventId, Expired { from, to }: Expired) -> Expired {
        let to = if self.after < begin { to.map(|to| to.min(begin)) } else { to };
        Expired { from, to }
    }

    /// Goes on in a log that begins before the stream does: what came between is gone, or nobody can tell.
    fn enter_old_log(
        &mut self,
        core: &HubCore,
        group: &GroupHandle,
        outbox: &Outbox,
        begin: EventId,
    ) {
        if self.search.is_none() && self.after < begin {
            let expired = Expired { from: Some(self.after), to: Some(begin) };
            tell_expired(core, group, outbox, expired, self.asked);
        }
        self.enter_log(core, group, begin);
    }

    /// Sends old events, or looks through them.
    fn take_old(&mut self, events: &[Arc<Event>], group: &GroupHandle, outbox: &Outbox) {
        self.look_back = 0;
        let mut wanted = group.select_old(&mut self.follow, events);
        wanted.retain(|event| event.id > self.after);
        match &mut self.search {
            Some(search) => {
                wanted.retain(|event| search.has_granted(event));
                search.look_through(&wanted, events.last().map(|last| last.id));
            }
            None => {
                let matches = Matches::new(wanted, None);
                self.replayed += matches.count();
                outbox.push_replayed(Arc::new(matches));
                self.after = events.last().map_or(self.after, |last| last.id.max(self.after));
            }
        }
    }

    /// Goes on in the log: all up to there has been read. What it evicts from now on is read in the archive again.
    fn enter_log(&mut self, core: &HubCore, group: &GroupHandle, complete_from: EventId) {
        // The archive may have had nothing to look at: that is known now.
        self.look_back = 0;
        if let Some(search) = &mut self.search {
            search.reached = entered(core, search.reached, complete_from);
            self.position = core.log.tail();
            return;
        }
        self.after = entered(core, self.after, complete_from);
        let position = core.log.position_after(self.after);
        self.position = first_position(&core.log, group, position);
    }

    fn send_page(&mut self, page: Page, core: &HubCore, group: &FilterGroup, outbox: &Outbox) {
        if let Some(lost) = page.lost_through.filter(|lost| *lost > self.after) {
            // Evicted while this client was reading what came before it.
            let expired = Expired { from: None, to: Some(lost) };
            tell_expired(core, group, outbox, expired, self.asked);
            self.after = lost;
        }
        self.look_back = 0;
        for batch in page.batches {
            if let Some(lost) = batch.lost.filter(|lost| lost.to.is_none_or(|to| to > self.after)) {
                tell_expired(core, group, outbox, lost, self.asked);
            }
            let mut events = group.select_old(&mut self.follow, &batch.events);
            events.retain(|event| event.id > self.after);
            let matches = Matches::new(events, None);
            self.replayed += matches.count();
            outbox.push_replayed(Arc::new(matches));
            self.position = batch.position + 1;
            self.after = self.after.max(batch.last_id());
        }
    }

    /// What was found may begin before the log does.
    fn return_to_archive(&mut self, core: &HubCore, boundary: Option<EventId>) {
        if !is_before(core, self.after, self.complete_from(core)) {
            return;
        }
        match boundary.map(Since::Event).or(self.since) {
            Some(since) => self.open_archive(core, since),
            None => self.open_archive_of_last(core),
        }
    }
}

fn complete_from(core: &HubCore, covered_since: Option<EventId>) -> EventId {
    let complete_from = core.log.complete_from();
    covered_since.map_or(complete_from, |covered| covered.max(complete_from))
}

/// Whether the log has all that is wanted after this event, up to which it has nothing that is, or of what begins so.
fn is_covered(covered_since: Option<EventId>, since: Option<Since>, after: EventId) -> bool {
    let after = match since {
        // By the client's clock it may not be time yet: all that comes is wanted.
        Some(Since::Time(time)) => EventId::first_at(time).max(after),
        Some(Since::Event(_) | Since::Ago(_)) | None => after,
    };
    covered_since.is_none_or(|covered| covered <= after)
}

/// Where a replay begins by a log that has all that is wanted from this place on only.
fn started(start: Start, covered_since: Option<EventId>) -> Start {
    let from = start.expired.map_or(Some(start.after), |expired| expired.from);
    let after = covered_since.unwrap_or(start.after);
    Start { after, expired: Some(Expired { from, to: Some(after) }), ..start }
}

/// The id after which something is wanted.
fn first_wanted(since: Since) -> EventId {
    match since {
        Since::Event(id) => id,
        Since::Time(time) => EventId::first_at(time),
        Since::Ago(_) => unreachable!("it has been made a time"),
    }
}

/// That the log does not have all that was asked for. Who may not see all events is told the id of none that may be another's.
/// That by which the client has `asked` it knows.
pub(crate) fn tell_expired(
    core: &HubCore,
    group: &FilterGroup,
    outbox: &Outbox,
    expired: Expired,
    asked: Option<EventId>,
) {
    let is_limited = group.filter().is_limited();
    let Expired { from, to } = expired;
    let from = from.filter(|from| !is_limited || asked == Some(*from));
    let to = to.filter(|_| !is_limited);
    outbox.push(Item::Gap(Gap { reason: GapReason::Expired, missed: None, from, to }));
    core.counters.replays_expired.add(1);
}

/// Where to begin reading. To know what to follow, what came before the start must be looked at too.
fn first_position(log: &EventLog, group: &FilterGroup, start: u64) -> u64 {
    match group.filter().follow() {
        Follow::None => start,
        Follow::Span | Follow::Trace => log.tail(),
    }
}

mod resume;
mod search;
#[cfg(test)]
mod tests;
