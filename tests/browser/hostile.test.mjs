// What senders can think of: markup, characters that turn or hide others, names that are JavaScript's own, megabytes. All of it is shown
// as what it is, and does nothing.

import assert from 'node:assert/strict';

import { scenario, until, untilEqual } from './harness.mjs';
import { downloaded, filters, member, numbers, openEvent, rowsInSight, untilShown } from './live_page.mjs';

const MARKUP = '<img src=x onerror="document.title=\'taken\'"><script>document.title="taken"</script>';
const TURNED = 'invoice\u202egnp.exe';
const CONTROLS = 'a\u0000b\u001b[31mred\u0007\u007f\u0085\u2028c';
const HIDDEN = 'pay\u200bpal\ufeff\u2066x\u2069';

const textOf = (page, path) => member(page, path).locator('.member-text').textContent();

/** Nothing that came as text has become anything else. */
async function assertHarmless(page) {
  assert.match(await page.title(), /^\w+ · telemetry-hub$/);
  assert.equal(await page.locator('main img, main script, main iframe, main a').count(), 0);
  assert.equal(await page.evaluate(() => ({}).polluted), undefined);
}

scenario('markup is text, wherever it comes from', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: MARKUP, text: MARKUP, traceId: MARKUP, spanId: MARKUP, data: { [MARKUP]: MARKUP, list: [MARKUP, { [MARKUP]: MARKUP }] } });
  const page = await scene.open(hub);
  await untilShown(page, 1);
  const [row] = (await rowsInSight(page)).filter(({ kind }) => kind === 'event');
  assert.ok(row.type.startsWith('<img src=x onerror='));
  assert.equal(row.text, MARKUP);
  await page.locator('.row[data-kind=event]').click();
  await page.locator('.side[data-panel=details]').waitFor();
  assert.equal(await textOf(page, 'type'), MARKUP);
  assert.equal(await textOf(page, `data.${MARKUP}`), MARKUP);
  assert.equal(await textOf(page, `data.list.1.${MARKUP}`), MARKUP);
  await assertHarmless(page);
  await page.getByRole('button', { name: 'Show trace' }).click();
  await page.locator('.trace-row').first().waitFor();
  await assertHarmless(page);
  await page.getByRole('button', { name: 'Back' }).click();
  await member(page, 'text').locator('.member-value').click();
  assert.deepEqual(await filters(page), [`text=${MARKUP}`]);
  await untilShown(page, 1);
  await assertHarmless(page);
});

scenario('what turns or hides other characters is shown by its number', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'hostile', text: TURNED, data: { controls: CONTROLS, hidden: HIDDEN, [`key${TURNED}`]: 1 } });
  const page = await scene.open(hub);
  await untilShown(page, 1);
  const [row] = (await rowsInSight(page)).filter(({ kind }) => kind === 'event');
  assert.equal(row.text, 'invoice⟨U+202E⟩gnp.exe');
  assert.ok(row.pairs.includes('controls=a⟨U+0000⟩b⟨U+001B⟩[31mred⟨U+0007⟩⟨U+007F⟩⟨U+0085⟩⟨U+2028⟩c'), row.pairs);
  assert.ok(row.pairs.includes('keyinvoice⟨U+202E⟩gnp.exe=1'), row.pairs);
  await openEvent(page, 'hostile');
  assert.equal(await textOf(page, 'data.hidden'), 'pay⟨U+200B⟩pal⟨U+FEFF⟩⟨U+2066⟩x⟨U+2069⟩');
  // Nowhere in the page, its attributes included where people see them.
  const left = await page.evaluate(() => {
    const seen = [document.body.innerText, ...[...document.querySelectorAll('[title],[aria-label]')].flatMap((element) => [element.title, element.ariaLabel])];
    return seen.join('').match(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g);
  });
  assert.equal(left, null);
  // A filter by it is by the characters themselves.
  await member(page, 'text').locator('.member-value').click();
  assert.deepEqual(await filters(page), [`text=${TURNED}`]);
  await untilShown(page, 1);
  assert.equal(await page.locator('.chip-edit').textContent(), 'text=invoice⟨U+202E⟩gnp.exe');
});

scenario('names that are JavaScript’s own are names', async (scene) => {
  const hub = await scene.hub();
  await hub.send('{"type":"names","data":{"__proto__":{"polluted":"yes"},"constructor":{"prototype":{"polluted":"yes"}},"toString":"text","hasOwnProperty":1,"length":7}}');
  const page = await scene.open(hub);
  await untilShown(page, 1);
  await openEvent(page, 'names');
  assert.equal(await textOf(page, 'data.__proto__.polluted'), 'yes');
  assert.equal(await textOf(page, 'data.constructor.prototype.polluted'), 'yes');
  assert.equal(await textOf(page, 'data.toString'), 'text');
  assert.equal(await textOf(page, 'data.hasOwnProperty'), '1');
  await assertHarmless(page);
  // Completion knows them, and no others.
  await page.getByRole('combobox', { name: 'Add a filter' }).fill('to-string=');
  await untilEqual('the values', () => page.locator('.completion [role=option]').allTextContents(), ['text']);
  await page.keyboard.type('text');
  await page.keyboard.press('Enter');
  assert.deepEqual(await filters(page), ['to-string=text']);
  await untilShown(page, 1);
});

scenario('a value of a megabyte is a short row, and is shown whole if somebody wants it', async (scene) => {
  const hub = await scene.hub();
  const megabyte = `${'0123456789abcdef'.repeat(65_535)}the end`;
  await hub.send({ type: 'small' }, { type: 'large', text: megabyte.slice(0, 500_000), data: { blob: megabyte } }, { type: 'small' });
  const page = await scene.open(hub);
  await untilShown(page, 3);
  const heights = await page.locator('.row').evaluateAll((rows) => rows.map((row) => row.getBoundingClientRect().height));
  assert.equal(new Set(heights).size, 1, `rows of different heights: ${heights}`);
  const size = await page.locator('.rows').evaluate((list) => list.textContent.length);
  assert.ok(size < 5000, `${size} characters for three rows`);

  let begin = performance.now();
  await openEvent(page, 'large');
  scene.say(`the details of a large event open in ${Math.round(performance.now() - begin)} ms`);
  begin = performance.now();
  await member(page, 'data.blob').getByRole('button', { name: /^Show all/ }).click();
  const blob = member(page, 'data.blob').locator('.long-text');
  await blob.waitFor();
  const shown = await blob.evaluate((box) => box.textContent);
  assert.equal(shown, megabyte);
  const frame = await page.evaluate(() => new Promise((resolve) => {
    const from = performance.now();
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - from)));
  }));
  scene.say(`a megabyte whole in ${Math.round(performance.now() - begin)} ms, two frames then take ${Math.round(frame)} ms`);
  assert.ok(frame < 2000, `the page is held up for ${frame} ms`);
  await hub.send({ type: 'later' });
  await untilShown(page, 4);
});

scenario('many large events do not grow the page without end', async (scene) => {
  const hub = await scene.hub({ settings: { replay_bytes: '256MiB' } });
  const text = 'x'.repeat(1_000_000);
  for (let number = 0; number < 60; number += 1) await hub.send({ type: 'large', text, data: { number } });
  const page = await scene.open(hub, { at: '#live?replay=100' });
  const { shown, dropped } = await until('all to be told of', async () => {
    const found = await numbers(page);
    return found.shown + found.dropped === 60 && found;
  });
  assert.ok(shown > 0 && shown <= 34, `${shown} shown`);
  assert.equal(dropped, 60 - shown);
});

scenario('an event with thousands of members opens, a part at a time', async (scene) => {
  const hub = await scene.hub();
  const data = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`key${index}`, index]));
  let deep = 'bottom';
  for (let level = 0; level < 100; level += 1) deep = { deep };
  await hub.send({ type: 'wide', data }, { type: 'deep', data: { deep } });
  const page = await scene.open(hub);
  await untilShown(page, 2);
  await openEvent(page, 'wide');
  const members = page.locator('.members[aria-label=Data] > .member');
  await untilEqual('the members', () => members.count(), 100);
  await page.getByRole('button', { name: 'Show more of 4,900' }).click();
  await untilEqual('the members', () => members.count(), 200);
  await openEvent(page, 'deep');
  assert.equal(await page.locator('.side').count(), 1);
  assert.equal((await downloaded(page)).length, 2);
});
