// What the lines of a chart are and what they say, now or at the moment that is looked at: for eyes the key to the chart, for others
// the chart itself.

import { el, svg } from '../dom.js';
import { UNKNOWN } from './amount.js';
import { addShape } from './marks.js';
import { write } from './redraw.js';

const COLOURS = 8;

export class Legend {
  #head = el('tr');
  #body = el('tbody');
  #rows = new Map();
  #columns = [];
  #when = el('th', { scope: 'col', class: 'legend-when' });
  #ontoggle;
  #onpoint;

  /** `ontoggle` and `onpoint` are called with the key of a series: to hide or show its line, and to bring it out; null to stop that. */
  constructor({ caption, ontoggle, onpoint }) {
    this.#ontoggle = ontoggle;
    this.#onpoint = onpoint;
    this.element = el(
      'table',
      { class: 'legend-table' },
      el('caption', { class: 'visually-hidden' }, caption),
      el('thead', {}, this.#head),
      this.#body,
    );
  }

  /** `lines`: of each series its `key`, `slot`, `name`, and whether it `isHidden`. */
  list(lines, columns) {
    this.#columns = columns;
    this.#head.replaceChildren(this.#when, ...(columns.length === 1 ? ['value'] : columns).map(columnHead));
    const rows = lines.map((line) => this.#row(line));
    this.#rows = new Map(rows.map((row) => [row.key, row]));
    const focused = document.activeElement.closest('[data-series]')?.dataset.series;
    const hadFocus = this.#body.contains(document.activeElement);
    this.#body.replaceChildren(...rows.map((row) => row.element));
    if (hadFocus) this.#rows.get(focused)?.element.querySelector('button').focus();
  }

  /** `values(key)` gives the text of each column. */
  tell(when, values) {
    write(this.#when, when);
    for (const [key, { cells }] of this.#rows) values(key).forEach((text, index) => write(cells[index], text));
  }

  #row({ key, slot, name, isHidden }) {
    const button = el(
      'button',
      { class: 'legend-name', type: 'button', 'aria-pressed': String(!isHidden), title: name, on: { click: () => this.#ontoggle(key) } },
      shape(slot),
      el('span', {}, name),
    );
    const cells = this.#columns.map(() => el('td', { class: 'number' }, UNKNOWN));
    const on = { pointerenter: () => this.#onpoint(key), pointerleave: () => this.#onpoint(null) };
    return { key, cells, element: el('tr', { 'data-series': key, on }, el('th', { scope: 'row' }, button), cells) };
  }
}

function columnHead(column) {
  return el('th', { scope: 'col', class: `number legend-${column}` }, column);
}

/** The shape of a line, in its colour. */
function shape(slot) {
  const path = new OutlinePath();
  addShape(path, slot, 7, 7, 4);
  return svg(
    'svg',
    { class: `legend-shape series-${(slot % COLOURS) + 1}`, viewBox: '0 0 14 14', width: 14, height: 14, 'aria-hidden': 'true' },
    svg('path', { d: path.text }),
  );
}

/** Takes what a canvas takes, and writes it as the path of an SVG. */
class OutlinePath {
  text = '';

  moveTo(x, y) {
    this.text += `M${x} ${y}`;
  }

  lineTo(x, y) {
    this.text += `L${x} ${y}`;
  }

  closePath() {
    this.text += 'Z';
  }

  arc(x, y, radius) {
    this.text += `A${radius} ${radius} 0 1 1 ${x - radius} ${y}A${radius} ${radius} 0 1 1 ${x + radius} ${y}Z`;
  }
}
