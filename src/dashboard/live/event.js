// An event as people see it at a glance: what to show of it in one line, and the paths of its members.

import { ExactNumber, parse } from '../exact_json.js';

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const MAX_PAIRS = 8;
const MAX_VALUE = 80;
const MAX_TEXT = 400;
/** Longer ones are parsed once, and what the line shows of them is kept. */
const LARGE = 16 * 1024;

/** What tells most about an event stands first; of the rest, what its source put first. */
const TELLING = [
  /^(error|err|exception\.(type|message)|cause|reason|details|message|msg|status-?code|status|code|result)$/i,
  /^(remoteip|client(\.address)?|accountname|user(name)?|login|actor|from|to|domain|hostname|host)$/i,
  /^(http\..*|url\..*|method|path|route|url|uri|command|query|contents|name)$/i,
  /^(duration|elapsed|latency|took|queueid|queuename|messageid|id|key|size|total|count)$/i,
];

/** What never helps in a line: the ids have a place of their own, and times of spans are in its duration. */
const DULL = /^(startTime|links|events)$/;

export const isScalar = (value) => value === null || typeof value !== 'object' || value instanceof ExactNumber;

/** The text of a value that has no members. */
export const scalarText = (value) => (typeof value === 'string' ? value : String(value));

export function levelOf(event) {
  return LEVELS.includes(event.level) ? event.level : '';
}

const summaries = new WeakMap();

/** The same of the event in a row. */
export function summary(row) {
  const known = summaries.get(row);
  if (known) return known;
  const made = summarise(parse(row.text));
  if (row.text.length > LARGE) summaries.set(row, made);
  return made;
}

/** What one line shows of an event. */
export function summarise(event) {
  return {
    createdAt: event.createdAt,
    level: levelOf(event),
    type: shortened(event.type ?? event.signal ?? '', MAX_VALUE),
    text: shortened(event.text ?? '', MAX_TEXT),
    pairs: pairs(event.data ?? {}, event),
  };
}

function pairs(data, { type, text }) {
  const isSaid = (value) => value === type || value === text;
  const members = Object.entries(data).filter(([key, value]) => !DULL.test(key) && isWorthALook(value) && !isSaid(value));
  const ranked = members.map((member) => ({ member, rank: rank(...member) }));
  ranked.sort((a, b) => a.rank - b.rank);
  return ranked.slice(0, MAX_PAIRS).map(({ member: [key, value] }) => [shortened(key, 40), shortened(inLine(value), MAX_VALUE)]);
}

function rank(key, value) {
  if (!isScalar(value)) return TELLING.length + 1;
  const plain = key.replace(/[-_\s/]/g, '');
  const found = TELLING.findIndex((pattern) => pattern.test(plain));
  return found < 0 ? TELLING.length : found;
}

function isWorthALook(value) {
  return value !== null && value !== '' && (isScalar(value) || Object.keys(value).length > 0);
}

/** Of what has members, a few that are short; else how many. */
function inLine(value) {
  if (isScalar(value)) return scalarText(value);
  const members = Object.values(value);
  const isShort = members.length <= 3 && members.every(isScalar);
  if (Array.isArray(value)) return isShort ? members.map(scalarText).join(', ') : `[${members.length}]`;
  return isShort ? `{${Object.entries(value).map(([key, member]) => `${key}=${scalarText(member)}`).join(' ')}}` : `{${members.length}}`;
}

/** No more of a text than fits: a megabyte in a row would cost each frame. */
function shortened(text, length) {
  const whole = String(text);
  if (whole.length <= length) return whole;
  const cut = whole.slice(0, length);
  // Not between the halves of a character.
  return `${/[\ud800-\udbff]$/.test(cut) ? cut.slice(0, -1) : cut}…`;
}
