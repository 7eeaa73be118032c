// Who sends to the hub, by what, and how much.

import { el } from '../dom.js';
import { age, quantity, rate, visible } from '../format.js';
import { UNKNOWN, digits } from '../metrics/amount.js';
import { write } from '../metrics/redraw.js';
import { ask, excuse, isDenied } from './ask.js';
import { Pace } from './pace.js';
import { TableSection } from './table_section.js';

/** The hub tells of more; those that bring most come first. */
const MOST_SHOWN = 200;
const VIAS = { events: 'JSON events', metrics: 'JSON metrics', otlp: 'OTLP' };

export class Sources {
  #items = new Pace();
  #bytes = new Pace();
  #section = new TableSection({
    id: 'sources',
    title: 'Sources',
    note: 'Asking who sends.',
    noteClass: 'sources-note',
    heads: ['Source', 'Via', ['Items/s'], ['Bytes/s'], ['Items'], ['Rejected'], ['Requests'], ['Last seen']],
    make: (source) => new SourceRow(source),
  });
  element = this.#section.element;

  /** Joined hubs tell each of its own alone. */
  tellWhose(isJoined) {
    this.#section.entitle(isJoined ? 'Sources of this hub' : 'Sources');
  }

  async poll() {
    const answer = await ask('api/telemetry/sources');
    const reason = excuse(answer, 'sources');
    if (reason === null) this.#show(answer.body.sources);
    else this.#section.say(reason);
    return !isDenied(answer);
  }

  #show(sources) {
    if (sources.length === 0) {
      return this.#section.say('Nobody has sent anything yet. The Live and Metrics views have a line to copy.');
    }
    const totals = (member) => sources.map((source) => [keyOf(source), Number(source[member])]);
    const [items, bytes] = [this.#items.take(totals('items')), this.#bytes.take(totals('bytes'))];
    // By what came in all: by what comes now, rows would change places at every look.
    const sorted = sources.toSorted((one, other) => Number(other.items) - Number(one.items)).slice(0, MOST_SHOWN);
    const shown = sorted.map((source) => {
      const key = keyOf(source);
      return [key, { ...source, itemRate: items.get(key), byteRate: bytes.get(key) }];
    });
    const isCut = sources.length > MOST_SHOWN;
    this.#section.show(shown, isCut ? `the first ${MOST_SHOWN} of ${sources.length}` : String(sources.length));
  }
}

function keyOf({ address, name, agent, via }) {
  return JSON.stringify([address, name, agent, via]);
}

class SourceRow {
  #cells = Array.from({ length: 6 }, () => el('td', { class: 'number' }));

  constructor({ address, name, agent, via }) {
    const more = visible([name ? address : null, agent].filter(Boolean).join(' · '));
    const who = [
      el('span', { class: 'source-name' }, visible(name ?? address)),
      el('span', { class: 'source-agent', title: more }, more || 'no user agent'),
    ];
    const attributes = { 'data-address': address, 'data-via': via };
    this.element = el('tr', attributes, el('th', { scope: 'row' }, who), el('td', {}, VIAS[via] ?? visible(via)), this.#cells);
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
