// The connection: lost, ended, refused, and back. Nothing is lost that the hub still has, nothing comes twice, and rows say what was.

import assert from 'node:assert/strict';

import { GONE, scenario, status, until, untilEqual } from './harness.mjs';
import { impostor } from './impostor.mjs';
import { downloaded, notes, rowsInSight, untilOpen, untilShown } from './live_page.mjs';

const numbered = (from, to) => Array.from({ length: to - from }, (_, index) => ({ type: 'numbered', data: { number: from + index } }));
const numbersShown = async (page) => (await downloaded(page)).map((text) => JSON.parse(text).data.number);
const upTo = (size) => Array.from({ length: size }, (_, number) => number);
const untilWaiting = (page) => page.locator('.shell-state[data-phase=waiting]').waitFor();

scenario('a hub that is killed and started again is found again; nothing is lost, nothing comes twice', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 5));
  const page = await scene.open(hub, { allow: [GONE] });
  await untilShown(page, 5);
  await hub.send(numbered(5, 10));
  await untilShown(page, 10);

  await hub.kill();
  await untilWaiting(page);
  assert.match(await page.locator('.shell-state').textContent(), /^reconnecting$/);
  assert.equal((await rowsInSight(page)).at(-1).reason, 'lost');
  await hub.start();
  // Before the page is back, and after.
  await hub.send(numbered(10, 15));
  await untilOpen(page);
  await hub.send(numbered(15, 20));
  await untilShown(page, 20);
  assert.deepEqual(await numbersShown(page), upTo(20));
  const ids = (await downloaded(page)).map((text) => JSON.parse(text).id);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  assert.equal((await notes(page, 'lost')).length, 0, 'the row of the outage says that it is over');
  assert.equal((await notes(page, 'reconnected')).length, 1);
  // The new hub knows nothing of what the old one had after the last event: that is said, too.
  assert.equal(await page.locator('.row[data-kind=gap]').count(), 1);
});

scenario('a hub that is killed again and again', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { allow: [GONE], at: '#live?max-rate=100000' });
  await untilOpen(page);
  for (let round = 0; round < 3; round += 1) {
    await hub.send(numbered(round * 100, round * 100 + 50));
    await untilShown(page, round * 100 + 50);
    await hub.kill();
    await untilWaiting(page);
    await hub.start();
    await hub.send(numbered(round * 100 + 50, round * 100 + 100));
    await untilShown(page, round * 100 + 100);
  }
  assert.deepEqual(await numbersShown(page), upTo(300));
});

scenario('a hub that is shut down says so, and the page says why', async (scene) => {
  const hub = await scene.hub({ settings: { retry: '500ms' } });
  await hub.send(numbered(0, 3));
  const page = await scene.open(hub, { allow: [GONE] });
  await untilShown(page, 3);
  await hub.terminate();
  await untilWaiting(page);
  // It is shown with the next frame.
  await untilEqual('a row that says so', async () => (await rowsInSight(page)).at(-1).reason, 'bye');
  assert.match((await rowsInSight(page)).at(-1).text, /^The hub was shut down/);
  await hub.start();
  await hub.send(numbered(3, 6));
  await untilShown(page, 6);
  assert.deepEqual(await numbersShown(page), upTo(6));
});

scenario('an answer that is not 200 is no end', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 3));
  const page = await scene.open(hub, { allow: [GONE, status(503)] });
  await untilShown(page, 3);
  await hub.kill();
  let asked = 0;
  const leave = await impostor(scene, hub.port, (response) => {
    asked += 1;
    response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '1' });
    response.end(JSON.stringify({ status: 503, title: 'Service Unavailable', detail: 'somebody else is here for now' }));
  });
  await until('the page to ask again and again', () => asked >= 4);
  await untilEqual('the row says why', async () => /somebody else is here for now/.test((await rowsInSight(page)).at(-1).text), true);
  await leave();
  await hub.start();
  await hub.send(numbered(3, 6));
  await untilShown(page, 6);
  assert.deepEqual(await numbersShown(page), upTo(6));
});

scenario('an answer that is no stream is no end', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 3));
  const page = await scene.open(hub, { allow: [GONE, /MIME type/] });
  await untilShown(page, 3);
  await hub.kill();
  let asked = 0;
  const leave = await impostor(scene, hub.port, (response) => {
    asked += 1;
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<h1>Back soon</h1>');
  });
  await until('the page to ask again and again', () => asked >= 3);
  await leave();
  await hub.start();
  await hub.send(numbered(3, 6));
  await untilShown(page, 6);
});

/** The hub has told the page to stay away for longer than this test waits: only what is said of `hurry` brings it back. */
async function assertHurries(scene, hurry) {
  const hub = await scene.hub({ settings: { retry: '60s' } });
  await hub.send(numbered(0, 3));
  const page = await scene.open(hub, { allow: [GONE] });
  await untilShown(page, 3);
  await hub.terminate();
  await untilWaiting(page);
  const { retryAt } = await page.locator('.shell-state').evaluate((state) => ({ ...state.dataset }));
  assert.ok(Number(retryAt) > Date.now() + 30_000, 'a long wait');
  await hub.start();
  await hub.send(numbered(3, 6));
  await hurry(page);
  await untilShown(page, 6);
  assert.deepEqual(await numbersShown(page), upTo(6));
}

scenario('a network that is back brings the page back at once', (scene) =>
  assertHurries(scene, async (page) => {
    await page.context().setOffline(true);
    await page.context().setOffline(false);
  }));

scenario('a person who is back brings the page back at once', (scene) =>
  assertHurries(scene, (page) => page.evaluate(() => document.dispatchEvent(new Event('visibilitychange', { bubbles: true })))));

scenario('while another view is shown nothing is lost', async (scene) => {
  const hub = await scene.hub();
  await hub.send(numbered(0, 3));
  const page = await scene.open(hub);
  await untilShown(page, 3);
  await page.keyboard.press('3');
  await page.locator('.view-hub').waitFor();
  await hub.send(numbered(3, 203));
  await page.keyboard.press('1');
  await untilShown(page, 203);
  assert.deepEqual(await numbersShown(page), upTo(203));
});

scenario('one EventSource a signal, and none of events while nobody looks at them', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub);
  const signals = async () => (await hub.subscribers()).filter(({ state }) => state !== 'ending').map(({ signal }) => signal).sort();
  await untilEqual('the streams', signals, ['traces']);
  await page.keyboard.press('2');
  await untilEqual('the streams', signals, ['metrics']);
  // The charts go on for a while, so that a look at the events leaves no hole in them.
  await page.keyboard.press('1');
  await untilEqual('the streams', signals, ['metrics', 'traces']);
  await page.keyboard.press('3');
  await untilEqual('the streams', signals, ['metrics']);
});
