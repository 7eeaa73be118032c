// All of an event, to the digit; and spans and traces as waterfalls.

import assert from 'node:assert/strict';

import { scenario, until, untilEqual } from './harness.mjs';
import { downloaded, member, openEvent, rowsOf, untilShown } from './live_page.mjs';

const textOf = (page, path) => member(page, path).locator('.member-text').textContent();

scenario('the details have every member of an event, with its digits', async (scene) => {
  const hub = await scene.hub();
  const numbers = { beyond: '9007199254740993', greatest: '18446744073709551615', least: '-9223372036854775808', one: '1.0', exact: '0.1', small: '1e-7' };
  const members = Object.entries(numbers).map(([key, digits]) => `${JSON.stringify(key)}:${digits}`).join(',');
  await hub.send(`{"type":"digits","level":"warn","text":"a text","traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"18446744073709551615","data":{${members},"yes":true,"nothing":null,"empty":"","list":[1,[2.0,{"deep":9007199254740995}]],"inner":{"a.b":{"c":"d"}}}}`);
  const page = await scene.open(hub, { permissions: ['clipboard-read', 'clipboard-write'] });
  await untilShown(page, 1);
  await openEvent(page, 'digits');
  // The hub writes some numbers in another way than they came: what counts is what it sends.
  const [sent] = await hub.replayed('replay=1');
  for (const [key, digits] of Object.entries(numbers)) {
    assert.ok(sent.includes(`"${key}":${digits}`), `${key} in ${sent}`);
    assert.equal(await textOf(page, `data.${key}`), digits);
  }
  assert.equal(await textOf(page, 'spanId'), '18446744073709551615');
  assert.equal(await textOf(page, 'data.yes'), 'true');
  assert.equal(await textOf(page, 'data.nothing'), 'null');
  assert.equal(await textOf(page, 'data.list.1.0'), '2.0');
  assert.equal(await textOf(page, 'data.list.1.1.deep'), '9007199254740995');
  assert.equal(await textOf(page, 'data.inner.a.b.c'), 'd');
  for (const name of ['id', 'createdAt', 'signal', 'type', 'level', 'text', 'traceId']) assert.equal(await member(page, name).count(), 1, name);

  await page.getByRole('button', { name: 'Copy JSON' }).click();
  const copied = await until('the clipboard', () => page.evaluate(() => navigator.clipboard.readText()));
  assert.equal(copied.replace(/\n\s*/g, '').replaceAll('": ', '":'), sent);
});

scenario('numbers that no double can hold keep their digits', async (scene) => {
  const page = await scene.open(await scene.hub());
  const spelt = ['9007199254740993', '18446744073709551616', '1.0', '1e400', '-0', '-0.0', '1E5', '0.1000', '123456789.123456789123456789'];
  const shown = await page.evaluate(async (texts) => {
    const { parse, print } = await import('./exact_json.js');
    return texts.map((text) => [String(parse(text)), print(parse(`{"a":[${text}]}`))]);
  }, spelt);
  assert.deepEqual(shown, spelt.map((text) => [text, `{"a":[${text}]}`]));
});

scenario('a value of a type of its own is filtered by, as it is', async (scene) => {
  const hub = await scene.hub();
  await hub.send('{"type":"a","data":{"size":9007199254740993}}', '{"type":"b","data":{"size":9007199254740992}}', '{"type":"c","data":{"size":9007199254740993}}');
  const page = await scene.open(hub);
  await untilShown(page, 3);
  await openEvent(page, 'c');
  await member(page, 'data.size').locator('.member-value').click();
  await untilEqual('the events', async () => (await downloaded(page)).map((text) => JSON.parse(text).type), ['a', 'c']);
});

// Waterfalls

const TRACE = '5b8efff798038103d269b633813fc60c';
const START = 1_795_000_000_000_000_000n;
const at = (milliseconds) => String(START + BigInt(Math.round(milliseconds * 1e6)));
const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] };

const span = (spanId, parentSpanId, name, from, to, more = {}) => ({ traceId: TRACE, spanId, parentSpanId, name, kind: 1, startTimeUnixNano: at(from), endTimeUnixNano: at(to), ...more });
const log = (spanId, text, when, severityNumber = 9) => ({ traceId: TRACE, spanId, timeUnixNano: at(when), severityNumber, body: { stringValue: text }, eventName: 'note' });

/** Spans of a trace as they end, children first, and logs of them. */
async function sendTrace(hub) {
  const logRecords = [log('aaaaaaaaaaaaaaa1', 'began', 1), log('aaaaaaaaaaaaaaa2', 'asked', 30), log('aaaaaaaaaaaaaaa2', 'failed', 70, 17)];
  await hub.sendOtlp('logs', { resourceLogs: [{ resource, scopeLogs: [{ logRecords }] }] });
  const spans = [
    span('aaaaaaaaaaaaaaa3', 'aaaaaaaaaaaaaaa2', 'SELECT', 40, 60),
    span('aaaaaaaaaaaaaaa2', 'aaaaaaaaaaaaaaa1', 'query', 20, 80, { status: { code: 2, message: 'no such table' } }),
    span('aaaaaaaaaaaaaaa4', 'aaaaaaaaaaaaaaa1', 'render', 80, 95),
    span('aaaaaaaaaaaaaaa1', '', 'GET /cart', 0, 100),
  ];
  await hub.sendOtlp('traces', { resourceSpans: [{ resource, scopeSpans: [{ spans }] }] });
}

/** The rows of a waterfall: names, depths, and where their bars or ticks stand, in hundredths of the trace. */
const waterfall = (page) =>
  page.locator('.trace-row').evaluateAll((rows) =>
    rows.map((row) => {
      const mark = row.querySelector(row.dataset.kind === 'span' ? '.trace-bar' : '.trace-tick');
      const [left, width] = [parseFloat(mark.style.left), parseFloat(mark.style.width || '0')];
      return { kind: row.dataset.kind, depth: Number(row.dataset.depth), name: row.querySelector('.trace-name').textContent, left: Math.round(left), width: Math.round(width) };
    }));

scenario('a trace is a waterfall of its spans, with its logs in their places', async (scene) => {
  const hub = await scene.hub();
  await sendTrace(hub);
  // Of another trace, to be left out.
  await hub.send({ type: 'other', traceId: TRACE.replace('5', '6'), spanId: 'aaaaaaaaaaaaaaa1' });
  const page = await scene.open(hub);
  await untilShown(page, 8);
  await openEvent(page, 'SELECT');
  await page.getByRole('button', { name: 'Show trace' }).click();
  await page.locator('.side[data-panel=trace] .trace-row').first().waitFor();
  const rows = await waterfall(page);
  assert.deepEqual(rows.map(({ kind, depth, left, width }) => ({ kind, depth, left, width })), [
    { kind: 'span', depth: 0, left: 0, width: 100 },
    { kind: 'log', depth: 1, left: 1, width: 0 },
    { kind: 'span', depth: 1, left: 20, width: 60 },
    { kind: 'log', depth: 2, left: 30, width: 0 },
    { kind: 'span', depth: 2, left: 40, width: 20 },
    { kind: 'log', depth: 2, left: 70, width: 0 },
    { kind: 'span', depth: 1, left: 80, width: 15 },
  ]);
  assert.deepEqual(rows.filter(({ kind }) => kind === 'span').map(({ name }) => name), ['GET /cart', 'query', 'SELECT', 'render']);
  assert.match(rows[5].name, /ERROR.*failed/);
  assert.match(await page.locator('.trace-summary').textContent(), /100 ms.*4 spans.*7 events.*errors/);

  // On screen as in numbers.
  const boxes = await page.locator('.trace-bar').evaluateAll((bars) => bars.map((bar) => bar.getBoundingClientRect().toJSON()));
  assert.ok(boxes.every(({ width, left, right }) => width > 0 && left >= boxes[0].left - 1 && right <= boxes[0].right + 1), JSON.stringify(boxes));

  // A row is an event, from which one gets back.
  await page.locator('.trace-row', { hasText: 'query' }).getByRole('button').click();
  assert.equal(await textOf(page, 'type'), 'query');
  await page.getByRole('button', { name: 'Back' }).click();
  await untilEqual('the rows again', () => waterfall(page), rows);
});

scenario('a span within its trace has what is under it, and nothing else', async (scene) => {
  const hub = await scene.hub();
  await sendTrace(hub);
  const page = await scene.open(hub);
  await untilShown(page, 7);
  await openEvent(page, 'query');
  await page.getByRole('button', { name: 'Show span' }).click();
  await untilEqual('the rows', async () => (await waterfall(page)).map(({ kind, depth }) => `${kind} ${depth}`), ['span 0', 'log 1', 'span 1', 'log 1']);
});

scenario("a mail server's session is a span of which only logs tell", async (scene) => {
  const hub = await scene.hub();
  await hub.sendRecorded();
  const page = await scene.open(hub);
  await untilShown(page, 200);
  await openEvent(page, 'smtp.connection-end');
  const spanId = await textOf(page, 'spanId');
  await page.getByRole('button', { name: 'Show span' }).click();
  await page.locator('.side[data-panel=trace] .trace-row').first().waitFor();
  const events = (await hub.replayed(`span-id=${spanId}&follow=none&replay=5000`)).map((text) => JSON.parse(text));
  const logs = await page.locator('.trace-row[data-kind=log]').evaluateAll((rows) => rows.map(({ dataset }) => dataset.id));
  assert.ok(events.length > 5, `${events.length} events`);
  assert.deepEqual(new Set(logs), new Set(events.map(({ id }) => id)));
  assert.equal(logs.length, events.length);
  assert.equal(await page.locator('.trace-row[data-kind=span]').count(), 1);
  await page.getByRole('button', { name: 'Close', exact: true }).click();
  await untilEqual('the focus', () => rowsOf(page).evaluate((list) => list === document.activeElement), true);
});
