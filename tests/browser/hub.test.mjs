// The hub's own view: how it is, who watches, what it refuses.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';

import { GONE, scenario, status, until, untilEqual } from './harness.mjs';
import { rowsInSight, untilOpen } from './live_page.mjs';
import { frames } from './stream.mjs';

const health = (page) => page.locator('.health').getAttribute('data-state');
const subscriber = (page, id) => page.locator(`.subscribers-table tr[data-subscriber="${id}"]`);
const number = async (locator) => Number((await locator.textContent()).replaceAll(',', ''));
const some = (size, more = {}) => Array.from({ length: size }, (_, index) => ({ type: 'some', level: 'warn', data: { index }, ...more }));

/** A subscriber that reads all it is sent, into `kinds`. */
async function watch(scene, hub, query) {
  const stop = new AbortController();
  scene.atTheEnd(() => stop.abort());
  const answer = await hub.fetch(`api/telemetry/traces/live?${query}`, { signal: stop.signal });
  const got = { frames: [], isOver: false };
  const read = async () => {
    for await (const frame of frames(answer.body)) got.frames.push(frame);
  };
  read().catch(() => {}).finally(() => { got.isOver = true; });
  return got;
}

/** One that never reads. */
async function stall(scene, hub, query) {
  const socket = connect({ port: hub.port, host: '127.0.0.1' });
  scene.atTheEnd(() => socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET /api/telemetry/traces/live?${query} HTTP/1.1\r\nHost: 127.0.0.1:${hub.port}\r\n\r\n`);
}

const idOf = async (hub, filter) => (await until('the subscriber', async () => (await hub.subscribers()).find((one) => one.filter.includes(filter)))).id;

scenario('who watches is listed, with what they were sent', async (scene) => {
  const hub = await scene.hub();
  const got = await watch(scene, hub, 'level=warn&type=some&follow=none');
  const id = await idOf(hub, 'level=WARN');
  await hub.send(some(120), { type: 'other', level: 'warn' });
  await until('all to be read', () => got.frames.filter(({ event }) => event === 'trace').length > 0);
  const page = await scene.open(hub, { at: '#hub' });
  await untilEqual('what it was sent', () => number(subscriber(page, id).locator('.subscriber-sent')), 120);
  assert.equal(await number(subscriber(page, id).locator('.subscriber-missed')), 0);
  assert.match(await subscriber(page, id).locator('.subscriber-filter').textContent(), /level=WARN/);
  // The page's own stream of metrics is there as well, as such.
  await untilEqual('streams of metrics', () => page.locator('.subscribers-table tr[data-signal=metrics]').count(), 1);
  await untilEqual('the figure', () => page.locator('.tile[data-series="hub.events.received"] .tile-note').textContent(), '121 in all');
});

scenario('who does not read has missed something, and the hub says how much', async (scene) => {
  const hub = await scene.hub({ settings: { subscriber_queue_bytes: '64KiB' } });
  await stall(scene, hub, 'type=some');
  const id = await idOf(hub, 'type=some');
  const text = 'x'.repeat(1000);
  let sent = 0;
  await until('something missed', async () => {
    sent += await hub.send(some(2000, { text }));
    return (await hub.subscribers()).find((one) => one.id === id).missed > 0;
  });
  const known = (await hub.subscribers()).find((one) => one.id === id);
  const page = await scene.open(hub, { at: '#hub' });
  await untilEqual('what it missed', () => number(subscriber(page, id).locator('.subscriber-missed')), known.missed);
  const cells = ['sent', 'missed', 'queued'].map((name) => number(subscriber(page, id).locator(`.subscriber-${name}`)));
  const [all, missed, queued] = await Promise.all(cells);
  assert.equal(all + missed + queued, sent);
});

scenario('a stream can be ended, once that is confirmed', async (scene) => {
  const hub = await scene.hub();
  const got = await watch(scene, hub, 'type=some');
  const id = await idOf(hub, 'type=some');
  const page = await scene.open(hub, { at: '#hub' });
  const end = subscriber(page, id).getByRole('button', { name: new RegExp(`^End subscriber ${id}`) });
  await end.click();
  await page.getByRole('button', { name: 'Keep it' }).click();
  assert.equal(await subscriber(page, id).count(), 1);
  assert.equal(got.isOver, false);
  await end.click();
  await page.getByRole('button', { name: 'End the stream' }).click();
  await until('the end', () => got.isOver);
  assert.match(got.frames.at(-1).data, /"closed-by-admin"/);
  await subscriber(page, id).waitFor({ state: 'detached' });
});

scenario('a page whose stream somebody ends says so, and comes back', async (scene) => {
  const hub = await scene.hub({ settings: { retry: '500ms' } });
  const page = await scene.open(hub);
  await untilOpen(page);
  await hub.send(some(1));
  const [{ id }] = await hub.subscribers();
  await hub.fetch(`api/telemetry/subscribers/${id}`, { method: 'DELETE' });
  await until('the row', async () => (await rowsInSight(page)).some(({ text }) => /somebody closed it/.test(text)));
  await until('another stream', async () => (await hub.subscribers()).some((one) => one.id !== id));
  await untilOpen(page);
});

scenario('what is refused is counted, with the reason', async (scene) => {
  const hub = await scene.hub({ settings: { max_body_bytes: '16KiB', webhook_keys: '["secret"]' } });
  const page = await scene.open(hub, { at: '#hub' });
  await page.locator('.refusals-none', { hasText: 'Nothing has been refused' }).waitFor();
  const post = (body) => hub.fetch('api/telemetry/events', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  assert.equal((await post(JSON.stringify({ type: 'unsigned' }))).status, 401);
  assert.equal((await hub.fetch('api/telemetry/metrics', { method: 'POST', headers: { 'content-type': 'application/json' }, body: 'x'.repeat(20_000) })).status, 413);
  const total = (series) => page.locator(`.refusals-table tr[data-series="${series}"] .refusal-total`).textContent();
  await untilEqual('bodies that were too large', () => total('server.responses.413'), '1');
  await untilEqual('signatures', () => total('server.signatures.refused'), '1');
  const why = await page.locator('.refusals-table .refusal-why').allTextContents();
  assert.ok(why.length >= 2 && why.every((text) => text.length > 10), why.join('\n'));
});

scenario('who sends is listed, with how much', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#hub' });
  await page.locator('.sources-note', { hasText: 'Nobody has sent anything' }).waitFor();
  await hub.send(some(30));
  await hub.sendMetrics([{ id: 'a', type: 'gauge', value: 1 }]);
  const source = (via) => page.locator(`.sources-table tr[data-via=${via}]`);
  await source('events').waitFor();
  await source('metrics').waitFor();
  assert.ok((await source('events').locator('td').allTextContents()).includes('30'));
});

scenario('the hub is well, draining, gone, and well again', async (scene) => {
  const hub = await scene.hub({ settings: { drain_timeout: '5s', stall_timeout: '60s', write_timeout: '60s' } });
  const page = await scene.open(hub, { at: '#hub', allow: [GONE, status(503)] });
  await untilEqual('its health', () => health(page), 'well');
  // Somebody who does not read keeps it from its end.
  await stall(scene, hub, 'type=some');
  await idOf(hub, 'type=some');
  for (let round = 0; round < 5; round += 1) await hub.send(some(2000, { text: 'x'.repeat(1000) }));
  const end = hub.terminate();
  await untilEqual('its health', () => health(page), 'draining');
  await end;
  await untilEqual('its health', () => health(page), 'gone');
  await hub.start();
  await untilEqual('its health', () => health(page), 'well');
});
