// The live view as tests see and use it: by what a person reads and presses.

import { readFile } from 'node:fs/promises';

import { until, untilEqual } from './harness.mjs';

/** The lists of a page's rows. */
export const rowsOf = (page) => page.getByRole('listbox', { name: 'Events' });

/** What stands in the list now, from top to bottom; those rows that are in sight. */
export function rowsInSight(page) {
  return page.evaluate(() => {
    const list = document.querySelector('.rows').getBoundingClientRect();
    return [...document.querySelectorAll('.rows .row')].flatMap((row) => {
      const { top, bottom } = row.getBoundingClientRect();
      if (bottom <= list.top + 1 || top >= list.bottom - 1) return [];
      const text = (part) => row.querySelector(`.row-${part}`)?.textContent ?? '';
      return [{ ...row.dataset, top: Math.round(top), time: text('time'), levelShown: text('level'), type: text('type'), text: text('text'), pairs: text('pairs') }];
    });
  });
}

/** The numbers under the list. */
export async function numbers(page) {
  const { shown, leftOut, missed, dropped } = await page.locator('.live-status').evaluate((status) => ({ ...status.dataset }));
  return Object.fromEntries(Object.entries({ shown, leftOut, missed, dropped }).map(([name, value]) => [name, Number(value)]));
}

export const untilShown = (page, shown) => untilEqual('the events in the list', async () => (await numbers(page)).shown, shown);

/** Until the hub streams to the page; with a filter it may have nothing to show. */
export const untilOpen = (page) => page.locator('.shell-state[data-phase=open]').waitFor();

/** The events that the page has, as text to the letter: what "Download NDJSON" saves. */
export async function downloaded(page) {
  await page.getByRole('button', { name: 'Share' }).click();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: 'Download NDJSON' }).click()]);
  const text = await readFile(await download.path(), 'utf8');
  return text.split('\n').filter(Boolean);
}

/** Types a filter, as a person does. */
export async function addFilter(page, text) {
  const field = page.getByRole('combobox', { name: 'Add a filter' });
  await field.click();
  await field.pressSequentially(text);
  await field.press('Enter');
}

/** The filters in the bar, and the level where one is chosen. */
export async function filters(page) {
  const chips = await page.locator('.chip').evaluateAll((all) => all.map((chip) => `${chip.dataset.parameter}=${chip.dataset.value}`));
  const level = await page.locator('.level-select').inputValue();
  return level ? [`level=${level}`, ...chips] : chips;
}

/** Opens the details of the last row in sight that has this type. */
export async function openEvent(page, type) {
  await page.locator('.row', { has: page.locator('.row-type', { hasText: type }) }).last().click();
  await page.locator('.side[data-panel=details]').waitFor();
}

/** The member of the details with this path, `data.remoteIp`. */
export const member = (page, path) => page.locator(`.member[data-path=${JSON.stringify(path)}]`);

/** What the page says about the stream, between the events. */
export async function notes(page, reason) {
  return page.locator(`.row[data-reason=${reason}]`).allTextContents();
}

export const untilNote = (page, reason) => until(`a row that says ${reason}`, async () => (await notes(page, reason)).length > 0);
