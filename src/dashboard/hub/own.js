// What hubs tell of themselves: one that is alone without a name, those that are joined to others each with its name as the attribute `hub`.

/** What hubs' own names begin with. */
const OWN = /^(?:server|hub|queue)\./;
/** Only a hub that is meant to be joined to others has this. */
const JOINED = 'hub.transport.joined';
/** The hub that sends all this says so, and is not told of others. */
const HERE = 'hub.here';
/** A hub that is heard of no more is told of for so long, in milliseconds: long enough to be noticed. */
const TOLD_OF = 300_000;

export class OwnSeries {
  #store;
  #version = -1;
  /** By their names, then by those of the hubs. */
  #series = new Map();

  constructor(store) {
    this.#store = store;
  }

  /** The names of all of them. */
  ids() {
    this.#find();
    return [...this.#series.keys()];
  }

  /** What each hub said last under a name, as `[hub, series]`; those that are silent are left out. */
  now(id) {
    this.#find();
    return [...(this.#series.get(id) ?? [])].filter(([, series]) => this.#isNow(series));
  }

  /** What one hub said last under a name. */
  of(hub, id) {
    const series = this.#series.get(id)?.get(hub);
    return series !== undefined && this.#isNow(series) ? series : null;
  }

  /** The joined hubs, by name: `{ name, isHere, silentSince }`, which is null for those that are heard of. */
  hubs() {
    this.#find();
    const { timeline, lastSent } = this.#store;
    const all = [...(this.#series.get(JOINED) ?? [])].filter(([name]) => name !== null);
    const hubs = all.map(([name, series]) => ({
      name,
      isHere: this.of(name, HERE) !== null,
      silentSince: this.#isNow(series) ? null : timeline.time(series.frame),
    }));
    const isToldOf = ({ silentSince }) => silentSince === null || timeline.time(lastSent) - silentSince < TOLD_OF;
    return hubs.filter(isToldOf).sort((one, other) => one.name.localeCompare(other.name, 'en', { numeric: true }));
  }

  /** What all hubs together had at each frame. */
  history(id) {
    const histories = [...(this.#series.get(id)?.values() ?? [])].map((series) => series.history(series.columns[0]));
    return { at: (frame) => sumOfKnown(histories.map((history) => history.at(frame))) };
  }

  #isNow(series) {
    return series.frame === this.#store.lastSent;
  }

  #find() {
    if (this.#version === this.#store.version) return;
    this.#version = this.#store.version;
    this.#series = new Map();
    for (const series of this.#store.values()) {
      const hub = hubOf(series);
      if (hub === undefined) continue;
      if (!this.#series.has(series.id)) this.#series.set(series.id, new Map());
      this.#series.get(series.id).set(hub, series);
    }
  }
}

/** The name of the hub that tells this of itself, null for one that is alone; undefined if it is no hub's own. */
function hubOf({ id, attributes }) {
  if (!OWN.test(id)) return undefined;
  if (attributes === null) return null;
  const isName = typeof attributes.hub === 'string' && Object.keys(attributes).length === 1;
  return isName ? attributes.hub : undefined;
}

/** The sum of those that are numbers; NaN if none is. */
export function sumOfKnown(values) {
  const known = values.filter((value) => value !== null && !Number.isNaN(value));
  return known.length === 0 ? NaN : known.reduce((all, value) => all + value, 0);
}

/** The sum of totals; of whole ones to the last digit. */
export function sumOfTotals(totals) {
  if (totals.length === 1) return totals[0];
  const texts = totals.map(String);
  if (texts.every((text) => /^-?\d+$/.test(text))) return texts.reduce((all, text) => all + BigInt(text), 0n);
  return totals.reduce((all, total) => all + Number(total), 0);
}
