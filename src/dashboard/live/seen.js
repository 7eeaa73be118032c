// The keys and values that went by, for completion. Bounded: of more keys, and of more values of a key, the first ones are remembered.

import { parse } from '../exact_json.js';
import { isScalar, scalarText } from './event.js';
import { parameterOf } from './query.js';

const MAX_KEYS = 400;
const MAX_VALUES = 40;
const MAX_LENGTH = 80;
const MAX_DEPTH = 4;
const MAX_MEMBERS = 100;
/** So many events a second are looked at, none longer than so many characters. */
const PER_SECOND = 60;
const MAX_EVENT = 20_000;

export class Seen {
  #keys = new Map();
  #second = 0;
  #looked = 0;

  learn(text) {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#second) [this.#second, this.#looked] = [second, 0];
    this.#looked += 1;
    if (this.#looked > PER_SECOND || text.length > MAX_EVENT) return;
    const event = parse(text);
    this.#note('type', event.type);
    this.#note('trace-id', event.traceId);
    this.#note('span-id', event.spanId);
    this.#walk([], event.data ?? {});
  }

  #walk(path, value) {
    for (const [key, member] of Object.entries(value).slice(0, MAX_MEMBERS)) {
      const at = [...path, key];
      if (isScalar(member)) this.#note(parameterOf(at), member);
      else if (Array.isArray(member)) member.slice(0, 5).filter(isScalar).forEach((item) => this.#note(parameterOf(at), item));
      else if (at.length < MAX_DEPTH) this.#walk(at, member);
    }
  }

  #note(key, value) {
    if (key === null || value === null || value === undefined || key.length > MAX_LENGTH) return;
    if (!this.#keys.has(key) && this.#keys.size >= MAX_KEYS) return;
    const values = this.#keys.get(key) ?? new Map();
    this.#keys.set(key, values);
    const text = scalarText(value);
    if (text === '' || text.length > MAX_LENGTH || (!values.has(text) && values.size >= MAX_VALUES)) return;
    values.set(text, (values.get(text) ?? 0) + 1);
  }

  forget() {
    this.#keys.clear();
  }

  get keys() {
    return [...this.#keys.keys()];
  }

  /** The values of a key, those that came most often first. */
  values(key) {
    return [...(this.#keys.get(key) ?? [])].sort((a, b) => b[1] - a[1]).map(([value]) => value);
  }
}
