// Times as their sources wrote them: no digit of a second is lost, neither in what is shown nor in what is compared.

const INSTANT = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:\d{2})$/i;
const DIGITS = 9;

function read(text) {
  const match = typeof text === 'string' ? INSTANT.exec(text) : null;
  if (!match) return null;
  const seconds = Date.parse(match[1] + match[3].toUpperCase());
  return Number.isNaN(seconds) ? null : { seconds, fraction: match[2] ?? '' };
}

/** Nanoseconds since 1970, exactly; null if the text is no time. */
export function nanoseconds(text) {
  const instant = read(text);
  if (!instant) return null;
  const fraction = BigInt(instant.fraction.slice(0, DIGITS).padEnd(DIGITS, '0'));
  return BigInt(instant.seconds) * 1_000_000n + fraction;
}

const pad = (number) => String(number).padStart(2, '0');
const dateOf = (day) => `${day.getFullYear()}-${pad(day.getMonth() + 1)}-${pad(day.getDate())}`;

/** The time of day where the reader is, with all digits; the date before it, if it is not today's. */
export function clock(text, now = new Date()) {
  const instant = read(text);
  if (!instant) return String(text ?? '');
  const day = new Date(instant.seconds);
  const time = `${pad(day.getHours())}:${pad(day.getMinutes())}:${pad(day.getSeconds())}`;
  const precise = instant.fraction ? `${time}.${instant.fraction}` : time;
  return dateOf(day) === dateOf(now) ? precise : `${dateOf(day).slice(5)} ${precise}`;
}

/** The same with its date and the reader's distance from UTC. */
export function fullTime(text) {
  const instant = read(text);
  if (!instant) return String(text ?? '');
  const day = new Date(instant.seconds);
  const offset = -day.getTimezoneOffset();
  const sign = offset < 0 ? '-' : '+';
  const zone = `UTC${sign}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}`;
  const time = `${pad(day.getHours())}:${pad(day.getMinutes())}:${pad(day.getSeconds())}`;
  return `${dateOf(day)} ${time}${instant.fraction ? `.${instant.fraction}` : ''} ${zone}`;
}
