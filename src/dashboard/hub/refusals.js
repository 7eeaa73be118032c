// What the hub does not take, and why: its counters of refusals that have moved.

import { el } from '../dom.js';
import { visible } from '../format.js';
import { amountPerSecond, digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';
import { sumOfKnown, sumOfTotals } from './own.js';
import { reasonOf } from './reasons.js';
import { TableSection } from './table_section.js';

export class Refusals {
  #own;
  #section = new TableSection({
    id: 'refusals',
    title: 'Refused',
    note: 'No figures yet.',
    noteClass: 'refusals-none',
    heads: ['What and why', ['Now'], ['In all']],
    make: (counter) => new RefusalRow(counter),
  });

  constructor(own) {
    this.#own = own;
    this.element = this.#section.element;
  }

  draw() {
    const counters = this.#counters();
    if (counters.length === 0) return;
    const moved = counters.filter(({ total }) => Number(total) > 0);
    if (moved.length === 0) return this.#section.say('Nothing has been refused since the start.');
    // By how much in all: by how much now, rows would change places at every frame.
    moved.sort((one, other) => Number(other.total) - Number(one.total));
    const others = counters.length - moved.length;
    const items = moved.map((counter) => [counter.id, counter]);
    this.#section.show(items, others > 0 ? `${others} other reasons did not occur` : '');
  }

  /** Of joined hubs all together, and which one it is if it is one alone. */
  #counters() {
    const found = this.#own.ids().map((id) => ({ id, reason: reasonOf(id), all: this.#own.now(id) }));
    const counters = found.filter(({ reason, all }) => reason !== null && all.length > 0);
    const hasOthers = this.#own.hubs().filter(({ silentSince }) => silentSince === null).length > 1;
    return counters.map(({ id, reason, all }) => {
      const moved = all.filter(([, { total }]) => Number(total) > 0);
      return {
        id,
        reason,
        rate: sumOfKnown(all.map(([, { rate }]) => rate)),
        total: sumOfTotals(all.map(([, { total }]) => total)),
        hub: hasOthers && moved.length === 1 ? moved[0][0] : null,
      };
    });
  }
}

class RefusalRow {
  #now = el('td', { class: 'number refusal-now' });
  #total = el('td', { class: 'number refusal-total' });
  #hub = el('span', { class: 'badge refusal-hub' });

  constructor({ id, reason: [title, why] }) {
    const name = el('span', { class: 'refusal-title' }, title, this.#hub);
    const what = el('div', { class: 'refusal-what' }, name, el('code', { class: 'refusal-series' }, id));
    const cell = el('td', {}, el('div', { class: 'refusal' }, what, el('p', { class: 'refusal-why' }, why)));
    this.element = el('tr', { 'data-series': id }, cell, this.#now, this.#total);
  }

  show({ rate, total, hub }) {
    this.element.dataset.moving = String(rate > 0);
    write(this.#now, amountPerSecond(rate, null));
    write(this.#total, digits(total));
    this.#hub.hidden = hub === null;
    write(this.#hub, hub === null ? '' : `only ${visible(hub)}`);
  }
}
