//! Where a client goes on that comes back with an id.
//!
//! Alone, a hub has made all ids, and they are in the order of its log. Joined to others, it also gets ids that another hub has given: of
//! an event that has a slightly different one here, as a server's clock was behind when one of the two began to read; of an event that
//! this hub has not read yet; of one that the stream has lost. Then not the ids tell what comes first, but the stream's numbers.

use crate::event::EventId;
use crate::filter_group::FilterGroup;
use crate::hub_core::HubCore;

/// The event or mark after which a client goes on that comes with this id.
pub(super) fn resume_after(
    core: &HubCore,
    group: &FilterGroup,
    id: EventId,
    complete_from: EventId,
) -> EventId {
    let is_past = || id.milliseconds() <= core.config.clock.now().as_millisecond().cast_unsigned();
    if core.broker().is_none() && group.filter().is_limited() && is_past() {
        // An id may be made up, to hear whether it is past the last event, whosever that was: now is past it, too.
        return id.min(core.log.last_id());
    }
    in_log(core, id, complete_from).filter(|own| *own <= id).unwrap_or(id)
}

/// Whether the log cannot tell what came after this id. It is of another stream, and of that one the log does not have it; or of this one,
/// and comes before the log, or what the log has there came later, as the stream has lost its end and gives the same numbers again.
pub(super) fn is_unclear(core: &HubCore, id: EventId, complete_from: EventId) -> bool {
    match number(core, id) {
        None => !core.log.has(id),
        Some(_) => {
            let is_another = in_log(core, id, complete_from).is_some_and(|own| own > id);
            is_another || is_before(core, id, complete_from)
        }
    }
}

/// The log's own id of an event of the stream that another hub may know by a slightly different one; of a mark, that of the last event
/// before it, if the log has all that came between.
pub(super) fn in_log(core: &HubCore, id: EventId, complete_from: EventId) -> Option<EventId> {
    let offset = number(core, id)?;
    let (own, next) = core.log.around(offset);
    // What stands before that place need not be the last that was wanted.
    let is_past = || number(core, complete_from).is_some_and(|number| number <= offset);
    let own = if own < complete_from && is_past() { complete_from } else { own };
    let own_number = number(core, own)?;
    let is_between = || {
        let is_later = |next| number(core, next).is_some_and(|next| next > offset);
        let is_whole = own >= complete_from;
        is_whole && own_number < offset && next.is_none_or(is_later) && has_read(core, id)
    };
    (own_number == offset || is_between()).then_some(own)
}

/// Whether one event comes before another. Of the ids of two hubs the stream's numbers tell it.
pub(super) fn is_before(core: &HubCore, early: EventId, late: EventId) -> bool {
    match (number(core, early), number(core, late)) {
        (Some(early), Some(late)) => early < late,
        (None, _) | (_, None) => early < late,
    }
}

/// The log's own id of the event up to which all has been read, or that after which it begins, if that comes later.
pub(super) fn entered(core: &HubCore, reached: EventId, complete_from: EventId) -> EventId {
    if is_before(core, reached, complete_from) {
        return complete_from;
    }
    in_log(core, reached, complete_from).unwrap_or(reached)
}

/// Whether it is still to be read from the stream that joins this hub to others. What the stream has lost never is.
pub(super) fn is_to_come(core: &HubCore, id: EventId) -> bool {
    number(core, id).is_some() && !has_read(core, id)
}

/// Whether the stream that joins this hub to others has been read as far as that.
fn has_read(core: &HubCore, id: EventId) -> bool {
    core.broker().is_some_and(|broker| broker.has_read(id))
}

/// The number of an event in the stream that joins this hub to others, as it is now: what it has lost has none.
pub(super) fn number(core: &HubCore, id: EventId) -> Option<u64> {
    let is_of_now = core.log.renewed_after().is_none_or(|renewed| id > renewed);
    core.broker()?.number(id).filter(|_| is_of_now)
}
