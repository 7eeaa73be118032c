// A text of any length, exactly, in a box that scrolls. The browser lays out the blocks of it that are in sight: a megabyte in one piece
// would hold up the page.

import { el } from '../dom.js';
import { quantity, visible } from '../format.js';

const SHORT = 1500;
/** Laid out in some 10 ms. */
const BLOCK = 32 * 1024;

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
    const block = lines(cut(text, at, BLOCK));
    at += block.length;
    // A block ends its line: where the text does not, it is said to go on.
    box.append(el('span', { class: 'long-block', 'data-goes-on': at < text.length && !block.endsWith('\n') }, shown(block)));
  }
  return box;
}

/** Up to the last end of a line, if there is one. */
function lines(block) {
  const end = block.lastIndexOf('\n');
  return end < 0 || block.length < BLOCK ? block : block.slice(0, end + 1);
}

/** So many characters from a place on, one more if it would be half of one. */
function cut(text, at, length) {
  const end = at + length;
  const isHalf = /[\ud800-\udbff]/.test(text[end - 1] ?? '');
  return text.slice(at, isHalf ? end + 1 : end);
}
