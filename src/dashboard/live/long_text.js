// A text of any length, exactly, in a box that scrolls. The browser lays out the blocks of it that are in sight: a megabyte in one piece
// would hold up the page.

import { el } from '../dom.js';
import { quantity, visible } from '../format.js';

const SHORT = 1500;
const BLOCK = 8 * 1024;

/** The text, or its beginning and a button for the rest. */
export function longText(text) {
  if (text.length <= SHORT) return el('span', { class: 'member-text' }, shown(text));
  const whole = el('span', { class: 'member-text' }, shown(cut(text, 0, SHORT)), '…');
  const size = quantity(new Blob([text]).size, 'By');
  const button = el('button', { type: 'button', class: 'button-quiet show-all' }, `Show all ${size}`);
  const element = el('span', {}, whole, button);
  button.addEventListener('click', () => {
    const box = blocks(text);
    element.replaceChildren(box);
    box.focus();
  });
  return element;
}

const shown = (text) => visible(text, { keepLines: true });

function blocks(text) {
  const box = el('div', { class: 'long-text', tabindex: '0', role: 'region', 'aria-label': 'Whole text' });
  for (let at = 0; at < text.length;) {
    const block = cut(text, at, BLOCK);
    box.append(el('span', { class: 'long-block' }, shown(block)));
    at += block.length;
  }
  return box;
}

/** So many characters from a place on, one more if it would be half of one. */
function cut(text, at, length) {
  const end = at + length;
  const isHalf = /[\ud800-\udbff]/.test(text[end - 1] ?? '');
  return text.slice(at, isHalf ? end + 1 : end);
}
