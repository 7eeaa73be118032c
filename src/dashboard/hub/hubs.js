// The hubs that are joined, each with its figures. One that is heard of no more stays for a while: it has ended, or it or the hub that sends
// all this is cut off.

import { el } from '../dom.js';
import { count, duration, quantity, rate, visible } from '../format.js';
import { UNKNOWN, digits } from '../metrics/amount.js';
import { clock } from '../metrics/axis.js';
import { write } from '../metrics/redraw.js';
import { TableSection } from './table_section.js';
import { cores } from './tiles.js';

/** The columns of figures: each of a series, and how that is written. */
const FIGURES = [
  { id: 'hub.transport.lag', label: 'Behind', written: behind },
  { id: 'hub.subscribers', label: 'Subscribers', written: ({ total }) => digits(total) },
  { id: 'hub.events.received', label: 'Received', written: pace },
  { id: 'hub.events.delivered', label: 'Delivered', written: pace },
  { id: 'server.memory', label: 'Memory', written: ({ total }) => quantity(total, 'By') },
  { id: 'server.cpu', label: 'CPU', written: ({ total }) => cores(Number(total)) },
  { id: 'server.uptime', label: 'Uptime', written: ({ total }) => duration(Math.floor(Number(total)) * 1000) },
];

export class Hubs {
  #own;
  #section = new TableSection({
    id: 'hubs',
    title: 'Hubs',
    note: 'None.',
    noteClass: 'hubs-none',
    heads: ['Hub', 'Joined', ...FIGURES.map(({ label }) => [label])],
    make: ({ name }) => new HubRow(name),
  });
  element = this.#section.element;
  /** Of whom the figures above the table are. */
  summary = el('p', { class: 'hubs-summary', hidden: true });

  constructor(own) {
    this.#own = own;
    this.element.hidden = true;
  }

  /** Tells whether the hub is joined to others, or is meant to be. */
  draw() {
    const hubs = this.#own.hubs();
    const silent = hubs.filter(({ silentSince }) => silentSince !== null).length;
    const there = hubs.length - silent;
    this.element.hidden = hubs.length === 0;
    this.summary.hidden = there < 2;
    write(this.summary, `${count(there)} hubs together`);
    const items = hubs.map((hub) => [hub.name, { ...hub, of: (id) => this.#own.of(hub.name, id) }]);
    this.#section.show(items, silent > 0 ? `${count(there)}, and ${count(silent)} silent` : count(there));
    return hubs.length > 0;
  }
}

class HubRow {
  #here = el('span', { class: 'badge hub-here' }, 'this one');
  #joined = el('td', { class: 'hub-joined' });
  #cells = FIGURES.map(({ id }) => el('td', { class: 'number', 'data-series': id }));

  constructor(name) {
    const head = el('th', { scope: 'row' }, el('span', { class: 'hub-name' }, visible(name)), this.#here);
    this.element = el('tr', { 'data-hub': name }, head, this.#joined, this.#cells);
  }

  show({ isHere, silentSince, of }) {
    const joined = of('hub.transport.joined');
    const state = silentSince !== null ? 'silent' : Number(joined.total) === 1 ? 'joined' : 'apart';
    this.element.dataset.state = state;
    const text = { joined: 'yes', apart: 'no', silent: `silent since ${clock(silentSince)}` }[state];
    this.#here.hidden = !isHere;
    write(this.#joined, text);
    FIGURES.forEach(({ id, written }, index) => {
      const series = of(id);
      write(this.#cells[index], series === null ? UNKNOWN : written(series));
    });
  }
}

function behind({ total }) {
  const number = Number(total);
  return number === 0 ? '0' : `${digits(total)} ${number === 1 ? 'message' : 'messages'}`;
}

function pace(series) {
  return series.rate === null ? UNKNOWN : rate(series.rate);
}
