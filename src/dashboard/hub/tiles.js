// The hub in figures: what it takes, and what goes through it.

import { el } from '../dom.js';
import { count, duration, quantity, rate } from '../format.js';
import { UNKNOWN, digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';
import { drawSparkline } from '../metrics/sparkline.js';

const cores = (value) => `${value === 0 ? 0 : value.toFixed(value < 0.1 ? 3 : value < 10 ? 2 : 1)} cores`;

const TILES = [
  { id: 'hub.events.received', label: 'Events received' },
  { id: 'hub.events.delivered', label: 'Events delivered' },
  { id: 'hub.events.missed', label: 'Missed or left out' },
  { id: 'queue.count', label: 'Queue', written: (value) => count(value), note: 'not handed over yet' },
  { id: 'server.memory', label: 'Memory', written: (value) => quantity(value, 'By'), note: 'resident' },
  { id: 'server.cpu', label: 'CPU', written: cores, note: 'kept busy' },
  { id: 'hub.subscribers', label: 'Subscribers', written: (value) => count(value), note: 'streams' },
  { id: 'server.uptime', label: 'Uptime', written: (value) => duration(Math.floor(value) * 1000), note: 'since the start', isPlain: true },
];

export class Tiles {
  #store;
  #own;
  #tiles = TILES.map((tile) => ({
    ...tile,
    value: el('dd', { class: 'tile-value' }, UNKNOWN),
    more: el('dd', { class: 'tile-note' }),
    canvas: el('canvas', { class: 'tile-sparkline', 'aria-hidden': 'true' }),
  }));

  constructor(store, own) {
    this.#store = store;
    this.#own = own;
    const part = ({ id, label, value, more, canvas, isPlain }) =>
      el(
        'div',
        { class: 'tile panel', 'data-series': id },
        el('dt', { class: 'tile-label' }, label),
        value,
        more,
        isPlain ? null : el('dd', { class: 'tile-trend' }, canvas),
      );
    this.element = el('dl', { class: 'tiles' }, this.#tiles.map(part));
  }

  draw() {
    // All sizes first: to ask for one after something was written costs a layout.
    const sizes = this.#tiles.map(({ canvas }) => ({ width: canvas.clientWidth, height: canvas.clientHeight }));
    this.#tiles.forEach((tile, index) => this.#draw(tile, this.#own.get(tile.id), sizes[index]));
  }

  #draw({ written, note, isPlain, value, more, canvas }, series, size) {
    if (series === undefined) return;
    const isCounter = series.type === 'counter';
    const total = series.latest.value;
    write(value, isCounter ? (series.rate === null ? UNKNOWN : rate(series.rate)) : written(Number(total)));
    write(more, isCounter ? `${digits(total)} in all` : note);
    if (!isPlain) drawSparkline(canvas, size, series.history(series.columns[0]), this.#store.timeline);
  }
}
