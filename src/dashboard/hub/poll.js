// Asks the hub again and again while somebody looks, never twice at once.

import { credentials } from '../credentials.js';

const PAUSE = 2000;

export class Poll {
  #ask;
  #timer = 0;
  #isShown = false;
  #isAsking = false;
  #isDenied = false;
  /** Whether the answer that is on its way is one to somebody who is signed in no more. */
  #isOutdated = false;

  /**
   * `ask` is an async function that copes with whatever it is answered. If it gives false, it was told that it may not: to ask on would
   * only add to what the hub refuses, and is of no use before somebody else is signed in.
   */
  constructor(ask) {
    this.#ask = ask;
    document.addEventListener('visibilitychange', () => this.#next());
    credentials.addEventListener('change', () => this.again());
  }

  show() {
    this.#isShown = true;
    this.again();
  }

  /** Asks now, also where the last answer was a refusal. */
  again() {
    this.#isDenied = false;
    this.#isOutdated = this.#isAsking;
    this.#next();
  }

  hide() {
    this.#isShown = false;
    clearTimeout(this.#timer);
  }

  async #next() {
    if (!this.#isShown || this.#isAsking || this.#isDenied || document.hidden) return;
    clearTimeout(this.#timer);
    this.#isAsking = true;
    try {
      const isDenied = (await this.#ask()) === false;
      this.#isDenied = isDenied && !this.#isOutdated;
    } finally {
      this.#isAsking = false;
      this.#isOutdated = false;
    }
    if (this.#isShown) this.#timer = setTimeout(() => this.#next(), PAUSE);
  }
}
