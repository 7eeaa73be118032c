// What is accounted for: of the events that match, each is shown once, or counted once among those that were left out or missed.
//
// The hub tells what a sample left out about a second later. A stream that went on after the last event shown would never be told what
// was left out shortly before it. So it goes on after an earlier one, up to which all is told, and what it then gets again is known here.

/** The hub tells within this time, in milliseconds, what a sample has left out. */
const TOLD_WITHIN = 3000;
/** Events that reach a sample together have come within this time, in milliseconds. */
const TOGETHER = 200;

export class Account {
  /** Up to this event, or this time, all are shown or counted. */
  #settled = null;
  /** The last that is shown, or told to be missed. */
  #last = null;
  /** When those came that are shown after `settled`, by their ids, which sort as they were given. */
  #shown = new Map();
  /** What was told to be missed after `settled`. */
  #missed = [];
  isReplay = true;

  /** After which event, or from which time on, a stream is to go on; null if there was none. */
  get resumeAfter() {
    return this.#settled;
  }

  /** Whether it comes after all that is shown. */
  isNew(id) {
    return this.#last === null || id > this.#last;
  }

  /** Another stream begins, with a replay of all that came after `resumeAfter`. */
  streamBegins() {
    this.isReplay = true;
  }

  /** All has come up to the place that the hub names, if it does. */
  replayEnds(place = null) {
    this.isReplay = false;
    if (place !== null) this.#settle(place);
  }

  /** The hub names a place from which on a stream can go on. */
  mark(id) {
    this.#settled ??= id;
  }

  /**
   * What came first, if nothing was shown, and the hub has named no place: a stream can go on before it. A sample may have left out others
   * that came with it.
   */
  begin(id) {
    this.#settled ??= this.isReplay ? idBefore(id) : new Date(timeOf(id) - TOGETHER).toISOString();
  }

  /** Events have come together. Tells of each whether it is `new`, `known`, or had been `left out` without a word. */
  take(ids) {
    if (ids.length === 0) return [];
    this.begin(ids[0]);
    if (!this.isReplay) return this.#takeLive(ids, performance.now());
    const fates = ids.map((id) => this.#fateOf(id));
    // Nothing is left out of a replay.
    this.#settle(ids.at(-1));
    return fates;
  }

  #takeLive(ids, now) {
    for (const id of ids) this.#shown.set(id, now);
    this.#last = ids.at(-1);
    const settled = this.#toldUpTo(this.#last, now);
    if (settled) this.#settle(settled);
    return ids.map(() => 'new');
  }

  /** By both clocks: a page that slept is given at once what came long ago. */
  #toldUpTo(id, now) {
    let settled = null;
    for (const [earlier, then] of this.#shown) {
      if (now - then < TOLD_WITHIN || timeOf(id) - timeOf(earlier) < TOLD_WITHIN) break;
      settled = earlier;
    }
    return settled;
  }

  #fateOf(id) {
    if (this.isNew(id)) {
      this.#last = id;
      return this.#shown.has(id) ? 'known' : 'new';
    }
    return this.#shown.has(id) || this.#wasToldMissed(id) ? 'known' : 'left out';
  }

  /** Of a stretch, only the number is known. */
  #wasToldMissed(id) {
    const stretch = this.#missed.find(({ from, to, left }) => left > 0 && from <= id && id <= to);
    if (stretch) stretch.left -= 1;
    return stretch !== undefined;
  }

  /** The hub tells of all that it has left out so far. */
  leftOut({ to }) {
    if (to) this.#settle(to);
  }

  /** The hub tells of events that this page did not take in time. */
  missed({ missed, from, to }) {
    if (!from || !to) return;
    this.begin(from);
    this.#missed.push({ from, to, left: missed ?? 0 });
    if (this.isNew(to)) this.#last = to;
  }

  /** The hub no longer has what came before. If it cannot tell which, it may be another one, whose ids say nothing about these. */
  lost({ to }) {
    if (!to) {
      this.#last = null;
      return;
    }
    this.#settle(to);
    if (this.isNew(to)) this.#last = to;
  }

  /** The stream has been silent for longer than the hub keeps anything to itself. */
  isSilent() {
    if (!this.isReplay && this.#last !== null) this.#settle(this.#last);
  }

  #settle(id) {
    this.#settled = id;
    for (const shown of this.#shown.keys()) {
      if (shown > id) break;
      this.#shown.delete(shown);
    }
    this.#missed = this.#missed.filter(({ to }) => to > id);
  }
}

/** When an event came to the hub, in milliseconds: the first 48 bits of its id. */
function timeOf(id) {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** The id right before another: 128-bit numbers in hexadecimal. */
function idBefore(id) {
  const digits = (BigInt(`0x${id.replaceAll('-', '')}`) - 1n).toString(16).padStart(32, '0');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
