// The same stream elsewhere: as a link, for curl, for the terminal, or what is shown of it as a file.

import { credentials, hubUrl } from '../credentials.js';
import { el } from '../dom.js';
import { visible } from '../format.js';
import { copy, download } from './copy.js';
import { joined, written } from './query.js';

const DEFAULT_HUB = 'http://127.0.0.1:8787';

/** The stream's own URL. */
export function streamUrl(query) {
  const url = hubUrl('api/telemetry/traces/live');
  url.search = written(joined(query)).toString();
  // A URL leaves it as it is, and a shell would end its quotes there.
  return url.href.replaceAll("'", '%27');
}

export function curlCommand(query) {
  const token = credentials.isSignedIn ? ' -H "Authorization: Bearer $TELEMETRY_HUB_TOKEN"' : '';
  return `curl -N${token} '${streamUrl(query)}'`;
}

export function tailCommand(query) {
  const hub = hubUrl('.').href.replace(/\/$/, '');
  const words = hub === DEFAULT_HUB ? [] : ['--url', hub];
  const parameters = joined(query).map(({ name, value }) => `${name}=${value}`);
  if (parameters.some((parameter) => parameter.startsWith('-'))) words.push('--');
  return ['telemetry-hub', 'tail', ...[...words, ...parameters].map(shellWord)].join(' ');
}

/**
 * A word as a POSIX shell takes it. A terminal obeys the controls in what is pasted before any shell sees the quotes around them: a word
 * with such is written with escapes, as bash and zsh take them.
 */
export function shellWord(text) {
  if (visible(text) !== text) return `$'${[...text].map(escaped).join('')}'`;
  return /^[\w.,:/=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function escaped(character) {
  // No program's argument can hold it.
  if (character === '\0') return '';
  if (visible(character) === character && !"'\\!".includes(character)) return character;
  return [...new TextEncoder().encode(character)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
}

/** The menu of it all. `query()` and `texts()` are asked when something is chosen. */
export class ShareMenu {
  #announce;

  constructor({ query, texts, announce }) {
    this.#announce = announce;
    this.menu = el('div', { class: 'share-menu panel', role: 'menu', 'aria-label': 'Share', popover: 'auto', id: 'live-share' },
      this.#copies('Copy link', () => location.href, 'this view, for another browser'),
      this.#copies('Copy stream URL', () => streamUrl(query()), 'Server-Sent Events'),
      this.#copies('Copy as curl', () => curlCommand(query()), 'for a terminal'),
      this.#copies('Copy as telemetry-hub tail', () => tailCommand(query()), 'for a terminal, readable'),
      this.#item('Download NDJSON', () => save(texts()), 'the events in the list'));
    this.button = el('button', { type: 'button', class: 'button-quiet share-button', 'aria-haspopup': 'menu', 'aria-expanded': 'false', popovertarget: 'live-share' }, 'Share');
    this.element = el('div', { class: 'share' }, this.button, this.menu);
    this.menu.addEventListener('toggle', (event) => this.#toggled(event.newState === 'open'));
    this.menu.addEventListener('keydown', (event) => this.#pressed(event));
  }

  #copies(label, text, hint) {
    return this.#item(label, async () => {
      this.#announce((await copy(text())) ? 'Copied' : 'The browser did not let the page copy');
    }, hint);
  }

  #item(label, run, hint) {
    const choose = () => {
      this.menu.hidePopover();
      this.button.focus();
      run();
    };
    return el('button', { type: 'button', role: 'menuitem', tabindex: '-1', on: { click: choose } }, el('span', {}, label), el('small', { 'aria-hidden': 'true' }, hint));
  }

  #toggled(isOpen) {
    this.button.setAttribute('aria-expanded', String(isOpen));
    if (isOpen) this.menu.firstElementChild.focus();
  }

  #pressed(event) {
    const items = [...this.menu.children];
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (event.key === 'Tab') this.menu.hidePopover();
    if (to === undefined) return;
    event.preventDefault();
    items.at(to % items.length).focus();
  }
}

function save(texts) {
  const name = `events-${new Date().toISOString().replace(/[:.]/g, '-')}.ndjson`;
  download(name, 'application/x-ndjson', [...texts].map((text) => `${text}\n`));
}
