// One chart: the canvas, and the crosshair by pointer, finger and keys. To those who do not see it, it is a slider through time that
// tells the values.

import { el } from '../dom.js';
import { clock } from './axis.js';
import { drawPlot } from './plot.js';

const FAR = 10;

export class Chart {
  #canvas = el('canvas', { 'aria-hidden': 'true' });
  #crosshair;
  #size = { width: 0, height: 0 };
  #area = null;
  #model = null;
  #isInSight = true;

  /** `ondirty` is called when it has to be drawn again. */
  constructor(crosshair, ondirty) {
    this.#crosshair = crosshair;
    this.element = el(
      'div',
      {
        class: 'chart-plot',
        tabindex: '0',
        role: 'slider',
        'aria-orientation': 'horizontal',
        on: {
          pointermove: (event) => this.#point(event),
          pointerdown: (event) => this.#point(event),
          pointerleave: (event) => event.pointerType === 'mouse' && crosshair.set(null),
          keydown: (event) => this.#press(event),
          blur: () => crosshair.set(null),
        },
      },
      this.#canvas,
    );
    new ResizeObserver(([{ contentRect }]) => {
      this.#size = { width: contentRect.width, height: contentRect.height };
      ondirty();
    }).observe(this.element);
    new IntersectionObserver(([{ isIntersecting }]) => {
      this.#isInSight = isIntersecting;
      if (isIntersecting) ondirty();
    }).observe(this.element);
  }

  /** `told` says what is seen at the moment that is looked at. */
  draw(model, { label, told }) {
    this.#model = model;
    if (this.#isInSight) this.#area = drawPlot(this.#canvas, this.#size, model);
    const { timeline } = model;
    const at = model.at ?? timeline.current;
    this.#set('aria-label', label);
    this.#set('aria-valuemin', String(timeline.oldest));
    this.#set('aria-valuemax', String(Math.max(timeline.current, 0)));
    this.#set('aria-valuenow', String(Math.max(at, 0)));
    this.#set('aria-valuetext', at < 0 ? 'nothing yet' : `${clock(timeline.time(at))}: ${told}`);
  }

  #set(name, value) {
    if (this.element.getAttribute(name) !== value) this.element.setAttribute(name, value);
  }

  #point(event) {
    if (this.#area === null) return;
    const { left, right, from, to } = this.#area;
    const place = (event.clientX - this.element.getBoundingClientRect().left - left) / (right - left);
    const { timeline } = this.#model;
    this.#crosshair.set(timeline.nearest(from + Math.min(1, Math.max(0, place)) * (to - from), timeline.since(from)));
  }

  #press(event) {
    const { timeline, from } = this.#model ?? {};
    if (timeline === undefined || timeline.current < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const [first, last] = [timeline.since(from), timeline.current];
    const at = this.#crosshair.frame ?? last;
    const target = {
      ArrowLeft: at - 1,
      ArrowDown: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at + 1,
      PageDown: at - FAR,
      PageUp: at + FAR,
      Home: first,
      End: last,
    }[event.key];
    if (target === undefined && (event.key !== 'Escape' || this.#crosshair.frame === null)) return;
    event.preventDefault();
    this.#crosshair.set(target === undefined ? null : Math.min(last, Math.max(first, target)));
  }
}
