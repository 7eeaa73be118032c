// Asks before somebody's stream is ended.

import { el } from '../dom.js';

export class EndDialog {
  #what = el('p', { class: 'end-what' });
  #dialog = el(
    'dialog',
    { class: 'shell-dialog', id: 'end-stream', 'aria-labelledby': 'end-title' },
    el(
      'form',
      { method: 'dialog' },
      el('h2', { id: 'end-title' }, 'End this stream?'),
      this.#what,
      el(
        'p',
        { class: 'end-note' },
        'Its client is told so. It may come back, and then goes on after the last event that it has; to keep it out, take its token away.',
      ),
      el(
        'p',
        { class: 'shell-buttons end-buttons' },
        el('button', { class: 'button end-confirm', value: 'end' }, 'End the stream'),
        el('button', { class: 'button-quiet', value: 'cancel' }, 'Keep it'),
      ),
    ),
  );

  constructor() {
    document.body.append(this.#dialog);
  }

  /** Resolves to whether the person wants it. */
  confirm(what) {
    this.#what.textContent = what;
    this.#dialog.returnValue = '';
    this.#dialog.showModal();
    this.#dialog.querySelector('[value=cancel]').focus();
    return new Promise((resolve) => {
      this.#dialog.addEventListener('close', () => resolve(this.#dialog.returnValue === 'end'), { once: true });
    });
  }
}
