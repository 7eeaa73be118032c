// The shape of a trace: its spans by parent and child, its logs under their spans, each where it stands in time, to the nanosecond.

import { isScalar, levelOf } from './event.js';
import { nanoseconds } from './time.js';

const MILLISECOND = 1e6;
/** In milliseconds. A span of more than a hundred years would leave no room for any other. */
const LONGEST = 100 * 366 * 86_400_000;

/** The tree of the events (parsed, in the order of their arrival): a list of rows from top to bottom, and the time that they take. */
export function traceOf(events) {
  const spans = spansOf(events);
  for (const span of spans.values()) measure(span);
  const roots = link(spans);
  const loose = events.filter((event) => !event.spanId).map(logOf);
  const rows = [];
  for (const root of sorted(roots)) addRows(rows, root, 0);
  for (const log of sorted(loose)) rows.push({ ...log, depth: 0 });
  const begins = rows.map(({ start }) => start).filter((time) => time !== null);
  const ends = rows.map(({ end }) => end).filter((time) => time !== null);
  const start = begins.reduce((least, time) => (time < least ? time : least), begins[0] ?? 0n);
  const end = ends.reduce((most, time) => (time > most ? time : most), ends[0] ?? start);
  return { rows, start, end };
}

/** Spans by their ids: those that were sent as such, and those of which only logs tell. */
function spansOf(events) {
  const spans = new Map();
  for (const event of events) {
    if (!event.spanId) continue;
    if (!spans.has(event.spanId)) spans.set(event.spanId, { kind: 'span', id: event.spanId, event: null, parent: null, logs: [], children: [] });
    const span = spans.get(event.spanId);
    span.parent ??= event.parentSpanId ?? null;
    if (event.signal === 'span' && !span.event) span.event = event;
    else span.logs.push(logOf(event));
  }
  return spans;
}

function logOf(event) {
  const at = nanoseconds(event.createdAt);
  return { kind: 'log', id: event.id, event, start: at, end: at, name: event.type ?? event.text ?? 'log', level: levelOf(event) };
}

/** A span tells when it began and how long it took; otherwise its logs do. */
function measure(span) {
  const { event, logs } = span;
  const times = logs.map(({ start }) => start).filter((time) => time !== null);
  const first = times.reduce((least, time) => (least === null || time < least ? time : least), null);
  const last = times.reduce((most, time) => (most === null || time > most ? time : most), null);
  span.isSent = event !== null;
  span.name = event?.type ?? logs[0]?.name ?? 'span';
  span.level = event ? levelOf(event) : '';
  span.end = event ? nanoseconds(event.createdAt) : last;
  span.start = event ? nanoseconds(event.data?.startTime) : first;
  const took = lengthOf(event?.data?.duration);
  if (span.start === null && span.end !== null && took !== null) span.start = span.end - took;
  span.start ??= first ?? span.end;
  span.end ??= span.start;
  if (span.start !== null && span.end < span.start) span.end = span.start;
}

/** How long a span says that it took, in nanoseconds; null if that cannot be. */
function lengthOf(duration) {
  const took = isScalar(duration) ? Number(duration) : NaN;
  return took >= 0 && took <= LONGEST ? BigInt(Math.round(took * MILLISECOND)) : null;
}

/** Puts spans under their parents; a span that would be its own ancestor stands at the top. */
function link(spans) {
  const roots = [];
  for (const span of spans.values()) {
    const parent = spans.get(span.parent);
    if (parent && !isUnder(spans, parent, span)) parent.children.push(span);
    else roots.push(span);
  }
  return roots;
}

function isUnder(spans, span, ancestor) {
  const passed = new Set();
  for (let at = span; at && !passed.has(at); at = spans.get(at.parent)) {
    if (at === ancestor) return true;
    passed.add(at);
  }
  return false;
}

function addRows(rows, span, depth) {
  rows.push({ ...span, depth, width: span.start === null ? 0n : span.end - span.start });
  for (const inner of sorted([...span.logs, ...span.children])) {
    if (inner.kind === 'span') addRows(rows, inner, depth + 1);
    else rows.push({ ...inner, depth: depth + 1 });
  }
}

/** By time; what has none, and what is of one time, as it came. */
function sorted(items) {
  return items.toSorted((a, b) => {
    if (a.start === null || b.start === null || a.start === b.start) return 0;
    return a.start < b.start ? -1 : 1;
  });
}

/** Where in the trace's time something stands, from 0 to 1. */
export function position(time, { start, end }) {
  if (time === null || end <= start) return 0;
  return Number(time - start) / Number(end - start);
}
