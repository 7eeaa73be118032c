// How the lines of a chart are told apart: by colour, and without it by the shapes that stand along them; the percentiles of one
// series by their dashes.

export const MOST_LINES = 12;
const COLOURS = 8;
const DASHES = { value: [], rate: [], p50: [], p90: [6, 3], p99: [1.5, 3] };
const SECOND_ROUND = [9, 3, 2, 3];

/** Paths round the middle of a shape of this radius. */
const SHAPES = [
  (path, x, y, r) => path.arc(x, y, r, 0, 2 * Math.PI),
  (path, x, y, r) => polygon(path, [[x - r, y - r], [x + r, y - r], [x + r, y + r], [x - r, y + r]]),
  (path, x, y, r) => polygon(path, [[x, y - r * 1.2], [x + r * 1.2, y + r], [x - r * 1.2, y + r]]),
  (path, x, y, r) => polygon(path, [[x, y - r * 1.4], [x + r * 1.4, y], [x, y + r * 1.4], [x - r * 1.4, y]]),
  (path, x, y, r) => polygon(path, [[x, y + r * 1.2], [x + r * 1.2, y - r], [x - r * 1.2, y - r]]),
  (path, x, y, r) => polygon(path, [[x - r * 1.5, y - r / 2], [x + r * 1.5, y - r / 2], [x + r * 1.5, y + r / 2], [x - r * 1.5, y + r / 2]]),
  (path, x, y, r) => polygon(path, [[x - r / 2, y - r * 1.5], [x + r / 2, y - r * 1.5], [x + r / 2, y + r * 1.5], [x - r / 2, y + r * 1.5]]),
  (path, x, y, r) => polygon(path, [[x - r, y], [x - r / 2, y - r], [x + r / 2, y - r], [x + r, y], [x + r / 2, y + r], [x - r / 2, y + r]]),
];

function polygon(path, [first, ...others]) {
  path.moveTo(...first);
  for (const corner of others) path.lineTo(...corner);
  path.closePath();
}

export function colourOf(slot, theme) {
  return theme.series[slot % COLOURS];
}

export function dashOf(slot, column) {
  const dash = DASHES[column];
  return dash.length === 0 && slot >= COLOURS && column !== 'p50' ? SECOND_ROUND : dash;
}

/** Adds the shape of a line to a path: a canvas's, or a Path2D. */
export function addShape(path, slot, x, y, radius) {
  path.moveTo(x + (slot % SHAPES.length === 0 ? radius : 0), y);
  SHAPES[slot % SHAPES.length](path, x, y, radius);
}

/** Slots for the series of a chart: who had one keeps it, so that no line changes its colour. */
export function assignSlots(series, before) {
  const slots = new Map();
  const free = new Set(Array.from({ length: MOST_LINES }, (_, slot) => slot));
  for (const { key } of series) {
    if (!before.has(key)) continue;
    slots.set(key, before.get(key));
    free.delete(before.get(key));
  }
  for (const { key } of series) {
    if (slots.has(key)) continue;
    const [slot] = free;
    slots.set(key, slot);
    free.delete(slot);
  }
  return slots;
}
