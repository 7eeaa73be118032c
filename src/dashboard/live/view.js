// The live view: events as they come. This is where its parts are put together.

import { address } from '../address.js';
import { credentials } from '../credentials.js';
import { el } from '../dom.js';
import { count } from '../format.js';
import { notGranted, notNow, nothingMatches, nothingToSee, nothingYet } from './empty.js';
import { FilterBar } from './filter_bar.js';
import { asked, rateOf, read, saysWhich, whatFollows, withExclusion, withParameter, written } from './query.js';
import { Rows } from './rows.js';
import { Seen } from './seen.js';
import { ShareMenu } from './share.js';
import { SidePanel } from './side_panel.js';
import { Stream } from './stream.js';
import { SpokenSummary } from './summary.js';
import { VirtualList } from './virtual_list.js';

/** The hub's answer to a filter that is wrong. */
const BAD_REQUEST = 400;

class LiveView {
  title = 'Live';
  #query = [];
  /** What the stream was begun with. */
  #begunWith = null;
  #rows = new Rows();
  #seen = new Seen();
  #frame = 0;
  /** The end of the rows when the list ceased to follow. */
  #leftAt = 0;
  #emptyShown = '';
  /** What became of the latest attempt to get the stream, until the next one is over. */
  #problem = null;
  #isShown = false;
  #wasSignedIn = credentials.isSignedIn;

  keys = [
    { key: '/', label: 'Filter', run: () => this.bar.focus() },
    { key: ' ', label: 'Pause and resume', run: () => this.#togglePause() },
    { key: 'j', label: 'Next row', run: () => this.#move(1) },
    { key: 'k', label: 'Row before', run: () => this.#move(-1) },
    { key: 'Enter', label: 'All of the event', run: () => this.#open(this.list.selected, { takeFocus: true }) },
    { key: 'Escape', label: 'Close', run: () => this.side.close() },
    { key: 'g', label: 'Oldest row', run: () => this.#move(-Infinity) },
    { key: 'G', label: 'Newest row, and follow', run: () => this.#move(Infinity) },
    // The panel takes these itself; here they are listed.
    { key: 'f', label: 'In an event: only events with this value', run: () => {} },
    { key: 'n', label: 'In an event: hide events with this value', run: () => {} },
  ];

  mount(root, shell) {
    this.shell = shell;
    this.spoken = new SpokenSummary((text) => shell.announce(text));
    this.list = new VirtualList(this.#rows, { changed: () => this.#listChanged(), open: (number) => this.#open(number) });
    this.stream = new Stream({
      rows: this.#rows,
      query: (extent) => asked(this.#query, extent),
      rate: () => rateOf(this.#query),
      changed: () => this.#changed(),
      learn: (text) => this.#learn(text),
      onstate: (state) => this.#stateChanged(state),
    });
    this.bar = new FilterBar({ seen: this.#seen, change: (query) => this.#ask(query) });
    this.side = new SidePanel({
      only: (parameter) => this.#askFromSide(withParameter(this.#query, parameter)),
      hide: (expression) => this.#askFromSide(withExclusion(this.#query, expression)),
      closed: () => this.list.element.focus(),
    });
    this.share = new ShareMenu({ query: () => this.#query, texts: () => this.#rows.texts(), announce: (text) => this.#say(text) });
    root.append(...this.#parts());
    this.list.element.addEventListener('keydown', (event) => this.#pressedInList(event));
    credentials.addEventListener('change', () => this.#whoChanged());
  }

  show(parameters) {
    this.#isShown = true;
    this.#query = read(parameters);
    this.bar.show(this.#query);
    const wanted = asked(this.#query);
    if (wanted === this.#begunWith) this.stream.wake();
    else this.#begin(wanted);
  }

  hide() {
    this.#isShown = false;
    this.spoken.forget();
    this.stream.suspend();
  }

  #begin(wanted) {
    this.#begunWith = wanted;
    this.spoken.forget();
    this.list.select(null);
    this.list.follow();
    this.stream.begin();
  }

  /** What one person saw is not for the next. What is shown to nobody in particular, the next one may see as well. */
  #whoChanged() {
    const wasSomebody = this.#wasSignedIn;
    this.#wasSignedIn = credentials.isSignedIn;
    if (!wasSomebody) return;
    this.side.close();
    this.#seen.forget();
    this.stream.forget();
    this.list.forget();
    if (this.#isShown) this.#begin(this.#begunWith);
    else this.#begunWith = null;
  }

  #parts() {
    this.pauseButton = el('button', { type: 'button', class: 'button-quiet pause-button', 'aria-pressed': 'false', title: 'Space', on: { click: () => this.#togglePause() } }, 'Pause');
    this.waiting = el('span', { class: 'waiting', hidden: true });
    this.empty = el('div', { class: 'stream-empty empty', hidden: true });
    this.jump = el('button', { type: 'button', class: 'button jump', hidden: true, on: { click: () => this.list.follow() } });
    this.counts = el('span', { class: 'live-counts' });
    this.following = el('span', { class: 'live-following' });
    this.status = el('footer', { class: 'live-status' }, this.counts, this.following);
    return [
      el('h1', { class: 'visually-hidden' }, this.title),
      el('div', { class: 'live-bar' }, this.bar.element, el('div', { class: 'live-tools' }, this.waiting, this.pauseButton, this.share.element)),
      el('div', { class: 'live-body' }, el('div', { class: 'stream' }, this.list.element, this.empty, this.jump), this.side.element),
      this.status,
    ];
  }

  /** Has another query: the address tells the view, so that Back does so as well. */
  #ask(query) {
    address.go('live', written(query));
  }

  /** Where the panel covers the list, it makes room for what was asked for. */
  #askFromSide(query) {
    if (matchMedia('(max-width: 640px)').matches) this.side.close();
    this.#ask(query);
  }

  #learn(text) {
    this.#seen.learn(text);
    if (this.stream.isCaughtUp) this.spoken.event(text);
  }

  #togglePause() {
    if (this.stream.isPaused) this.stream.resume();
    else this.stream.pause();
    this.#say(this.stream.isPaused ? 'Paused. The hub keeps what comes.' : 'Resumed');
  }

  #say(text) {
    this.shell.announce(text);
  }

  #move(step) {
    if (step === Infinity) this.list.follow();
    this.list.move(step);
    // The next key is meant for the row, not for a button that was pressed before.
    if (!this.side.element.contains(document.activeElement)) this.list.element.focus({ preventScroll: true });
    if (this.side.isOpen) this.#open(this.list.selected);
  }

  #open(number, { takeFocus = false } = {}) {
    const row = number === null ? null : this.#rows.at(number);
    if (row?.kind !== 'event') return;
    this.side.showEvent(row.text);
    if (takeFocus) this.side.focus();
  }

  #pressedInList(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { page } = this.list;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.#move(step);
  }

  #listChanged() {
    if (!this.list) return;
    if (this.list.following) this.#leftAt = 0;
    else this.#leftAt ||= this.#rows.end;
    this.#changed();
  }

  #stateChanged(state) {
    if (state.phase !== 'connecting') this.#problem = state.problem ?? null;
    this.bar.blame(state.phase === 'refused' && state.problem.status === BAD_REQUEST ? state.problem : null);
    this.shell.state(state);
  }

  /** Something is to be drawn, with the next frame. */
  #changed() {
    this.list.draw();
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#drawRest();
    });
  }

  #drawRest() {
    this.#drawPause();
    this.#drawJump();
    this.#drawStatus();
    this.#drawEmpty();
  }

  #drawPause() {
    const { waiting } = this.stream;
    const isPaused = waiting !== null;
    this.pauseButton.textContent = isPaused ? 'Resume' : 'Pause';
    this.pauseButton.setAttribute('aria-pressed', String(isPaused));
    this.waiting.hidden = !isPaused;
    if (!isPaused) return;
    this.waiting.dataset.events = waiting.events;
    this.waiting.dataset.missed = waiting.missed;
    this.waiting.textContent = `${waiting.isUncertain ? 'at least ' : ''}${count(waiting.total)} waiting`;
  }

  #drawJump() {
    this.list.element.dataset.following = String(this.list.following);
    this.jump.hidden = this.list.following || this.#rows.size === 0;
    const fresh = Math.max(0, this.#rows.end - this.#leftAt);
    this.jump.textContent = fresh > 0 ? `↓ ${count(fresh)} new` : '↓ Newest';
  }

  #drawStatus() {
    const { events, dropped } = this.#rows;
    const { sampling, missed } = this.stream;
    const parts = [
      `${count(events)} ${events === 1 ? 'event' : 'events'}`,
      dropped > 0 ? `${count(dropped)} older ones let go` : null,
      sampling.total > 0 ? `${count(sampling.total)} left out${sampling.isOn ? `, as at most ${rateOf(this.#query)} a second are shown` : ''}` : null,
      missed > 0 ? `${count(missed)} missed` : null,
    ].filter(Boolean);
    Object.assign(this.status.dataset, { shown: events, leftOut: sampling.total, missed, dropped });
    const text = parts.join(' · ');
    if (this.counts.textContent !== text) this.counts.textContent = text;
    const following = whatFollows(this.#query);
    if (this.following.textContent !== following) this.following.textContent = following;
  }

  #drawEmpty() {
    const isEmpty = this.#rows.events === 0 && this.#rows.dropped === 0;
    const { why, nodes } = isEmpty ? this.#whatIsMissing() : { why: '', nodes: null };
    this.empty.hidden = why === '';
    const key = `${why} ${this.#begunWith} ${this.#problem?.detail}`;
    if (why === '' || key === this.#emptyShown) return;
    this.#emptyShown = key;
    this.empty.dataset.why = why;
    this.empty.replaceChildren(...nodes());
  }

  #whatIsMissing() {
    const { state, isCaughtUp } = this.stream;
    if (state.phase === 'signed-out') return { why: 'signed-out', nodes: () => nothingToSee('Not signed in', 'This hub shows its events to those who have a token for it.') };
    if (state.phase === 'refused') return { why: 'refused', nodes: () => notGranted(state.problem) };
    const isTryingAgain = state.phase === 'waiting' || (state.phase === 'connecting' && state.attempt > 0);
    if (isTryingAgain && !isCaughtUp) return { why: 'away', nodes: () => notNow(this.#problem) };
    if (!isCaughtUp) return { why: '', nodes: null };
    if (saysWhich(this.#query)) return { why: 'filter', nodes: () => nothingMatches(this.#query, () => this.#ask([])) };
    return { why: 'none', nodes: nothingYet };
  }
}

export default new LiveView();
