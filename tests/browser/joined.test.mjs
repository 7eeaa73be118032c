// Hubs that are joined: one page shows all of them, together and each, and says how its own is joined.

import assert from 'node:assert/strict';

import { checker } from './axe.mjs';
import { GONE, scenario, status, until, untilEqual } from './harness.mjs';
import { JoinedHub } from './joined_hub.mjs';

const MIB = 1024 * 1024;

const hub = (received, delivered, more) => ({
  'hub.events.received': { value: received, rate: received / 100 },
  'hub.events.delivered': { value: delivered, rate: delivered / 100 },
  ...more,
});

/** Three hubs, of which `b` is cut off and `c` has just begun anew. */
const three = () => ({
  'hub-a:8787': hub(12_000, 36_000, { 'hub.subscribers': { value: 3 }, 'server.memory': { value: 64 * MIB }, 'server.cpu': { value: 0.25 }, 'server.uptime': { value: 7200 } }),
  'hub-b:8787': hub(3_000, 9_000, {
    'hub.subscribers': { value: 2 },
    'server.memory': { value: 32 * MIB },
    'server.cpu': { value: 0.5 },
    'server.uptime': { value: 3600 },
    'hub.transport.joined': { value: 0 },
    'hub.transport.lag': { value: 1234 },
    'hub.transport.failed': { value: 40, rate: 2 },
    'server.responses.503': { value: 41, rate: 2 },
  }),
  'hub-c:8787': hub(0, 0, { 'hub.subscribers': { value: 1 }, 'server.memory': { value: 16 * MIB }, 'server.cpu': { value: 0.25 }, 'server.uptime': { value: 65 }, 'server.responses.503': { value: 1, rate: 0 } }),
});

const tile = (page, id, part) => page.locator(`.tile[data-series="${id}"] .tile-${part}`).textContent();
const row = (page, name) => page.locator(`.hubs-table tr[data-hub="${name}"]`);
const cells = async (page, name) => row(page, name).locator('td').allTextContents();
const health = (page) => page.locator('.health').getAttribute('data-state');
const why = (page) => page.locator('.health-why').textContent();

scenario('the figures are of all hubs together, and of each one in a table', async (scene) => {
  const joined = await JoinedHub.start(scene, three());
  const page = await scene.open(joined, { at: '#hub' });
  await untilEqual('what was received', () => tile(page, 'hub.events.received', 'note'), '15,000 in all');
  assert.equal(await tile(page, 'hub.events.received', 'value'), '150/s');
  assert.equal(await tile(page, 'hub.events.delivered', 'value'), '450/s');
  assert.equal(await tile(page, 'hub.subscribers', 'value'), '6');
  assert.equal(await tile(page, 'server.memory', 'value'), '112 MiB');
  assert.equal(await tile(page, 'server.cpu', 'value'), '1.00 cores');
  assert.equal(await tile(page, 'server.uptime', 'value'), '1 min 5 s');
  assert.equal(await tile(page, 'server.uptime', 'note'), 'youngest: hub-c:8787');
  assert.equal(await page.locator('.hubs-summary').textContent(), '3 hubs together');
  assert.deepEqual(await cells(page, 'hub-a:8787'), ['yes', '0', '3', '120/s', '360/s', '64 MiB', '0.25 cores', '2 h 0 min']);
  assert.deepEqual(await cells(page, 'hub-b:8787'), ['no', '1,234 messages', '2', '30/s', '90/s', '32 MiB', '0.50 cores', '1 h 0 min']);
  assert.deepEqual(await page.locator('.hub-here').filter({ visible: true }).locator('xpath=preceding-sibling::*').allTextContents(), ['hub-a:8787']);
  assert.deepEqual(await page.locator('.hub-name').allTextContents(), ['hub-a:8787', 'hub-b:8787', 'hub-c:8787']);
  await page.getByRole('heading', { name: 'Subscribers of this hub' }).waitFor();
  await page.getByRole('heading', { name: 'Sources of this hub' }).waitFor();
});

scenario('what several hubs refuse is added up; what one alone does has its name', async (scene) => {
  const joined = await JoinedHub.start(scene, three());
  const page = await scene.open(joined, { at: '#hub' });
  const refusal = (id, part) => page.locator(`.refusals-table tr[data-series="${id}"] .refusal-${part}`);
  await untilEqual('answers', () => refusal('server.responses.503', 'total').textContent(), '42');
  assert.equal(await refusal('server.responses.503', 'hub').isVisible(), false);
  assert.equal(await refusal('hub.transport.failed', 'total').textContent(), '40');
  assert.equal(await refusal('hub.transport.failed', 'now').textContent(), '2/s');
  assert.equal(await refusal('hub.transport.failed', 'hub').textContent(), 'only hub-b:8787');
});

scenario('a total is exact, however large', async (scene) => {
  const joined = await JoinedHub.start(scene, { a: hub(0, 0), b: hub(1, 0) });
  joined.hubs.a['hub.events.received'] = { value: 9007199254740993n, rate: 0 };
  const page = await scene.open(joined, { at: '#hub' });
  await untilEqual('the total', () => tile(page, 'hub.events.received', 'note'), '9,007,199,254,740,994 in all');
});

scenario('a hub that is silent is told of, and its figures are no more', async (scene) => {
  const joined = await JoinedHub.start(scene, three());
  const page = await scene.open(joined, { at: '#hub' });
  await row(page, 'hub-c:8787').waitFor();
  const { 'hub-b:8787': b, ...others } = joined.hubs;
  joined.hubs = others;
  await row(page, 'hub-b:8787').and(page.locator('[data-state=silent]')).waitFor();
  const [state, ...figures] = await cells(page, 'hub-b:8787');
  assert.match(state, /^silent since \d/);
  assert.deepEqual(figures, Array(7).fill('–'));
  assert.equal(await tile(page, 'hub.events.received', 'note'), '12,000 in all');
  assert.equal(await page.locator('.hubs-summary').textContent(), '2 hubs together');
  assert.equal(await page.locator('.refusals-table tr[data-series="hub.transport.failed"]').isVisible(), false);
  joined.hubs = { ...others, 'hub-b:8787': { ...b, 'hub.transport.joined': { value: 1 } } };
  await row(page, 'hub-b:8787').and(page.locator('[data-state=joined]')).waitFor();
  // Long after that, it is told of no more.
  joined.hubs = others;
  await row(page, 'hub-b:8787').and(page.locator('[data-state=silent]')).waitFor();
  await page.clock.install();
  await page.clock.fastForward('06:00');
  await row(page, 'hub-b:8787').waitFor({ state: 'detached' });
});

scenario('a hub that is alone has no table of hubs', async (scene) => {
  const page = await scene.open(await scene.hub(), { at: '#hub' });
  await untilEqual('what was received', () => tile(page, 'hub.events.received', 'note'), '0 in all');
  assert.equal(await page.locator('.hubs-table').isVisible(), false);
  assert.equal(await page.locator('.hubs-summary').isVisible(), false);
  assert.equal(await tile(page, 'server.uptime', 'note'), 'since the start');
  await page.getByRole('heading', { name: 'Subscribers', exact: true }).waitFor();
});

scenario('a hub says whether it is joined, and why not', async (scene) => {
  const joined = await JoinedHub.start(scene, three());
  joined.unready('not joined to the other hubs yet: nats://nats1:4222 cannot be reached');
  const page = await scene.open(joined, { at: '#hub', allow: [status(503)] });
  await untilEqual('its health', () => health(page), 'joining');
  assert.match(await why(page), /accepts nothing\. Nothing is lost.*\(nats:\/\/nats1:4222 cannot be reached\)$/);
  joined.unready('cut off from the other hubs: the connection is lost');
  await untilEqual('its health', () => health(page), 'apart');
  assert.match(await why(page), /\(the connection is lost\)$/);
  joined.unready('the hub is shutting down');
  await untilEqual('its health', () => health(page), 'draining');
  assert.doesNotMatch(await why(page), /\(/);
  joined.unready('something else');
  await untilEqual('its health', () => health(page), 'busy');
  assert.match(await why(page), /\(something else\)$/);
  joined.ready = { status: 200, body: { status: 'ready', services: ['shop', 'mail'] } };
  await untilEqual('its health', () => health(page), 'well');
  assert.match(await why(page), /these services alone: shop, mail\.$/);
  joined.ready.body.services = Array.from({ length: 40 }, (_, index) => `service-${index}`);
  await until('the first of many', async () => /service-11, and 28 more\.$/.test(await why(page)));
  joined.ready.body = { status: 'ready', narrowedTo: 2 };
  const narrowed = /reads the events of 2 services alone: nobody who watches asks for more\.$/;
  await until('what it reads', async () => narrowed.test(await why(page)));
});

scenario('a hub that has not joined yet gives no stream; the page says so, and gets it later', async (scene) => {
  const joined = await JoinedHub.start(scene, three());
  joined.refusal = 'the hub has not joined the other hubs yet';
  const page = await scene.open(joined, { allow: [GONE, status(503)] });
  await page.locator('.stream-empty[data-why=away]', { hasText: 'It says: the hub has not joined the other hubs yet.' }).waitFor();
  // It stands there while the page tries again.
  await page.locator('.shell-state[data-phase=connecting]').waitFor();
  assert.equal(await page.locator('.stream-empty').isVisible(), true);
  joined.refusal = null;
  await page.locator('.shell-state[data-phase=open]').waitFor();
  await page.locator('.stream-empty[data-why=none]').waitFor();
});

scenario('the first charts have a line for each hub', async (scene) => {
  const joined = await JoinedHub.start(scene, three());
  const page = await scene.open(joined, { at: '#metrics' });
  const lines = (chart) => page.locator('article').nth(chart).locator('tbody tr');
  await untilEqual('lines of events', () => lines(0).count(), 9);
  await untilEqual('lines of memory', () => lines(1).locator('.legend-name').allTextContents(), ['hub=hub-a:8787', 'hub=hub-b:8787', 'hub=hub-c:8787']);
});

for (const width of [1280, 390]) {
  scenario(`axe finds nothing where hubs are joined, ${width} pixels wide`, async (scene) => {
    const joined = await JoinedHub.start(scene, three());
    joined.unready('cut off from the other hubs: the connection is lost');
    const page = await scene.open(joined, { at: '#hub', viewport: { width, height: 800 }, allow: [status(503)] });
    const check = checker(page);
    await row(page, 'hub-b:8787').waitFor();
    const { 'hub-c:8787': _, ...others } = joined.hubs;
    joined.hubs = others;
    await row(page, 'hub-c:8787').and(page.locator('[data-state=silent]')).waitFor();
    await untilEqual('its health', () => health(page), 'apart');
    await check('one cut off, one silent');
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(sideways <= 0, `the page is ${sideways} pixels wider than the screen`);
  });
}
