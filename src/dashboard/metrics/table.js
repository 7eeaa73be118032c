// The table of all series. Only the rows that can be seen are in the page, however many there are.

import { el } from '../dom.js';
import { count } from '../format.js';
import { write } from './redraw.js';
import { MOVING, arrange } from './rows.js';
import { TableRow } from './table_row.js';

const BEYOND = 4;
/** A table that is sorted by what moves is sorted anew so often, in milliseconds: more often, nobody could read it. */
const SORT_PAUSE = 1000;
const COLUMNS = [
  { name: 'name', label: 'Name and attributes', isNumber: false },
  { name: 'type', label: 'Type', isNumber: false },
  { name: 'unit', label: 'Unit', isNumber: false },
  { name: 'value', label: 'Value', isNumber: true },
  { name: 'rate', label: 'Rate', isNumber: true },
];

export class SeriesTable {
  #store;
  #onpick;
  #isCharted;
  #redraw;
  #order = { text: '', column: 'name', isDescending: false, isGrouped: true, closed: new Set() };
  #rows = [];
  #current = 0;
  #arranged = { version: -1, at: 0 };
  #lines = [];
  #above = el('td');
  #below = el('td');
  #body = el('tbody');
  #table = el('table', { class: 'table series-table' });
  #scroller = el('div', { class: 'series-scroller panel' }, this.#table);
  #filter;
  #count = el('p', { class: 'series-count', role: 'status' });
  #heads;

  /** `onpick(series)` is called with the series of a row that is clicked; `isCharted(series)` tells whether a chart has it. */
  constructor({ store, redraw, onpick, isCharted, tools }) {
    this.#store = store;
    this.#onpick = onpick;
    this.#isCharted = isCharted;
    this.#redraw = redraw;
    this.#filter = el('input', {
      class: 'field series-filter',
      type: 'search',
      'aria-label': 'Filter the table',
      placeholder: 'Filter: words of the name, attributes, type or unit',
      autocomplete: 'off',
      spellcheck: 'false',
      on: { input: () => this.#reorder({ text: this.#filter.value }) },
    });
    const groups = el('input', { type: 'checkbox', checked: true, on: { change: () => this.#reorder({ isGrouped: groups.checked }) } });
    this.#heads = COLUMNS.map((column) => this.#head(column));
    this.#fillTable();
    this.element = el(
      'section',
      { class: 'series', 'aria-labelledby': 'series-title' },
      el(
        'header',
        { class: 'series-header' },
        el('h2', { id: 'series-title' }, 'All series'),
        this.#count,
        this.#filter,
        el('label', { class: 'series-groups' }, groups, 'Grouped'),
        tools,
      ),
      this.#scroller,
    );
  }

  focusFilter() {
    this.element.scrollIntoView({ block: 'start' });
    this.#filter.focus({ preventScroll: true });
    this.#filter.select();
  }

  draw() {
    const isMoved = MOVING.has(this.#order.column) && performance.now() - this.#arranged.at > SORT_PAUSE;
    if (this.#arranged.version !== this.#store.version || isMoved) this.#arrange();
    this.#showRows();
  }

  #fillTable() {
    const spacer = (cell) => el('tr', { class: 'row-spacer', 'aria-hidden': 'true' }, cell);
    this.#body.append(spacer(this.#above), spacer(this.#below));
    const sparkline = el('th', { scope: 'col', class: 'row-sparkline' }, 'Trend');
    this.#table.append(
      el('caption', { class: 'visually-hidden' }, 'All series. Arrow keys go from row to row, Enter charts a series.'),
      el(
        'thead',
        {},
        el(
          'tr',
          { 'aria-rowindex': '1' },
          this.#heads.map(({ cell }) => cell),
          sparkline,
        ),
      ),
      this.#body,
    );
    this.#scroller.addEventListener('scroll', () => this.#redraw.request(), { passive: true });
    this.#body.addEventListener('click', (event) => this.#click(event));
    this.#body.addEventListener('keydown', (event) => this.#press(event));
    new ResizeObserver(() => this.#redraw.request()).observe(this.#scroller);
  }

  #head({ name, label, isNumber }) {
    const button = el('button', { type: 'button', class: 'sort', on: { click: () => this.#sortBy(name, isNumber) } }, label);
    const cell = el('th', { scope: 'col', class: `row-${name === 'name' ? 'head' : name}${isNumber ? ' number' : ''}` }, button);
    if (name === this.#order.column) cell.setAttribute('aria-sort', 'ascending');
    return { name, cell };
  }

  /** The largest first, the names from A: what a click is for. A second click turns it round. */
  #sortBy(column, isNumber) {
    const isDescending = this.#order.column === column ? !this.#order.isDescending : isNumber;
    for (const { name, cell } of this.#heads) {
      if (name === column) cell.setAttribute('aria-sort', isDescending ? 'descending' : 'ascending');
      else cell.removeAttribute('aria-sort');
    }
    this.#reorder({ column, isDescending });
  }

  #reorder(change) {
    Object.assign(this.#order, change);
    this.#current = 0;
    this.#scroller.scrollTop = 0;
    this.#arranged.version = -1;
    // At once: who types on should see what was found.
    this.draw();
  }

  #arrange() {
    this.#rows = arrange(this.#store.current(), this.#order);
    this.#arranged = { version: this.#store.version, at: performance.now() };
    this.#current = Math.min(this.#current, Math.max(0, this.#rows.length - 1));
    this.#table.setAttribute('aria-rowcount', String(this.#rows.length + 1));
    this.#tellCount();
  }

  #tellCount() {
    const all = this.#store.size;
    const found = this.#rows.reduce((sum, row) => sum + (row.series ? 1 : row.isOpen ? 0 : row.size), 0);
    const left = this.#store.leftOut > 0 ? `, ${count(this.#store.leftOut)} more not kept` : '';
    write(this.#count, (found === all ? count(all) : `${count(found)} of ${count(all)}`) + left);
  }

  #rowHeight() {
    return Number.parseFloat(getComputedStyle(this.#table).getPropertyValue('--row-height'));
  }

  #showRows() {
    const height = this.#rowHeight();
    const first = Math.max(0, Math.floor(this.#scroller.scrollTop / height) - BEYOND);
    const last = Math.min(this.#rows.length, first + Math.ceil(this.#scroller.clientHeight / height) + 2 * BEYOND);
    this.#fit(last - first);
    const sparkline = this.#lines[0]?.sparklineSize;
    this.#lines.forEach((line, index) => this.#showRow(line, first + index, sparkline));
    this.#above.style.height = `${first * height}px`;
    this.#below.style.height = `${(this.#rows.length - last) * height}px`;
  }

  #showRow(line, index, sparkline) {
    const row = this.#rows[index];
    line.show(row, {
      index,
      isCurrent: index === this.#current,
      isCharted: row.series !== undefined && this.#isCharted(row.series),
      timeline: this.#store.timeline,
      sparkline,
    });
  }

  #fit(size) {
    while (this.#lines.length > size) this.#lines.pop().element.remove();
    while (this.#lines.length < size) {
      const line = new TableRow();
      this.#body.lastElementChild.before(line.element);
      this.#lines.push(line);
    }
  }

  #click(event) {
    const line = this.#lines.find(({ element }) => element.contains(event.target));
    if (line === undefined) return;
    this.#current = this.#rows.indexOf(line.row);
    if (line.row.series) this.#onpick(line.row.series);
    else this.#turn(line.row.group);
    this.#redraw.request();
  }

  #turn(group) {
    if (!this.#order.closed.delete(group)) this.#order.closed.add(group);
    this.#arranged.version = -1;
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.#scroller.clientHeight / this.#rowHeight()) - 2);
    const target = {
      ArrowDown: this.#current + 1,
      ArrowUp: this.#current - 1,
      PageDown: this.#current + page,
      PageUp: this.#current - page,
      Home: 0,
      End: this.#rows.length - 1,
    }[event.key];
    if (target === undefined || this.#rows.length === 0) return;
    event.preventDefault();
    this.#current = Math.min(this.#rows.length - 1, Math.max(0, target));
    this.#reveal();
    this.#showRows();
    const { button } = this.#lines.find(({ row }) => row === this.#rows[this.#current]);
    button.focus({ preventScroll: true });
    button.scrollIntoView({ block: 'nearest' });
  }

  /** Scrolls so far that the row of the keys is seen, below the head that stays. */
  #reveal() {
    const height = this.#rowHeight();
    const head = this.#table.tHead.offsetHeight;
    const [top, bottom] = [this.#current * height, (this.#current + 1) * height];
    if (top < this.#scroller.scrollTop) this.#scroller.scrollTop = top;
    const room = this.#scroller.clientHeight - head;
    if (bottom > this.#scroller.scrollTop + room) this.#scroller.scrollTop = bottom - room;
  }
}
