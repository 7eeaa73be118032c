// How values are written for people.

// Controls, what turns the direction of writing, what has no width, and halves of surrogates: shown by their numbers, so that no
// text can pass for another.
const INVISIBLE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]|\p{Cs}|[\u{e0000}-\u{e0fff}]/gu;

/** The text with nothing hidden in it. Newlines and tabs stay if they are asked for. */
export function visible(text, { keepLines = false } = {}) {
  return String(text).replace(INVISIBLE, (character) => {
    if (keepLines && (character === '\n' || character === '\t')) return character;
    const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    return `⟨U+${code}⟩`;
  });
}

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

/** A whole number with its thousands apart. */
export function count(number) {
  return WHOLE.format(number);
}

/** A whole number in a few characters: 12.3K. */
export function shortCount(number) {
  return Math.abs(number) < 10_000 ? WHOLE.format(number) : SHORT.format(number);
}

/** Three digits that matter. */
function significant(number) {
  if (!Number.isFinite(number)) return String(number);
  const size = Math.abs(number);
  if (size >= 10_000) return SHORT.format(number);
  if (size >= 100 || Number.isInteger(number)) return WHOLE.format(number);
  if (size > 0 && size < 0.001) return number.toExponential(1);
  return String(Number(number.toPrecision(3)));
}

/** How many a second. */
export function rate(number) {
  return `${significant(number)}/s`;
}

const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
// UCUM's units of time, in seconds.
const SECONDS = { ns: 1e-9, us: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, d: 86_400 };

const SPELT_OUT = { bytes: 'By', seconds: 's', milliseconds: 'ms', microseconds: 'us', nanoseconds: 'ns' };

/** What UCUM calls a unit that some spell out. */
export function ucum(unit) {
  return unit && Object.hasOwn(SPELT_OUT, unit) ? SPELT_OUT[unit] : unit;
}

/** A value with its unit (UCUM), in whatever multiple of it reads best. */
export function quantity(value, unit) {
  const number = Number(value);
  if (unit === 'By') return bytes(number);
  if (unit && Object.hasOwn(SECONDS, unit)) return duration(number * SECONDS[unit] * 1000);
  if (unit === '%') return `${significant(number)} %`;
  // A unit in braces is an annotation, which counts what it names.
  const name = unit && unit !== '1' ? unit.replace(/^\{(.*)\}$/, '$1') : '';
  return name ? `${significant(number)} ${name}` : significant(number);
}

function bytes(number) {
  let [size, unit] = [number, 0];
  while (Math.abs(size) >= 1024 && unit < BYTES.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${significant(size)} ${BYTES[unit]}`;
}

/** Milliseconds, as a length of time. */
export function duration(milliseconds) {
  if (milliseconds < 0) return `-${duration(-milliseconds)}`;
  if (milliseconds === 0) return '0 s';
  if (milliseconds < 0.001) return `${significant(milliseconds * 1e6)} ns`;
  if (milliseconds < 1) return `${significant(milliseconds * 1000)} µs`;
  if (milliseconds < 1000) return `${significant(milliseconds)} ms`;
  if (milliseconds < 59_950) return `${significant(milliseconds / 1000)} s`;
  const seconds = Math.round(milliseconds / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return `${minutes} min ${seconds % 60} s`;
}

/** How long ago a time (RFC 3339) was. */
export function age(time) {
  return duration(Math.max(0, Math.floor((Date.now() - Date.parse(time)) / 1000)) * 1000);
}
