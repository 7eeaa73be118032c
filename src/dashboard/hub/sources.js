// Who sends to the hub, by what, and how much.

import { el } from '../dom.js';
import { age, quantity, rate, visible } from '../format.js';
import { UNKNOWN, digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';
import { ask, excuse, isDenied } from './ask.js';
import { KeyedRows } from './keyed_rows.js';
import { Pace } from './pace.js';

const MOST_SHOWN = 200;
const VIAS = { events: 'JSON events', metrics: 'JSON metrics', otlp: 'OTLP' };
const HEADS = [
  ['Source', ''],
  ['Via', ''],
  ['Items/s', 'number'],
  ['Bytes/s', 'number'],
  ['Items', 'number'],
  ['Rejected', 'number'],
  ['Requests', 'number'],
  ['Last seen', 'number'],
];

export class Sources {
  #items = new Pace();
  #bytes = new Pace();
  #body = el('tbody');
  #rows = new KeyedRows(this.#body, (source) => new SourceRow(source));
  #table = el('div', { class: 'hub-table', tabindex: '0', role: 'group', 'aria-label': 'Sources', hidden: true }, el('table', { class: 'table sources-table' }, el('thead', {}, el('tr', {}, HEADS.map(([label, kind]) => el('th', { scope: 'col', class: kind }, label)))), this.#body));
  #note = el('p', { class: 'hub-empty sources-note' }, 'Asking who sends.');
  #count = el('p', { class: 'hub-count' });
  element = el('section', { class: 'hub-section panel', 'aria-labelledby': 'sources-title' }, el('header', { class: 'hub-header' }, el('h2', { id: 'sources-title' }, 'Sources'), this.#count), this.#note, this.#table);

  async poll() {
    const answer = await ask('api/telemetry/sources');
    const reason = excuse(answer, 'sources');
    if (reason === null) this.#show(answer.body.sources);
    else this.#say(reason);
    return !isDenied(answer);
  }

  #say(text) {
    this.#note.hidden = false;
    this.#note.textContent = text;
    this.#table.hidden = true;
    this.#count.textContent = '';
  }

  #show(sources) {
    if (sources.length === 0) return this.#say('Nobody has sent anything yet. The Live and Metrics views have a line to copy.');
    const totals = (member) => sources.map((source) => [keyOf(source), Number(source[member])]);
    const [items, bytes] = [this.#items.take(totals('items')), this.#bytes.take(totals('bytes'))];
    // By what came in all: by what comes now, rows would change places at every look.
    const sorted = sources.toSorted((one, other) => Number(other.items) - Number(one.items));
    this.#note.hidden = true;
    this.#table.hidden = false;
    write(this.#count, sources.length > MOST_SHOWN ? `the first ${MOST_SHOWN} of ${sources.length}` : String(sources.length));
    this.#rows.show(sorted.slice(0, MOST_SHOWN).map((source) => [keyOf(source), { ...source, itemRate: items.get(keyOf(source)), byteRate: bytes.get(keyOf(source)) }]));
  }
}

function keyOf({ address, name, agent, via }) {
  return JSON.stringify([address, name, agent, via]);
}

class SourceRow {
  #cells = Array.from({ length: 6 }, () => el('td', { class: 'number' }));

  constructor({ address, name, agent, via }) {
    const more = visible([name ? address : null, agent].filter(Boolean).join(' · '));
    const who = el('th', { scope: 'row' }, el('span', { class: 'source-name' }, visible(name ?? address)), el('span', { class: 'source-agent', title: more }, more || 'no user agent'));
    this.element = el('tr', { 'data-address': address, 'data-via': via }, who, el('td', {}, VIAS[via] ?? visible(via)), this.#cells);
  }

  show({ items, itemRate, byteRate, rejected, requests, since, lastSeen }) {
    const texts = [
      itemRate === null ? UNKNOWN : rate(itemRate),
      byteRate === null ? UNKNOWN : `${quantity(byteRate, 'By')}/s`,
      digits(items),
      digits(rejected),
      digits(requests),
      `${age(lastSeen)} ago`,
    ];
    texts.forEach((text, index) => write(this.#cells[index], text));
    this.#cells[3].classList.toggle('is-bad', Number(rejected) > 0);
    this.#cells[5].title = `since ${visible(since)}`;
  }
}
