// The hub in figures: what it takes, and what goes through it.

import { el } from '../dom.js';
import { count, duration, quantity, rate, visible } from '../format.js';
import { UNKNOWN, digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';
import { drawSparkline } from '../metrics/sparkline.js';
import { sumOfKnown, sumOfTotals } from './own.js';

/** How many of the processor's cores are kept busy. */
export const cores = (value) => `${value === 0 ? 0 : value.toFixed(value < 0.1 ? 3 : value < 10 ? 2 : 1)} cores`;

const TILES = [
  { id: 'hub.events.received', label: 'Events received' },
  { id: 'hub.events.delivered', label: 'Events delivered' },
  { id: 'hub.events.missed', label: 'Missed or left out' },
  { id: 'queue.count', label: 'Queue', written: (value) => count(value), note: 'not handed over yet' },
  { id: 'server.memory', label: 'Memory', written: (value) => quantity(value, 'By'), note: 'resident' },
  { id: 'server.cpu', label: 'CPU', written: cores, note: 'kept busy' },
  { id: 'hub.subscribers', label: 'Subscribers', written: (value) => count(value), note: 'streams' },
  { id: 'server.uptime', label: 'Uptime', written: (value) => duration(Math.floor(value) * 1000), note: 'since the start', isYoungest: true },
];

export class Tiles {
  #own;
  #timeline;
  #tiles = TILES.map((tile) => ({
    ...tile,
    value: el('dd', { class: 'tile-value' }, UNKNOWN),
    more: el('dd', { class: 'tile-note' }),
    canvas: el('canvas', { class: 'tile-sparkline', 'aria-hidden': 'true' }),
  }));

  /** What joined hubs have is added up; of their uptimes the shortest is shown, which tells of a start anew. */
  constructor(own, timeline) {
    this.#own = own;
    this.#timeline = timeline;
    const part = ({ id, label, value, more, canvas, isYoungest }) =>
      el(
        'div',
        { class: 'tile panel', 'data-series': id },
        el('dt', { class: 'tile-label' }, label),
        value,
        more,
        isYoungest ? null : el('dd', { class: 'tile-trend' }, canvas),
      );
    this.element = el('dl', { class: 'tiles' }, this.#tiles.map(part));
  }

  draw() {
    // All sizes first: to ask for one after something was written costs a layout.
    const sizes = this.#tiles.map(({ canvas }) => ({ width: canvas.clientWidth, height: canvas.clientHeight }));
    this.#tiles.forEach((tile, index) => {
      const all = this.#own.now(tile.id);
      if (all.length === 0) return;
      if (tile.isYoungest) drawYoungest(tile, all);
      else this.#drawSum(tile, all.map(([, series]) => series), sizes[index]);
    });
  }

  #drawSum({ id, written, note, value, more, canvas }, all, size) {
    const total = sumOfTotals(all.map((series) => series.total));
    if (all[0].type === 'counter') {
      const pace = sumOfKnown(all.map((series) => series.rate));
      write(value, Number.isNaN(pace) ? UNKNOWN : rate(pace));
      write(more, `${digits(total)} in all`);
    } else {
      write(value, written(Number(total)));
      write(more, note);
    }
    drawSparkline(canvas, size, this.#own.history(id), this.#timeline);
  }
}

function drawYoungest({ written, note, value, more }, all) {
  const [hub, series] = all.reduce((one, other) => (Number(other[1].total) < Number(one[1].total) ? other : one));
  write(value, written(Number(series.total)));
  write(more, all.length > 1 ? `youngest: ${visible(hub)}` : note);
}
