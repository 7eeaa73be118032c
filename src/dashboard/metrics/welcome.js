// How to send metrics, for who has sent none yet.

import { credentials, hubUrl } from '../credentials.js';
import { el } from '../dom.js';
import { copyButton } from '../live/copy.js';
import { write } from './redraw.js';

const EXAMPLE =
  '[{"id":"shop.orders","type":"counter","value":1},{"id":"shop.queue","type":"gauge","value":7},{"id":"shop.checkout","type":"histogram","values":[112],"unit":"ms"}]';
/** What the hub says of itself. */
const OWN = /^(server|hub|queue)\./;

export class Welcome {
  #line = el('code', { class: 'send-line', tabindex: '0' });
  #hasChosen = false;
  #version = -1;

  constructor() {
    this.element = el(
      'details',
      { class: 'send panel' },
      el('summary', { on: { click: () => (this.#hasChosen = true) } }, 'Send metrics'),
      el('p', {}, 'Gauges are set, counters added to, histograms given values. They appear here with the next frame.'),
      el('pre', {}, this.#line),
      el(
        'p',
        { class: 'send-more' },
        copyButton('Copy', () => this.#line.textContent),
        el(
          'span',
          {},
          'Or point any OpenTelemetry SDK here: ',
          el('code', {}, `OTEL_EXPORTER_OTLP_ENDPOINT=${hubUrl('.').href.replace(/\/$/, '')}`),
        ),
      ),
    );
  }

  /** It opens by itself as long as the hub has nothing but its own series. */
  show(store) {
    const token = credentials.isSignedIn ? ' -H "Authorization: Bearer $TELEMETRY_HUB_TOKEN"' : '';
    write(this.#line, `curl ${hubUrl('api/telemetry/metrics')} -H 'Content-Type: application/json'${token} -d '${EXAMPLE}'`);
    if (this.#hasChosen || store.size === 0 || this.#version === store.version) return;
    this.#version = store.version;
    this.element.open = store.current().every(({ id }) => OWN.test(id));
  }
}
