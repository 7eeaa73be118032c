// The series that the hub sends, each with what was said of it last and a bounded history.

import { ExactNumber, print } from '../exact_json.js';
import { ucum } from '../format.js';
import { History, KEPT_FRAMES, Timeline } from './timeline.js';

/** So many series keep all frames; those beyond keep what a sparkline shows, until they are charted. */
const MAX_LONG_HISTORIES = 2000;
const SHORT_HISTORY = 64;
/** More than a hub has by default (`max_series` and `max_event_types`). What comes beyond it is counted, not kept. */
const MAX_SERIES = 20_000;

/** What a series of each type is drawn by. */
const COLUMNS = { counter: ['rate'], gauge: ['value'], histogram: ['p50', 'p90', 'p99'] };

export class Series {
  #histories;
  /** The number of the frame that had it last. */
  frame = -1;
  latest = null;
  /** Per second, and null where nothing is known yet: as the hub says; of a histogram, how many values came since the frame before. */
  rate = null;

  constructor(key, sample, limit) {
    this.key = key;
    this.id = sample.id;
    this.attributes = sample.attributes ?? null;
    this.type = sample.type;
    this.unit = ucum(sample.unit ?? null);
    this.columns = COLUMNS[sample.type] ?? COLUMNS.gauge;
    this.#histories = this.columns.map(() => new History(limit));
  }

  take(sample, frame, seconds) {
    this.rate = this.type === 'histogram' ? this.#pace(sample, frame, seconds) : sample.rate === undefined ? null : Number(sample.rate);
    this.latest = sample;
    this.frame = frame;
    this.columns.forEach((column, index) => this.#histories[index].put(frame, Number(sample[column] ?? NaN)));
  }

  /** The history of one of its columns. */
  history(column) {
    return this.#histories[this.columns.indexOf(column)];
  }

  /** It is charted: from now on it keeps all that charts show. */
  extend() {
    for (const history of this.#histories) history.extend(KEPT_FRAMES);
  }

  /** What it has in all: a total, a value, how many values. */
  get total() {
    return this.type === 'histogram' ? this.latest.count : this.latest.value;
  }

  #pace(sample, frame, seconds) {
    if (this.frame !== frame - 1 || !(seconds > 0)) return null;
    const more = Number(sample.count) - Number(this.latest.count);
    return more < 0 ? null : more / seconds;
  }
}

export class SeriesStore {
  #series = new Map();
  timeline = new Timeline();
  /** Grows whenever a series comes or goes. */
  version = 0;
  /** How many series the latest frame had, of those kept. */
  size = 0;
  /** The number of the latest frame that the hub sent: later ones are interruptions. */
  lastSent = -1;
  /** How many series of the latest frame found no room. */
  leftOut = 0;

  /** Takes one frame: all that the hub has to say at a time. */
  take(samples, time) {
    const before = this.timeline.time(this.timeline.current);
    const frame = this.timeline.push(time);
    this.lastSent = frame;
    this.leftOut = 0;
    for (const sample of samples) this.#find(sample)?.take(sample, frame, (time - before) / 1000);
    const size = samples.length - this.leftOut;
    // As many as before, but others: then some are new, which counts anyway.
    if (size !== this.size) this.version += 1;
    this.size = size;
    if (frame % KEPT_FRAMES === 0) this.#forget(frame - KEPT_FRAMES);
  }

  /** From here on something may be missing, and no line may go across. */
  interrupt(time) {
    if (this.timeline.current >= 0) this.timeline.push(time);
  }

  /** Forgets all of them. */
  clear() {
    this.#series.clear();
    this.size = 0;
    this.version += 1;
  }

  /** All that the hub sends, or has sent lately: a hub that was started anew has forgotten what the charts still show. */
  values() {
    return this.#series.values();
  }

  /** Those that the hub sent last. */
  current() {
    return [...this.#series.values()].filter(({ frame }) => frame === this.lastSent);
  }

  get(key) {
    return this.#series.get(key);
  }

  #find(sample) {
    const key = keyOf(sample);
    let series = this.#series.get(key);
    if (series !== undefined && series.type === sample.type) return series;
    if (series === undefined && this.#series.size >= MAX_SERIES) {
      this.leftOut += 1;
      return undefined;
    }
    series = new Series(key, sample, this.#series.size < MAX_LONG_HISTORIES ? KEPT_FRAMES : SHORT_HISTORY);
    this.#series.set(key, series);
    this.version += 1;
    return series;
  }

  #forget(frame) {
    for (const [key, series] of this.#series) {
      if (series.frame >= frame) continue;
      this.#series.delete(key);
      this.version += 1;
    }
  }
}

/** What tells a series from all others: its name, and its attributes as JSON. */
export function keyOf({ id, attributes }) {
  return attributes ? id + print(Object.fromEntries(Object.entries(attributes).map(plain))) : id;
}

/** A fraction is written in one way, whether the frame took the slow parser or the fast one; whole numbers keep their digits. */
function plain([key, value]) {
  return [key, value instanceof ExactNumber && !/^-?\d+$/.test(value.text) ? Number(value) : value];
}
