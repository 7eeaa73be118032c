// The metrics: charts of what is picked, and a table of everything. What is shown stands in the address, and comes from there.

import { address } from '../address.js';
import { el } from '../dom.js';
import { visible } from '../format.js';
import { fullName } from './amount.js';
import { clock } from './axis.js';
import { ChartCard } from './chart_card.js';
import { Crosshair } from './crosshair.js';
import { IntervalControl } from './interval.js';
import { Picker } from './picker.js';
import { Redraw, write } from './redraw.js';
import { WINDOWS, readRequest, writeRequest } from './request.js';
import { exactPattern, matcher } from './selection.js';
import { metricsSource as source } from './source.js';
import { SeriesTable } from './table.js';
import { theme } from './theme.js';
import { Welcome } from './welcome.js';

const NEW_CHART = 'new';
const WINDOW_NAMES = { '1m': '1 min', '5m': '5 min', '15m': '15 min', '1h': '1 h', all: 'all kept' };

class MetricsView {
  title = 'Metrics';
  keys = [
    { key: '/', label: 'Filter the table of series', run: () => this.#table.focusFilter() },
    { key: 'a', label: 'Add a chart', run: () => this.#picker.focus() },
    { key: 'i', label: 'Interval', run: () => this.#interval.focus() },
  ];
  #shell;
  #request = readRequest(new URLSearchParams());
  #isShown = false;
  #isCharted = () => false;
  #cards = [];
  #crosshair = new Crosshair();
  // Scrolling the table need not draw the charts, nor a look along the charts the table.
  #redraw = new Redraw(() => this.#cards.forEach((card) => card.draw(this.#request.window)));
  #redrawTable = new Redraw(() => this.#table.draw());
  #picker;
  #interval;
  #window;
  #target;
  #note = el('p', { class: 'metrics-note', role: 'status', hidden: true });
  #charts = el('div', { class: 'charts' });
  #table;
  #welcome;

  mount(root, shell) {
    this.#shell = shell;
    this.#interval = new IntervalControl((interval) => this.#change({ interval }));
    this.#picker = new Picker({
      store: source.store,
      label: 'Add a chart: a name, a group or a glob',
      placeholder: 'Add a chart: smtp.*, server.memory …',
      onpick: (pattern) => this.#change({ charts: [...this.#request.charts, [pattern]] }),
    });
    this.#window = this.#windowControl();
    this.#target = el('select', { class: 'field', id: 'series-target' });
    this.#table = new SeriesTable({
      store: source.store,
      redraw: this.#redrawTable,
      onpick: (series) => this.#pick(series),
      isCharted: (series) => this.#isCharted(series),
      tools: el('div', { class: 'control' }, el('label', { for: 'series-target' }, 'A click adds to'), this.#target),
    });
    this.#welcome = new Welcome();
    const bar = el(
      'header',
      { class: 'metrics-bar' },
      el('h1', { class: 'visually-hidden' }, 'Metrics'),
      this.#picker.element,
      this.#interval.element,
      el('div', { class: 'control' }, el('label', { for: 'window' }, 'Window'), this.#window),
    );
    root.append(bar, this.#note, this.#charts, this.#welcome.element, this.#table.element);
    this.#listen();
  }

  show(parameters) {
    this.#request = readRequest(parameters);
    this.#isShown = true;
    source.setInterval(this.#request.interval);
    source.acquire(this);
    this.#interval.show(this.#request.interval);
    this.#window.value = this.#request.window;
    this.#showCards();
    this.#tellState();
    this.#welcome.show(source.store);
    this.#redraw.show();
    this.#redrawTable.show();
  }

  hide() {
    this.#isShown = false;
    this.#redraw.hide();
    this.#redrawTable.hide();
    this.#crosshair.set(null);
    source.release(this);
  }

  #listen() {
    source.addEventListener('frame', () => this.#drawAll());
    source.addEventListener('state', () => this.#redraw.request());
    source.addEventListener('state', () => this.#isShown && this.#tellState());
    this.#crosshair.addEventListener('change', () => this.#redraw.request());
    theme.addEventListener('change', () => this.#drawAll());
  }

  #drawAll() {
    this.#redraw.request();
    this.#redrawTable.request();
    if (this.#isShown) this.#welcome.show(source.store);
  }

  #windowControl() {
    const options = Object.keys(WINDOWS).map((name) => el('option', { value: name }, WINDOW_NAMES[name]));
    return el('select', { class: 'field', id: 'window', on: { change: (event) => this.#change({ window: event.target.value }) } }, options);
  }

  /** What a person does goes into the address, and comes back as what is shown. */
  #change(change) {
    address.go('metrics', writeRequest({ ...this.#request, ...change }));
  }

  #showCards() {
    const { charts } = this.#request;
    const hadFocus = this.#charts.contains(document.activeElement);
    while (this.#cards.length > charts.length) this.#cards.pop().element.remove();
    while (this.#cards.length < charts.length) this.#addCard();
    charts.forEach((patterns, index) => this.#cards[index].choose(patterns, index + 1));
    if (hadFocus && !this.#charts.contains(document.activeElement)) this.#picker.focus();
    this.#isCharted = matcher(charts.flat());
    const chosen = this.#target.value;
    const options = charts.map((patterns, index) =>
      el('option', { value: String(index) }, `chart ${index + 1}: ${visible(patterns.join(', ')).slice(0, 40)}`),
    );
    this.#target.replaceChildren(el('option', { value: NEW_CHART }, 'a new chart'), ...options);
    this.#target.value = charts[chosen] ? chosen : NEW_CHART;
  }

  #addCard() {
    const card = new ChartCard({
      store: source.store,
      crosshair: this.#crosshair,
      redraw: this.#redraw,
      onchange: (patterns) => this.#changeCard(card, patterns),
    });
    this.#cards.push(card);
    this.#charts.append(card.element);
  }

  #changeCard(card, patterns) {
    const charts = this.#request.charts.map((before, index) => (this.#cards[index] === card ? patterns : before));
    this.#change({ charts: charts.filter((remaining) => remaining.length > 0) });
  }

  /** Charts the series of a row, or takes it off the charts again. */
  #pick(series) {
    const { charts } = this.#request;
    const pattern = exactPattern(series, source.store.current());
    const name = fullName(series);
    if (charts.some((patterns) => patterns.includes(pattern))) {
      const without = charts.map((patterns) => patterns.filter((other) => other !== pattern));
      this.#change({ charts: without.filter((patterns) => patterns.length > 0) });
      return this.#shell.announce(`${name} is charted no more.`);
    }
    const holder = charts.findIndex((patterns) => matcher(patterns)(series));
    if (holder >= 0) {
      this.#cards[holder].pointOut();
      return this.#shell.announce(`${name} is in chart ${holder + 1} already, by ${visible(charts[holder].join(', '))}.`);
    }
    this.#addToTarget(pattern, name);
  }

  #addToTarget(pattern, name) {
    const { charts } = this.#request;
    const isNew = this.#target.value === NEW_CHART;
    const target = isNew ? charts.length : Number(this.#target.value);
    this.#change({ charts: charts.toSpliced(target, 1, [...(charts[target] ?? []), pattern]) });
    this.#shell.announce(`${name} is in chart ${target + 1}.`);
  }

  #tellState() {
    const { state, heardAt } = source;
    this.#shell.state(state);
    const isInterval = state.phase === 'refused' && state.problem?.parameter === 'interval';
    this.#interval.fault(isInterval ? state.problem.detail : null);
    const since = heardAt === null ? '' : ` What is shown is of ${clock(heardAt)}.`;
    const text = {
      waiting: `The hub cannot be reached.${since}`,
      refused: `The hub does not send metrics: ${state.problem?.detail}.`,
      'signed-out': 'Sign in to see the metrics.',
    }[state.phase];
    this.#note.hidden = text === undefined || isInterval;
    write(this.#note, text === undefined ? '' : state.phase === 'waiting' && state.problem ? `${state.problem.detail}.${since}` : text);
    this.#charts.classList.toggle('is-stale', state.phase !== 'open' && state.phase !== 'connecting');
  }
}

export default new MetricsView();
