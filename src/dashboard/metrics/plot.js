// Draws one chart on a canvas: its axes, its lines, and the crosshair.

import { clock, timeTicks, valueAxis } from './axis.js';
import { prepare } from './canvas.js';
import { addShape, colourOf, dashOf } from './marks.js';
import { theme } from './theme.js';

const BOTTOM = 20;
const TOP = 10;
const RIGHT = 10;
const TICK_WIDTH = 66;
const TICK_HEIGHT = 38;

/**
 * `model`: the `timeline`, the times `from` and `to`, the `lines` (`history`, `slot`, `column`, `isFaint`), the `unit`, how a value is
 * `written`, and the frame that is looked `at`, if any. Gives the area that the lines are in, for the pointer.
 */
export function drawPlot(canvas, size, model) {
  const context = prepare(canvas, size);
  if (context === null) return null;
  context.font = theme.colours.font;
  const axis = valueAxis(...range(model), model.unit, Math.max(2, Math.floor((size.height - TOP - BOTTOM) / TICK_HEIGHT)));
  const labels = axis.ticks.map(model.written);
  const left = Math.ceil(Math.max(28, ...labels.map((label) => context.measureText(label).width))) + 16;
  const area = { left, right: size.width - RIGHT, top: TOP, bottom: size.height - BOTTOM, from: model.from, to: model.to };
  const x = (time) => area.left + ((time - model.from) / (model.to - model.from)) * (area.right - area.left);
  const y = (value) => area.bottom - ((value - axis.low) / (axis.high - axis.low)) * (area.bottom - area.top);
  drawValueAxis(context, area, axis.ticks, labels, y);
  drawTimeAxis(context, area, x);
  context.save();
  context.beginPath();
  context.rect(area.left - 5, 0, area.right - area.left + 10, size.height);
  context.clip();
  for (const line of model.lines) drawLine(context, line, model, { x, y });
  context.restore();
  if (model.at !== null) drawCrosshair(context, area, model, { x, y });
  return area;
}

/** The frames to draw: one more than lies in the area, so that lines come in from its left. */
function frames({ timeline, from }) {
  return [Math.max(timeline.oldest, timeline.since(from) - 1), timeline.current];
}

function range(model) {
  let [low, high] = [Infinity, -Infinity];
  const [first, last] = frames(model);
  for (const { history } of model.lines) {
    for (let frame = first; frame <= last; frame += 1) {
      const value = history.at(frame);
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return [low, high];
}

function drawValueAxis(context, area, ticks, labels, y) {
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  ticks.forEach((tick, index) => {
    const at = Math.round(y(tick)) + 0.5;
    context.strokeStyle = index === 0 ? theme.colours.faint : theme.colours.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(area.left, at);
    context.lineTo(area.right, at);
    context.stroke();
    context.fillStyle = theme.colours.soft;
    context.fillText(labels[index], area.left - 8, at);
  });
}

function drawTimeAxis(context, area, x) {
  const { step, ticks } = timeTicks(area.from, area.to, Math.max(2, Math.floor((area.right - area.left) / TICK_WIDTH)));
  context.textAlign = 'center';
  context.textBaseline = 'alphabetic';
  context.fillStyle = theme.colours.soft;
  for (const tick of ticks) {
    const label = clock(tick, step);
    const half = context.measureText(label).width / 2;
    // A label that would leave the canvas is left out: its neighbours tell enough.
    if (x(tick) + half > area.right + RIGHT || x(tick) - half < area.left - 8) continue;
    context.fillRect(Math.round(x(tick)), area.bottom, 1, 3);
    context.fillText(label, x(tick), area.bottom + 15);
  }
}

function drawLine(context, { history, slot, column, isFaint }, model, { x, y }) {
  const colour = colourOf(slot, theme.colours);
  context.globalAlpha = isFaint ? 0.2 : 1;
  context.strokeStyle = colour;
  context.fillStyle = colour;
  context.lineWidth = 1.5;
  context.lineJoin = 'round';
  context.setLineDash(dashOf(slot, column));
  context.beginPath();
  const marks = [];
  let before = null;
  const [first, last] = frames(model);
  for (let frame = first; frame <= last; frame += 1) {
    const value = history.at(frame);
    if (Number.isNaN(value)) {
      before = null;
      continue;
    }
    const point = [x(model.timeline.time(frame)), y(value)];
    if (before === null) context.moveTo(...point);
    else context.lineTo(...point);
    // A point with nothing beside it would not be seen.
    const isAlone = before === null && Number.isNaN(history.at(frame + 1));
    if (isAlone || isMarked(frame, slot, model)) marks.push(point);
    before = point;
  }
  context.stroke();
  context.setLineDash([]);
  context.beginPath();
  for (const [markX, markY] of marks) addShape(context, slot, markX, markY, 3);
  context.fill();
  context.globalAlpha = 1;
}

/** Whether a line's shape stands at this frame: at the latest, and at distances that keep the shapes of several lines apart. */
function isMarked(frame, slot, { timeline, from, to }) {
  if (frame === timeline.current) return true;
  const seconds = (to - from) / 1000 / 8;
  const place = (time) => Math.floor(time / 1000 / seconds + slot / 5);
  return place(timeline.time(frame)) !== place(timeline.time(frame - 1));
}

function drawCrosshair(context, area, model, { x, y }) {
  const at = x(model.timeline.time(model.at));
  if (!(at >= area.left - 1 && at <= area.right + 1)) return;
  context.strokeStyle = theme.colours.ink;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(Math.round(at) + 0.5, area.top);
  context.lineTo(Math.round(at) + 0.5, area.bottom);
  context.stroke();
  for (const { history, slot } of model.lines) {
    const value = history.at(model.at);
    if (Number.isNaN(value)) continue;
    context.beginPath();
    addShape(context, slot, at, y(value), 4.5);
    context.fillStyle = colourOf(slot, theme.colours);
    context.fill();
    context.strokeStyle = theme.colours.surface;
    context.stroke();
  }
}
