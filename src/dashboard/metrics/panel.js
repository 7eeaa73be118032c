// One chart with its legend: the series of a group that are measured alike, and so share an axis.

import { el } from '../dom.js';
import { count, visible } from '../format.js';
import { amount, amountPerSecond, attributesText, fullName, measureName } from './amount.js';
import { clock } from './axis.js';
import { Chart } from './chart.js';
import { Legend } from './legend.js';
import { MOST_LINES, assignSlots } from './marks.js';
import { write } from './redraw.js';
import { WINDOWS } from './request.js';

const KINDS = { counter: 'per second', gauge: '', histogram: 'percentiles' };

/** What must be the same for series to share an axis. */
export function measureOf({ type, unit }) {
  return `${type} ${unit ?? ''}`;
}

export class Panel {
  #store;
  #crosshair;
  #all = [];
  #shown = [];
  #slots = new Map();
  #name = null;
  #hidden = new Set();
  #pointed = null;
  #title = el('h2', { class: 'chart-title' });
  #note = el('p', { class: 'chart-note', hidden: true });
  #chart;
  #legend;
  #redraw;

  constructor({ store, crosshair, redraw, like }) {
    this.#store = store;
    this.#crosshair = crosshair;
    this.#redraw = redraw;
    this.type = like.type;
    this.unit = like.unit;
    this.#chart = new Chart(crosshair, () => redraw.request());
    this.#legend = new Legend({ caption: 'Values of the lines', ontoggle: (key) => this.#toggle(key), onpoint: (key) => this.#point(key) });
    this.element = el('section', { class: 'chart-panel' }, this.#title, this.#chart.element, this.#note, this.#legend.element);
  }

  get hasRoomForAll() {
    return this.#all.length <= MOST_LINES;
  }

  /** The series that it is for. Of too many, the largest are shown. */
  assign(series) {
    this.#all = series;
    const before = this.#shown.map(({ key }) => key).join('\n');
    this.#shown = this.hasRoomForAll ? series : largest(series);
    this.#slots = assignSlots(this.#shown, this.#slots);
    for (const one of this.#shown) one.extend();
    this.#name = series.every(({ id }) => id === series[0].id) ? series[0].id : null;
    write(this.#title, this.#measure());
    this.element.setAttribute('aria-label', this.#measure());
    this.#note.hidden = this.hasRoomForAll;
    write(this.#note, `The ${MOST_LINES} largest of ${count(series.length)}. A narrower pattern shows others.`);
    if (this.#shown.map(({ key }) => key).join('\n') !== before) this.#listLines();
  }

  draw(window) {
    const { timeline } = this.#store;
    const to = timeline.current < 0 ? Date.now() : timeline.time(timeline.current);
    const from = span(timeline, to, window);
    const at = timeline.time(this.#crosshair.frame) >= from ? this.#crosshair.frame : null;
    const values = (key) => this.#values(this.#store.get(key), at);
    this.#legend.tell(at !== null ? `at ${clock(timeline.time(at))}` : this.#now(), values);
    this.#chart.draw(
      { timeline, from, to, lines: this.#lines(), unit: this.unit, written: (value) => tickText(this.#written(value)), at },
      { label: `${this.#measure()}, chart over time`, told: this.#told(values) },
    );
  }

  #measure() {
    const words = [this.#name === null ? null : visible(this.#name), [measureName(this.unit), KINDS[this.type]].filter(Boolean).join(' ')];
    return words.filter(Boolean).join(', ') || 'value';
  }

  /** Where all are of one name, that stands above, and only their attributes beside the lines. */
  #lineName(series) {
    return (this.#name !== null && attributesText(series.attributes)) || fullName(series);
  }

  #lines() {
    return this.#shown
      .filter(({ key }) => !this.#hidden.has(key))
      .flatMap((series) =>
        series.columns.map((column) => ({
          history: series.history(column),
          column,
          slot: this.#slots.get(series.key),
          isFaint: this.#pointed !== null && this.#pointed !== series.key,
        })),
      );
  }

  #now() {
    const { timeline, lastSent } = this.#store;
    return lastSent === timeline.current ? 'now' : `last, at ${clock(timeline.time(lastSent))}`;
  }

  #values(series, at) {
    if (series === undefined) return [];
    const isGone = at === null && series.frame !== this.#store.lastSent;
    return series.columns.map((column) =>
      this.#written(at === null ? (isGone ? NaN : known(series, column)) : series.history(column).at(at)),
    );
  }

  #written(value) {
    return this.type === 'counter' ? amountPerSecond(value, this.unit) : amount(value, this.unit);
  }

  #told(values) {
    return this.#shown.map((series) => `${this.#lineName(series)} ${values(series.key).join(', ')}`).join('; ');
  }

  #listLines() {
    const line = (series) => ({
      key: series.key,
      slot: this.#slots.get(series.key),
      name: this.#lineName(series),
      isHidden: this.#hidden.has(series.key),
    });
    this.#legend.list(this.#shown.map(line), this.#shown[0]?.columns ?? []);
  }

  #toggle(key) {
    if (!this.#hidden.delete(key)) this.#hidden.add(key);
    const button = this.#legend.element.querySelector(`[data-series="${CSS.escape(key)}"] button`);
    button.setAttribute('aria-pressed', String(!this.#hidden.has(key)));
    this.#redraw.request();
  }

  #point(key) {
    this.#pointed = key;
    this.#redraw.request();
  }
}

/** Where the time axis begins: at what was asked for, but not long before the first frame: charts that begin should show something. */
function span(timeline, to, window) {
  const oldest = timeline.current < 0 ? to : timeline.time(timeline.oldest);
  if (WINDOWS[window] === Infinity) return Math.min(oldest, to - 10_000);
  const wanted = Object.values(WINDOWS).find((seconds) => seconds >= WINDOWS[window] || to - seconds * 1000 <= oldest);
  return to - wanted * 1000;
}

/** The value of a line of the axis: one of whole hours needs no minutes. */
function tickText(text) {
  return text.replace(/(?<= (?:d|h|min)) 0 (?:h|min|s)$/, '');
}

function known(series, column) {
  return Number(series.latest[column] ?? NaN);
}

function largest(series) {
  const size = (one) => Math.max(...one.columns.map((column) => Math.abs(known(one, column)) || 0));
  const sized = series.map((one) => ({ one, size: size(one) }));
  sized.sort((a, b) => b.size - a.size || (a.one.key < b.one.key ? -1 : 1));
  return sized.slice(0, MOST_LINES).map(({ one }) => one);
}
