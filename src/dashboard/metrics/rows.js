// Which rows the table has, and in which order: the series that a text finds, by group or by column.

import { attributesText } from './amount.js';

/** What the columns are sorted by. */
const KEYS = {
  name: (series) => series.key,
  type: (series) => series.type,
  unit: (series) => series.unit ?? '',
  value: (series) => Number(series.total) || 0,
  rate: (series) => series.rate ?? -1,
};

/** Columns whose order changes with every frame. */
export const MOVING = new Set(['value', 'rate']);

/** Rows: `{ series }`, or `{ group, size, isOpen }` above those of a group. */
export function arrange(all, { text, column, isDescending, isGrouped, closed }) {
  const found = filter(all, text);
  sort(found, KEYS[column], isDescending);
  return isGrouped && column === 'name' ? grouped(found, closed) : found.map((series) => ({ series }));
}

/** The series in which every word stands; without a capital letter in the text, in any case. */
function filter(all, text) {
  const words = text.split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) return all;
  const fold = /\p{Lu}/u.test(text) ? (given) => given : (given) => given.toLowerCase();
  const found = [];
  for (const series of all) {
    const given = fold(`${series.id} ${attributesText(series.attributes)} ${series.type} ${series.unit ?? ''}`);
    if (words.every((word) => given.includes(word))) found.push(series);
  }
  return found;
}

function sort(series, key, isDescending) {
  const direction = isDescending ? -1 : 1;
  const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
  const sized = series.map((one) => [key(one), one]);
  sized.sort(([a, one], [b, other]) => direction * compare(a, b) || compare(one.key, other.key));
  sized.forEach(([, one], index) => (series[index] = one));
}

/** The first part of a name. */
export function groupOf(id) {
  const dot = id.indexOf('.');
  return dot > 0 ? id.slice(0, dot) : id;
}

function grouped(found, closed) {
  const groups = new Map();
  for (const series of found) {
    const group = groupOf(series.id);
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push({ series });
  }
  return [...groups].flatMap(([group, rows]) => {
    const isOpen = !closed.has(group);
    return [{ group, size: rows.length, isOpen }, ...(isOpen ? rows : [])];
  });
}
