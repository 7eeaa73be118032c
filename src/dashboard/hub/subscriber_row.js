// One subscriber in the table of them: who it is, what it asks for, how far behind it is.

import { el } from '../dom.js';
import { age, duration, quantity, visible } from '../format.js';
import { digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';

/** Behind by so many seconds, it is late. */
const LATE = 1;

export class SubscriberRow {
  #cells = Object.fromEntries(['since', 'sent', 'missed', 'queued', 'lag'].map((name) => [name, numberCell(name)]));
  #state = el('span', { class: 'badge subscriber-state' });

  constructor(subscriber, onend) {
    const { id, signal, address, name } = subscriber;
    const who = nameOf(subscriber);
    const kind = visible(`#${id} ${signal}${name ? ` · ${address}` : ''}`);
    const filter = filterOf(subscriber);
    const button = { class: 'button-quiet', type: 'button', 'aria-label': `End subscriber ${id}, ${who}`, on: { click: onend } };
    this.element = el(
      'tr',
      { 'data-subscriber': String(id), 'data-signal': signal },
      el(
        'th',
        { scope: 'row' },
        el('span', { class: 'subscriber-name' }, who),
        el('span', { class: 'subscriber-kind' }, kind, this.#state),
      ),
      el('td', { class: 'subscriber-filter' }, el('code', { title: filter }, filter)),
      Object.values(this.#cells),
      el('td', { class: 'subscriber-end' }, el('button', button, 'End')),
    );
  }

  show({ state, since, sent, missed, queued, queuedBytes, lag }) {
    const cells = this.#cells;
    write(cells.since, age(since));
    write(cells.sent, digits(sent));
    write(cells.missed, digits(missed));
    write(cells.queued, digits(queued));
    write(cells.lag, duration(Number(lag) * 1000));
    cells.since.title = visible(since);
    cells.queued.title = queuedBytes === null ? '' : quantity(queuedBytes, 'By');
    cells.missed.classList.toggle('is-bad', Number(missed) > 0);
    cells.lag.classList.toggle('is-late', Number(lag) >= LATE);
    this.#state.hidden = state === 'live';
    write(this.#state, visible(state));
  }
}

function numberCell(name) {
  return el('td', { class: `number subscriber-${name}` });
}

/** Who it is, as far as the hub knows. */
export function nameOf({ name, address }) {
  return visible(name ?? address);
}

/** What it asks for. */
export function filterOf({ filter }) {
  return visible(filter) || 'everything';
}
