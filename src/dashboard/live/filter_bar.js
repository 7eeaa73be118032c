// The filter: its parameters as chips, a field to add one, a level. What the hub refuses is marked where it stands.

import { el } from '../dom.js';
import { visible } from '../format.js';
import { Completion } from './completion.js';
import { LEVELS, spelt, typed, withParameter } from './query.js';

/** A chip shows no more of a long value; the field has all of it. */
const MAX_SHOWN = 60;

export class FilterBar {
  #query = [];
  #change;
  /** The chip that is being edited, if one is, and what the field made of it. */
  #editing = null;
  #unchanged = '';
  #seen;
  /** What was set last is most likely what is wrong. */
  #latest = null;
  #problem = null;
  #completion;

  /** `change` is called with each new query. */
  constructor({ seen, change }) {
    this.#change = change;
    this.#seen = seen;
    this.level = el('select', { class: 'field level-select', 'aria-label': 'Least level' },
      el('option', { value: '' }, 'Any level'), LEVELS.map((level) => el('option', { value: level }, levelLabel(level))));
    this.chips = el('ul', { class: 'chips', role: 'list' });
    this.field = el('input', { class: 'filter-input', type: 'text', 'aria-label': 'Add a filter', placeholder: PLACEHOLDER, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', enterkeyhint: 'done' });
    this.#completion = new Completion({ field: this.field, seen, choose: (text, isWhole) => this.#chosen(text, isWhole) });
    this.fault = el('p', { class: 'filter-fault', role: 'alert', id: 'live-fault' });
    this.box = el('div', { class: 'filter-box' }, this.chips, this.field, this.#completion.element);
    this.element = el('form', { class: 'filter-bar', role: 'search', 'aria-label': 'Filter', novalidate: true }, this.level, this.box, this.fault);
    this.#listen();
  }

  #listen() {
    this.element.addEventListener('submit', (event) => event.preventDefault());
    this.level.addEventListener('change', () => this.#setLevel(this.level.value));
    this.field.addEventListener('keydown', (event) => this.#pressed(event));
    this.field.addEventListener('blur', () => this.#editing !== null && this.#commit());
    this.box.addEventListener('click', (event) => event.target === this.box && this.field.focus());
    this.chips.addEventListener('keydown', (event) => this.#pressedOnChip(event));
  }

  /** Shows what the query is now. */
  show(query) {
    this.#query = query;
    this.#editing = null;
    this.#problem = null;
    this.#draw();
  }

  /** The hub's answer to the query; null once it has taken it. */
  blame(problem) {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#draw();
  }

  focus() {
    this.field.focus();
    this.field.select();
  }

  get #levelIndex() {
    return this.#query.findIndex(({ name, value }) => name === 'level' && LEVELS.includes(value.toLowerCase()));
  }

  #draw() {
    const blamed = this.#blamed();
    const levelIndex = this.#levelIndex;
    this.level.value = levelIndex < 0 ? '' : this.#query[levelIndex].value.toLowerCase();
    const items = this.#query.map((parameter, index) => (index === levelIndex ? null : this.#chip(parameter, index, blamed.has(index))));
    this.chips.replaceChildren(...items.filter(Boolean));
    const detail = this.#problem ? faultText(this.#problem) : '';
    if (this.fault.textContent !== detail) this.fault.textContent = detail;
    this.fault.hidden = detail === '';
    this.#setInvalid(this.level, blamed.has(levelIndex));
    this.#setInvalid(this.field, detail !== '' && blamed.size === 0);
  }

  #setInvalid(control, isInvalid) {
    if (isInvalid) {
      control.setAttribute('aria-invalid', 'true');
      control.setAttribute('aria-describedby', 'live-fault');
    } else {
      control.removeAttribute('aria-invalid');
      control.removeAttribute('aria-describedby');
    }
  }

  /** The parameters that the hub's answer is about. Of several with one name it is the latest, if that is among them. */
  #blamed() {
    const named = this.#query.map(({ name }, index) => (name === this.#problem?.parameter ? index : -1)).filter((index) => index >= 0);
    const latest = named.filter((index) => spelt(this.#query[index]) === this.#latest);
    return new Set(latest.length > 0 ? latest : named);
  }

  #chip(parameter, index, isFault) {
    const text = visible(spelt(parameter));
    const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
    const describedBy = isFault ? 'live-fault' : null;
    const edit = el('button', { type: 'button', class: 'chip-edit', title: text.length > MAX_SHOWN ? text : 'Edit', 'aria-describedby': describedBy, on: { click: () => this.#edit(index) } }, el('bdi', {}, shown));
    const remove = el('button', { type: 'button', class: 'chip-remove', 'aria-label': `Remove ${shown}`, title: 'Remove', on: { click: () => this.#remove(index) } }, '×');
    return el('li', { class: 'chip', hidden: index === this.#editing, 'data-parameter': parameter.name, 'data-value': parameter.value, 'data-index': index, 'data-fault': isFault }, edit, remove);
  }

  #edit(index) {
    this.#editing = index;
    this.#draw();
    this.field.value = spelt(this.#query[index]);
    this.#unchanged = this.field.value;
    this.field.focus();
    this.field.select();
  }

  #remove(index) {
    const next = this.#query.filter((_, at) => at !== index);
    this.#apply(next);
    const chips = this.chips.querySelectorAll('.chip-remove');
    (chips[Math.min(index, chips.length - 1)] ?? this.field).focus();
  }

  #setLevel(level) {
    const others = this.#query.filter(({ name }) => name !== 'level');
    this.#latest = `level=${level}`;
    this.#apply(level ? [{ name: 'level', value: level }, ...others] : others);
  }

  #pressed(event) {
    if (event.isComposing) return;
    if (this.#completion.pressed(event)) return event.preventDefault();
    if (event.key === 'Enter') this.#commit();
    else if (event.key === 'Escape') this.#cancel();
    else if (event.key === 'Backspace' && this.field.value === '') this.#lastChip()?.focus();
    else if (event.key === 'ArrowLeft' && this.field.selectionEnd === 0) this.#lastChip()?.focus();
    else return;
    event.preventDefault();
  }

  #lastChip() {
    return [...this.chips.querySelectorAll('.chip:not([hidden]) .chip-edit')].at(-1);
  }

  #pressedOnChip(event) {
    const chip = event.target.closest('.chip');
    if (event.key === 'Delete' || event.key === 'Backspace') this.#remove(Number(chip.dataset.index));
    else if (event.key === 'ArrowLeft') chip.previousElementSibling?.querySelector('.chip-edit').focus();
    else if (event.key === 'ArrowRight') (chip.nextElementSibling?.querySelector('.chip-edit') ?? this.field).focus();
    else return;
    event.preventDefault();
  }

  #chosen(text, isWhole) {
    this.field.value = text;
    if (isWhole) return this.#commit();
    this.field.focus();
    this.#completion.offer();
  }

  #commit() {
    const text = this.field.value;
    const before = this.#editing === null ? null : this.#query[this.#editing];
    const index = this.#editing ?? this.#query.length;
    this.field.value = '';
    this.#completion.close();
    this.#editing = null;
    // The field holds no line ends: what nobody changed is what it was.
    if (before && text === this.#unchanged) return this.#draw();
    if (text.trim() === '') return this.#apply(this.#query.filter((_, at) => at !== index));
    const parameter = typed(text, before ? [before.name, ...this.#seen.keys] : this.#seen.keys);
    if (parameter.name === 'level') parameter.value = parameter.value.toLowerCase();
    this.#latest = spelt(parameter);
    this.#apply(withParameter(this.#query, parameter, index));
  }

  #cancel() {
    const wasEditing = this.#editing;
    this.field.value = '';
    this.#editing = null;
    this.#draw();
    if (wasEditing === null) this.field.blur();
  }

  #apply(query) {
    const isSame = JSON.stringify(query) === JSON.stringify(this.#query);
    this.#query = query;
    if (!isSame) this.#problem = null;
    this.#draw();
    if (!isSame) this.#change(query);
  }
}

const PLACEHOLDER = 'Filter: text, or key=value';

function levelLabel(level) {
  return level === 'fatal' ? 'FATAL' : `≥ ${level.toUpperCase()}`;
}

function faultText({ parameter, detail, title }) {
  const what = visible(detail ?? title ?? 'the hub refuses it');
  return parameter && !what.includes(parameter) ? `${visible(parameter)}: ${what}` : what;
}
