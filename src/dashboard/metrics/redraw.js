// Draws at most once a frame of the screen, however often it is asked, and not at all while nobody sees it.

export class Redraw {
  #draw;
  #asked = false;
  #isShown = false;

  constructor(draw) {
    this.#draw = draw;
  }

  request() {
    if (this.#asked || !this.#isShown) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      if (this.#isShown) this.#draw();
    });
  }

  show() {
    this.#isShown = true;
    this.request();
  }

  hide() {
    this.#isShown = false;
  }
}

/** Sets a text, if it is another: what has not changed costs no layout. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
