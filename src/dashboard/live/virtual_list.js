// A list of any length in as many elements as fit on the screen. It follows what comes until the person scrolls up, and stands still
// then, also when rows are dropped off its top. It draws at most once a frame.

import { el } from '../dom.js';
import { count } from '../format.js';
import { fillRow, makeRow } from './row.js';

/** Rows beyond the edges, so that a quick scroll does not show their lack. */
const SPARE = 6;

export class VirtualList {
  #rows;
  /** The elements that are in the list, by the numbers of their rows, and those that can be filled again. */
  #shown = new Map();
  #free = [];
  #space = el('div', { class: 'rows-space', role: 'presentation' });
  #top = el('div', { class: 'rows-top', role: 'presentation' });
  #frame = 0;
  #height = 24;
  #viewport = 0;
  /** Where the scroll was, which row was the oldest, and how high the line above it, when it was last drawn. */
  #scrolled = 0;
  #first = 0;
  #lastHead = 0;
  #timeWidth = 8;
  #changed;
  selected = null;
  following = true;

  /** `changed` is told of each change of what is followed or selected, `open` when a row is to be shown whole. */
  constructor(rows, { changed, open }) {
    this.#rows = rows;
    this.#changed = changed;
    this.element = el('div', { class: 'rows', role: 'listbox', tabindex: '0', 'aria-label': 'Events' }, this.#space);
    this.#space.append(this.#top);
    this.element.addEventListener('scroll', () => this.#scroll(), { passive: true });
    this.element.addEventListener('wheel', (event) => event.deltaY < 0 && this.#leaveEnd(), { passive: true });
    this.element.addEventListener('touchmove', () => this.#leaveEnd(), { passive: true });
    this.#listenToClicks(open);
    new ResizeObserver(() => this.#measure()).observe(this.element);
  }

  /** Draws soon. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  /** Draws all rows again, as what they show has another meaning now. */
  redraw() {
    for (const element of this.#shown.values()) element.row = null;
    this.draw();
  }

  /** Leaves no row in the page, even while it is out of sight. */
  forget() {
    this.select(null);
    this.#release(Infinity, Infinity);
  }

  follow() {
    this.#setFollowing(true);
    this.draw();
  }

  select(number) {
    this.selected = number;
    this.draw();
    this.#changed();
  }

  /** Goes to another row: by so many, or to one end. */
  move(step) {
    const { first, end, size } = this.#rows;
    if (size === 0) return;
    const from = this.selected ?? (step < 0 ? end : this.#topmost() - 1);
    this.select(Math.min(end - 1, Math.max(first, from + step)));
    this.#reveal(this.selected);
  }

  /** How many rows a page has. */
  get page() {
    return Math.max(1, Math.floor(this.#viewport / this.#height) - 1);
  }

  #topmost() {
    return this.#rows.first + Math.max(0, Math.ceil((this.element.scrollTop - this.#head) / this.#height));
  }

  /** The line that says what is no longer here. */
  get #head() {
    return this.#rows.dropped > 0 ? this.#height : 0;
  }

  get #total() {
    return this.#head + this.#rows.size * this.#height;
  }

  #measure() {
    this.#viewport = this.element.clientHeight;
    if (this.#viewport === 0) return;
    const height = parseFloat(getComputedStyle(this.element).getPropertyValue('--row-height')) || 24;
    if (height !== this.#height) {
      this.#scrolled *= height / this.#height;
      this.#height = height;
      this.#space.style.height = `${this.#total}px`;
    }
    // What was out of sight has forgotten where it was.
    this.element.scrollTop = this.#scrolled;
    this.redraw();
  }

  #scroll() {
    // It was not scrolled, but put out of sight.
    if (this.element.clientHeight === 0) return;
    const top = this.element.scrollTop;
    const isDown = top > this.#scrolled;
    const isAtEnd = top + this.#viewport >= this.#space.offsetHeight - 2;
    if (isDown && isAtEnd) this.#setFollowing(true);
    else if (!isAtEnd && top < this.#scrolled) this.#setFollowing(false);
    this.#scrolled = top;
    this.draw();
  }

  /** A scroll upwards begins before anything has moved: what comes meanwhile must not pull back. */
  #leaveEnd() {
    if (this.#space.offsetHeight > this.#viewport) this.#setFollowing(false);
  }

  #setFollowing(following) {
    if (this.following === following) return;
    this.following = following;
    this.#changed();
  }

  #reveal(number) {
    const top = this.#head + (number - this.#rows.first) * this.#height;
    this.#setFollowing(number === this.#rows.end - 1);
    if (top < this.#scrolled) this.#scrollTo(number === this.#rows.first ? 0 : top);
    else if (top + this.#height > this.#scrolled + this.#viewport) this.#scrollTo(top + this.#height - this.#viewport);
    this.draw();
  }

  #scrollTo(top) {
    this.#space.style.height = `${this.#total}px`;
    this.element.scrollTop = top;
    this.#scrolled = this.element.scrollTop;
  }

  #paint() {
    // Out of sight it has no place to keep, and loses the one it had.
    if (this.element.clientHeight === 0) return;
    const rows = this.#rows;
    if (this.selected !== null && this.selected < rows.first) this.selected = null;
    this.#keepPlace();
    const from = Math.max(rows.first, rows.first + Math.floor((this.#scrolled - this.#head) / this.#height) - SPARE);
    const to = Math.min(rows.end, rows.first + Math.ceil((this.#scrolled - this.#head + this.#viewport) / this.#height) + SPARE);
    this.#release(from, to);
    let next = this.#top.nextSibling;
    for (let number = from; number < to; number += 1) {
      const element = this.#place(number);
      // In their order, as what reads the page aloud goes by that.
      if (element === next) next = next.nextSibling;
      else this.#space.insertBefore(element, next);
    }
    const active = this.selected !== null && this.selected >= from && this.selected < to;
    if (active) this.element.setAttribute('aria-activedescendant', `live-row-${this.selected}`);
    else this.element.removeAttribute('aria-activedescendant');
  }

  /** Scrolls along, or by as much as was dropped. */
  #keepPlace() {
    const rows = this.#rows;
    this.#space.style.height = `${this.#total}px`;
    this.#top.hidden = rows.dropped === 0;
    if (rows.dropped > 0) this.#top.textContent = `${count(rows.dropped)} older ${rows.dropped === 1 ? 'event is' : 'events are'} no longer kept in this page`;
    let top = this.#scrolled;
    if (this.following) top = Math.max(0, this.#total - this.#viewport);
    else if (rows.first !== this.#first) top = Math.max(0, top + this.#head - this.#lastHead - (rows.first - this.#first) * this.#height);
    this.#first = rows.first;
    this.#lastHead = this.#head;
    if (top === this.#scrolled && top === this.element.scrollTop) return;
    this.element.scrollTop = top;
    this.#scrolled = this.element.scrollTop;
  }

  /** Takes out what is out of sight. */
  #release(from, to) {
    for (const [number, element] of this.#shown) {
      if (number >= from && number < to) continue;
      this.#shown.delete(number);
      this.#free.push(element);
      Object.assign(element, { row: null, text: null });
      element.remove();
    }
  }

  #place(number) {
    const element = this.#shown.get(number) ?? this.#free.pop() ?? makeRow();
    const row = this.#rows.at(number);
    this.#shown.set(number, element);
    if (element.row !== row || element.text !== row.text) this.#fill(element, number, row);
    element.style.transform = `translateY(${this.#head + (number - this.#rows.first) * this.#height}px)`;
    const selected = String(number === this.selected);
    if (element.getAttribute('aria-selected') !== selected) element.setAttribute('aria-selected', selected);
    return element;
  }

  #fill(element, number, row) {
    Object.assign(element, { number, row, text: row.text, id: `live-row-${number}` });
    element.dataset.seq = number;
    element.setAttribute('aria-posinset', number + 1);
    element.setAttribute('aria-setsize', '-1');
    const width = fillRow(element, row);
    if (width <= this.#timeWidth) return;
    this.#timeWidth = width;
    this.element.style.setProperty('--time-width', `${width}ch`);
  }

  /**
   * The row under the finger may have moved on when it is lifted: what counts is where it went down. What clicks without a finger (an
   * assistive technology) means the row that it clicks.
   */
  #listenToClicks(open) {
    const rowOf = ({ target }) => target.closest('.row')?.number ?? null;
    let pressed = null;
    this.element.addEventListener('pointerdown', (event) => {
      pressed = { pointer: event.pointerId, number: rowOf(event) };
    });
    this.element.addEventListener('click', (event) => {
      const isPress = pressed?.pointer === event.pointerId;
      const number = isPress ? pressed.number : rowOf(event);
      const hasSelected = isPress && !getSelection().isCollapsed;
      pressed = null;
      if (number === null || hasSelected || !this.#rows.at(number)) return;
      this.select(number);
      open(number);
    });
  }
}
