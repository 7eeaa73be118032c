// The filter: chips that are the hub's query, in the address, and what the hub says against one.

import assert from 'node:assert/strict';

import { scenario, status, until, untilEqual } from './harness.mjs';
import { addFilter, downloaded, filters, member, openEvent, untilOpen, untilShown } from './live_page.mjs';

const fragment = (page) => new URL(page.url()).hash;
const chip = (page, text) => page.locator('.chip', { hasText: text });

/** What the page shows is what the hub has of the same query. */
async function assertShows(page, hub, query) {
  const wanted = await hub.replayed(query);
  await untilEqual(`the events of ${query}`, () => downloaded(page), wanted);
  return wanted;
}

scenario('a filter that is typed becomes a chip, the address, and the query that the hub is asked', async (scene) => {
  const hub = await scene.hub();
  await hub.sendRecorded();
  const page = await scene.open(hub);
  await untilShown(page, 200);
  await addFilter(page, 'remote-ip=127.0.0.7');
  assert.deepEqual(await filters(page), ['remote-ip=127.0.0.7']);
  assert.equal(fragment(page), '#live?remote-ip=127.0.0.7');
  const events = await assertShows(page, hub, 'remote-ip=127.0.0.7&replay=200');
  assert.ok(events.length >= 68, `${events.length} events`);
  await untilEqual('the query of the only subscriber', async () => (await hub.subscribers()).map(({ filter }) => filter.includes('remote-ip=127.0.0.7')), [true]);

  await addFilter(page, 'smtp.raw');
  await addFilter(page, 'follow=none');
  await page.locator('.level-select').selectOption('info');
  assert.deepEqual(new Set(await filters(page)), new Set(['level=info', 'remote-ip=127.0.0.7', 'filter=smtp.raw', 'follow=none']));
  const fewer = await assertShows(page, hub, 'level=info&remote-ip=127.0.0.7&filter=smtp.raw&follow=none&replay=200');
  assert.ok(fewer.length > 0 && fewer.length < events.length);
});

scenario('what comes later is filtered as well', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#live?level=warn&follow=none' });
  await page.locator('.stream-empty[data-why=filter]').waitFor();
  await hub.send({ type: 'quiet', level: 'info' }, { type: 'loud', level: 'error' });
  await untilShown(page, 1);
  assert.deepEqual((await downloaded(page)).map((text) => JSON.parse(text).type), ['loud']);
});

scenario('keys and values that were seen are offered, and taken by the keyboard', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'a', data: { accountName: 'alice', colour: 'red' } }, { type: 'b', data: { accountName: 'bob' } });
  const page = await scene.open(hub);
  await untilShown(page, 2);
  const field = page.getByRole('combobox', { name: 'Add a filter' });
  await page.keyboard.press('/');
  await page.keyboard.type('accou');
  const options = page.getByRole('listbox', { name: 'Keys and values' }).getByRole('option');
  await untilEqual('the keys', () => options.evaluateAll((all) => all.map(({ dataset }) => dataset.value)), ['account-name=']);
  assert.equal(await field.getAttribute('aria-expanded'), 'true');
  await page.keyboard.press('ArrowDown');
  assert.equal(await field.getAttribute('aria-activedescendant'), await options.first().getAttribute('id'));
  await page.keyboard.press('Enter');
  assert.equal(await field.inputValue(), 'account-name=');
  await untilEqual('the values', async () => (await options.allTextContents()).sort(), ['alice', 'bob']);
  await page.keyboard.type('bo');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.deepEqual(await filters(page), ['account-name=bob']);
  await untilShown(page, 1);
  assert.equal(await field.inputValue(), '');
});

scenario('a filter can be edited, and removed by the keyboard', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'a', data: { number: 1 } }, { type: 'b', data: { number: 2 } });
  const page = await scene.open(hub, { at: '#live?number=1' });
  await untilShown(page, 1);
  await chip(page, 'number=1').getByRole('button', { name: 'number=1', exact: true }).click();
  await page.keyboard.press('End');
  await page.keyboard.press('Backspace');
  await page.keyboard.type('2');
  await page.keyboard.press('Enter');
  assert.equal(fragment(page), '#live?number=2');
  await untilEqual('the events', async () => (await downloaded(page)).map((text) => JSON.parse(text).type), ['b']);
  await page.getByRole('combobox', { name: 'Add a filter' }).focus();
  await page.keyboard.press('Backspace');
  await page.keyboard.press('Delete');
  assert.deepEqual(await filters(page), []);
  await untilShown(page, 2);
});

scenario('what the hub has against a filter stands at it, in its own words; without it all is well', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'a', level: 'warn' });
  const page = await scene.open(hub, { allow: [status(400)] });
  await untilShown(page, 1);
  await page.evaluate(() => { location.hash = '#live?level=nope&type=a'; });
  await assertBlamed(page, hub, 'level', 'nope');
  await chip(page, 'level=nope').getByRole('button', { name: 'Remove' }).click();
  await untilShown(page, 1);
  await addFilter(page, 'follow=x');
  await assertBlamed(page, hub, 'follow', 'x');
  await chip(page, 'follow=x').getByRole('button', { name: 'Remove' }).click();
  await untilShown(page, 1);
  await untilOpen(page);
  assert.equal(await page.locator('.filter-fault').textContent(), '');
  assert.equal(await page.locator('.chip[data-fault]').count(), 0);
});

async function assertBlamed(page, hub, name, value) {
  const { detail } = await (await hub.fetch(`api/telemetry/traces/live?${name}=${value}`)).json();
  await page.locator(`.chip[data-fault][data-parameter=${name}]`).waitFor();
  assert.ok((await page.getByRole('alert').allTextContents()).some((text) => text.includes(detail)), detail);
  assert.equal(await page.locator('.chip[data-fault]').count(), 1);
  assert.equal(await page.locator('.shell-state').getAttribute('data-phase'), 'refused');
}

scenario('an expression that is none is blamed, and of two the one that was typed last', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { allow: [status(400)] });
  await untilOpen(page);
  await addFilter(page, 'where=severity >= 13');
  await untilOpen(page);
  await addFilter(page, 'where=severity >=');
  await page.locator('.chip[data-fault]').waitFor();
  assert.deepEqual(await page.locator('.chip[data-fault]').evaluateAll((all) => all.map(({ dataset }) => dataset.value)), ['severity >=']);
});

scenario('a shared address shows the same in a second browser', async (scene) => {
  const hub = await scene.hub();
  await hub.sendRecorded();
  const page = await scene.open(hub, { permissions: ['clipboard-read', 'clipboard-write'] });
  await addFilter(page, 'level=info');
  await addFilter(page, 'remote-ip=127.0.0.0/28');
  await addFilter(page, 'where=type.startsWith("smtp") && size(type) > 3');
  await untilOpen(page);
  await page.getByRole('button', { name: 'Share' }).click();
  await page.getByRole('menuitem', { name: 'Copy link' }).click();
  const link = await until('a link', () => page.evaluate(() => navigator.clipboard.readText()));
  const mine = await assertShows(page, hub, new URLSearchParams({ level: 'info', 'remote-ip': '127.0.0.0/28', where: 'type.startsWith("smtp") && size(type) > 3', replay: 200 }));
  assert.ok(mine.length > 10);
  const other = await scene.open(hub, { at: new URL(link).hash });
  assert.deepEqual(await filters(other), await filters(page));
  await untilEqual('the same events', () => downloaded(other), mine);
});

scenario('Back goes back, and Forward forward again', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'a', data: { x: 1 } }, { type: 'a', data: { x: 2 } }, { type: 'b', data: { x: 2 } });
  const page = await scene.open(hub);
  await untilShown(page, 3);
  await addFilter(page, 'type=a');
  await untilShown(page, 2);
  await addFilter(page, 'x=2');
  await untilShown(page, 1);
  await page.goBack();
  await untilShown(page, 2);
  assert.deepEqual(await filters(page), ['type=a']);
  await page.goBack();
  await untilShown(page, 3);
  await page.goForward();
  await untilShown(page, 2);
  assert.deepEqual(await filters(page), ['type=a']);
});

const MIXED = ['red', 'blue', 'red', 'green', 'blue'].map((colour, number) => ({ type: 'paint', data: { colour, number } }));
const colours = async (page) => (await downloaded(page)).map((text) => JSON.parse(text).data.colour);

scenario('a click on a value shows only the events that have it', async (scene) => {
  const hub = await scene.hub();
  await hub.send(MIXED);
  const page = await scene.open(hub);
  await untilShown(page, 5);
  await openEvent(page, 'paint');
  await member(page, 'data.colour').locator('.member-value').click();
  assert.deepEqual(await filters(page), ['colour=blue']);
  await untilEqual('the events', () => colours(page), ['blue', 'blue']);
  await hub.send(MIXED);
  await untilEqual('the events', () => colours(page), ['blue', 'blue', 'blue', 'blue']);
});

scenario('a value can be excluded, from what is there and what comes', async (scene) => {
  const hub = await scene.hub();
  // All of one span, of which no other event may bring back what is hidden.
  const ofSpan = MIXED.map((event) => ({ ...event, spanId: 'a span' }));
  await hub.send(ofSpan);
  const page = await scene.open(hub);
  await untilShown(page, 5);
  await openEvent(page, 'paint');
  await member(page, 'data.colour').locator('.member-not').click();
  await untilEqual('the events', () => colours(page), ['red', 'red', 'green']);
  await hub.send(ofSpan);
  await untilEqual('the events', () => colours(page), ['red', 'red', 'green', 'red', 'red', 'green']);
  // What has no colour is not blue either.
  await hub.send({ type: 'plain' });
  await untilShown(page, 7);
});

scenario('the stream that is shown can be had elsewhere: as a URL and for curl', async (scene) => {
  const hub = await scene.hub();
  await hub.send(MIXED);
  const page = await scene.open(hub, { at: '#live?colour=red', permissions: ['clipboard-read', 'clipboard-write'] });
  await untilShown(page, 2);
  const copied = async (item) => {
    await page.evaluate(() => navigator.clipboard.writeText(''));
    await page.getByRole('button', { name: 'Share' }).click();
    await page.getByRole('menuitem', { name: item }).click();
    return until('the clipboard', () => page.evaluate(() => navigator.clipboard.readText()));
  };
  assert.equal(await copied('Copy stream URL'), `${hub.url}api/telemetry/traces/live?colour=red`);
  assert.equal(await copied('Copy as curl'), `curl -N '${hub.url}api/telemetry/traces/live?colour=red'`);
  assert.equal(await copied('Copy as telemetry-hub tail'), `telemetry-hub tail --url ${hub.url.slice(0, -1)} colour=red`);
});
