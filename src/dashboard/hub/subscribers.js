// Who watches, how far behind they are, and a way to end a stream.

import { el } from '../dom.js';
import { age, count, duration, quantity, visible } from '../format.js';
import { digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';
import { ask, excuse, isDenied } from './ask.js';
import { EndDialog } from './end_dialog.js';
import { KeyedRows } from './keyed_rows.js';

const PAGE = 100;
const PATH = 'api/telemetry/subscribers';
const HEADS = [
  ['Subscriber', ''],
  ['Filter', ''],
  ['Since', 'number'],
  ['Sent', 'number'],
  ['Missed', 'number'],
  ['Queued', 'number'],
  ['Lag', 'number'],
  ['', ''],
];

export class Subscribers {
  #shell;
  #dialog = new EndDialog();
  #body = el('tbody');
  #rows = new KeyedRows(this.#body, (subscriber) => new SubscriberRow(subscriber, () => this.#end(subscriber)));
  #note = el('p', { class: 'hub-empty subscribers-note' }, 'Asking who watches.');
  #count = el('p', { class: 'hub-count' });
  #table;
  /** The `after` of the pages before this one, and of this one. */
  #pages = [null];
  #next = null;
  #earlier = el('button', { class: 'button-quiet', type: 'button', on: { click: () => this.#turn(-1) } }, 'Earlier');
  #later = el('button', { class: 'button-quiet', type: 'button', on: { click: () => this.#turn(1) } }, 'Later');
  #pager = el('p', { class: 'hub-pager', hidden: true }, this.#earlier, this.#later);

  constructor(shell) {
    this.#shell = shell;
    const heads = HEADS.map(([label, kind]) => (label ? el('th', { scope: 'col', class: kind }, label) : el('td', {})));
    this.#table = el('div', { class: 'hub-table', tabindex: '0', role: 'group', 'aria-label': 'Subscribers', hidden: true }, el('table', { class: 'table subscribers-table' }, el('thead', {}, el('tr', {}, heads)), this.#body));
    this.element = el('section', { class: 'hub-section panel', 'aria-labelledby': 'subscribers-title' }, el('header', { class: 'hub-header' }, el('h2', { id: 'subscribers-title' }, 'Subscribers'), this.#count, this.#pager), this.#note, this.#table);
  }

  async poll() {
    const after = this.#pages.at(-1);
    const answer = await ask(`${PATH}?limit=${PAGE}${after === null ? '' : `&after=${after}`}`);
    // Somebody may have turned the page meanwhile.
    if (after !== this.#pages.at(-1)) return true;
    const reason = excuse(answer, 'who watches');
    if (reason === null) this.#show(answer.body);
    else this.#say(reason);
    return !isDenied(answer);
  }

  #say(text) {
    this.#note.hidden = false;
    write(this.#note, text);
    this.#table.hidden = true;
    this.#pager.hidden = true;
    write(this.#count, '');
  }

  #show({ subscribers, total, next = null }) {
    this.#next = next;
    if (subscribers.length === 0 && this.#pages.length > 1) this.#pages = [null];
    if (Number(total) === 0) return this.#say('Nobody watches.');
    this.#note.hidden = true;
    this.#table.hidden = false;
    write(this.#count, Number(total) > subscribers.length ? `${count(subscribers.length)} of ${count(Number(total))}` : count(Number(total)));
    this.#pager.hidden = this.#pages.length === 1 && next === null;
    this.#earlier.disabled = this.#pages.length === 1;
    this.#later.disabled = next === null;
    this.#rows.show(subscribers.map((subscriber) => [String(subscriber.id), subscriber]));
  }

  #turn(step) {
    if (step < 0) this.#pages.pop();
    else this.#pages.push(this.#next);
    this.poll();
  }

  async #end(subscriber) {
    const who = nameOf(subscriber);
    if (!(await this.#dialog.confirm(`Subscriber ${subscriber.id}, ${who}: ${visible(subscriber.filter) || 'everything'}`))) return;
    const answer = await ask(`${PATH}/${subscriber.id}`, { method: 'DELETE' });
    const outcome = { 204: `The stream of ${who} was ended.`, 404: `${who} had gone already.` }[answer.status];
    this.#shell.announce(outcome ?? excuse(answer, 'who watches'));
    const place = this.#rows.indexOf(String(subscriber.id));
    await this.poll();
    this.#focusRow(place);
  }

  /** Where a row was that is gone now with the focus on it, the keys go on. */
  #focusRow(place) {
    if (document.activeElement !== document.body) return;
    const rows = this.#body.children;
    const button = rows[Math.min(place, rows.length - 1)]?.querySelector('button');
    (button ?? this.#table).focus();
  }
}

class SubscriberRow {
  #cells = Object.fromEntries(['since', 'sent', 'missed', 'queued', 'lag'].map((name) => [name, el('td', { class: `number subscriber-${name}` })]));
  #state = el('span', { class: 'badge subscriber-state' });

  constructor(subscriber, onend) {
    const { id, signal, filter, address, name } = subscriber;
    const who = nameOf(subscriber);
    this.element = el(
      'tr',
      { 'data-subscriber': String(id), 'data-signal': signal },
      el('th', { scope: 'row' }, el('span', { class: 'subscriber-name' }, who), el('span', { class: 'subscriber-kind' }, visible(`#${id} ${signal}${name ? ` · ${address}` : ''}`), this.#state)),
      el('td', { class: 'subscriber-filter' }, el('code', { title: visible(filter) }, visible(filter) || 'everything')),
      Object.values(this.#cells),
      el('td', { class: 'subscriber-end' }, el('button', { class: 'button-quiet', type: 'button', 'aria-label': `End subscriber ${id}, ${who}`, on: { click: onend } }, 'End')),
    );
  }

  show({ state, since, sent, missed, queued, queuedBytes, lag }) {
    const cells = this.#cells;
    const text = { since: age(since), sent: digits(sent), missed: digits(missed), queued: digits(queued), lag: Number(lag) > 0 ? duration(Number(lag) * 1000) : '0 s' };
    for (const [name, cell] of Object.entries(cells)) write(cell, text[name]);
    cells.since.title = visible(since);
    cells.queued.title = queuedBytes === null ? '' : quantity(queuedBytes, 'By');
    cells.missed.classList.toggle('is-bad', Number(missed) > 0);
    cells.lag.classList.toggle('is-late', Number(lag) >= 1);
    this.#state.hidden = state === 'live';
    write(this.#state, visible(state));
  }
}

/** Who it is, as far as the hub knows. */
function nameOf({ name, address }) {
  return visible(name ?? address);
}
