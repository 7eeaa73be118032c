// The metrics: charts of what is picked, a table of everything, from the first frame on.

import assert from 'node:assert/strict';
import { setInterval as every } from 'node:timers';

import { GONE, scenario, status, until, untilEqual } from './harness.mjs';

const counter = (id, value, more = {}) => ({ id, type: 'counter', value, ...more });
const row = (page, key) => page.locator(`.row-series[data-series=${JSON.stringify(key)}]`);
const card = (page, number) => page.getByRole('article', { name: `Chart ${number}` });
const plot = (within) => within.getByRole('slider');
const parameters = (page) => new URLSearchParams(new URL(page.url()).hash.split('?')[1]);

/** Whether anything is drawn in a canvas, besides its background. */
const isDrawn = (canvas) =>
  canvas.evaluate((element) => {
    const { data } = element.getContext('2d').getImageData(0, 0, element.width, element.height);
    const colours = new Set();
    for (let at = 0; at < data.length; at += 4) colours.add(data.slice(at, at + 4).join());
    return colours.size > 2;
  });

/** Keeps a hub busy for as long as a test runs. */
function keepSending(scene, hub, metrics) {
  const timer = every(() => hub.sendMetrics(metrics).catch(() => {}), 200);
  scene.atTheEnd(() => clearInterval(timer));
}

async function filterTable(page, text) {
  await page.getByRole('searchbox', { name: 'Filter the table' }).fill(text);
}

scenario('everything is there from the first frame', async (scene) => {
  const hub = await scene.hub();
  await hub.sendRecorded();
  // The second frame would come long after this test has given up.
  const page = await scene.open(hub, { at: '#metrics?interval=1h' });
  await until('a count of series', async () => Number(await page.locator('.series-count').textContent()) > 50);
  const received = (await hub.series()).get('hub.events.received');
  await filterTable(page, 'hub.events.received');
  await untilEqual('the value', () => row(page, 'hub.events.received').locator('.row-value').textContent(), received.value.toLocaleString('en'));
  await untilEqual('drawn', () => isDrawn(card(page, 1).locator('.chart-plot canvas')), true);
});

scenario('the lines have the colours of the light or the dark, whichever it is now', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#metrics?metrics=&interval=1h', colorScheme: 'light' });
  await filterTable(page, 'server.memory');
  const canvas = row(page, 'server.memory').locator('.row-sparkline canvas');
  const has = (colour) =>
    canvas.evaluate((element, [red, green, blue]) => {
      const { data } = element.getContext('2d').getImageData(0, 0, element.width, element.height);
      for (let at = 0; at < data.length; at += 4) if (data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255) return true;
      return false;
    }, colour);
  const accent = () => page.evaluate(() => getComputedStyle(document.documentElement).getPropertyValue('--accent').match(/[0-9a-f]{2}/g).map((part) => parseInt(part, 16)));
  await untilEqual('in the light', async () => has(await accent()), true);
  await page.emulateMedia({ colorScheme: 'dark' });
  await untilEqual('in the dark', async () => has(await accent()), true);
});

scenario('a chart of a group has its series, counters as rates, the total to the last digit', async (scene) => {
  const hub = await scene.hub();
  await hub.sendMetrics([counter('shop.orders', 5), counter('shop.carts', 1), counter('other.thing', 1)]);
  const page = await scene.open(hub, { at: '#metrics?metrics=shop.*&interval=500ms' });
  const legend = card(page, 1).locator('.legend-table');
  const names = () => legend.locator('tbody tr').evaluateAll((rows) => rows.map(({ dataset }) => dataset.series));
  await untilEqual('the series', names, ['shop.carts', 'shop.orders']);
  keepSending(scene, hub, [counter('shop.orders', 20)]);
  const value = legend.locator('tr[data-series="shop.orders"] td');
  // 20 in 200 ms: some 100 a second, on a machine that keeps its timers; never none.
  await until('a rate', async () => /^[\d.]+\/s$/.test(await value.textContent()) && parseFloat(await value.textContent()) > 0);
  assert.equal(await legend.locator('tr[data-series="shop.carts"] td').textContent(), '0/s');
  await filterTable(page, 'shop.orders');
  await until('a total that grows', async () => parseInt((await row(page, 'shop.orders').locator('.row-value').textContent()).replaceAll(',', ''), 10) > 5);
  await untilEqual('drawn', () => isDrawn(card(page, 1).locator('.chart-plot canvas')), true);

  // What is new joins its chart.
  await hub.sendMetrics([counter('shop.refunds', 1)]);
  await untilEqual('the series', names, ['shop.carts', 'shop.orders', 'shop.refunds']);
});

scenario('the rate is what the hub says', async (scene) => {
  const hub = await scene.hub();
  await hub.sendMetrics([counter('steady', 0)]);
  const page = await scene.open(hub, { at: '#metrics?metrics=steady&interval=1s' });
  const chart = plot(card(page, 1));
  await until('two frames', async () => Number(await chart.getAttribute('aria-valuenow')) >= 2);
  await filterTable(page, 'steady');
  await hub.sendMetrics([counter('steady', 40)]);
  // One frame has all of it: 40 in about a second.
  await until('the value', async () => (await row(page, 'steady').locator('.row-value').textContent()) === '40');
  await chart.focus();
  await page.keyboard.press('End');
  const told = new Set();
  const last = Number(await chart.getAttribute('aria-valuemax'));
  for (let frame = last; frame > Math.max(0, last - 6); frame -= 1) {
    await untilEqual('the frame', async () => Number(await chart.getAttribute('aria-valuenow')), frame);
    told.add(await chart.getAttribute('aria-valuetext'));
    await page.keyboard.press('ArrowLeft');
  }
  const rates = [...told].map((text) => parseFloat(/steady ([\d.]+)\/s/.exec(text)?.[1] ?? '0'));
  const sum = rates.reduce((all, rate) => all + rate, 0);
  assert.ok(sum > 30 && sum < 50, `rates ${rates} at frames of a second are not 40 in all`);
});

scenario('a histogram is its percentiles', async (scene) => {
  const hub = await scene.hub();
  await hub.sendMetrics([{ id: 'lookup.time', type: 'histogram', unit: 'ms', values: Array.from({ length: 1000 }, (_, index) => index + 1) }]);
  const page = await scene.open(hub, { at: '#metrics?metrics=lookup.time&interval=1h' });
  const legend = card(page, 1).locator('.legend-table');
  await legend.locator('tbody tr').waitFor();
  assert.deepEqual(await legend.locator('thead th.number').allTextContents(), ['p50', 'p90', 'p99']);
  const known = (await hub.series()).get('lookup.time');
  await filterTable(page, 'lookup.time');
  const digits = (value) => String(value).replace(/^\d+$/, (whole) => Number(whole).toLocaleString('en'));
  const title = await row(page, 'lookup.time').locator('.row-value').getAttribute('title');
  assert.ok(title.startsWith('count 1,000, sum 500,500 ms'), title);
  for (const member of ['min', 'p50', 'p90', 'p99', 'max']) assert.ok(title.includes(`${member} ${digits(known[member])} ms`), `${member} in ${title}`);
  const shown = (await legend.locator('tbody td').allTextContents()).map(parseFloat);
  // As people read them: three digits.
  for (const [index, member] of ['p50', 'p90', 'p99'].entries()) assert.ok(Math.abs(shown[index] - known[member]) <= known[member] / 100, `${shown} for ${known[member]}`);
});

scenario('the crosshair goes by keyboard, and says what it is at', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#metrics?metrics=server.memory&metrics=server.uptime&interval=0.2' });
  const chart = plot(card(page, 1));
  const now = async () => Number(await chart.getAttribute('aria-valuenow'));
  await until('some frames', async () => (await now()) >= 5);
  assert.equal(await card(page, 1).locator('.legend-when').textContent(), 'now');
  await chart.focus();
  await page.keyboard.press('Home');
  await until('a moment', async () => (await card(page, 1).locator('.legend-when').textContent()).startsWith('at'));
  const first = await now();
  assert.match(await chart.getAttribute('aria-valuetext'), /^\d\d:\d\d:\d\d(\.\d+)?: server\.memory [\d.]+ MiB$/);
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  await untilEqual('the frame', now, first + 2);
  await page.keyboard.press('ArrowLeft');
  await untilEqual('the frame', now, first + 1);
  // All charts are at the same moment.
  await untilEqual('the moments', async () => new Set(await page.locator('.legend-when').allTextContents()).size, 1);
  assert.match(await card(page, 2).locator('.legend-when').textContent(), /^at \d\d:\d\d:\d\d/);
  // It stays there while frames come.
  const last = Number(await chart.getAttribute('aria-valuemax'));
  await until('more frames', async () => Number(await chart.getAttribute('aria-valuemax')) > last + 2);
  assert.equal(await now(), first + 1);
  await page.keyboard.press('Escape');
  await untilEqual('the moment', () => card(page, 1).locator('.legend-when').textContent(), 'now');
});

scenario('a line can be hidden and brought back', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#metrics?metrics=hub.events.received&interval=1h' });
  const button = card(page, 1).locator('.legend-name');
  await untilEqual('shown', () => button.getAttribute('aria-pressed'), 'true');
  await button.click();
  assert.equal(await button.getAttribute('aria-pressed'), 'false');
  await button.click();
  assert.equal(await button.getAttribute('aria-pressed'), 'true');
});

scenario('the interval can be chosen; what the hub has against one is said at it', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#metrics', allow: [status(400)] });
  const asked = async () => (await hub.subscribers()).filter(({ state }) => state !== 'ending').map(({ filter }) => filter);
  await untilEqual('what is asked', asked, ['interval=2']);
  await page.getByLabel('Interval', { exact: true }).selectOption('500ms');
  await untilEqual('what is asked', asked, ['interval=0.5']);
  assert.equal(parameters(page).get('interval'), '500ms');
  await page.getByLabel('Interval', { exact: true }).selectOption('own');
  const own = page.locator('.interval-own');
  await own.fill('1ms');
  await own.press('Enter');
  const { detail } = await (await hub.fetch('api/telemetry/metrics/live?interval=1ms')).json();
  await untilEqual('the fault', () => page.locator('#interval-fault').textContent(), detail);
  assert.equal(await own.getAttribute('aria-invalid'), 'true');
  await own.fill('0.3s');
  await own.press('Enter');
  await untilEqual('the fault', () => page.locator('#interval-fault').textContent(), '');
  await untilEqual('what is asked', asked, ['interval=0.3']);
});

scenario('the table can be filtered and sorted', async (scene) => {
  const hub = await scene.hub();
  await hub.sendMetrics([9, 100, 20].map((value, index) => ({ id: `stock.item${index}`, type: 'gauge', value, unit: '{item}' })));
  const page = await scene.open(hub, { at: '#metrics?interval=1h' });
  await until('series', async () => Number(await page.locator('.series-count').textContent()) > 10);
  const all = await page.locator('.series-count').textContent();
  await page.locator('body').press('/');
  await page.keyboard.type('stock item');
  await untilEqual('the count', () => page.locator('.series-count').textContent(), `3 of ${all}`);
  const values = () => page.locator('.row-series .row-value').allTextContents();
  await page.getByRole('button', { name: 'Value' }).click();
  await untilEqual('the values', values, ['100', '20', '9']);
  assert.equal(await page.locator('th[aria-sort]').getAttribute('aria-sort'), 'descending');
  await page.getByRole('button', { name: 'Value' }).click();
  await untilEqual('the values', values, ['9', '20', '100']);
  await page.getByRole('button', { name: 'Name and attributes' }).click();
  await untilEqual('the names', () => page.locator('.row-series').evaluateAll((rows) => rows.map(({ dataset }) => dataset.series)), ['stock.item0', 'stock.item1', 'stock.item2']);
});

scenario('a click on a series charts it, another takes it off again; the keyboard does so, too', async (scene) => {
  const hub = await scene.hub();
  await hub.sendMetrics([counter('shop.orders', 1), counter('shop.carts', 1)]);
  const page = await scene.open(hub, { at: '#metrics?metrics=' });
  await filterTable(page, 'shop');
  const button = row(page, 'shop.orders').locator('.row-button');
  await button.click();
  await untilEqual('charted', () => button.getAttribute('aria-pressed'), 'true');
  assert.deepEqual(parameters(page).getAll('metrics'), ['shop.orders']);
  await card(page, 1).locator('tr[data-series="shop.orders"]').waitFor();
  await button.focus();
  await page.keyboard.press('Enter');
  await untilEqual('charted', () => button.getAttribute('aria-pressed'), 'false');
  await untilEqual('the charts', () => page.getByRole('article').count(), 0);
});

scenario('a chart is added by typing, and what is typed can be a glob', async (scene) => {
  const hub = await scene.hub();
  await hub.sendMetrics([counter('shop.orders', 1), counter('shop.carts', 1), counter('shelf', 1)]);
  const page = await scene.open(hub, { at: '#metrics?metrics=' });
  const field = page.getByRole('combobox', { name: /^Add a chart/ });
  await until('series', async () => Number(await page.locator('.series-count').textContent()) > 10);
  await page.keyboard.press('a');
  await page.keyboard.type('shop');
  const options = page.locator('.metrics-bar .picker-list').getByRole('option');
  await untilEqual('what is offered', () => options.locator('.picker-name').allTextContents(), ['shop.*', 'shop.carts', 'shop.orders']);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.deepEqual(parameters(page).getAll('metrics'), ['shop.carts']);
  await field.fill('sh*');
  await field.press('Enter');
  await untilEqual('the charts', () => page.getByRole('article').count(), 2);
  await untilEqual('the series', () => card(page, 2).locator('tbody tr').evaluateAll((rows) => rows.map(({ dataset }) => dataset.series)), ['shelf', 'shop.carts', 'shop.orders']);
  await card(page, 2).getByRole('button', { name: 'Remove this chart' }).click();
  await untilEqual('the charts', () => page.getByRole('article').count(), 1);
});

scenario('a shared address shows the same charts', async (scene) => {
  const hub = await scene.hub();
  await hub.sendMetrics([{ ...counter('http.requests', 7), attributes: { method: 'GET' } }, { ...counter('http.requests', 3), attributes: { method: 'PUT' } }]);
  const page = await scene.open(hub, { at: '#metrics?metrics=server.memory,server.cpu&interval=1s&window=15m' });
  await filterTable(page, 'method=GET');
  await untilEqual('the rows', () => page.locator('.row-series').count(), 1);
  await page.locator('.row-series .row-button').click();
  await card(page, 2).locator('tbody tr').waitFor();
  const other = await scene.open(hub, { at: new URL(page.url()).hash });
  const series = (of) => of.locator('article tbody tr').evaluateAll((rows) => rows.map(({ dataset }) => dataset.series));
  const wanted = ['server.cpu', 'server.memory', 'http.requests{"method":"GET"}'];
  await untilEqual('the series', async () => (await series(page)).sort(), wanted.sort());
  await untilEqual('the same series', async () => (await series(other)).sort(), wanted.sort());
  assert.equal(await other.getByLabel('Window').inputValue(), '15m');
  assert.equal(await other.getByLabel('Interval', { exact: true }).inputValue(), '1s');
});

scenario('counters beyond what a double holds keep their digits', async (scene) => {
  const hub = await scene.hub();
  const frame = 'event: metrics\ndata: [{"id":"big.counter","type":"counter","value":9007199254740993,"rate":0.5}]\n\n';
  const prepare = (page) => page.route('**/metrics/live?*', (route) => route.fulfill({ contentType: 'text/event-stream', body: frame }));
  const page = await scene.open(hub, { at: '#metrics?metrics=big.counter', prepare });
  await untilEqual('the value', () => row(page, 'big.counter').locator('.row-value').textContent(), '9,007,199,254,740,993');
});

scenario('names and attributes of series are text', async (scene) => {
  const hub = await scene.hub();
  const markup = '<img src=x onerror="document.title=1">';
  await hub.sendMetrics([{ ...counter(`evil.${markup}`, 1), attributes: { 'k\u202ey': `${markup}\u202e`, __proto__: 'x' }, unit: markup }]);
  const page = await scene.open(hub, { at: '#metrics?metrics=evil.*&interval=1h' });
  await card(page, 1).locator('tbody tr').waitFor();
  await filterTable(page, 'evil');
  await page.locator('.row-series').waitFor();
  assert.equal(await page.locator('main img').count(), 0);
  assert.equal(await page.title(), 'Metrics · telemetry-hub');
  const text = await page.locator('main').evaluate((main) => main.innerText);
  assert.ok(text.includes('k⟨U+202E⟩y') && !text.includes('\u202e'), text);
});

scenario('a hub that comes back goes on being charted', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#metrics?interval=500ms', allow: [GONE] });
  const value = row(page, 'server.uptime').locator('.row-value');
  await filterTable(page, 'server.uptime');
  await value.waitFor();
  await hub.kill();
  await page.locator('.metrics-note', { hasText: 'The hub cannot be reached' }).waitFor();
  await hub.start();
  await page.locator('.metrics-note').waitFor({ state: 'hidden' });
  const before = await value.textContent();
  await until('another value', async () => (await value.textContent()) !== before);
});
