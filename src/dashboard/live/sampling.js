// What the hub leaves out so that a person can read the rest. It says so once a second; here, a stretch of such seconds is one row where
// it begins, of which the number grows, and one where it ends.

import { count, duration } from '../format.js';

/** No word for so long, and the stretch is over. */
const QUIET = 3000;

export class Sampling {
  #rows;
  #changed;
  #stretch = null;
  #timer = 0;
  /** Since the filter was set. */
  total = 0;

  constructor(rows, changed) {
    this.#rows = rows;
    this.#changed = changed;
  }

  get isOn() {
    return this.#stretch !== null;
  }

  leftOut(number, rate) {
    this.total += number;
    this.#stretch ??= { since: Date.now(), number: 0, rate, row: this.#rows.addNote('gap', 'sampled', '') };
    this.#stretch.number += number;
    this.#stretch.row.text = `More than ${rate} a second from here on: a sample is shown, errors first; ${count(this.#stretch.number)} left out so far`;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), QUIET);
  }

  /** The stream is quiet enough again, or another one. */
  end() {
    if (!this.#stretch) return;
    clearTimeout(this.#timer);
    const { since, number, rate, row } = this.#stretch;
    const time = duration(Math.max(1000, Math.round((Date.now() - since) / 1000) * 1000));
    this.#stretch = null;
    row.text = `More than ${rate} a second from here on, for ${time}: a sample is shown, errors first; ${count(number)} left out`;
    this.#rows.addNote('gap', 'sampled', `All events are shown again; ${count(number)} were left out above`);
    this.#changed();
  }

  clear() {
    clearTimeout(this.#timer);
    this.#stretch = null;
    this.total = 0;
  }
}
