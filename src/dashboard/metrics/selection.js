// Which series are meant: names, groups and globs, as in the hub's `metrics=`. `server` is the series of that name and all of
// `server.…`; `*` stands for any text, `?` for one character. Beyond that, `name{"method":"GET"}` is the one series with these attributes.

import { keyOf } from './series.js';

/** The patterns of one `metrics=a,b`. Commas in the attributes of a pattern do not part it. */
export function parsePatterns(text) {
  const patterns = [];
  let rest = text;
  while (rest !== '') {
    const length = exactLength(rest) ?? plainLength(rest);
    const pattern = rest.slice(0, length).trim();
    if (pattern !== '' && !patterns.includes(pattern)) patterns.push(pattern);
    rest = rest.slice(length + 1);
  }
  return patterns;
}

function plainLength(text) {
  const comma = text.indexOf(',');
  return comma < 0 ? text.length : comma;
}

/** How long the pattern is that this begins with, if it is one with attributes. */
function exactLength(text) {
  const open = text.indexOf('{');
  if (open < 1 || open > plainLength(text)) return null;
  for (let close = text.indexOf('}', open); close >= 0; close = text.indexOf('}', close + 1)) {
    const isEnd = close + 1 === text.length || text[close + 1] === ',';
    if (isEnd && isObject(text.slice(open, close + 1))) return close + 1;
  }
  return null;
}

function isObject(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** A function that tells whether a series is meant by any of the patterns. */
export function matcher(patterns) {
  const tests = patterns.map(test);
  return (series) => tests.some((matches) => matches(series));
}

function test(pattern) {
  if (pattern.endsWith('{}')) {
    const name = pattern.slice(0, -2);
    return (series) => series.key === pattern || (series.id === name && series.attributes === null);
  }
  if (exactLength(pattern) === pattern.length) return (series) => series.key === pattern;
  if (/[*?]/.test(pattern)) return (series) => glob(pattern, series.id);
  return ({ id }) => id === pattern || id.startsWith(`${pattern}.`);
}

/** Whether a text is as the glob says. It goes back to the last star only, so that no pattern takes long. */
export function glob(pattern, text) {
  const [wanted, given] = [[...pattern], [...text]];
  let [at, next] = [0, 0];
  let [star, resume] = [-1, 0];
  while (at < given.length) {
    if (next < wanted.length && wanted[next] === '*') {
      [star, resume] = [next, at];
      next += 1;
    } else if (next < wanted.length && (wanted[next] === '?' || wanted[next] === given[at])) {
      at += 1;
      next += 1;
    } else if (star >= 0) {
      next = star + 1;
      resume += 1;
      at = resume;
    } else {
      return false;
    }
  }
  return wanted.slice(next).every((character) => character === '*');
}

/** The pattern of a name or group: a comma, which would part it, is any character. */
export function patternOf(name) {
  return name.replaceAll(',', '?');
}

/** The pattern that means this series and no other of these: its name, if that is enough. */
export function exactPattern(series, all) {
  const plain = patternOf(series.id);
  const matches = test(plain);
  for (const other of all) {
    if (other !== series && matches(other)) return series.attributes === null ? `${series.id}{}` : keyOf(series);
  }
  return plain;
}
