// One chart with its legend: the series of a group that are measured alike, and so share an axis.

import { el } from '../dom.js';
import { count } from '../format.js';
import { amount, amountPerSecond, fullName, unitName } from './amount.js';
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
  #hidden = new Set();
  #pointed = null;
  #title = el('h3', { class: 'chart-title' });
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
    this.#legend = new Legend({ caption: `Values, ${this.#measure()}`, ontoggle: (key) => this.#toggle(key), onpoint: (key) => this.#point(key) });
    write(this.#title, this.#measure());
    this.element = el('section', { class: 'chart-panel', 'aria-label': this.#measure() }, this.#title, this.#chart.element, this.#note, this.#legend.element);
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
    this.#note.hidden = this.hasRoomForAll;
    write(this.#note, `The ${MOST_LINES} largest of ${count(series.length)}. A narrower pattern shows others.`);
    if (this.#shown.map(({ key }) => key).join('\n') !== before) this.#listLines();
  }

  draw(window) {
    const { timeline } = this.#store;
    const to = timeline.current < 0 ? Date.now() : timeline.time(timeline.current);
    const from = span(timeline, to, window);
    const at = this.#crosshair.frame;
    const isAt = at !== null && timeline.time(at) >= from;
    const values = (key) => this.#values(this.#store.get(key), isAt ? at : null);
    this.#legend.tell(isAt ? `at ${clock(timeline.time(at))}` : 'now', values);
    this.#chart.draw(
      { timeline, from, to, lines: this.#lines(), unit: this.unit, written: (value) => this.#written(value), at: isAt ? at : null },
      { label: `${this.#measure()}, chart over time`, told: this.#told(values) },
    );
  }

  #measure() {
    const unit = unitName(this.unit);
    return [unit === 'By' ? 'bytes' : unit, KINDS[this.type]].filter(Boolean).join(' ') || 'value';
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

  #values(series, at) {
    if (series === undefined) return [];
    const isGone = at === null && series.frame !== this.#store.timeline.current;
    return series.columns.map((column) => this.#written(at === null ? (isGone ? NaN : known(series, column)) : series.history(column).at(at)));
  }

  #written(value) {
    return this.type === 'counter' ? amountPerSecond(value, this.unit) : amount(value, this.unit);
  }

  #told(values) {
    return this.#shown.map((series) => `${fullName(series)} ${values(series.key).join(', ')}`).join('; ');
  }

  #listLines() {
    const line = (series) => ({ key: series.key, slot: this.#slots.get(series.key), name: fullName(series), isHidden: this.#hidden.has(series.key) });
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

/** Where the time axis begins: at what was asked for, or at the first frame there is. */
function span(timeline, to, window) {
  const seconds = WINDOWS[window];
  if (Number.isFinite(seconds)) return to - seconds * 1000;
  const oldest = timeline.current < 0 ? to : timeline.time(timeline.oldest);
  return Math.min(oldest, to - 10_000);
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
