// What the hub does not take, and why: its counters of refusals, those that moved first.

import { el } from '../dom.js';
import { amountPerSecond, digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';
import { reasonOf } from './reasons.js';

export class Refusals {
  #store;
  #version = -1;
  #counters = [];
  #rows = new Map();
  #body = el('tbody');
  #table;
  #none = el('p', { class: 'hub-empty refusals-none' }, 'Nothing has been refused since the hub started.');
  #zero = el('p', { class: 'refusals-zero' });
  element;

  constructor(store) {
    this.#store = store;
    const heads = el('tr', {}, el('th', { scope: 'col' }, 'What'), el('th', { scope: 'col', class: 'number' }, 'Now'), el('th', { scope: 'col', class: 'number' }, 'In all'), el('th', { scope: 'col', class: 'refusal-why' }, 'Why'));
    this.#table = el('div', { class: 'hub-table', tabindex: '0', role: 'group', 'aria-label': 'Refused' }, el('table', { class: 'table refusals-table' }, el('thead', {}, heads), this.#body));
    this.element = el('section', { class: 'hub-section panel', 'aria-labelledby': 'refusals-title' }, el('header', { class: 'hub-header' }, el('h2', { id: 'refusals-title' }, 'Refused'), this.#zero), this.#none, this.#table);
    this.#table.hidden = true;
  }

  draw() {
    if (this.#version !== this.#store.version) this.#find();
    const moved = this.#counters.filter(({ series }) => Number(series.total) > 0);
    moved.sort((one, other) => Number(other.series.rate > 0) - Number(one.series.rate > 0) || Number(other.series.total) - Number(one.series.total));
    this.#none.hidden = moved.length > 0 || this.#counters.length === 0;
    this.#table.hidden = moved.length === 0;
    const rows = moved.map((counter) => this.#row(counter));
    if (rows.some((row, index) => this.#body.children[index] !== row) || rows.length !== this.#body.children.length) this.#body.replaceChildren(...rows);
    const zero = this.#counters.length - moved.length;
    write(this.#zero, zero > 0 && moved.length > 0 ? `${zero} other reasons did not occur` : '');
  }

  #find() {
    this.#version = this.#store.version;
    this.#counters = [...this.#store.values()].map((series) => ({ series, reason: reasonOf(series) })).filter(({ reason }) => reason !== null);
    this.#rows.clear();
  }

  #row({ series, reason: [title, why] }) {
    if (!this.#rows.has(series.key)) this.#rows.set(series.key, new RefusalRow(series, title, why));
    return this.#rows.get(series.key).show(series);
  }
}

class RefusalRow {
  #now = el('td', { class: 'number refusal-now' });
  #total = el('td', { class: 'number refusal-total' });
  #element;

  constructor(series, title, why) {
    this.#element = el(
      'tr',
      { 'data-series': series.key },
      el('th', { scope: 'row' }, el('span', { class: 'refusal-title' }, title), el('code', { class: 'refusal-series' }, series.id)),
      this.#now,
      this.#total,
      el('td', { class: 'refusal-why' }, why),
    );
  }

  show({ rate, total }) {
    this.#element.dataset.moving = String(rate > 0);
    write(this.#now, amountPerSecond(rate, null));
    write(this.#total, digits(total));
    return this.#element;
  }
}
