// A hub that is joined to others, as a page sees it: a real one that is alone, whose answers are changed where a joined one has others.

import { impostor } from './impostor.mjs';

const OWN = /^(server|hub|queue)\./;
const FRAMES_EVERY = 200;
/** Long enough that a page can be seen to wait for the answer. */
const REFUSED_AFTER = 200;
/** What only joined hubs have. */
const TRANSPORT = [
  { id: 'hub.transport.joined', type: 'gauge', value: 1, unit: '1' },
  { id: 'hub.transport.lag', type: 'gauge', value: 0, unit: '{message}' },
  { id: 'hub.transport.services', type: 'gauge', value: 0, unit: '{service}' },
  ...['published', 'repeated', 'failed', 'received', 'redelivered', 'disconnects', 'holes', 'unreadable', 'restarts'].map((name) => ({ id: `hub.transport.${name}`, type: 'counter', value: 0, rate: 0 })),
];

export class JoinedHub {
  #real;
  #own;
  port = 0;
  /** By the names of the hubs, of which it is the first, what their series have that is not as in an idle hub: members of samples, by the names of the series. */
  hubs = {};
  /** What it says of its being ready. */
  ready = { status: 200, body: { status: 'ready' } };
  /** Why it gives no streams of events; null if it gives them. */
  refusal = null;

  static async start(scene, hubs, options) {
    const joined = new JoinedHub();
    joined.#real = await scene.hub(options);
    const alone = [...(await joined.#real.series()).values()].filter(({ id }) => OWN.test(id));
    const idle = alone.map((sample) => (sample.type === 'counter' ? { ...sample, value: 0, rate: 0 } : sample));
    joined.#own = [...idle, ...TRANSPORT];
    joined.hubs = hubs;
    joined.port = (await impostor(scene, 0, (response, request) => joined.#answer(response, request))).port;
    return joined;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** Not ready, for this reason. */
  unready(detail) {
    this.ready = { status: 503, body: { status: 503, title: 'Service Unavailable', detail } };
  }

  #answer(response, request) {
    const { pathname } = new URL(request.url, this.url);
    if (pathname === '/readyz') return send(response, this.ready);
    if (pathname === '/api/telemetry/metrics/live') return this.#stream(response);
    if (pathname === '/api/telemetry/traces/live' && this.refusal !== null) {
      const answer = { status: 503, body: { status: 503, title: 'Service Unavailable', detail: this.refusal } };
      return setTimeout(() => send(response, answer), REFUSED_AFTER);
    }
    return this.#pass(response, request);
  }

  #stream(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const tell = () => response.write(`event: metrics\ndata: ${print(this.#frame())}\n\n`);
    tell();
    const timer = setInterval(tell, FRAMES_EVERY);
    response.on('close', () => clearInterval(timer));
  }

  #frame() {
    const of = ([hub, figures]) => {
      const own = this.#own.map((sample) => ({ ...sample, ...figures[sample.id], attributes: { hub } }));
      // Some are there only once they have moved.
      const others = Object.keys(figures).filter((id) => own.every((sample) => sample.id !== id));
      return [...own, ...others.map((id) => ({ id, type: 'counter', ...figures[id], attributes: { hub } }))];
    };
    const here = { id: 'hub.here', type: 'gauge', value: 1, attributes: { hub: Object.keys(this.hubs)[0] } };
    return [...Object.entries(this.hubs).flatMap(of), here, { id: 'shop.orders', type: 'counter', value: 7, rate: 0 }];
  }

  async #pass(response, request) {
    const stop = new AbortController();
    response.on('close', () => stop.abort());
    try {
      const answer = await this.#real.fetch(request.url, { signal: stop.signal, headers: { 'accept-encoding': 'identity' } });
      const headers = [...answer.headers].filter(([name]) => !['connection', 'transfer-encoding', 'content-length'].includes(name));
      response.writeHead(answer.status, Object.fromEntries(headers));
      for await (const piece of answer.body) response.write(piece);
      response.end();
    } catch {
      // Whoever asked has gone, or the hub.
      response.destroy();
    }
  }
}

function send(response, { status, body }) {
  const headers = status === 200 ? { 'content-type': 'application/json' } : { 'content-type': 'application/problem+json', 'retry-after': '1' };
  response.writeHead(status, headers);
  response.end(JSON.stringify(body));
}

/** As JSON, in which BigInts keep their digits. */
function print(value) {
  const mark = '\ue000';
  const marked = JSON.stringify(value, (_, member) => (typeof member === 'bigint' ? mark + member : member));
  return marked.replace(new RegExp(`"${mark}(\\d+)"`, 'g'), '$1');
}
