// A canvas with as many pixels as the screen has where it stands.

/** Fits the canvas to its place, and gives what to draw with, in the units of the page; null if there is no place. */
export function prepare(canvas, { width, height }) {
  if (width === 0 || height === 0) return null;
  const ratio = devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
