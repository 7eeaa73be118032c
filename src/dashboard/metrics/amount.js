// How the values of series are written: short where they are compared, to the last digit where they are looked up.

import { print } from '../exact_json.js';
import { quantity, rate, visible } from '../format.js';

/** The units of which values are written in whatever multiple reads best. */
const SCALED = new Set(['By', 'ns', 'us', 'ms', 's', 'min', 'h', 'd']);
const COUNTED = /^\{.*\}$/;

/** What is not known yet, or not said. */
export const UNKNOWN = '–';

/** A value, short. A unit that tells no more than the title or the column does is left out: it may be long, and is what the source likes. */
export function amount(value, unit) {
  if (value === null || value === undefined || Number.isNaN(Number(value))) return UNKNOWN;
  return quantity(value, isShown(unit) ? unit : undefined);
}

/** How much of it there is a second. */
export function amountPerSecond(value, unit) {
  if (value === null || Number.isNaN(value)) return UNKNOWN;
  return isShown(unit) ? `${amount(value, unit)}/s` : rate(value);
}

function isShown(unit) {
  return SCALED.has(unit) || unit === '%';
}

/** A number with all its digits, its thousands apart. */
export function digits(value) {
  const text = String(value);
  if (!/^-?\d+$/.test(text)) return text;
  return text.replace(/\B(?=(\d{3})+$)/g, ',');
}

/** What stands in the table: counters and other whole numbers to the last digit, sizes and times in what reads best. */
export function total(series) {
  const value = series.total;
  if (value === null || value === undefined) return UNKNOWN;
  if (series.type === 'histogram') return `${digits(value)} values`;
  const isWhole = /^-?\d+$/.test(String(value));
  return series.type === 'counter' || (isWhole && !SCALED.has(series.unit)) ? digits(value) : amount(value, series.unit);
}

/** All that is known of it, in one line. */
export function everything(series) {
  const { latest, unit } = series;
  const name = unit && unit !== '1' ? ` ${visible(unit)}` : '';
  if (series.type !== 'histogram') return digits(latest.value) + name;
  const known = ['count', 'sum', 'min', 'p50', 'p90', 'p99', 'max'].filter((member) => latest[member] !== undefined);
  return known.map((member) => `${member} ${digits(latest[member])}${member === 'count' ? '' : name}`).join(', ');
}

/** A unit as people read it. */
export function unitName(unit) {
  if (!unit || unit === '1') return '';
  return visible(COUNTED.test(unit) ? unit.slice(1, -1) : unit);
}

/** What is measured in a unit: values are written in whatever multiple of it reads best. */
export function measureName(unit) {
  return unit === 'By' ? 'bytes' : SCALED.has(unit) ? 'time' : unitName(unit);
}

/** Attributes as people read them. */
export function attributesText(attributes) {
  if (attributes === null) return '';
  const member = ([key, value]) => `${key}=${typeof value === 'string' ? value : print(value)}`;
  return visible(Object.entries(attributes).map(member).join(' '));
}

/** What a series is called where there are others of its name. */
export function fullName(series) {
  const attributes = attributesText(series.attributes);
  return visible(series.id) + (attributes && ` ${attributes}`);
}
