// A trace or a span as a waterfall: bars where its spans stand in time, with its logs as ticks in their places.

import { el } from '../dom.js';
import { parse } from '../exact_json.js';
import { count, duration, visible } from '../format.js';
import { summarise } from './event.js';
import { replayed } from './replay.js';
import { position, traceOf } from './trace.js';
import { clock, fullTime, nanoseconds } from './time.js';

/** Of a longer trace, the last events. */
const MAX_EVENTS = 5000;
/** Lines that are made at once. */
const MAX_LINES = 300;

/** `wanted`: a `traceId`, or a `spanId`, or the span within the trace. `open(text)` shows an event whole. */
export async function waterfall(wanted, { open, signal }) {
  const { texts, isWhole } = await replayed(question(wanted), signal);
  const events = texts.map((text) => ({ text, event: parse(text) }));
  const byId = new Map(events.map(({ text, event }) => [event.id, text]));
  const members = select(wanted, events.map(({ event }) => event));
  if (members.length === 0) return [el('p', { class: 'side-note' }, 'The hub no longer has any event of it.')];
  const trace = traceOf(members);
  return [
    summaryLine(trace, members, isWhole && texts.length < MAX_EVENTS),
    scale(trace),
    lines(trace, wanted, (id) => open(byId.get(id))),
  ];
}

/** Events of a span without a trace belong to it only by the span's id. */
function question({ traceId, spanId }) {
  const parameters = traceId ? { 'trace-id': traceId, follow: 'trace' } : { 'span-id': spanId, follow: 'trace' };
  return new URLSearchParams({ ...parameters, replay: MAX_EVENTS });
}

/** The hub's filter takes texts that contain the id; and of a trace, a span may be wanted with what is under it. */
function select({ traceId, spanId }, events) {
  const spans = new Set(events.filter((event) => event.traceId === traceId).map((event) => event.spanId));
  const ofTrace = traceId ? events.filter((event) => event.traceId === traceId || (!event.traceId && event.spanId && spans.has(event.spanId))) : events;
  if (!spanId) return ofTrace;
  const wanted = new Set([spanId]);
  // Parents may come after their children, so until nothing is added.
  for (let before = 0; before < wanted.size;) {
    before = wanted.size;
    for (const event of ofTrace) if (wanted.has(event.parentSpanId) && event.spanId) wanted.add(event.spanId);
  }
  return ofTrace.filter((event) => wanted.has(event.spanId));
}

function summaryLine({ rows, start, end }, events, isWhole) {
  const spans = rows.filter(({ kind }) => kind === 'span').length;
  const errors = rows.filter(({ level }) => level === 'ERROR' || level === 'FATAL').length;
  const parts = [
    duration(Number(end - start) / 1e6),
    `${count(spans)} ${spans === 1 ? 'span' : 'spans'}`,
    `${count(events.length)} ${events.length === 1 ? 'event' : 'events'}`,
    errors > 0 ? `${count(errors)} ${errors === 1 ? 'error' : 'errors'}` : null,
    isWhole ? null : 'not all of it: the hub or this page keeps no more',
  ];
  const first = earliest(events).createdAt;
  return el('p', { class: 'trace-summary' }, parts.filter(Boolean).join(' · '), el('span', { class: 'member-note', title: fullTime(first) }, ` from ${clock(first)}`));
}

/** By the values of their times: of `…19.5Z` and `…19Z` the first sorts before the second. */
function earliest(events) {
  const times = new Map(events.map((event) => [event, nanoseconds(event.createdAt)]));
  return events.reduce((least, event) => (times.get(event) < times.get(least) ? event : least));
}

function scale(trace) {
  const whole = Number(trace.end - trace.start) / 1e6;
  if (whole === 0) return null;
  const marks = [0, 0.25, 0.5, 0.75].map((part) => {
    const mark = el('span', { class: 'trace-mark' }, duration(whole * part));
    mark.style.left = `${part * 100}%`;
    return mark;
  });
  return el('div', { class: 'trace-scale', 'aria-hidden': 'true' }, el('span', {}), el('span', { class: 'trace-marks' }, marks));
}

function lines(trace, wanted, open) {
  const list = el('ul', { class: 'trace-lines', 'aria-label': 'Spans and logs' });
  const more = (from) => {
    list.append(...trace.rows.slice(from, from + MAX_LINES).map((row) => line(row, trace, wanted, open)));
    const left = trace.rows.length - from - MAX_LINES;
    if (left <= 0) return;
    const button = el('button', { type: 'button', class: 'button-quiet' }, `Show more of ${count(left)}`);
    const item = el('li', {}, button);
    button.addEventListener('click', () => {
      item.remove();
      more(from + MAX_LINES);
    });
    list.append(item);
  };
  more(0);
  return list;
}

function line(row, trace, wanted, open) {
  const isSpan = row.kind === 'span';
  const event = row.event ?? row.logs[0]?.event;
  const name = el('span', { class: 'trace-name' }, isSpan ? null : levelMark(row), el('bdi', {}, visible(row.name.slice(0, 120))), isSpan ? null : el('span', { class: 'trace-text' }, glance(event)));
  const time = isSpan ? duration(Number(row.width) / 1e6) : offset(row, trace);
  const track = el('span', { class: 'trace-track', 'aria-hidden': 'true' }, isSpan ? bar(row, trace) : null, isSpan ? row.logs.map((log) => tick(log, trace)) : tick(row, trace));
  const content = [name, track, el('span', { class: 'trace-duration' }, time)];
  const title = [visible(row.name.slice(0, 200)), glance(event), clock(event.createdAt)].filter(Boolean).join('\n');
  const button = el('button', { type: 'button', class: 'trace-line', title, on: { click: () => open(event.id) } }, content);
  const item = el('li', { class: 'trace-row', 'data-kind': row.kind, 'data-id': row.id, 'data-depth': row.depth, 'data-level': row.level, 'data-wanted': isSpan && row.id === wanted.spanId }, button);
  item.style.setProperty('--depth', Math.min(row.depth, 12));
  return item;
}

/** What a line of the list would show of it. */
function glance(event) {
  const { text, pairs } = summarise(event);
  return visible([text, ...pairs.map(([key, value]) => `${key}=${value}`)].filter(Boolean).join('  '));
}

const levelMark = ({ level }) => (level ? el('span', { class: 'row-level', 'data-level': level }, level) : null);

const offset = ({ start }, trace) => (start === null ? '' : `+${duration(Number(start - trace.start) / 1e6)}`);

function bar(span, trace) {
  const element = el('span', { class: 'trace-bar', 'data-sent': span.isSent || null });
  element.style.left = `${position(span.start, trace) * 100}%`;
  element.style.width = `${(position(span.end, trace) - position(span.start, trace)) * 100}%`;
  return element;
}

function tick(log, trace) {
  const element = el('span', { class: 'trace-tick', 'data-level': log.level });
  element.style.left = `${position(log.start, trace) * 100}%`;
  return element;
}
