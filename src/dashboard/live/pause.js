// What comes while the view is paused: counted, not kept. The hub still has it, and replays it after the last event that was shown.

import { countEvents, idOf, events as eventsOf } from './frame.js';

export class Waiting {
  events = 0;
  /** Those that the hub left out or could not keep; it may replay them all the same. */
  missed = 0;
  /** Of some gaps nobody knows how many are missed. */
  isUncertain = false;
  /** The first of them: where to begin if nothing had been shown before. */
  firstId = null;

  get isEmpty() {
    return this.total === 0 && !this.isUncertain;
  }

  get total() {
    return this.events + this.missed;
  }

  takeEvents(frame) {
    this.#begin(idOf(eventsOf(frame)[0] ?? ''));
    this.events += countEvents(frame);
  }

  takeGap({ missed, from }) {
    this.#begin(from);
    this.missed += missed ?? 0;
    this.isUncertain ||= missed === null;
  }

  /** A gap tells of events before those that came in the meantime. Ids sort as they were given. */
  #begin(id) {
    if (id && (this.firstId === null || id < this.firstId)) this.firstId = id;
  }
}

/** The id right before another. Ids are 128-bit numbers in hexadecimal. */
export function idBefore(id) {
  const digits = (BigInt(`0x${id.replaceAll('-', '')}`) - 1n).toString(16).padStart(32, '0');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
