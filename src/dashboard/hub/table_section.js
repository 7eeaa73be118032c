// A titled part of the hub view: a table, or a sentence that says why there is none.

import { el } from '../dom.js';
import { write } from '../metrics/redraw.js';
import { KeyedRows } from './keyed_rows.js';

export class TableSection {
  #rows;
  #title = el('h2');
  #note;
  #count = el('p', { class: 'hub-count' });
  #scroller;

  /** `heads` are labels of columns; those of numbers are in an array of one. `make(item)` makes a row, as of KeyedRows. */
  constructor({ id, title, note, noteClass, heads, make, tools = null }) {
    const body = el('tbody');
    this.#rows = new KeyedRows(body, make);
    this.#note = el('p', { class: `hub-empty ${noteClass}` });
    const table = el('table', { class: `table ${id}-table` }, el('thead', {}, el('tr', {}, heads.map(head))), body);
    // It may be wider than the screen: then the keys have to reach it, to scroll.
    this.#scroller = el('div', { class: 'hub-table', tabindex: '0', role: 'group' }, table);
    this.#title.id = `${id}-title`;
    const header = el('header', { class: 'hub-header' }, this.#title, this.#count, tools);
    const attributes = { class: 'hub-section panel', 'aria-labelledby': `${id}-title` };
    this.element = el('section', attributes, header, this.#note, this.#scroller);
    this.entitle(title);
    this.say(note);
  }

  entitle(title) {
    write(this.#title, title);
    this.#scroller.setAttribute('aria-label', title);
  }

  /** Shows a sentence instead of rows. */
  say(text) {
    write(this.#note, text);
    write(this.#count, '');
    this.#note.hidden = false;
    this.#scroller.hidden = true;
  }

  /** Shows items, each with its key, and how many there are. */
  show(items, count) {
    this.#rows.show(items);
    write(this.#count, count);
    this.#note.hidden = true;
    this.#scroller.hidden = false;
  }

  /** The place of a key in the order; -1 if it is not there. */
  indexOf(key) {
    return this.#rows.indexOf(key);
  }

  /** Where a row was that is gone now with the focus on it, the keys go on. */
  focusRow(place) {
    const rows = this.#scroller.querySelectorAll('tbody tr');
    const button = rows[Math.min(place, rows.length - 1)]?.querySelector('button');
    (button ?? this.#scroller).focus();
  }
}

function head(label) {
  if (label === '') return el('td');
  return Array.isArray(label) ? el('th', { scope: 'col', class: 'number' }, label) : el('th', { scope: 'col' }, label);
}
