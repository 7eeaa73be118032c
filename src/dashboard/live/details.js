// All of one event: every member, nested ones too, with its digits as sent. A value is a button that shows only the events with it; next
// to it is one that hides them.

import { el } from '../dom.js';
import { count, visible } from '../format.js';
import { parse, print } from '../exact_json.js';
import { fieldIsNot, memberIsNot } from './cel.js';
import { copyButton } from './copy.js';
import { isScalar, levelOf, scalarText } from './event.js';
import { longText } from './long_text.js';
import { parameterOf } from './query.js';
import { fullTime } from './time.js';

/** A parameter takes 1 KiB; an expression needs some of it for itself. */
const MAX_FILTER_BYTES = 1024;
/** Members of one object or list that are shown at once. */
const MAX_MEMBERS = 100;
const MAX_DEPTH = 40;

const FIELDS = { type: 'type', text: 'text', level: 'level', traceId: 'trace-id', spanId: 'span-id' };

/** `actions`: `only(parameter)`, `hide(expression)`, `trace({ traceId, spanId })`, `back` if there is where to go back to. */
export function eventDetails(text, actions) {
  const event = parse(text);
  const { data, ...fields } = event;
  return [
    heading(event),
    el('p', { class: 'side-actions' },
      copyButton('Copy JSON', () => print(event, 2)),
      event.traceId ? el('button', { type: 'button', class: 'button-quiet', on: { click: () => actions.trace({ traceId: event.traceId }) } }, 'Show trace') : null,
      event.spanId ? el('button', { type: 'button', class: 'button-quiet', on: { click: () => actions.trace({ traceId: event.traceId, spanId: event.spanId }) } }, 'Show span') : null),
    el('ul', { class: 'members', 'aria-label': 'Fields' }, Object.entries(fields).map(([name, value]) => field(name, value, event, actions))),
    isEmpty(data) ? null : [el('h3', {}, 'data'), list([], data, actions)],
  ];
}

const isEmpty = (data) => data === undefined || Object.keys(data).length === 0;

function heading(event) {
  const level = levelOf(event);
  return el('div', { class: 'side-title' },
    level ? el('span', { class: 'row-level', 'data-level': level }, level) : null,
    el('strong', {}, el('bdi', {}, visible(event.type ?? event.signal ?? 'event').slice(0, 200))));
}

function field(name, value, event, actions) {
  const parameter = name in FIELDS ? { name: FIELDS[name], value: scalarText(value) } : null;
  const excluded = parameter ? fieldIsNot(name, parameter.value) : null;
  const extra = [];
  if (name === 'createdAt') extra.push(el('span', { class: 'member-note' }, fullTime(value)));
  if (name === 'traceId') extra.push(link('waterfall', () => actions.trace({ traceId: event.traceId })));
  if (name === 'spanId') extra.push(link('waterfall', () => actions.trace({ traceId: event.traceId, spanId: event.spanId })));
  if (name === 'parentSpanId') extra.push(link('waterfall', () => actions.trace({ traceId: event.traceId, spanId: event.parentSpanId })));
  return member(name, name, value, { parameter, excluded, extra, actions });
}

function link(label, run) {
  return el('button', { type: 'button', class: 'member-link', on: { click: run } }, label);
}

/** The members of an object or a list, the first of them. */
function list(path, value, actions) {
  const entries = Array.isArray(value) ? value.map((item, index) => [index, item]) : Object.entries(value);
  const element = el('ul', { class: 'members', 'aria-label': path.length === 0 ? 'Data' : null });
  const more = (from) => {
    element.append(...entries.slice(from, from + MAX_MEMBERS).map(([key, item]) => node([...path, key], item, actions)));
    const left = entries.length - from - MAX_MEMBERS;
    if (left <= 0) return;
    const button = el('button', { type: 'button', class: 'button-quiet' }, `Show more of ${count(left)}`);
    const item = el('li', {}, button);
    button.addEventListener('click', () => {
      item.remove();
      more(from + MAX_MEMBERS);
    });
    element.append(item);
  };
  more(0);
  return element;
}

function node(path, value, actions) {
  if (isScalar(value)) return leaf(path, value, actions);
  const key = el('span', { class: 'member-key' }, visible(path.at(-1)));
  const size = Array.isArray(value) ? value.length : Object.keys(value).length;
  const kind = el('span', { class: 'member-note' }, Array.isArray(value) ? `list of ${count(size)}` : `${count(size)} ${size === 1 ? 'member' : 'members'}`);
  if (path.length > MAX_DEPTH) return el('li', { class: 'member' }, key, longText(print(value)));
  const inner = el('details', {}, el('summary', {}, key, kind));
  // What is folded costs nothing.
  const unfold = () => inner.childElementCount === 1 && inner.append(list(path, value, actions));
  inner.addEventListener('toggle', unfold);
  if (path.length < 4 && size <= MAX_MEMBERS) {
    unfold();
    inner.open = true;
  }
  return el('li', { class: 'member-group' }, inner);
}

function leaf(path, value, actions) {
  const inList = path.findIndex((part) => typeof part === 'number');
  const name = parameterOf(inList < 0 ? path : path.slice(0, inList));
  return member(path.at(-1), ['data', ...path].join('.'), value, { parameter: onlyThese(name, value), excluded: memberIsNot(path, value), extra: [], actions });
}

/** Null and the empty text match no `key=value`: that of the key alone means that the key is there. */
function onlyThese(name, value) {
  const text = value === null ? '' : scalarText(value);
  if (text === '') return null;
  return name === null ? { name: 'filter', value: text } : { name, value: text };
}

function member(key, path, value, { parameter, excluded, extra, actions }) {
  const text = value === null ? 'null' : scalarText(value);
  const body = longText(text);
  body.classList.add(typeof value === 'string' ? 'is-text' : 'is-literal');
  const only = fits(parameter?.value) ? () => actions.only(parameter) : null;
  const hide = fits(excluded) ? () => actions.hide(excluded) : null;
  // A button in a button is none: a text that unfolds stands by itself.
  const isPlain = body.classList.contains('member-text');
  const shown = only && isPlain
    ? el('button', { type: 'button', class: 'member-value', title: `Show only events with this (f)`, on: { click: () => getSelection().isCollapsed && only() } }, body)
    : el('span', { class: 'member-value' }, body);
  const not = hide ? el('button', { type: 'button', class: 'member-not', title: 'Hide events with this (n)', 'aria-label': `Hide events with this ${visible(String(key))}`, on: { click: hide } }, '≠') : null;
  const pressed = (event) => {
    const run = { f: only, n: hide }[event.key];
    if (!run || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    run();
  };
  return el('li', { class: 'member', 'data-path': path, on: { keydown: pressed } },
    el('span', { class: 'member-key' }, visible(String(key))), el('span', { class: 'member-body' }, shown, ...extra), not);
}

const fits = (text) => Boolean(text) && new TextEncoder().encode(text).length <= MAX_FILTER_BYTES;
