// How often the hub is to send: the usual intervals to pick from, or one's own. What the hub does not take, it says here.

import { el } from '../dom.js';

const USUAL = ['500ms', '1s', '2s', '5s', '10s', '30s', '1m'];
const OWN = 'own';

export class IntervalControl {
  #select;
  #own;
  #fault = el('p', { class: 'interval-fault', id: 'interval-fault', role: 'alert' });
  #onchange;

  constructor(onchange) {
    this.#onchange = onchange;
    const options = USUAL.map((interval) => el('option', { value: interval }, interval.replace(/(\d+)/, '$1 ')));
    this.#select = el(
      'select',
      { class: 'field', id: 'interval', on: { change: () => this.#picked() } },
      options,
      el('option', { value: OWN }, 'other…'),
    );
    this.#own = el('input', {
      class: 'field interval-own',
      type: 'text',
      'aria-label': 'Interval of your own: seconds, or with a unit',
      'aria-describedby': 'interval-fault',
      placeholder: '0.1s to 1h',
      autocomplete: 'off',
      spellcheck: 'false',
      hidden: true,
      on: {
        change: () => this.#typed(),
        keydown: (event) => event.key === 'Enter' && this.#typed(),
      },
    });
    this.element = el('div', { class: 'control' }, el('label', { for: 'interval' }, 'Interval'), this.#select, this.#own, this.#fault);
  }

  focus() {
    (this.#own.hidden ? this.#select : this.#own).focus();
  }

  show(interval) {
    const isUsual = USUAL.includes(interval);
    this.#select.value = isUsual ? interval : OWN;
    this.#own.hidden = isUsual;
    if (!isUsual && document.activeElement !== this.#own) this.#own.value = interval;
  }

  /** What the hub has against it; null for nothing. */
  fault(text) {
    if (this.#fault.textContent === (text ?? '')) return;
    this.#fault.textContent = text ?? '';
    if (text === null) this.#own.removeAttribute('aria-invalid');
    else this.#own.setAttribute('aria-invalid', 'true');
  }

  #picked() {
    if (this.#select.value !== OWN) return this.#onchange(this.#select.value);
    this.#own.hidden = false;
    this.#own.value = '';
    this.#own.focus();
  }

  #typed() {
    if (this.#own.value.trim() !== '') this.#onchange(this.#own.value.trim());
  }
}
