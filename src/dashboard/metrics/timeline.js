// When each frame came, and the values of one series at each frame. Both hold the latest frames only.
//
// All series share the numbers of the frames, so that a chart needs one time for all of them, and a frame that lacks a series is a
// gap in that series alone. A stream that was interrupted is a frame without any: a gap in all.

/** How many frames are kept. */
export const KEPT_FRAMES = 600;

/** The times of the frames, by their numbers: 0 is the first that came. */
export class Timeline {
  #times = new Float64Array(KEPT_FRAMES);
  /** The number of the latest frame. */
  current = -1;

  push(time) {
    this.current += 1;
    this.#times[this.current % KEPT_FRAMES] = time;
    return this.current;
  }

  get oldest() {
    return Math.max(0, this.current - KEPT_FRAMES + 1);
  }

  time(frame) {
    return frame !== null && frame >= this.oldest && frame <= this.current ? this.#times[frame % KEPT_FRAMES] : NaN;
  }

  /** The first frame that is not before this time; one after the latest, if all are. */
  since(time) {
    let [low, high] = [this.oldest, this.current + 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.time(middle) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The frame that came closest to this time, of those since `first`; null if there are none. */
  nearest(time, first = this.oldest) {
    const after = this.since(time);
    const candidates = [after - 1, after].filter((frame) => frame >= first && frame <= this.current);
    const distance = (frame) => Math.abs(this.time(frame) - time);
    return candidates.length === 0 ? null : candidates.reduce((one, other) => (distance(other) < distance(one) ? other : one));
  }
}

/** The values of one series by frame, NaN where it has none. It grows with what comes, up to a limit. */
export class History {
  #values = new Float64Array(16).fill(NaN);
  #limit;
  #first = 0;
  #last = -1;

  constructor(limit) {
    this.#limit = limit;
  }

  put(frame, value) {
    if (this.#last < 0) this.#first = frame;
    if (frame - this.#first >= this.#values.length && this.#values.length < this.#limit) this.#resize();
    const size = this.#values.length;
    for (let missed = Math.max(this.#last + 1, frame - size + 1); missed < frame; missed += 1) this.#values[missed % size] = NaN;
    this.#values[frame % size] = value;
    this.#last = frame;
    this.#first = Math.max(this.#first, frame - size + 1);
  }

  at(frame) {
    return frame >= this.#first && frame <= this.#last ? this.#values[frame % this.#values.length] : NaN;
  }

  /** From now on it may keep so many. */
  extend(limit) {
    this.#limit = Math.max(this.#limit, limit);
  }

  #resize() {
    const values = new Float64Array(Math.min(this.#limit, this.#values.length * 2)).fill(NaN);
    for (let frame = this.#first; frame <= this.#last; frame += 1) values[frame % values.length] = this.at(frame);
    this.#values = values;
  }
}
