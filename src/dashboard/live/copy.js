// Copies and downloads.

import { el } from '../dom.js';

/** Whether the text is in the clipboard now. Browsers open it by the new way only where the page came over TLS or from this machine. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const before = document.activeElement;
  const area = el('textarea', { class: 'visually-hidden', 'aria-hidden': 'true' });
  area.value = text;
  // What is behind an open dialog cannot be selected.
  (before?.closest('dialog') ?? document.body).append(area);
  area.select();
  const isCopied = document.execCommand('copy');
  area.remove();
  before?.focus();
  return isCopied;
}

/** A button that copies what `text()` gives, and says that it did. */
export function copyButton(label, text, attributes = {}) {
  const button = el('button', { type: 'button', class: 'button-quiet', ...attributes }, label);
  let timer = 0;
  button.addEventListener('click', async () => {
    const isCopied = await copy(text());
    clearTimeout(timer);
    button.textContent = isCopied ? 'Copied' : 'Not copied';
    timer = setTimeout(() => {
      button.textContent = label;
    }, 1500);
  });
  return button;
}

/** Saves parts of a text as a file. */
export function download(name, type, parts) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
