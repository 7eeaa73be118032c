// How fast totals grow, from one look to the next.

export class Pace {
  #before = new Map();
  #at = 0;

  /** Takes the totals of one look, by key; gives how much each grew a second since the look before, null where that is not known. */
  take(totals, now = performance.now()) {
    const seconds = (now - this.#at) / 1000;
    const rates = new Map();
    for (const [key, total] of totals) {
      const more = total - this.#before.get(key);
      // Who counts less than before has begun anew.
      rates.set(key, more >= 0 && seconds > 0 ? more / seconds : null);
    }
    this.#before = new Map(totals);
    this.#at = now;
    return rates;
  }
}
