// One line of the list. The elements are made once and filled again and again.

import { el } from '../dom.js';
import { visible } from '../format.js';
import { summary } from './event.js';
import { clock, fullTime } from './time.js';

/** An empty line. */
export function makeRow() {
  const parts = {
    time: el('span', { class: 'row-time' }),
    level: el('span', { class: 'row-level' }),
    type: el('span', { class: 'row-type' }),
    text: el('span', { class: 'row-text' }),
    pairs: el('span', { class: 'row-pairs' }),
  };
  const { time, level, type, text, pairs } = parts;
  const element = el('div', { class: 'row', role: 'option', 'aria-selected': 'false' }, time, level, type, el('span', { class: 'row-rest' }, text, pairs));
  element.parts = parts;
  return element;
}

/** Fills a line. Tells how many characters its time takes. */
export function fillRow(element, row) {
  element.dataset.kind = row.kind;
  return row.kind === 'event' ? fillEvent(element, row) : fillNote(element, row);
}

function fillEvent(element, row) {
  const { createdAt, level, type, text, pairs } = summary(row);
  const { parts } = element;
  element.dataset.id = row.id;
  element.dataset.level = level;
  delete element.dataset.reason;
  parts.time.textContent = clock(createdAt);
  parts.time.title = `${fullTime(createdAt)}\n${createdAt}`;
  parts.level.textContent = level;
  parts.type.textContent = visible(type);
  parts.type.title = parts.type.textContent;
  parts.text.textContent = oneLine(text);
  parts.pairs.replaceChildren(...pairs.map(pair));
  return parts.time.textContent.length;
}

function pair([key, value]) {
  return el('span', { class: 'pair' }, el('span', { class: 'pair-key' }, visible(key), '='), el('span', { class: 'pair-value' }, oneLine(value)));
}

/** Line ends are so common, and so harmless in a line, that they get a sign of their own. */
function oneLine(text) {
  return visible(text.replace(/\r?\n/g, '↵'));
}

function fillNote(element, row) {
  const { parts } = element;
  delete element.dataset.id;
  delete element.dataset.level;
  element.dataset.reason = row.reason;
  for (const part of [parts.time, parts.level, parts.type]) part.textContent = '';
  parts.text.textContent = row.text;
  parts.pairs.replaceChildren();
  return 0;
}
