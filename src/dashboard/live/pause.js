// What comes while the view is paused: counted, not kept. The hub still has it, and replays it when the pause ends.

import { events as eventsOf, idOf } from './frame.js';

export class Waiting {
  events = 0;
  /** Those that the hub left out or could not keep; it may replay them all the same. */
  missed = 0;
  /** Of some gaps nobody knows how many are missed. */
  isUncertain = false;
  /** A stream has begun in the pause: what it replays of what is shown has not been looked at. */
  isReplayed;

  constructor({ isReplayed = false } = {}) {
    this.isReplayed = isReplayed;
  }

  /** Whether nothing has come since. */
  get isEmpty() {
    return this.total === 0 && !this.isUncertain && !this.isReplayed;
  }

  get total() {
    return this.events + this.missed;
  }

  /** Those count that the person has not seen. */
  takeEvents(frame, account) {
    const ids = eventsOf(frame).map(idOf);
    if (ids.length > 0) account.begin(ids[0]);
    this.events += ids.filter((id) => account.isNew(id)).length;
  }

  takeGap({ missed, from }, account) {
    if (from) account.begin(from);
    this.missed += missed ?? 0;
    this.isUncertain ||= missed === null;
  }
}
