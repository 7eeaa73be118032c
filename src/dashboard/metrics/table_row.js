// One row of the table of all series. There are only as many as can be seen; each shows now this series, now that.

import { el } from '../dom.js';
import { count, visible } from '../format.js';
import { amountPerSecond, attributesText, everything, total, unitName } from './amount.js';
import { write } from './redraw.js';
import { drawSparkline } from './sparkline.js';

const MOST_SHOWN = 400;

export class TableRow {
  #parts = {
    mark: el('span', { class: 'row-mark', 'aria-hidden': 'true' }),
    name: el('span', { class: 'row-name' }),
    attributes: el('span', { class: 'row-attributes' }),
    type: el('td', { class: 'row-type' }),
    unit: el('td', { class: 'row-unit' }),
    value: el('td', { class: 'number row-value' }),
    rate: el('td', { class: 'number row-rate' }),
    canvas: el('canvas', { 'aria-hidden': 'true' }),
  };
  #button = el(
    'button',
    { type: 'button', class: 'row-button', tabindex: '-1' },
    this.#parts.mark,
    this.#parts.name,
    this.#parts.attributes,
  );
  #nameCell = el('th', { scope: 'row', class: 'row-head' }, this.#button);
  #cells;
  #row = null;

  constructor() {
    const { type, unit, value, rate, canvas } = this.#parts;
    this.#cells = [type, unit, value, rate, el('td', { class: 'row-sparkline' }, canvas)];
    this.element = el('tr', {}, this.#nameCell, this.#cells);
  }

  get row() {
    return this.#row;
  }

  get button() {
    return this.#button;
  }

  /** How large its sparkline is. To ask this after something was written costs a layout, so it is asked once for all rows. */
  get sparklineSize() {
    return { width: this.#parts.canvas.clientWidth, height: this.#parts.canvas.clientHeight };
  }

  /** Shows a row: the `index`-th of all, and whether it is the one that the keys are at. */
  show(row, { index, isCurrent, isCharted, timeline, sparkline }) {
    const isSame = this.#row !== null && (row.series ? row.series === this.#row.series : row.group === this.#row.group);
    this.#row = row;
    if (!isSame) this.#rename();
    this.element.setAttribute('aria-rowindex', String(index + 2));
    this.#button.tabIndex = isCurrent ? 0 : -1;
    if (row.series) this.#showSeries(row.series, isCharted, { timeline, sparkline });
    else this.#showGroup(row);
  }

  #rename() {
    const { series, group } = this.#row;
    this.element.className = series ? 'row-series' : 'row-group';
    if (series) {
      this.element.dataset.series = series.key;
      this.#button.removeAttribute('aria-expanded');
      write(this.#parts.name, visible(series.id));
      write(this.#parts.attributes, attributesText(series.attributes).slice(0, MOST_SHOWN));
      this.#button.title = `${visible(series.id)} ${attributesText(series.attributes)}`.trim();
      write(this.#parts.type, visible(series.type));
      write(this.#parts.unit, unitName(series.unit));
    } else {
      delete this.element.dataset.series;
      this.#button.removeAttribute('aria-pressed');
      this.#button.removeAttribute('title');
      write(this.#parts.name, visible(group));
      this.#empty();
    }
  }

  /** A group has no values of its own. */
  #empty() {
    const { type, unit, value, rate, canvas } = this.#parts;
    for (const cell of [type, unit, value, rate]) write(cell, '');
    value.removeAttribute('title');
    canvas.width = 0;
  }

  #showGroup({ size, isOpen }) {
    this.#button.setAttribute('aria-expanded', String(isOpen));
    write(this.#parts.attributes, count(size));
  }

  #showSeries(series, isCharted, { timeline, sparkline }) {
    this.#button.setAttribute('aria-pressed', String(isCharted));
    const { value, rate, canvas } = this.#parts;
    const text = total(series);
    if (value.textContent !== text) {
      value.textContent = text;
      value.title = everything(series);
    }
    write(rate, series.type === 'gauge' ? '' : amountPerSecond(series.rate, series.type === 'counter' ? series.unit : null));
    drawSparkline(canvas, sparkline, series.history(series.columns[0]), timeline);
  }
}
