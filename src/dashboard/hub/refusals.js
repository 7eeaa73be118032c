// What the hub does not take, and why: its counters of refusals that have moved.

import { el } from '../dom.js';
import { amountPerSecond, digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';
import { reasonOf } from './reasons.js';
import { TableSection } from './table_section.js';

export class Refusals {
  #store;
  #own;
  #version = -1;
  #counters = [];
  #section = new TableSection({
    id: 'refusals',
    title: 'Refused',
    note: 'No figures yet.',
    noteClass: 'refusals-none',
    heads: ['What and why', ['Now'], ['In all']],
    make: (counter) => new RefusalRow(counter),
  });

  constructor(store, own) {
    this.#store = store;
    this.#own = own;
    this.element = this.#section.element;
  }

  draw() {
    if (this.#version !== this.#store.version) this.#find();
    if (this.#counters.length === 0) return;
    const moved = this.#counters.filter(({ series }) => Number(series.total) > 0);
    if (moved.length === 0) return this.#section.say('Nothing has been refused since the hub started.');
    // By how much in all: by how much now, rows would change places at every frame.
    moved.sort((one, other) => Number(other.series.total) - Number(one.series.total));
    const others = this.#counters.length - moved.length;
    const items = moved.map((counter) => [counter.series.key, counter]);
    this.#section.show(items, others > 0 ? `${others} other reasons did not occur` : '');
  }

  #find() {
    this.#version = this.#store.version;
    const own = this.#store.current().filter((series) => this.#own.has(series));
    const all = own.map((series) => ({ series, reason: reasonOf(series) }));
    this.#counters = all.filter(({ reason }) => reason !== null);
  }
}

class RefusalRow {
  #now = el('td', { class: 'number refusal-now' });
  #total = el('td', { class: 'number refusal-total' });

  constructor({ series, reason: [title, why] }) {
    const name = el('span', { class: 'refusal-title' }, title);
    const what = el('div', { class: 'refusal-what' }, name, el('code', { class: 'refusal-series' }, series.id));
    const cell = el('td', {}, el('div', { class: 'refusal' }, what, el('p', { class: 'refusal-why' }, why)));
    this.element = el('tr', { 'data-series': series.key }, cell, this.#now, this.#total);
  }

  show({ series: { rate, total } }) {
    this.element.dataset.moving = String(rate > 0);
    write(this.#now, amountPerSecond(rate, null));
    write(this.#total, digits(total));
  }
}
