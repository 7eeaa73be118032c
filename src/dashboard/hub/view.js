// The hub itself: how it is, what it refuses, who sends to it and who watches.

import { el } from '../dom.js';
import { clock } from '../metrics/axis.js';
import { Redraw, write } from '../metrics/redraw.js';
import { DEFAULT_INTERVAL, metricsSource as source } from '../metrics/source.js';
import { theme } from '../metrics/theme.js';
import { Health } from './health.js';
import { Hubs } from './hubs.js';
import { OwnSeries } from './own.js';
import { Poll } from './poll.js';
import { Refusals } from './refusals.js';
import { Sources } from './sources.js';
import { Subscribers } from './subscribers.js';
import { Tiles } from './tiles.js';

class HubView {
  title = 'Hub';
  keys = [{ key: 'r', label: 'Ask again now', run: () => this.#polls.forEach((poll) => poll.again()) }];
  #shell;
  #isShown = false;
  #parts;
  #own = new OwnSeries(source.store);
  #redraw = new Redraw(() => this.#draw());
  #polls;
  #note = el('p', { class: 'hub-note', role: 'status', hidden: true });

  mount(root, shell) {
    this.#shell = shell;
    const parts = {
      health: new Health(),
      tiles: new Tiles(this.#own, source.store.timeline),
      hubs: new Hubs(this.#own),
      refusals: new Refusals(this.#own),
      sources: new Sources(),
      subscribers: new Subscribers(shell),
    };
    this.#parts = parts;
    this.#polls = [parts.health, parts.sources, parts.subscribers].map((part) => new Poll(() => part.poll()));
    root.append(
      el('h1', { class: 'visually-hidden' }, 'Hub'),
      parts.health.element,
      this.#note,
      parts.hubs.summary,
      parts.tiles.element,
      parts.hubs.element,
      parts.refusals.element,
      parts.sources.element,
      parts.subscribers.element,
    );
    source.addEventListener('frame', () => this.#redraw.request());
    source.addEventListener('state', () => this.#isShown && this.#tellState());
    theme.addEventListener('change', () => this.#redraw.request());
  }

  show() {
    this.#isShown = true;
    // What the other view was refused for its interval is no reason to show nothing here.
    if (source.state.problem?.parameter === 'interval') source.setInterval(DEFAULT_INTERVAL);
    source.acquire(this);
    this.#tellState();
    this.#redraw.show();
    for (const poll of this.#polls) poll.show();
  }

  hide() {
    this.#isShown = false;
    this.#redraw.hide();
    for (const poll of this.#polls) poll.hide();
    source.release(this);
  }

  #tellState() {
    const { state, heardAt } = source;
    this.#shell.state(state);
    const isRefused = state.phase === 'refused' || state.phase === 'signed-out';
    const isStale = state.phase === 'waiting' && heardAt !== null;
    this.#note.hidden = !isRefused && !isStale;
    if (isRefused) write(this.#note, `Without metrics there are no figures: ${state.problem?.detail ?? 'sign in to see them'}.`);
    if (isStale) write(this.#note, `The figures are of ${clock(heardAt)}.`);
    this.#parts.tiles.element.classList.toggle('is-stale', isRefused || isStale);
  }

  #draw() {
    const { tiles, hubs, refusals, sources, subscribers } = this.#parts;
    tiles.draw();
    const isJoined = hubs.draw();
    refusals.draw();
    sources.tellWhose(isJoined);
    subscribers.tellWhose(isJoined);
  }
}

export default new HubView();
