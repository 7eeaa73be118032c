// What the hub leaves out so that a person can read the rest. It says so once a second; here, a stretch of such seconds is one row where
// it begins, of which the number grows, and one where it ends.

import { count } from '../format.js';

/** No word for so long, and the stretch is over. */
const QUIET = 3000;
/** What ends within so many rows needs no row of its own to say so. */
const NEAR = 30;

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
    this.#stretch ??= { number: 0, rate, begin: this.#rows.end, row: this.#rows.addNote('gap', 'sampled', '') };
    this.#stretch.number += number;
    this.#stretch.row.text = `More than ${rate} a second: this is a sample, errors first; ${count(this.#stretch.number)} left out so far`;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), QUIET);
  }

  /** The stream is quiet enough again, or is a replay, of which nothing is left out. */
  end() {
    if (!this.#stretch) return;
    clearTimeout(this.#timer);
    const { number, rate, begin, row } = this.#stretch;
    this.#stretch = null;
    row.text = `More than ${rate} a second: this was a sample, errors first; ${count(number)} left out`;
    if (this.#rows.end - begin > NEAR) this.#rows.addNote('gap', 'sampled', `All are shown again; ${count(number)} were left out above`);
    this.#changed();
  }

  clear() {
    clearTimeout(this.#timer);
    this.#stretch = null;
    this.total = 0;
  }
}
