// Whether the hub works, and whether it wants work: /healthz and /readyz in words.

import { el } from '../dom.js';
import { visible } from '../format.js';
import { write } from '../metrics/redraw.js';
import { ask } from './ask.js';

const UNTIL_JOINED = 'Until it is joined, it shows nothing new and accepts nothing. Nothing is lost: sources are told to send again, and what the others accept is shown later.';

const WORDS = {
  well: ['Healthy', 'The collector answers, and new work is welcome.'],
  joining: ['Joining', `This hub is not joined to the other hubs yet. ${UNTIL_JOINED}`],
  apart: ['Cut off', `This hub has lost the connection to the others. ${UNTIL_JOINED}`],
  draining: ['Draining', 'The hub is shutting down: it takes nothing new, and hands over what it has.'],
  busy: ['Not ready', 'The hub works, and takes nothing new for now.'],
  sick: ['Not healthy', 'The collector does not answer.'],
  gone: ['Unreachable', 'Nobody answers at this address. The page tries again by itself.'],
  unknown: ['Asking', 'Waiting for the first answer.'],
};

/** What the hub says of itself where it is not ready, and what that is. The reason stands behind it. */
const UNREADY = [
  ['joining', /^not joined to the other hubs yet: (.*)$/s],
  ['apart', /^cut off from the other hubs: (.*)$/s],
  ['draining', /^the hub is shutting down()$/],
];

/** More services are counted. */
const MOST_SERVICES = 12;

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
    else if (ready.status !== 200) this.#tell(...unready(ready.problem?.detail));
    else this.#tell('well', null, leftOut(ready.body));
  }

  #tell(state, detail = null, more = '') {
    const [word, why] = WORDS[state];
    this.element.dataset.state = state;
    write(this.#state, word);
    write(this.#why, (detail ? `${why} (${visible(detail)})` : why) + more);
  }
}

/** What it is that keeps the hub from being ready, and the reason, if it gives one. */
function unready(detail = '') {
  for (const [state, pattern] of UNREADY) {
    const reason = pattern.exec(detail)?.[1];
    if (reason !== undefined) return [state, reason];
  }
  return ['busy', detail];
}

/** What of the other hubs' events it does not read. */
function leftOut({ services = [], narrowedTo } = {}) {
  if (services.length > 0) return ` It shows these services alone: ${listed(services)}.`;
  if (narrowedTo === undefined) return '';
  const some = narrowedTo === 1 ? 'one service' : `${narrowedTo} services`;
  return ` It reads the events of ${some} alone: nobody who watches asks for more.`;
}

function listed(services) {
  const shown = services.slice(0, MOST_SERVICES).map(visible).join(', ');
  return services.length > MOST_SERVICES ? `${shown}, and ${services.length - MOST_SERVICES} more` : shown;
}
