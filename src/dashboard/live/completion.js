// The list under the field of the filter bar: keys while a key is typed, values behind its "=". A combobox as ARIA describes it: focus
// stays in the field, the arrows go through the list.

import { el } from '../dom.js';
import { visible } from '../format.js';
import { LEVELS, canonical } from './query.js';

const MAX_OFFERED = 12;

const KEYS = [
  ['level', 'at least so severe'],
  ['type', 'kind of event'],
  ['text', 'message'],
  ['filter', 'stands anywhere in the event'],
  ['where', 'an expression of CEL'],
  ['follow', 'what comes along with a match'],
  ['since', 'from when on'],
  ['replay', 'how many earlier ones'],
  ['max-rate', 'how many a second'],
  ['trace-id', ''],
  ['span-id', ''],
];

const VALUES = {
  level: LEVELS,
  follow: ['span', 'trace', 'none'],
  since: ['5m', '15m', '1h', '24h'],
  replay: ['100', '1000', '5000'],
  'max-rate': ['20', '50', '200'],
};

export class Completion {
  #field;
  #seen;
  #choose;
  #active = -1;
  #offers = [];

  /** `choose(text, isWhole)`: the field's new text, and whether it is a whole parameter. */
  constructor({ field, seen, choose }) {
    this.#field = field;
    this.#seen = seen;
    this.#choose = choose;
    this.element = el('ul', { class: 'completion panel', role: 'listbox', id: 'live-completion', 'aria-label': 'Keys and values', hidden: true });
    field.setAttribute('role', 'combobox');
    field.setAttribute('aria-autocomplete', 'list');
    field.setAttribute('aria-controls', 'live-completion');
    field.setAttribute('aria-expanded', 'false');
    field.addEventListener('input', () => this.offer());
    field.addEventListener('blur', () => this.close());
    // The field keeps the focus.
    this.element.addEventListener('pointerdown', (event) => event.preventDefault());
    this.element.addEventListener('click', (event) => this.#take(event.target.closest('[role=option]')));
  }

  get isOpen() {
    return !this.element.hidden;
  }

  offer() {
    const text = this.#field.value.trimStart();
    this.#offers = text.includes('=') ? this.#valueOffers(text) : this.#keyOffers(text);
    this.#active = -1;
    this.element.replaceChildren(...this.#offers.map(option));
    this.#show(this.#offers.length > 0);
  }

  /** Nothing of it stays in the page, as another person may sit down at it. */
  close() {
    this.#active = -1;
    this.#offers = [];
    this.element.replaceChildren();
    this.#show(false);
  }

  /** Whether the key was one for the list. */
  pressed(event) {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') return this.#step(event.key === 'ArrowDown' ? 1 : -1);
    if (!this.isOpen) return false;
    if (event.key === 'Enter' && this.#active >= 0) return this.#take(this.element.children[this.#active]);
    if (event.key === 'Escape') {
      this.close();
      return true;
    }
    return false;
  }

  #keyOffers(text) {
    const wanted = canonical(text);
    const named = KEYS.map(([key, hint]) => ({ text: `${key}=`, hint }));
    const seen = this.#seen.keys.filter((key) => !KEYS.some(([known]) => known === key)).map((key) => ({ text: `${key}=`, hint: '' }));
    const all = wanted ? [...seen, ...named] : [...named.slice(0, 6), ...seen];
    const fitting = all.filter(({ text: key }) => canonical(key.slice(0, -1)).includes(wanted));
    fitting.sort((a, b) => b.text.startsWith(wanted) - a.text.startsWith(wanted));
    return fitting.slice(0, MAX_OFFERED);
  }

  #valueOffers(text) {
    const [key] = text.split('=', 1);
    const wanted = text.slice(key.length + 1).toLowerCase();
    const name = canonical(key);
    const values = VALUES[name] ?? this.#seen.values(key.startsWith('data.') ? key : name);
    const fitting = values.filter((value) => value.toLowerCase().includes(wanted));
    return fitting.slice(0, MAX_OFFERED).map((value) => ({ text: `${key}=${value}`, label: value, hint: '', isWhole: true }));
  }

  #step(by) {
    if (!this.isOpen) {
      this.offer();
      if (!this.isOpen) return true;
    }
    const size = this.#offers.length;
    // Before the first and after the last is the field itself.
    this.#active = ((this.#active + 1 + by + size + 1) % (size + 1)) - 1;
    this.#mark();
    return true;
  }

  #mark() {
    [...this.element.children].forEach((item, index) => item.setAttribute('aria-selected', String(index === this.#active)));
    const active = this.element.children[this.#active];
    active?.scrollIntoView({ block: 'nearest' });
    if (active) this.#field.setAttribute('aria-activedescendant', active.id);
    else this.#field.removeAttribute('aria-activedescendant');
  }

  #take(item) {
    if (!item) return false;
    const offer = this.#offers[[...this.element.children].indexOf(item)];
    this.close();
    this.#choose(offer.text, Boolean(offer.isWhole));
    return true;
  }

  #show(isOpen) {
    this.element.hidden = !isOpen;
    this.#field.setAttribute('aria-expanded', String(isOpen));
    if (!isOpen) this.#field.removeAttribute('aria-activedescendant');
  }
}

function option({ text, label = text, hint }, index) {
  return el('li', { role: 'option', id: `live-offer-${index}`, 'aria-selected': 'false', 'data-value': text },
    el('span', { class: 'offer' }, visible(label)), hint ? el('small', {}, hint) : null);
}
