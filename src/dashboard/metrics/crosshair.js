// The moment that is looked at, the same in all charts. It is a frame, not a place: as the charts move on, it goes with them.

export class Crosshair extends EventTarget {
  frame = null;

  set(frame) {
    if (frame === this.frame) return;
    this.frame = frame;
    this.dispatchEvent(new Event('change'));
  }
}
