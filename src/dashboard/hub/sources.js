// Who sends to the hub, by what, and how much.

import { el } from '../dom.js';
import { age, quantity, rate, visible } from '../format.js';
import { UNKNOWN, digits } from '../metrics/amount.js';
import { ask, excuse, isDenied } from './ask.js';
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
    const sorted = sources.toSorted((one, other) => (items.get(keyOf(other)) ?? 0) - (items.get(keyOf(one)) ?? 0) || Date.parse(other.lastSeen) - Date.parse(one.lastSeen));
    this.#note.hidden = true;
    this.#table.hidden = false;
    this.#count.textContent = sources.length > MOST_SHOWN ? `the first ${MOST_SHOWN} of ${sources.length}` : String(sources.length);
    this.#body.replaceChildren(...sorted.slice(0, MOST_SHOWN).map((source) => row(source, items.get(keyOf(source)), bytes.get(keyOf(source)))));
  }
}

function keyOf({ address, name, agent, via }) {
  return JSON.stringify([address, name, agent, via]);
}

function row(source, items, bytes) {
  const number = (text, kind = '') => el('td', { class: `number ${kind}` }, text);
  const cells = [
    el('th', { scope: 'row' }, el('span', { class: 'source-name' }, visible(source.name ?? source.address)), el('span', { class: 'source-agent' }, visible([source.name ? source.address : null, source.agent].filter(Boolean).join(' · ')))),
    el('td', {}, VIAS[source.via] ?? visible(source.via)),
    number(items === null ? UNKNOWN : rate(items)),
    number(bytes === null ? UNKNOWN : `${quantity(bytes, 'By')}/s`),
    number(digits(source.items)),
    number(digits(source.rejected), source.rejected > 0 ? 'is-bad' : ''),
    number(digits(source.requests)),
    el('td', { class: 'number', title: `since ${visible(source.since)}` }, `${age(source.lastSeen)} ago`),
  ];
  return el('tr', { 'data-address': source.address, 'data-via': source.via }, cells);
}
