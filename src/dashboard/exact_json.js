// JSON whose numbers keep their digits: JavaScript's own would make 9007199254740993 end in 2, and 1.0 a 1.

const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** What stands for such a number until the text has been parsed: no other string can begin so, as their own U+E000 is doubled. */
const MARK = '\u{e000}';
const ESCAPE_OR_MARK = /\\(?:u[0-9a-fA-F]{4}|.)|\ue000/g;

/** A number that would change its digits as one of JavaScript's. */
export class ExactNumber {
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }

  /** As near as JavaScript comes. */
  valueOf() {
    return Number(this.text);
  }
}

/** Parses JSON. Numbers that JavaScript cannot hold as they are spelt become ExactNumbers. */
export function parse(text) {
  let isMarked = false;
  const marked = text.replace(STRING_OR_NUMBER, (token) => {
    if (token[0] !== '"') {
      if (String(Number(token)) === token) return token;
      isMarked = true;
      return `"${MARK}${token}"`;
    }
    if (!token.includes(MARK) && !token.includes('\\u')) return token;
    const escaped = token.replace(ESCAPE_OR_MARK, (part) => (isMark(part) ? MARK + MARK : part));
    isMarked ||= escaped !== token;
    return escaped;
  });
  return isMarked ? unmark(JSON.parse(marked)) : JSON.parse(text);
}

function isMark(part) {
  return part === MARK || part.toLowerCase() === '\\ue000';
}

function unmark(value) {
  if (typeof value === 'string') return unmarkText(value);
  if (Array.isArray(value)) return value.map(unmark);
  if (value === null || typeof value !== 'object') return value;
  // Object.fromEntries makes `__proto__` a key like any other.
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [unmarkKey(key), unmark(member)]));
}

function unmarkText(text) {
  if (text[0] === MARK && text[1] !== MARK) return new ExactNumber(text.slice(1));
  return unmarkKey(text);
}

function unmarkKey(text) {
  return text.replaceAll(MARK + MARK, MARK);
}

/** JSON again, with every digit as it was. */
export function print(value, indent = 0) {
  return printed(value, indent, '\n');
}

function printed(value, indent, newline) {
  if (value instanceof ExactNumber) return value.text;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const inner = indent ? newline + ' '.repeat(indent) : '';
  const colon = indent ? ': ' : ':';
  const [open, close, members] = Array.isArray(value)
    ? ['[', ']', value.map((item) => printed(item, indent, inner))]
    : ['{', '}', Object.entries(value).map(([key, member]) => JSON.stringify(key) + colon + printed(member, indent, inner))];
  if (members.length === 0) return open + close;
  return open + inner + members.join(',' + inner) + (indent ? newline : '') + close;
}
