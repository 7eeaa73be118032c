// Which series are those of the hub that sent this page. One that is joined to others shows theirs as well, each with the attribute `hub`;
// which of them it is itself, `hub.here` says.

import { keyOf } from '../metrics/series.js';

export class Own {
  #store;
  #version = -1;
  #hub = null;

  constructor(store) {
    this.#store = store;
  }

  /** The hub's own series of that name. */
  get(id) {
    const hub = this.#name();
    return this.#store.get(keyOf(hub === null ? { id } : { id, attributes: { hub } }));
  }

  /** Whether a series is one of the hub's own, if its name is. */
  has({ attributes }) {
    const hub = this.#name();
    if (hub === null) return attributes === null;
    return attributes !== null && attributes.hub === hub && Object.keys(attributes).length === 1;
  }

  #name() {
    if (this.#version !== this.#store.version) {
      this.#version = this.#store.version;
      this.#hub = this.#store.current().find(({ id }) => id === 'hub.here')?.attributes?.hub ?? null;
    }
    return this.#hub;
  }
}
