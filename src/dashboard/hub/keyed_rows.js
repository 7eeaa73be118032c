// The rows of a table that is told anew every few seconds: who is in it keeps its row, so that focus and selection stay where they are.

export class KeyedRows {
  #body;
  #make;
  #rows = new Map();

  /** `make(item)` gives a row: its `element`, and `show(item)`, which tells it what is new. */
  constructor(body, make) {
    this.#body = body;
    this.#make = make;
  }

  /** Shows these items, each with its key, in this order. */
  show(items) {
    const rows = new Map(items.map(([key, item]) => [key, this.#rows.get(key) ?? this.#make(item)]));
    for (const [key, item] of items) rows.get(key).show(item);
    for (const [key, row] of this.#rows) if (!rows.has(key)) row.element.remove();
    let place = this.#body.firstElementChild;
    for (const { element } of rows.values()) {
      if (element === place) place = place.nextElementSibling;
      else this.#body.insertBefore(element, place);
    }
    this.#rows = rows;
  }

  /** The place of a key in the order; -1 if it is not there. */
  indexOf(key) {
    return [...this.#rows.keys()].indexOf(key);
  }
}
