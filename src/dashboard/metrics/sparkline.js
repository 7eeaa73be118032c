// The latest values of a series as a small line without axes.

import { prepare } from './canvas.js';
import { theme } from './theme.js';

const POINTS = 60;

export function drawSparkline(canvas, size, history, timeline) {
  const context = prepare(canvas, size);
  if (context === null || !history) return;
  const { width, height } = size;
  const last = timeline.current;
  const first = Math.max(timeline.oldest, last - POINTS + 1);
  const [low, high] = range(history, first, last);
  if (low > high) return;
  // A line that does not move lies at the bottom if it is zero, else in the middle.
  const span = high - low;
  const x = (frame) => width - 2 - ((last - frame) * (width - 4)) / (POINTS - 1);
  const y = (value) => (span > 0 ? height - 2 - ((value - low) / span) * (height - 4) : low === 0 ? height - 2 : height / 2);
  context.strokeStyle = theme.colours.accent;
  context.fillStyle = theme.colours.accent;
  context.lineWidth = 1.25;
  context.beginPath();
  let isDown = false;
  let end = null;
  for (let frame = first; frame <= last; frame += 1) {
    const value = history.at(frame);
    if (Number.isNaN(value)) {
      isDown = false;
      continue;
    }
    end = [x(frame), y(value)];
    if (isDown) context.lineTo(...end);
    else context.moveTo(...end);
    isDown = true;
  }
  context.stroke();
  context.beginPath();
  context.arc(...end, 1.75, 0, 2 * Math.PI);
  context.fill();
}

function range(history, first, last) {
  let [low, high] = [Infinity, -Infinity];
  for (let frame = first; frame <= last; frame += 1) {
    const value = history.at(frame);
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
