// What the hub does not take, and why: its counters of refusals that have moved.

import { el } from '../dom.js';
import { amountPerSecond, digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';
import { KeyedRows } from './keyed_rows.js';
import { reasonOf } from './reasons.js';

export class Refusals {
  #store;
  #version = -1;
  #counters = [];
  #body = el('tbody');
  #rows = new KeyedRows(this.#body, (counter) => new RefusalRow(counter));
  #table;
  #none = el('p', { class: 'hub-empty refusals-none' });
  #zero = el('p', { class: 'refusals-zero' });

  constructor(store) {
    this.#store = store;
    const heads = el('tr', {}, el('th', { scope: 'col' }, 'What and why'), el('th', { scope: 'col', class: 'number' }, 'Now'), el('th', { scope: 'col', class: 'number' }, 'In all'));
    this.#table = el('div', { class: 'hub-table', tabindex: '0', role: 'group', 'aria-label': 'Refused' }, el('table', { class: 'table refusals-table' }, el('thead', {}, heads), this.#body));
    this.element = el('section', { class: 'hub-section panel', 'aria-labelledby': 'refusals-title' }, el('header', { class: 'hub-header' }, el('h2', { id: 'refusals-title' }, 'Refused'), this.#zero), this.#none, this.#table);
    this.#table.hidden = true;
  }

  draw() {
    if (this.#version !== this.#store.version) this.#find();
    const moved = this.#counters.filter(({ series }) => Number(series.total) > 0);
    // By how much in all: by how much now, rows would change places at every frame.
    moved.sort((one, other) => Number(other.series.total) - Number(one.series.total));
    this.#none.hidden = moved.length > 0;
    write(this.#none, this.#counters.length === 0 ? 'No figures yet.' : 'Nothing has been refused since the hub started.');
    this.#table.hidden = moved.length === 0;
    this.#rows.show(moved.map((counter) => [counter.series.key, counter]));
    const zero = this.#counters.length - moved.length;
    write(this.#zero, zero > 0 && moved.length > 0 ? `${zero} other reasons did not occur` : '');
  }

  #find() {
    this.#version = this.#store.version;
    this.#counters = this.#store.current().map((series) => ({ series, reason: reasonOf(series) })).filter(({ reason }) => reason !== null);
  }
}

class RefusalRow {
  #now = el('td', { class: 'number refusal-now' });
  #total = el('td', { class: 'number refusal-total' });

  constructor({ series, reason: [title, why] }) {
    this.element = el(
      'tr',
      { 'data-series': series.key },
      el(
        'td',
        {},
        el(
          'div',
          { class: 'refusal' },
          el('div', { class: 'refusal-what' }, el('span', { class: 'refusal-title' }, title), el('code', { class: 'refusal-series' }, series.id)),
          el('p', { class: 'refusal-why' }, why),
        ),
      ),
      this.#now,
      this.#total,
    );
  }

  show({ series: { rate, total } }) {
    this.element.dataset.moving = String(rate > 0);
    write(this.#now, amountPerSecond(rate, null));
    write(this.#total, digits(total));
  }
}
