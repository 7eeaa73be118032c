// The panel beside the list (over it where there is no room beside): an event whole, or a trace. From an event of a trace one gets back.

import { el } from '../dom.js';
import { visible } from '../format.js';
import { eventDetails } from './details.js';
import { waterfall } from './waterfall.js';

export class SidePanel {
  #actions;
  #closed;
  #loading = null;
  /** How to show again what is shown now. */
  #current = null;

  /** `actions`: `only(parameter)` and `hide(expression)`; `closed` is called when it is. */
  constructor({ only, hide, closed }) {
    this.#actions = { only, hide };
    this.#closed = closed;
    this.content = el('div', { class: 'side-content', tabindex: '-1' });
    this.back = el('button', { type: 'button', class: 'button-quiet', hidden: true }, 'Back');
    this.heading = el('h2', {});
    const close = el('button', { type: 'button', class: 'button-quiet side-close', 'aria-label': 'Close', title: 'Close (Esc)', on: { click: () => this.close() } }, '×');
    this.element = el('aside', { class: 'side', hidden: true, 'aria-label': 'Details' }, el('div', { class: 'side-head' }, this.back, this.heading, close), this.content);
    this.element.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || event.defaultPrevented) return;
      event.preventDefault();
      this.close();
    });
  }

  get isOpen() {
    return !this.element.hidden;
  }

  /** An event, by its text. */
  showEvent(text, back = null) {
    this.#show('details', 'Event', back, () => this.showEvent(text, back));
    const trace = (wanted) => this.showTrace(wanted, () => this.showEvent(text, back));
    this.#fill(eventDetails(text, { ...this.#actions, trace }));
  }

  async showTrace(wanted, back = null) {
    const title = wanted.spanId ? `Span ${visible(wanted.spanId)}` : `Trace ${visible(wanted.traceId)}`;
    this.#show('trace', title.slice(0, 100), back, () => this.showTrace(wanted, back));
    this.#fill([el('p', { class: 'side-note', role: 'status' }, 'Asking the hub for what it has of it…')]);
    const { signal } = this.#loading;
    const again = this.#current;
    try {
      const content = await waterfall(wanted, { signal, open: (text) => this.showEvent(text, again) });
      if (!signal.aborted) this.#fill(content);
    } catch (error) {
      if (!signal.aborted) this.#fill([el('p', { class: 'side-note', role: 'alert' }, `That could not be had: ${visible(error.message)}`)]);
    }
  }

  close() {
    if (!this.isOpen) return;
    this.#loading?.abort();
    this.element.hidden = true;
    this.#current = null;
    this.content.replaceChildren();
    this.#closed();
  }

  /** Takes the focus, so that the keyboard goes on here. */
  focus() {
    this.content.focus();
  }

  #show(panel, title, back, again) {
    this.#loading?.abort();
    this.#loading = new AbortController();
    this.#current = again;
    const hadFocus = this.element.contains(document.activeElement);
    this.element.hidden = false;
    this.element.dataset.panel = panel;
    this.element.setAttribute('aria-label', panel === 'trace' ? 'Trace' : 'Event details');
    this.heading.textContent = title;
    this.back.hidden = back === null;
    this.back.onclick = back;
    this.content.scrollTop = 0;
    if (hadFocus) this.content.focus();
  }

  #fill(nodes) {
    this.content.replaceChildren(...nodes.flat(2).filter(Boolean));
  }
}
