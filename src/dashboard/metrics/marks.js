// How the lines of a chart are told apart: by colour, and without it by the shapes that stand along them; the percentiles of one
// series by their dashes.

export const MOST_LINES = 12;
const COLOURS = 8;
const DASHES = { value: [], rate: [], p50: [], p90: [6, 3], p99: [1.5, 3] };
const SECOND_ROUND = [9, 3, 2, 3];

/** The corners of the shapes, in parts of their radius from their middle. The first has none: it is a circle. */
const SHAPES = [
  '',
  '-1 -1, 1 -1, 1 1, -1 1',
  '0 -1.2, 1.2 1, -1.2 1',
  '0 -1.4, 1.4 0, 0 1.4, -1.4 0',
  '0 1.2, 1.2 -1, -1.2 -1',
  '-1.5 -0.5, 1.5 -0.5, 1.5 0.5, -1.5 0.5',
  '-0.5 -1.5, 0.5 -1.5, 0.5 1.5, -0.5 1.5',
  '-1.1 0, -0.5 -1, 0.5 -1, 1.1 0, 0.5 1, -0.5 1',
].map((corners) => corners.split(', ').map((corner) => corner.split(' ').map(Number)));

export function colourOf(slot, theme) {
  return theme.series[slot % COLOURS];
}

export function dashOf(slot, column) {
  const dash = DASHES[column];
  return dash.length === 0 && slot >= COLOURS && column !== 'p50' ? SECOND_ROUND : dash;
}

/** Adds the shape of a line to a path: to that of a canvas, or to what takes the same. */
export function addShape(path, slot, x, y, radius) {
  const corners = SHAPES[slot % SHAPES.length];
  if (corners.length === 1) {
    path.moveTo(x + radius, y);
    path.arc(x, y, radius, 0, 2 * Math.PI);
    return;
  }
  const [[firstX, firstY], ...others] = corners;
  path.moveTo(x + firstX * radius, y + firstY * radius);
  for (const [cornerX, cornerY] of others) path.lineTo(x + cornerX * radius, y + cornerY * radius);
  path.closePath();
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
