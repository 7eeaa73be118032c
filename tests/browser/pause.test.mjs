// The pause, which loses nothing: what comes meanwhile is counted, and replayed from the event after which the view stood still.

import assert from 'node:assert/strict';

import { scenario, until, untilEqual } from './harness.mjs';
import { downloaded, notes, numbers, rowsInSight, untilOpen, untilShown } from './live_page.mjs';

const MANY = 10_000;
const numbered = (from, to) => Array.from({ length: to - from }, (_, index) => ({ type: 'numbered', data: { number: from + index } }));

/** What waits: events that came, and those that the hub left out for now. */
async function waiting(page) {
  const { events, missed } = await page.locator('.waiting').evaluate(({ dataset }) => ({ ...dataset }));
  return Number(events) + Number(missed);
}

async function pause(page) {
  await page.keyboard.press(' ');
  await page.getByRole('button', { name: 'Resume' }).waitFor();
}

/** Every number is there once, and the ids grow as the hub gave them. */
async function assertHasAll(page, size) {
  const events = (await downloaded(page)).map((text) => JSON.parse(text));
  const found = events.map(({ data }) => data.number);
  assert.deepEqual(found, Array.from({ length: size }, (_, number) => number));
  const ids = events.map(({ id }) => id);
  assert.deepEqual(ids, [...new Set(ids)].sort());
}

scenario('of 10,000 events during a pause none is lost and none comes twice', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 5));
  const page = await scene.open(hub);
  await untilShown(page, 5);
  await pause(page);
  const before = await rowsInSight(page);
  await hub.send(numbered(5, 5 + MANY));
  await untilEqual('what waits', () => waiting(page), MANY);
  assert.match(await page.locator('.waiting').textContent(), /^10,000 waiting$/);
  assert.deepEqual(await rowsInSight(page), before, 'the view stands still');

  await page.keyboard.press(' ');
  await until('all of it', async () => {
    const { shown, dropped, leftOut, missed } = await numbers(page);
    return shown + dropped + leftOut + missed === 5 + MANY;
  });
  assert.deepEqual(await numbers(page), { shown: 5 + MANY, leftOut: 0, missed: 0, dropped: 0 });
  await assertHasAll(page, 5 + MANY);
  await until('a row that says so', async () => (await notes(page, 'caught-up')).some((text) => text.includes('10,000')));
  await hub.send(numbered(5 + MANY, 6 + MANY));
  await untilShown(page, 6 + MANY);
});

scenario('events that come while the pause ends are there once, too', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 1));
  const page = await scene.open(hub, { at: '#live?max-rate=100000' });
  await untilShown(page, 1);
  let size = 1;
  const sendMore = () => hub.send(numbered(size, (size += 100)));
  for (let round = 0; round < 5; round += 1) {
    await page.keyboard.press(' ');
    await sendMore();
    await Promise.all([page.keyboard.press(' '), sendMore()]);
    await sendMore();
  }
  await untilShown(page, size);
  await assertHasAll(page, size);
});

scenario('a view that has shown nothing yet can be paused', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub);
  await untilOpen(page);
  await page.locator('.stream-empty[data-why=none]').waitFor();
  await pause(page);
  await hub.send(numbered(0, 300));
  await untilEqual('what waits', () => waiting(page), 300);
  await page.getByRole('button', { name: 'Resume' }).click();
  await untilShown(page, 300);
  await assertHasAll(page, 300);
});

scenario('a pause in which nothing came ends without a word', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 2));
  const page = await scene.open(hub);
  await untilShown(page, 2);
  const before = await rowsInSight(page);
  await pause(page);
  await page.keyboard.press(' ');
  await page.getByRole('button', { name: 'Pause' }).waitFor();
  assert.deepEqual(await rowsInSight(page), before);
  await hub.send(numbered(2, 3));
  await untilShown(page, 3);
  await assertHasAll(page, 3);
});

scenario('what the hub no longer has when the pause ends is told of by a row', async (scene) => {
  const hub = await scene.hub({ settings: { replay_bytes: '64KiB' } });
  await hub.send(numbered(0, 5));
  const page = await scene.open(hub);
  await untilShown(page, 5);
  await pause(page);
  await hub.send(numbered(5, 5 + MANY));
  await untilEqual('what waits', () => waiting(page), MANY);
  await page.keyboard.press(' ');
  const kept = await hub.replayed('replay=20000');
  assert.ok(kept.length < MANY, `the hub kept all ${kept.length}`);
  await untilEqual('the events that were there, and those that the hub has', async () => (await downloaded(page)).map((text) => JSON.parse(text).data.number), [
    ...Array.from({ length: 5 }, (_, number) => number),
    ...kept.map((text) => JSON.parse(text).data.number),
  ]);
  await page.keyboard.press('g');
  await untilEqual('rows that say so', async () => (await notes(page, 'expired')).length, 1);
  assert.match((await notes(page, 'expired'))[0], /the hub no longer has them/);
});

scenario('a pause outlives the loss of the connection', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 5));
  const page = await scene.open(hub);
  await untilShown(page, 5);
  await pause(page);
  await hub.send(numbered(5, 105));
  await untilEqual('what waits', () => waiting(page), 100);
  // Somebody ends the stream; the page comes back by itself, still paused.
  const [{ id }] = await hub.subscribers();
  await hub.fetch(`api/telemetry/subscribers/${id}`, { method: 'DELETE' });
  await until('another stream', async () => (await hub.subscribers()).some((other) => other.id !== id && other.state !== 'ending'), { patience: 30_000 });
  await hub.send(numbered(105, 205));
  await page.keyboard.press(' ');
  await untilShown(page, 205);
  await assertHasAll(page, 205);
});
