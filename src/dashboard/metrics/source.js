// The page's one stream of metrics, which its views share. It asks for every series, as the table shows them all, and goes on for a
// while when nobody looks, so that a look at the events leaves no hole in the charts.

import { Connection } from '../connection.js';
import { credentials } from '../credentials.js';
import { parse } from '../exact_json.js';
import { SeriesStore } from './series.js';

export const DEFAULT_INTERVAL = '2s';
const LINGER = 30_000;
/** A whole number too long for a double, as it stands in JSON: only for such a frame is the slow parser needed. */
const LONG_NUMBER = /[:,[]-?\d{16,}[,}\]]/;
const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, '': 1000 };

class MetricsSource extends EventTarget {
  store = new SeriesStore();
  state = { phase: 'ended' };
  interval = DEFAULT_INTERVAL;
  /** When the latest frame came. */
  heardAt = null;
  #connection = new Connection({
    path: 'api/telemetry/metrics/live',
    signal: 'metrics',
    query: () => new URLSearchParams({ interval: this.interval }).toString(),
    frames: { metrics: (text) => this.#take(text) },
    onstate: (state) => this.#enter(state),
  });
  #users = new Set();
  #timer = 0;

  constructor() {
    super();
    credentials.addEventListener('change', () => this.#forget());
  }

  /** Keeps the stream open for somebody. */
  acquire(user) {
    this.#users.add(user);
    clearTimeout(this.#timer);
    if (this.state.phase === 'ended') this.#connection.open();
  }

  release(user) {
    this.#users.delete(user);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#users.size === 0 && this.#connection.close(), LINGER);
  }

  /** How often the hub is to send; it says itself what it does not take. */
  setInterval(interval) {
    if (interval === this.interval) return;
    this.interval = interval;
    if (this.state.phase !== 'ended') this.#connection.open();
  }

  /** As far as it can be told here; the hub has the last word. */
  get intervalMilliseconds() {
    const [, number, unit] = /^([\d.]+)(ms|s|m|h|)$/.exec(this.interval.trim()) ?? [];
    return number === undefined ? NaN : Number(number) * UNITS[unit];
  }

  /** What one person saw is not for the next. */
  #forget() {
    this.store.interrupt(Date.now());
    this.store.clear();
    this.heardAt = null;
    this.dispatchEvent(new Event('frame'));
  }

  #take(text) {
    const samples = LONG_NUMBER.test(text) ? parse(text) : JSON.parse(text);
    const now = Date.now();
    // A machine that slept has an open stream and nothing to show for the time.
    if (now - this.heardAt > 3 * this.intervalMilliseconds + 1000) this.store.interrupt(now);
    this.heardAt = now;
    this.store.take(samples, now);
    this.dispatchEvent(new Event('frame'));
  }

  #enter(state) {
    if (this.state.phase === 'open' && state.phase !== 'open') this.store.interrupt(Date.now());
    this.state = state;
    this.dispatchEvent(new Event('state'));
  }
}

export const metricsSource = new MetricsSource();
