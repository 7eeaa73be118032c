// Says now and then what came, to those who do not see it. Not each event: nobody could listen to that.

import { count } from '../format.js';

const INTERVAL = 10_000;

export class SpokenSummary {
  #announce;
  #events = 0;
  #errors = 0;
  #timer = 0;
  #last = -INTERVAL;

  constructor(announce) {
    this.#announce = announce;
  }

  event(text) {
    this.#events += 1;
    if (/"level":"(ERROR|FATAL)"/.test(text.slice(0, 400))) this.#errors += 1;
    if (!this.#timer) this.#timer = setTimeout(() => this.#speak(), Math.max(1000, this.#last + INTERVAL - performance.now()));
  }

  /** What has been counted is no longer of interest. */
  forget() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#events = 0;
    this.#errors = 0;
  }

  #speak() {
    const errors = this.#errors > 0 ? `, ${count(this.#errors)} of them ${this.#errors === 1 ? 'an error' : 'errors'}` : '';
    this.#announce(`${count(this.#events)} new ${this.#events === 1 ? 'event' : 'events'}${errors}`);
    this.#last = performance.now();
    this.forget();
  }
}
