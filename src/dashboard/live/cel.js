// Expressions of CEL that are true of all events but those with a certain value: the keys and values of a query cannot say "not".

import { ExactNumber } from '../exact_json.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const KEYWORDS = new Set([
  'as', 'break', 'const', 'continue', 'else', 'false', 'for', 'function', 'if', 'import', 'in', 'let', 'loop', 'namespace', 'null',
  'package', 'return', 'true', 'var', 'void', 'while',
]);
const FIELDS = { type: 'type', text: 'text', level: 'level', traceId: 'trace_id', spanId: 'span_id' };
const MAX_INT = 9223372036854775807n;
const MAX_UINT = 18446744073709551615n;

/** A text in quotes. */
export function quoted(text) {
  const escaped = text.replace(/["\\]/g, '\\$&').replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, escape);
  return `"${escaped}"`;
}

function escape(character) {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** A value as it is written in an expression. */
export function literal(value) {
  if (typeof value === 'string') return quoted(value);
  if (typeof value !== 'number' && !(value instanceof ExactNumber)) return String(value);
  const text = String(value);
  if (!/^-?\d+$/.test(text)) return text;
  const whole = BigInt(text);
  if (whole > MAX_UINT || whole < -MAX_INT - 1n) return `${text}.0`;
  return whole > MAX_INT ? `${text}u` : text;
}

/** True unless the field of the event (`type`, `traceId`) is this text. */
export function fieldIsNot(field, text) {
  return `${FIELDS[field]} != ${quoted(text)}`;
}

/** True unless the member of `data` at this path is there and has this value. Numbers in the path are places in lists. */
export function memberIsNot(path, value) {
  const list = path.findIndex((part) => typeof part === 'number');
  const { guards, operand } = member('data', list < 0 ? path : path.slice(0, list));
  if (list < 0) return `!(${[...guards, `${operand} == ${literal(value)}`].join(' && ')})`;
  const inside = path.slice(list + 1);
  // The hub takes no loop in a loop.
  if (inside.some((part) => typeof part === 'number')) return null;
  if (inside.length === 0) return `!(${[...guards, `${literal(value)} in ${operand}`].join(' && ')})`;
  const each = member('e', inside);
  const condition = [...each.guards, `${each.operand} == ${literal(value)}`].join(' && ');
  return `!(${[...guards, `${operand}.exists(e, ${condition})`].join(' && ')})`;
}

/** What must be there on the way, and the value at its end. */
function member(root, path) {
  const guards = [];
  let operand = root;
  for (const name of path) {
    const isPlain = NAME.test(name) && !KEYWORDS.has(name);
    const next = isPlain ? `${operand}.${name}` : `${operand}[${quoted(name)}]`;
    guards.push(isPlain ? `has(${next})` : `${quoted(name)} in ${operand}`);
    operand = next;
  }
  return { guards, operand };
}
