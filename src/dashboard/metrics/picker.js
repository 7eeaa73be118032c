// A field to pick series by name, group or glob, with what there is to pick from. Enter takes what was typed, or what was chosen from
// the list by the arrow keys.

import { el } from '../dom.js';
import { count, visible } from '../format.js';
import { patternOf } from './selection.js';

const MOST_OFFERED = 12;
let pickers = 0;

export class Picker {
  #store;
  #onpick;
  #input;
  #list;
  #offered = [];
  #active = -1;

  constructor({ store, label, placeholder, onpick }) {
    this.#store = store;
    this.#onpick = onpick;
    const id = `picker-${(pickers += 1)}`;
    this.#list = el('ul', { class: 'picker-list panel', role: 'listbox', id, 'aria-label': 'Series and groups', hidden: true });
    this.#input = el('input', {
      class: 'field picker-field',
      type: 'text',
      role: 'combobox',
      'aria-label': label,
      'aria-autocomplete': 'list',
      'aria-expanded': 'false',
      'aria-controls': id,
      placeholder,
      autocomplete: 'off',
      autocapitalize: 'off',
      spellcheck: 'false',
      on: {
        input: () => this.#offer(),
        click: () => this.#offer(),
        blur: () => this.#close(),
        keydown: (event) => this.#press(event),
      },
    });
    this.element = el('div', { class: 'picker' }, this.#input, this.#list);
  }

  focus() {
    this.#input.focus();
  }

  #offer() {
    this.#offered = offers(this.#store, this.#input.value.trim());
    this.#active = -1;
    this.#list.replaceChildren(...this.#offered.map((offer, index) => this.#option(offer, index)));
    this.#show(this.#offered.length > 0);
    this.#mark();
  }

  #option({ pattern, name, size }, index) {
    // The field keeps the focus: a press on an option would take it, and so close the list before the click.
    const on = { pointerdown: (event) => event.preventDefault(), click: () => this.#take(pattern) };
    const note = size === null ? null : el('span', { class: 'picker-size' }, `${count(size)} series`);
    return el('li', { role: 'option', id: `${this.#list.id}-${index}`, on }, el('span', { class: 'picker-name' }, visible(name)), note);
  }

  #press(event) {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      if (this.#list.hidden) return this.#offer();
      event.preventDefault();
      const step = event.key === 'ArrowDown' ? 1 : -1;
      const places = this.#offered.length + 1;
      this.#active = ((this.#active + 1 + step + places) % places) - 1;
      this.#mark();
    } else if (event.key === 'Enter') {
      event.preventDefault();
      this.#take(this.#active < 0 ? this.#input.value.trim() : this.#offered[this.#active].pattern);
    } else if (event.key === 'Escape' && !this.#list.hidden) {
      event.preventDefault();
      this.#close();
    }
  }

  #take(pattern) {
    if (pattern === '') return;
    this.#input.value = '';
    this.#close();
    this.#onpick(pattern);
  }

  #mark() {
    [...this.#list.children].forEach((option, index) => {
      option.setAttribute('aria-selected', String(index === this.#active));
      if (index === this.#active) option.scrollIntoView({ block: 'nearest' });
    });
    if (this.#active < 0) this.#input.removeAttribute('aria-activedescendant');
    else this.#input.setAttribute('aria-activedescendant', `${this.#list.id}-${this.#active}`);
  }

  #show(isShown) {
    this.#list.hidden = !isShown;
    this.#input.setAttribute('aria-expanded', String(isShown));
  }

  #close() {
    this.#active = -1;
    this.#mark();
    this.#show(false);
  }
}

/** Groups and names in which the text stands, those that begin with it first. */
export function offers(store, text) {
  const { groups, names } = countNames(store.current());
  const wanted = text.toLowerCase().replace(/\.?\*$/, '');
  const isWanted = ([name]) => name.toLowerCase().includes(wanted);
  const ofGroup = ([name, size]) => ({ pattern: `${patternOf(name)}.*`, name: `${name}.*`, size });
  const ofName = ([name, size]) => ({ pattern: patternOf(name), name, size: size > 1 ? size : null });
  const found = [
    ...[...groups]
      .filter(([, size]) => size > 1)
      .filter(isWanted)
      .map(ofGroup),
    ...[...names].filter(isWanted).map(ofName),
  ];
  const rank = ({ name }) => (name.toLowerCase().startsWith(wanted) ? 0 : 1);
  const order = (one, other) => rank(one) - rank(other) || (one.name < other.name ? -1 : 1);
  return found.sort(order).slice(0, MOST_OFFERED);
}

/** How many series there are of each name, and in each group. */
function countNames(series) {
  const [groups, names] = [new Map(), new Map()];
  const add = (counts, name) => counts.set(name, (counts.get(name) ?? 0) + 1);
  for (const { id } of series) {
    add(names, id);
    for (let dot = id.indexOf('.'); dot > 0; dot = id.indexOf('.', dot + 1)) add(groups, id.slice(0, dot));
  }
  return { groups, names };
}
