// For everybody: by keyboard alone, for eyes of all kinds (axe-core), without motion for whom that is better.

import assert from 'node:assert/strict';

import { checker } from './axe.mjs';
import { scenario, status, until, untilEqual } from './harness.mjs';
import { filters, openEvent, rowsInSight, untilOpen, untilShown } from './live_page.mjs';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'].map((level) => ({ type: 'some', level, text: level }));

for (const width of [1280, 390]) {
  const viewport = { width, height: 800 };

  scenario(`axe finds nothing in the live view, ${width} pixels wide`, async (scene) => {
    const hub = await scene.hub();
    const page = await scene.open(hub, { viewport, allow: [status(400)] });
    const check = checker(page);
    await page.locator('.stream-empty[data-why=none]').waitFor();
    await check('empty');
    await hub.sendRecorded();
    await hub.send(LEVELS);
    await page.reload();
    await untilShown(page, 200);
    await check('events');
    await openEvent(page, 'some');
    await check('an event whole');
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    await page.evaluate(() => { location.hash = '#live?type=smtp.connection-end'; });
    await until('the events', async () => (await rowsInSight(page)).length > 3);
    await openEvent(page, 'smtp.connection-end');
    await page.getByRole('button', { name: 'Show span' }).click();
    await page.locator('.trace-row').first().waitFor();
    await check('a waterfall');
    await page.getByRole('button', { name: 'Close', exact: true }).click();
    await page.keyboard.press(' ');
    await page.keyboard.press('k');
    await hub.send(LEVELS);
    await page.getByRole('combobox', { name: 'Add a filter' }).fill('re');
    await page.locator('.completion [role=option]').first().waitFor();
    await page.keyboard.press('ArrowDown');
    await check('paused, a row chosen, completion open');
    await page.keyboard.press('Escape');
    await page.evaluate(() => { location.hash = '#live?level=nope'; });
    await page.locator('.chip[data-fault]').waitFor();
    await check('a filter that is refused');
    await page.evaluate(() => { location.hash = '#live?type=nothing-of-this-kind'; });
    await page.locator('.stream-empty[data-why=filter]').waitFor();
    await page.getByRole('button', { name: 'Share' }).click();
    await check('nothing matches, the menu open');
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
    await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
    await check('the list of keys');
  });

  scenario(`axe finds nothing in the metrics and hub views, ${width} pixels wide`, async (scene) => {
    const hub = await scene.hub();
    await hub.sendRecorded();
    await hub.sendMetrics([{ id: 'lookup.time', type: 'histogram', unit: 'ms', values: [1, 2, 3] }, { id: 'shop.orders', type: 'counter', value: 1, attributes: { method: 'GET' } }]);
    await hub.fetch('api/telemetry/events', { method: 'POST', body: 'x' });
    const page = await scene.open(hub, { viewport, at: '#metrics?metrics=smtp.*&metrics=lookup.time,server.memory&metrics=nothing&interval=1s', allow: [status(400)] });
    const check = checker(page);
    await page.locator('article tbody tr').first().waitFor();
    await check('charts and a table');
    await page.getByRole('slider').first().focus();
    await page.keyboard.press('Home');
    await check('a crosshair');
    await page.getByRole('combobox', { name: /^Add a chart/ }).fill('s');
    await page.locator('.picker-list [role=option]').first().waitFor();
    await page.keyboard.press('ArrowDown');
    await check('the picker open');
    await page.keyboard.press('Escape');
    await page.evaluate(() => { location.hash = '#metrics?interval=nope'; });
    await until('the fault', async () => (await page.locator('#interval-fault').textContent()) !== '');
    await check('an interval that is refused');
    await page.evaluate(() => { location.hash = '#hub'; });
    await page.locator('.subscribers-table tr[data-subscriber]').first().waitFor();
    await page.locator('.sources-table tr[data-via]').first().waitFor();
    await check('the hub');
    await page.getByRole('button', { name: /^End subscriber/ }).first().click();
    await page.getByRole('dialog', { name: 'End this stream?' }).waitFor();
    await check('a stream about to be ended');
  });

  scenario(`axe finds nothing where one has to sign in, ${width} pixels wide`, async (scene) => {
    const hub = await scene.hub({ tokens: { alice: ['traces'] } });
    const page = await scene.open(hub, { viewport, allow: [status(401), status(403)] });
    const check = checker(page);
    const dialog = page.getByRole('dialog', { name: 'Sign in' });
    await dialog.getByLabel('Token').fill('wrong');
    await page.keyboard.press('Enter');
    await until('what is wrong', async () => (await dialog.getByRole('alert').textContent()) !== '');
    await check('a wrong token');
    await dialog.getByRole('button', { name: 'Not now' }).click();
    await check('not signed in');
  });
}

// The keyboard

/** The element that has the focus, in words; null if it is lost, or cannot be seen. */
const focused = (page) =>
  page.evaluate(() => {
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const { width, height } = element.getBoundingClientRect();
    if (width === 0 || height === 0) return null;
    return element.getAttribute('aria-label') ?? element.textContent.trim().slice(0, 40) ?? element.tagName;
  });

scenario('all of it goes by keyboard', async (scene) => {
  const hub = await scene.hub();
  await hub.send(Array.from({ length: 50 }, (_, number) => ({ type: 'numbered', level: 'info', data: { number } })));
  const page = await scene.open(hub);
  const press = (key) => page.keyboard.press(key);
  await untilShown(page, 50);
  const chosen = () => page.locator('.row[aria-selected=true] .pair-value').textContent();

  await press('/');
  assert.equal(await focused(page), 'Add a filter');
  await page.keyboard.type('type=numbered');
  await press('Enter');
  assert.deepEqual(await filters(page), ['type=numbered']);
  await untilShown(page, 50);
  await press('Escape');

  await press('g');
  await press('j');
  // The first row and the one below it.
  await untilEqual('the row', chosen, '1');
  await press('k');
  await untilEqual('the row', chosen, '0');
  await press('j');
  await press('Enter');
  await page.locator('.side[data-panel=details]').waitFor();
  assert.ok(await page.evaluate(() => document.querySelector('.side').contains(document.activeElement)), 'the focus is in the panel');
  await press('j');
  await untilEqual('the row', chosen, '2');
  await untilEqual('its details', () => page.locator('.member[data-path="data.number"] .member-text').textContent(), '2');
  await press('Escape');
  await page.locator('.side').waitFor({ state: 'hidden' });
  assert.equal(await focused(page), 'Events');
  await press('G');
  await untilEqual('follows', () => page.locator('.rows').getAttribute('data-following'), 'true');

  await press(' ');
  await page.getByRole('button', { name: 'Resume' }).waitFor();
  await press(' ');
  await page.getByRole('button', { name: 'Pause' }).waitFor();

  await press('?');
  const help = page.getByRole('dialog', { name: 'Keyboard' });
  await help.waitFor();
  for (const text of ['Filter', 'Pause and resume', 'Next row', 'Metrics', 'Hub']) assert.ok((await help.textContent()).includes(text), text);
  await press('Escape');
  await help.waitFor({ state: 'hidden' });

  for (const [key, view] of [['2', 'metrics'], ['3', 'hub'], ['1', 'live']]) {
    await press(key);
    await page.locator(`.view-${view}`).waitFor();
    assert.equal(await page.locator('.shell-views [aria-current=page]').getAttribute('data-view'), view);
  }
  await untilShown(page, 50);
});

scenario('a value is shown alone or hidden by a key', async (scene) => {
  const hub = await scene.hub();
  await hub.send(['red', 'blue', 'red'].map((colour) => ({ type: 'paint', data: { colour } })));
  const page = await scene.open(hub);
  await untilShown(page, 3);
  await page.keyboard.press('G');
  // Below the last event stands what the page says of the stream.
  await page.keyboard.press('k');
  await page.keyboard.press('Enter');
  const value = page.locator('.member[data-path="data.colour"] .member-value');
  await value.waitFor();
  for (let step = 0; step < 40 && !(await value.evaluate((button) => button === document.activeElement)); step += 1) await page.keyboard.press('Tab');
  await page.keyboard.press('f');
  await untilShown(page, 2);
  assert.deepEqual(await filters(page), ['colour=red']);
});

scenario('Tab goes through every view, and where it is can always be seen', async (scene) => {
  const hub = await scene.hub();
  await hub.send(LEVELS);
  const page = await scene.open(hub);
  await untilShown(page, LEVELS.length);
  for (const view of ['live', 'metrics', 'hub']) {
    await page.evaluate((hash) => { location.hash = hash; }, `#${view}`);
    await page.reload();
    await page.locator(`.view-${view}`).waitFor();
    const seen = new Set();
    for (let step = 0; step < 30; step += 1) {
      await page.keyboard.press('Tab');
      const look = await page.evaluate(() => {
        const element = document.activeElement;
        if (element === document.body) return { end: true };
        const style = getComputedStyle(element);
        const around = element.parentElement ? getComputedStyle(element.parentElement) : style;
        const isMarked = [style, around].some(({ outlineStyle, outlineWidth, boxShadow }) => (outlineStyle !== 'none' && parseFloat(outlineWidth) > 0) || boxShadow !== 'none');
        return { isMarked, what: element.outerHTML.slice(0, 120) };
      });
      if (look.end) break;
      assert.ok(look.isMarked, `the focus cannot be seen at ${look.what}`);
      assert.ok((await focused(page)) !== null, `the focus is out of sight at ${look.what}`);
      seen.add(look.what);
    }
    assert.ok(seen.size >= 7, `${view}: ${[...seen]}`);
  }
});

scenario('a chip that is removed does not take the focus with it', async (scene) => {
  const page = await scene.open(await scene.hub(), { at: '#live?type=a&text=b' });
  await untilOpen(page);
  await page.getByRole('button', { name: 'Remove type=a' }).focus();
  await page.keyboard.press('Enter');
  assert.equal(await focused(page), 'Remove text=b');
  await page.keyboard.press('Enter');
  assert.equal(await focused(page), 'Add a filter');
});

scenario('what is said aloud is little: a summary, not every event', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub);
  await untilOpen(page);
  const said = page.locator('#announcements');
  assert.equal(await said.getAttribute('aria-live'), 'polite');
  await hub.send(LEVELS);
  await untilShown(page, LEVELS.length);
  await untilEqual('what is said', () => said.textContent(), '6 new events, 2 of them errors');
  assert.equal(await page.locator('.rows').getAttribute('aria-live'), null);
});

scenario('landmarks and headings are there in each view', async (scene) => {
  const page = await scene.open(await scene.hub());
  for (const [view, title] of [['live', 'Live'], ['metrics', 'Metrics'], ['hub', 'Hub']]) {
    await page.evaluate((hash) => { location.hash = hash; }, `#${view}`);
    await page.getByRole('region', { name: title }).waitFor();
    assert.equal(await page.getByRole('heading', { level: 1, name: title }).count(), 1);
    for (const role of ['banner', 'navigation', 'main']) assert.equal(await page.getByRole(role).count(), 1, role);
    assert.equal(await page.title(), `${title} · telemetry-hub`);
  }
});

scenario('nothing moves by itself for those who want it so', async (scene) => {
  const hub = await scene.hub();
  await hub.send(LEVELS);
  const page = await scene.open(hub, { reducedMotion: 'reduce' });
  await untilShown(page, LEVELS.length);
  const moving = () => page.evaluate(() => document.getAnimations().filter(({ playState }) => playState === 'running').map((animation) => `${animation.animationName ?? animation.transitionProperty} at ${animation.effect.target.className}`));
  const smooth = () => page.evaluate(() => [...document.querySelectorAll('*')].filter((element) => getComputedStyle(element).scrollBehavior === 'smooth').length);
  await openEvent(page, 'some');
  assert.deepEqual(await moving(), []);
  await page.keyboard.press(' ');
  assert.deepEqual(await moving(), []);
  await page.keyboard.press('?');
  assert.deepEqual(await moving(), []);
  await page.keyboard.press('Escape');
  for (const key of ['2', '3']) {
    await page.keyboard.press(key);
    await page.locator(key === '2' ? '.view-metrics' : '.view-hub').waitFor();
    assert.deepEqual(await moving(), []);
  }
  assert.equal(await smooth(), 0);
});
