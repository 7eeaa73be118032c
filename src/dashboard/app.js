// The frame around the views: which one is shown, what the keys do, how the connection is, who is signed in.

import { address } from './address.js';
import { credentials } from './credentials.js';
import { el } from './dom.js';
import hub from './hub/view.js';
import live from './live/view.js';
import metrics from './metrics/view.js';

const VIEWS = { live, metrics, hub };
const find = (selector) => document.querySelector(selector);
const main = find('#view');
const mounted = new Map();
let shown = null;

/**
 * A tab that nobody has looked at for so long, in milliseconds, needs no stream: over HTTP/1.1 a browser has six connections to a hub, for
 * all its tabs. Whoever looks away for less finds all in its place.
 */
const UNSEEN = 60_000;
let unseen = 0;
let isAsleep = false;

const shell = {
  /** Says something to those who listen rather than look, after what they are hearing. */
  announce(text) {
    find('#announcements').replaceChildren(el('p', {}, text));
  },

  /** How a view's connection is. */
  state({ phase, retryAt, problem }) {
    const indicator = find('.shell-state');
    const text = {
      connecting: 'connecting',
      open: 'live',
      waiting: 'reconnecting',
      refused: 'refused',
      'signed-out': 'sign-in needed',
      ended: 'stopped',
    }[phase];
    const next = retryAt ? `Trying again at ${new Date(retryAt).toLocaleTimeString()}` : '';
    indicator.title = [problem?.detail, next].filter(Boolean).join('. ');
    indicator.dataset.retryAt = retryAt ?? '';
    if (indicator.dataset.phase === phase && indicator.textContent === text) return;
    indicator.dataset.phase = phase;
    indicator.textContent = text;
    if (phase === 'signed-out') askForToken(problem?.detail);
  },
};

function showView() {
  const name = Object.hasOwn(VIEWS, address.view) ? address.view : 'live';
  const view = VIEWS[name];
  if (shown !== view) {
    shown?.hide();
    if (shown) mounted.get(shown).hidden = true;
    root(view, name).hidden = false;
    document.title = `${view.title} · telemetry-hub`;
    for (const link of find('.shell-views').children) {
      if (link.dataset.view === name) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    shown = view;
  }
  isAsleep = false;
  view.show(address.parameters);
}

function sleepUnlessSeen() {
  clearTimeout(unseen);
  if (document.hidden) unseen = setTimeout(sleep, UNSEEN);
  else if (isAsleep) showView();
}

function sleep() {
  isAsleep = true;
  shown.hide();
}

/** The part of the page that is a view's; made when it is first shown. */
function root(view, name) {
  if (!mounted.has(view)) {
    const section = el('section', { class: `view-${name}`, 'aria-label': view.title });
    mounted.set(view, section);
    main.append(section);
    view.mount(section, shell);
  }
  return mounted.get(view);
}

function listViews() {
  const links = Object.entries(VIEWS).map(([name, view], index) =>
    el('a', { href: address.href(name), 'data-view': name, 'aria-keyshortcuts': String(index + 1), on: { click: (event) => goBack(event, name) } }, view.title));
  find('.shell-views').append(...links);
}

/** Each view is where it was left. */
const left = new Map();

function goBack(event, name) {
  if (event?.ctrlKey || event?.metaKey || event?.shiftKey) return;
  event?.preventDefault();
  if (address.view === name) return;
  left.set(address.view, address.parameters);
  address.go(name, left.get(name));
}

// Keys

const SHELL_KEYS = [
  ...Object.keys(VIEWS).map((name, index) => ({ key: String(index + 1), label: VIEWS[name].title, run: () => goBack(null, name) })),
  { key: '?', label: 'This list', run: showHelp },
];

const KEY_NAMES = { ' ': 'Space', ArrowDown: '↓', ArrowUp: '↑', ArrowLeft: '←', ArrowRight: '→', Escape: 'Esc' };

function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || find('dialog[open]')) return;
  const isTyping = event.target.closest('input, textarea, select, [contenteditable]');
  // Space and Enter are a button's own.
  const isControl = event.target.closest('button, a, summary, [role=button], [role=option]');
  if (isTyping || (isControl && (event.key === ' ' || event.key === 'Enter'))) return;
  const binding = [...(shown?.keys ?? []), ...SHELL_KEYS].find(({ key }) => key === event.key);
  if (!binding) return;
  event.preventDefault();
  binding.run(event);
}

function showHelp() {
  const group = (title, keys) => [
    el('h3', {}, title),
    ...keys.flatMap(({ key, label }) => [el('span', {}, el('kbd', {}, KEY_NAMES[key] ?? key)), el('span', {}, label)]),
  ];
  find('.shell-keys').replaceChildren(...group(shown.title, shown.keys ?? []), ...group('Everywhere', SHELL_KEYS));
  find('#help').showModal();
}

// Who is signed in

function askForToken(reason) {
  const dialog = find('#sign-in');
  if (dialog.open) return;
  find('.shell-fault').textContent = credentials.isSignedIn ? `This token is not taken: ${reason ?? 'the hub does not know it'}.` : '';
  dialog.returnValue = '';
  dialog.showModal();
}

function answered() {
  const token = find('#token');
  if (find('#sign-in').returnValue === 'sign-in' && token.value) credentials.signIn(token.value);
  token.value = '';
}

function showWhoIsIn() {
  const button = find('.shell-sign');
  button.hidden = !credentials.isSignedIn && find('.shell-state').dataset.phase !== 'signed-out';
  button.textContent = credentials.isSignedIn ? 'Sign out' : 'Sign in';
}

/** A link to a place in this page, whose fragment is the view's. */
function skipToView(event) {
  event.preventDefault();
  main.focus();
}

function begin() {
  listViews();
  find('.skip').addEventListener('click', skipToView);
  addEventListener('keydown', pressed);
  address.addEventListener('change', showView);
  document.addEventListener('visibilitychange', sleepUnlessSeen);
  find('.shell-help').addEventListener('click', showHelp);
  find('#sign-in').addEventListener('close', answered);
  find('.shell-sign').addEventListener('click', () => (credentials.isSignedIn ? credentials.signOut() : askForToken()));
  credentials.addEventListener('needed', (event) => askForToken(event.detail));
  credentials.addEventListener('change', showWhoIsIn);
  new MutationObserver(showWhoIsIn).observe(find('.shell-state'), { attributeFilter: ['data-phase'] });
  showWhoIsIn();
  showView();
  sleepUnlessSeen();
}

begin();
