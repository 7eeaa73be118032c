// What stands in one `metrics=`: its patterns, to add to and take from, and a panel for each measure among their series.

import { el } from '../dom.js';
import { visible } from '../format.js';
import { Panel, measureOf } from './panel.js';
import { Picker } from './picker.js';
import { matcher } from './selection.js';

/** How many measures one card shows. `*` may have dozens, and the table has them all. */
const MOST_PANELS = 6;
/** How long a card is brought out that somebody looks for, in milliseconds. */
const POINTED = 1500;

export class ChartCard {
  #parts;
  #picker;
  #patterns = [];
  #panels = new Map();
  #version = -1;
  #chips = el('div', { class: 'card-patterns' });
  #body = el('div', { class: 'card-panels' });
  #empty = el('p', { class: 'card-empty' });
  #more = el('p', { class: 'chart-note', hidden: true });

  /** `parts`: the `store`, the `crosshair`, the `redraw`; `onchange(patterns)` is called with what a person has made of them. */
  constructor(parts) {
    this.#parts = parts;
    this.#picker = new Picker({
      store: parts.store,
      label: 'Add series to this chart',
      placeholder: 'Add series',
      onpick: (pattern) => this.#add(pattern),
    });
    const remove = el(
      'button',
      {
        class: 'button-quiet card-remove',
        type: 'button',
        'aria-label': 'Remove this chart',
        title: 'Remove this chart',
        on: { click: () => parts.onchange([]) },
      },
      '×',
    );
    this.element = el(
      'article',
      { class: 'chart-card panel' },
      el('header', { class: 'card-header' }, this.#chips, this.#picker.element, remove),
      this.#empty,
      this.#body,
      this.#more,
    );
  }

  get patterns() {
    return this.#patterns;
  }

  choose(patterns, number) {
    this.element.setAttribute('aria-label', `Chart ${number}`);
    if (patterns.join() === this.#patterns.join()) return;
    this.#patterns = patterns;
    this.#version = -1;
    const hadFocus = this.#chips.contains(document.activeElement);
    this.#chips.replaceChildren(...patterns.map((pattern) => this.#chip(pattern)));
    // The chip that had it may be gone.
    if (hadFocus) this.#picker.focus();
  }

  /** Shows where it is. */
  pointOut() {
    this.element.scrollIntoView({ block: 'nearest' });
    this.element.classList.add('is-pointed');
    setTimeout(() => this.element.classList.remove('is-pointed'), POINTED);
  }

  draw(window) {
    const { store } = this.#parts;
    if (this.#version !== store.version) this.#match();
    else this.#rank();
    for (const { panel } of this.#panels.values()) panel.draw(window);
  }

  /** Finds its series among all there are now, and gives each measure a panel. */
  #match() {
    const { store } = this.#parts;
    this.#version = store.version;
    const found = byMeasure(matching(this.#patterns, store.values()));
    const panels = found.slice(0, MOST_PANELS).map(([measure, series]) => [measure, { panel: this.#panel(measure, series[0]), series }]);
    this.#panels = new Map(panels);
    this.#place(panels.map(([, { panel }]) => panel.element));
    for (const [, { panel, series }] of panels) panel.assign(series);
    this.#empty.hidden = panels.length > 0;
    this.#empty.textContent =
      store.timeline.current < 0 ? 'Waiting for the hub.' : 'No series of these names yet. They appear here once somebody sends them.';
    this.#more.hidden = found.length <= MOST_PANELS;
    this.#more.textContent = `${found.length - MOST_PANELS} more units among these series are not shown.`;
  }

  /** To put in again what is there would take the focus from it. */
  #place(elements) {
    const before = [...this.#body.children];
    const isSame = elements.length === before.length && elements.every((element, index) => element === before[index]);
    if (!isSame) this.#body.replaceChildren(...elements);
  }

  /** Where not all have room, those that are large now come forward; not at every frame, to be read. */
  #rank() {
    if (this.#parts.store.timeline.current % 5 !== 1) return;
    for (const { panel, series } of this.#panels.values()) if (!panel.hasRoomForAll) panel.assign(series);
  }

  #panel(measure, like) {
    return this.#panels.get(measure)?.panel ?? new Panel({ ...this.#parts, like });
  }

  #add(pattern) {
    if (!this.#patterns.includes(pattern)) this.#parts.onchange([...this.#patterns, pattern]);
  }

  #chip(pattern) {
    const text = visible(pattern);
    const drop = () => this.#parts.onchange(this.#patterns.filter((other) => other !== pattern));
    const button = el('button', { class: 'chip-remove', type: 'button', 'aria-label': `Remove ${text}`, on: { click: drop } }, '×');
    return el('span', { class: 'chip', title: text }, el('span', { class: 'chip-text' }, text), button);
  }
}

/** The series that any of the patterns means, in the order of the patterns. */
function matching(patterns, all) {
  const tests = patterns.map((pattern) => matcher([pattern]));
  const found = [];
  for (const series of all) {
    const place = tests.findIndex((matches) => matches(series));
    if (place >= 0) found.push({ series, place });
  }
  found.sort((one, other) => one.place - other.place || (one.series.key < other.series.key ? -1 : 1));
  return found.map(({ series }) => series);
}

function byMeasure(found) {
  const measures = new Map();
  for (const series of found) {
    const measure = measureOf(series);
    if (!measures.has(measure)) measures.set(measure, []);
    measures.get(measure).push(series);
  }
  return [...measures];
}
