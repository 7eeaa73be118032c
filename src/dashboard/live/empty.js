// What stands where no events are: how to send some, or what is waited for.

import { el } from '../dom.js';
import { credentials, hubUrl } from '../credentials.js';
import { visible } from '../format.js';
import { copyButton } from './copy.js';
import { spelt } from './query.js';

/** Nothing has been sent yet. */
export function nothingYet() {
  const url = hubUrl('api/telemetry/events').href;
  const token = credentials.isSignedIn ? ' -H "Authorization: Bearer $TELEMETRY_HUB_TOKEN"' : '';
  const line = `curl ${url}${token} -H 'Content-Type: application/json' -d '{"type":"hello","text":"it works"}'`;
  const hub = hubUrl('.').href.replace(/\/$/, '');
  return [
    el('h2', {}, 'No events yet'),
    el('p', {}, 'Send one from a terminal; it appears here at once:'),
    lineToCopy(line, 'send-line'),
    el('h3', {}, 'Or the logs that you have'),
    el('p', {}, 'JSON lines, logfmt or plain text, from a file or a pipe:'),
    lineToCopy(`journalctl -f -o json | telemetry-hub send${hub === 'http://127.0.0.1:8787' ? '' : ` --url ${hub}`}`),
    el('h3', {}, 'Or whatever speaks OpenTelemetry'),
    el('p', {}, 'Logs, traces and metrics by OTLP, over HTTP or gRPC:'),
    lineToCopy(`export OTEL_EXPORTER_OTLP_ENDPOINT=${hub}`),
  ];
}

function lineToCopy(line, name = '') {
  return el('div', { class: 'line-to-copy' }, el('code', { class: name }, line), copyButton('Copy', () => line));
}

/** Nothing matches. */
export function nothingMatches(query, clear) {
  return [
    el('h2', {}, 'Nothing matches so far'),
    el('p', {}, 'Waiting for events with'),
    el('ul', { class: 'waited-for' }, query.map((parameter) => el('li', {}, el('code', {}, visible(spelt(parameter)).slice(0, 200))))),
    el('p', {}, 'The first one appears here at once. Of what was before, the hub has none that matches.'),
    el('p', {}, el('button', { type: 'button', class: 'button-quiet', on: { click: clear } }, 'Clear the filter')),
  ];
}

/** The hub refuses the stream. Only of a filter that is wrong the bar above says why. */
export function notGranted({ status, detail }) {
  if (status === 400) return nothingToSee('The hub does not take this filter', 'It says why above, where it stands: change that, or remove it.');
  const title = status === 403 ? 'Your token does not open this view' : 'The hub does not give this stream';
  return nothingToSee(title, `The hub says: ${visible(detail)}.`);
}

/** The hub is not to be reached, or says why it gives no stream yet. */
export function notNow(problem) {
  if (!problem?.isOfHub) return nothingToSee('The hub cannot be reached', 'This page tries again by itself.');
  return nothingToSee('The hub gives no stream yet', `It says: ${visible(problem.detail)}. This page tries again by itself.`);
}

/** The hub is not to be reached, or does not grant the stream. */
export function nothingToSee(title, text) {
  return [el('h2', {}, title), el('p', {}, text)];
}
