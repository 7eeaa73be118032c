// Where the lines of a chart's axes go: at times and values that people count in, and no closer than can be read.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIME_STEPS = [
  ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR),
  ...[1, 2, 7, 14, 28].map((days) => days * DAY),
];
const UNIT_SECONDS = { ns: 1e-9, us: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, d: 86_400 };
/** Values are written with three digits: lines closer than this part of them would bear the same. */
const MIN_STEP = 1 / 100;

/** The times to mark between two, `most` of them at most. */
export function timeTicks(from, to, most) {
  const step = TIME_STEPS.find((candidate) => (to - from) / candidate <= most) ?? (to - from) / most;
  // Whole hours and days are those of the clock on the wall.
  const shift = new Date(to).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let tick = Math.ceil((from - shift) / step) * step + shift; tick <= to; tick += step) ticks.push(tick);
  return { step, ticks };
}

const pad = (number, width = 2) => String(number).padStart(width, '0');

/** A time of day, as fine as the step between two needs. */
export function clock(time, step = SECOND) {
  const date = new Date(time);
  const minutes = `${pad(date.getHours())}:${pad(date.getMinutes())}`;
  if (step >= DAY) return `${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  if (step >= MINUTE) return minutes;
  const seconds = `${minutes}:${pad(date.getSeconds())}`;
  return step >= SECOND ? seconds : `${seconds}.${pad(date.getMilliseconds(), 3).slice(0, 1)}`;
}

/** The range of values to show, and where its lines go. Without a single value, from 0 to 1. */
export function valueAxis(lowest, highest, unit, most) {
  let [low, high] = Number.isFinite(lowest) && Number.isFinite(highest) ? [lowest, highest] : [0, 1];
  if (low >= 0 && (low === high || low < high / 2)) low = 0;
  if (high <= 0 && (low === high || high > low / 2)) high = 0;
  const largest = Math.max(Math.abs(low), Math.abs(high));
  if (largest === 0) high = 1;
  const step = niceStep(Math.max((high - low) / most, largest * MIN_STEP), unit);
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step), first + 1);
  const ticks = [];
  for (let index = first; index <= last; index += 1) ticks.push(index * step);
  return { low: first * step, high: last * step, ticks };
}

/** The smallest step of those that people count this unit in, and no smaller than `least`. */
function niceStep(least, unit) {
  if (unit === 'By') return least <= 1 ? 1 : 2 ** Math.ceil(Math.log2(least));
  const seconds = Object.hasOwn(UNIT_SECONDS, unit) ? UNIT_SECONDS[unit] : null;
  if (seconds !== null && least * seconds >= 1) {
    const milliseconds = least * seconds * SECOND;
    const step = TIME_STEPS.find((candidate) => candidate >= milliseconds);
    if (step !== undefined) return step / SECOND / seconds;
  }
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9)) * power;
}
