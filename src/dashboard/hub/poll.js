// Asks the hub again and again while somebody looks, never twice at once.

import { credentials } from '../credentials.js';

const PAUSE = 2000;

export class Poll {
  #ask;
  #timer = 0;
  #isShown = false;
  #isAsking = false;
  #isDenied = false;

  /**
   * `ask` is an async function that copes with whatever it is answered. If it gives false, it was told that it may not: to ask on would
   * only add to what the hub refuses, and is of no use before somebody else is signed in.
   */
  constructor(ask) {
    this.#ask = ask;
    document.addEventListener('visibilitychange', () => this.now());
    credentials.addEventListener('change', () => {
      this.#isDenied = false;
      this.now();
    });
  }

  show() {
    this.#isShown = true;
    this.#isDenied = false;
    this.now();
  }

  hide() {
    this.#isShown = false;
    clearTimeout(this.#timer);
  }

  async now() {
    if (!this.#isShown || this.#isAsking || this.#isDenied || document.hidden) return;
    clearTimeout(this.#timer);
    this.#isAsking = true;
    try {
      this.#isDenied = (await this.#ask()) === false;
    } finally {
      this.#isAsking = false;
    }
    if (this.#isShown) this.#timer = setTimeout(() => this.now(), PAUSE);
  }
}
