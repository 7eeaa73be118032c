// Where in the page one is: the fragment of its URL holds the view and what it asks the hub for, `#live?level=warn`. So a URL can be
// shared, Back works, and no server on the way learns the filter.

const DEFAULT_VIEW = 'live';

class Address extends EventTarget {
  #shown = null;

  constructor() {
    super();
    addEventListener('hashchange', () => this.#changed());
    addEventListener('popstate', () => this.#changed());
  }

  get view() {
    return this.#parts()[0] || DEFAULT_VIEW;
  }

  /** What the view asks for, as a copy. */
  get parameters() {
    return new URLSearchParams(this.#parts()[1]);
  }

  /** Goes to a view. A change in small steps replaces what it changes, so that Back does not go through all of them. */
  go(view, parameters = new URLSearchParams(), { replace = false } = {}) {
    const url = this.href(view, parameters);
    if (url === location.hash) return;
    if (replace) history.replaceState(null, '', url);
    else history.pushState(null, '', url);
    this.#changed();
  }

  /** What a link to a view says. */
  href(view, parameters = new URLSearchParams()) {
    const query = readable(parameters);
    return query ? `#${view}?${query}` : `#${view}`;
  }

  #parts() {
    const fragment = location.hash.slice(1);
    const mark = fragment.indexOf('?');
    return mark < 0 ? [fragment, ''] : [fragment.slice(0, mark), fragment.slice(mark + 1)];
  }

  #changed() {
    if (location.hash === this.#shown) return;
    this.#shown = location.hash;
    this.dispatchEvent(new Event('change'));
  }
}

/** A query string in which what needs no escape in a fragment has none. */
function readable(parameters) {
  return parameters.toString().replaceAll('%2F', '/').replaceAll('%3A', ':').replaceAll('%2C', ',');
}

export const address = new Address();
