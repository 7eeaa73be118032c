// What the list can show: the last events and what happened to the stream between them. Bounded in number and in size, as one event
// can be a megabyte; the oldest go first, and are counted.

export const MAX_ROWS = 20_000;
const MAX_CHARACTERS = 32 * 1024 * 1024;
/** What a row takes besides its text. */
const ROW_SIZE = 200;

export class Rows {
  #ring = new Array(MAX_ROWS);
  #characters = 0;
  /** The numbers of the oldest row and of the one to come; they only ever grow. */
  first = 0;
  end = 0;
  /** Events among the rows, and those that had to go. */
  events = 0;
  dropped = 0;

  get size() {
    return this.end - this.first;
  }

  at(number) {
    return number >= this.first && number < this.end ? this.#ring[number % MAX_ROWS] : undefined;
  }

  /** An event, as its text. */
  addEvent(id, text) {
    this.#add({ kind: 'event', id, text });
    this.events += 1;
  }

  /** Something about the stream: a `gap`, or a quiet `note`. Its `text` may be changed later. */
  addNote(kind, reason, text) {
    return this.#add({ kind, reason, text });
  }

  #add(row) {
    const size = row.text.length + ROW_SIZE;
    while (this.size > 0 && (this.size === MAX_ROWS || this.#characters + size > MAX_CHARACTERS)) this.#drop();
    this.#ring[this.end % MAX_ROWS] = row;
    row.size = size;
    this.end += 1;
    this.#characters += size;
    return row;
  }

  #drop() {
    const slot = this.first % MAX_ROWS;
    const row = this.#ring[slot];
    this.#ring[slot] = undefined;
    this.first += 1;
    this.#characters -= row.size;
    if (row.kind !== 'event') return;
    this.events -= 1;
    this.dropped += 1;
  }

  /** Forgets all, but never gives a number twice. */
  clear() {
    this.#ring = new Array(MAX_ROWS);
    this.first = this.end;
    this.#characters = 0;
    this.events = 0;
    this.dropped = 0;
  }

  /** The texts of the events, oldest first. */
  *texts() {
    for (let number = this.first; number < this.end; number += 1) {
      const row = this.at(number);
      if (row.kind === 'event') yield row.text;
    }
  }
}
