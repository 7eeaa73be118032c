// What the address asks of this view, and back: each `metrics=` is one chart, `interval=` is the hub's, `window=` how far back to look.

import { DEFAULT_INTERVAL } from './source.js';
import { parsePatterns } from './selection.js';

/** What a newcomer sees: what the hub itself does. */
const FIRST_CHARTS = [['hub.events.received', 'hub.events.delivered', 'hub.events.missed'], ['server.memory']];

/** More than anybody can look at; each takes its time at every frame. */
const MOST_CHARTS = 24;

export const WINDOWS = { '1m': 60, '5m': 300, '15m': 900, '1h': 3600, all: Infinity };
const DEFAULT_WINDOW = '5m';

export function readRequest(parameters) {
  const given = parameters.getAll('metrics');
  const window = parameters.get('window');
  const charts = given.map(parsePatterns).filter((patterns) => patterns.length > 0);
  return {
    charts: given.length === 0 ? FIRST_CHARTS : charts.slice(0, MOST_CHARTS),
    interval: parameters.get('interval') ?? DEFAULT_INTERVAL,
    window: Object.hasOwn(WINDOWS, window ?? '') ? window : DEFAULT_WINDOW,
  };
}

export function writeRequest({ charts, interval, window }) {
  const parameters = new URLSearchParams();
  if (JSON.stringify(charts) !== JSON.stringify(FIRST_CHARTS)) {
    for (const patterns of charts) parameters.append('metrics', patterns.join(','));
    // No chart at all is something else than what a newcomer sees.
    if (charts.length === 0) parameters.append('metrics', '');
  }
  if (interval !== DEFAULT_INTERVAL) parameters.set('interval', interval);
  if (window !== DEFAULT_WINDOW) parameters.set('window', window);
  return parameters;
}
