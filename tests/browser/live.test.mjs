// The live view as a newcomer finds it, and as it follows what comes.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { scenario, until, untilEqual } from './harness.mjs';
import { RECORDED_EVENTS } from './hub_program.mjs';
import { downloaded, numbers, rowsInSight, rowsOf, untilOpen, untilShown } from './live_page.mjs';

const FULL = '#live?replay=20000';
const numbered = (from, to) => Array.from({ length: to - from }, (_, index) => ({ type: 'numbered', level: 'info', data: { number: from + index } }));
const numberOf = ({ pairs }) => Number(/number=(\d+)/.exec(pairs)?.[1]);

scenario('with no data the page says how to send some, and the line works', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub);
  const empty = page.locator('.stream-empty[data-why=none]');
  await empty.waitFor();
  const line = await empty.locator('code.send-line').textContent();
  await promisify(execFile)('sh', ['-c', line]);
  await untilShown(page, 1);
  await empty.waitFor({ state: 'hidden' });
  const [row] = (await rowsInSight(page)).filter(({ kind }) => kind === 'event');
  assert.equal(row.type, 'hello');
  assert.equal(row.text, 'it works');
});

scenario('the line can be copied', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { permissions: ['clipboard-read', 'clipboard-write'] });
  const line = page.locator('.stream-empty .line-to-copy', { has: page.locator('code.send-line') });
  await line.getByRole('button', { name: 'Copy' }).click();
  const wanted = await line.locator('code').textContent();
  await untilEqual('the clipboard', () => page.evaluate(() => navigator.clipboard.readText()), wanted);
});

scenario('what a mail server sent appears whole, in order, to the digit', async (scene) => {
  const hub = await scene.hub();
  await hub.sendRecorded();
  const page = await scene.open(hub, { at: FULL });
  await untilShown(page, RECORDED_EVENTS);
  const texts = await downloaded(page);
  assert.deepEqual(texts, await hub.replayed('replay=20000'));
  assert.equal(new Set(texts.map((text) => JSON.parse(text).id)).size, RECORDED_EVENTS);
  await assertRowsSayWhatEventsSay(page, texts);
});

/** Of the rows in sight: ids that are there once and grow, types, and the source's digits of the time. */
async function assertRowsSayWhatEventsSay(page, texts) {
  const byId = new Map(texts.map((text) => JSON.parse(text)).map((event) => [event.id, event]));
  const rows = (await rowsInSight(page)).filter(({ kind }) => kind === 'event');
  assert.ok(rows.length > 10, `only ${rows.length} rows`);
  const ids = rows.map(({ id }) => id);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  for (const row of rows) {
    const event = byId.get(row.id);
    assert.equal(row.levelShown, event.level ?? '');
    assert.equal(row.type, event.type);
    const [, digits] = /T([\d:.]+)Z$/.exec(event.createdAt);
    assert.ok(row.time.endsWith(digits), `${row.time} is not ${digits}`);
  }
}

scenario('levels are words, and times have the digits that their sources gave them', async (scene) => {
  const hub = await scene.hub();
  const levels = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
  const digits = ['.123456789', '.5', '.100', '.000000', '', '.9999999'];
  await hub.send(levels.map((level, index) => ({ type: 'x', level: level.toLowerCase(), createdAt: `2026-11-22T10:12:19${digits[index]}Z` })));
  const page = await scene.open(hub);
  await untilShown(page, 6);
  const rows = (await rowsInSight(page)).filter(({ kind }) => kind === 'event');
  assert.deepEqual(rows.map(({ levelShown }) => levelShown), levels);
  assert.deepEqual(rows.map(({ time }) => time), digits.map((fraction) => `11-22 10:12:19${fraction}`));
});

scenario('a newcomer finds the last 200 events, and is told that they were before', async (scene) => {
  const hub = await scene.hub();
  await hub.sendRecorded();
  const page = await scene.open(hub);
  await untilShown(page, 200);
  assert.deepEqual(await downloaded(page), await hub.replayed('replay=200'));
  const last = (await rowsInSight(page)).at(-1);
  assert.equal(last.reason, 'caught-up');
  assert.match(last.text, /200 earlier events/);
});

scenario('it follows what comes; scrolled up it stands still, and a button returns', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 300));
  const page = await scene.open(hub, { at: '#live?replay=1000&max-rate=100000' });
  await untilShown(page, 300);
  await hub.send(numbered(300, 310));
  await untilEqual('the last row', async () => numberOf((await rowsInSight(page)).at(-1)), 309);

  await rowsOf(page).hover();
  await page.mouse.wheel(0, -2000);
  await page.locator('.rows[data-following=false]').waitFor();
  const before = await untilStill(page);
  await hub.send(numbered(310, 900));
  await untilShown(page, 900);
  assert.deepEqual(await rowsInSight(page), before);

  const jump = page.locator('.jump');
  await untilEqual('what the button says', () => jump.textContent(), '↓ 590 new');
  await jump.click();
  await untilEqual('the last row', async () => numberOf((await rowsInSight(page)).at(-1)), 899);
  await hub.send(numbered(900, 901));
  await untilEqual('the last row', async () => numberOf((await rowsInSight(page)).at(-1)), 900);
  await jump.waitFor({ state: 'hidden' });
});

/** The rows once a scroll has come to its end. */
async function untilStill(page) {
  let before = null;
  return until('a list that stands still', async () => {
    const now = await rowsInSight(page);
    const isStill = JSON.stringify(now) === JSON.stringify(before);
    before = now;
    return isStill && now;
  });
}

scenario('what is dropped off the top is counted, and the place is kept all the same', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 15_000));
  const page = await scene.open(hub, { at: '#live?replay=100000&max-rate=1000000' });
  await untilShown(page, 15_000);
  await rowsOf(page).hover();
  await page.mouse.wheel(0, -3000);
  await page.locator('.rows[data-following=false]').waitFor();
  const before = (await untilStill(page)).map(numberOf);
  await hub.send(numbered(15_000, 30_000));
  await until('all to be told of', async () => {
    const { shown, dropped, leftOut, missed } = await numbers(page);
    return shown + dropped + leftOut + missed === 30_000 && { shown, dropped };
  });
  const { shown, dropped } = await numbers(page);
  assert.ok(shown <= 20_000 && dropped >= 10_000, `${shown} shown, ${dropped} dropped`);
  assert.deepEqual((await rowsInSight(page)).map(numberOf), before);
  const elements = await page.locator('.rows .row').count();
  assert.ok(elements < 100, `${elements} elements for what a screen holds`);
});

scenario('the page is told once that the stream is live', async (scene) => {
  const page = await scene.open(await scene.hub());
  await untilOpen(page);
  await untilEqual('the indicator', () => page.locator('.shell-state').textContent(), 'live');
});
