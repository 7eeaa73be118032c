// How to send metrics, for who has sent none yet.

import { credentials, hubUrl } from '../credentials.js';
import { el } from '../dom.js';

const EXAMPLE = '[{"id":"shop.orders","type":"counter","value":1},{"id":"shop.queue","type":"gauge","value":7},{"id":"shop.checkout","type":"histogram","values":[112],"unit":"ms"}]';
/** What the hub says of itself. */
const OWN = /^(server|hub|queue)\./;

export class Welcome {
  #line = el('code', { class: 'send-line', tabindex: '0' });
  #copy;
  #hasChosen = false;

  constructor(shell) {
    this.#copy = el('button', { class: 'button', type: 'button', on: { click: () => this.#copyLine(shell) } }, 'Copy');
    this.element = el(
      'details',
      { class: 'send panel' },
      el('summary', { on: { click: () => (this.#hasChosen = true) } }, 'Send metrics'),
      el('p', {}, 'Gauges are set, counters added to, histograms given values. They appear here with the next frame.'),
      el('pre', {}, this.#line),
      el('p', { class: 'send-more' }, this.#copy, el('span', {}, 'Or point any OpenTelemetry SDK here: ', el('code', {}, `OTEL_EXPORTER_OTLP_ENDPOINT=${hubUrl('').href.replace(/\/$/, '')}`))),
    );
  }

  /** It opens by itself as long as the hub has nothing but its own series. */
  show(store) {
    const token = credentials.isSignedIn ? " -H 'Authorization: Bearer TOKEN'" : '';
    this.#line.textContent = `curl ${hubUrl('api/telemetry/metrics')} -H 'Content-Type: application/json'${token} -d '${EXAMPLE}'`;
    if (this.#hasChosen || store.size === 0) return;
    this.element.open = [...store.values()].every(({ id }) => OWN.test(id));
  }

  async #copyLine(shell) {
    try {
      await navigator.clipboard.writeText(this.#line.textContent);
      shell.announce('Copied.');
      this.#copy.textContent = 'Copied';
      setTimeout(() => (this.#copy.textContent = 'Copy'), 2000);
    } catch {
      // Without a clipboard (plain HTTP from elsewhere) it is selected, to be copied by hand.
      getSelection().selectAllChildren(this.#line);
    }
  }
}
