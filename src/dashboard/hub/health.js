// Whether the hub works, and whether it wants work: /healthz and /readyz in words.

import { el } from '../dom.js';
import { visible } from '../format.js';
import { write } from '../metrics/redraw.js';
import { ask } from './ask.js';

const WORDS = {
  well: ['Healthy', 'The collector answers, and new work is welcome.'],
  draining: ['Draining', 'The hub is shutting down: it takes nothing new, and hands over what it has.'],
  sick: ['Not healthy', 'The collector does not answer.'],
  gone: ['Unreachable', 'Nobody answers at this address. The page tries again by itself.'],
  unknown: ['Asking', 'Waiting for the first answer.'],
};

export class Health {
  #state = el('strong', { class: 'health-state' });
  #why = el('span', { class: 'health-why' });
  element = el('p', { class: 'health panel', role: 'status' }, this.#state, this.#why);

  constructor() {
    this.#tell('unknown');
  }

  async poll() {
    const [health, ready] = await Promise.all([ask('healthz'), ask('readyz')]);
    if (health.status === 0 && ready.status === 0) this.#tell('gone');
    else if (health.status !== 200) this.#tell('sick', health.problem?.detail);
    else if (ready.status !== 200) this.#tell('draining');
    else this.#tell('well');
  }

  #tell(state, detail) {
    const [word, why] = WORDS[state];
    this.element.dataset.state = state;
    write(this.#state, word);
    write(this.#why, detail ? `${why} (${visible(detail)})` : why);
  }
}
