// Who watches, how far behind they are, and a way to end a stream.

import { el } from '../dom.js';
import { count } from '../format.js';
import { ask, excuse, isDenied } from './ask.js';
import { EndDialog } from './end_dialog.js';
import { SubscriberRow, filterOf, nameOf } from './subscriber_row.js';
import { TableSection } from './table_section.js';

const PAGE = 100;
const PATH = 'api/telemetry/subscribers';

export class Subscribers {
  #shell;
  #dialog = new EndDialog();
  /** The `after` of the pages before this one, and of this one. */
  #pages = [null];
  #next = null;
  #earlier = el('button', { class: 'button-quiet', type: 'button', on: { click: () => this.#turn(-1) } }, 'Earlier');
  #later = el('button', { class: 'button-quiet', type: 'button', on: { click: () => this.#turn(1) } }, 'Later');
  #pager = el('p', { class: 'hub-pager', hidden: true }, this.#earlier, this.#later);
  #section = new TableSection({
    id: 'subscribers',
    title: 'Subscribers',
    note: 'Asking who watches.',
    noteClass: 'subscribers-note',
    heads: ['Subscriber', 'Filter', ['Since'], ['Sent'], ['Missed'], ['Queued'], ['Lag'], ''],
    make: (subscriber) => new SubscriberRow(subscriber, () => this.#end(subscriber)),
    tools: this.#pager,
  });
  element = this.#section.element;

  constructor(shell) {
    this.#shell = shell;
  }

  /** Joined hubs tell each of its own alone. */
  tellWhose(isJoined) {
    this.#section.entitle(isJoined ? 'Subscribers of this hub' : 'Subscribers');
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
    this.#section.say(text);
    this.#pager.hidden = true;
  }

  #show({ subscribers, total, next = null }) {
    this.#next = next;
    // All of this page have gone: the next look is at the first.
    if (subscribers.length === 0 && this.#pages.length > 1) this.#pages = [null];
    if (Number(total) === 0) return this.#say('Nobody watches.');
    const all = count(Number(total));
    const items = subscribers.map((subscriber) => [String(subscriber.id), subscriber]);
    this.#section.show(items, Number(total) > items.length ? `${count(items.length)} of ${all}` : all);
    this.#pager.hidden = this.#pages.length === 1 && next === null;
    this.#earlier.disabled = this.#pages.length === 1;
    this.#later.disabled = next === null;
  }

  #turn(step) {
    if (step < 0) this.#pages.pop();
    else this.#pages.push(this.#next);
    this.poll();
  }

  async #end(subscriber) {
    const who = nameOf(subscriber);
    if (!(await this.#dialog.confirm(`Subscriber ${subscriber.id}, ${who}: ${filterOf(subscriber)}`))) return;
    const answer = await ask(`${PATH}/${subscriber.id}`, { method: 'DELETE' });
    const outcome = { 204: `The stream of ${who} was ended.`, 404: `${who} had gone already.` }[answer.status];
    this.#shell.announce(outcome ?? excuse(answer, 'who watches'));
    const place = this.#section.indexOf(String(subscriber.id));
    await this.poll();
    if (document.activeElement === document.body) this.#section.focusRow(place);
  }
}
