// The colours of the style sheet, for what is drawn on a canvas.

const dark = matchMedia('(prefers-color-scheme: dark)');

class Theme extends EventTarget {
  #colours = null;

  constructor() {
    super();
    dark.addEventListener('change', () => {
      this.#colours = null;
      this.dispatchEvent(new Event('change'));
    });
  }

  get colours() {
    this.#colours ??= read();
    return this.#colours;
  }
}

function read() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    line: colour('line'),
    ink: colour('ink'),
    soft: colour('ink-soft'),
    faint: colour('ink-faint'),
    surface: colour('surface'),
    accent: colour('accent'),
    font: `11px ${colour('sans')}`,
    series: Array.from({ length: 8 }, (_, index) => colour(`series-${index + 1}`)),
  };
}

export const theme = new Theme();
