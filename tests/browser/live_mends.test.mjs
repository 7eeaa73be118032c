// What the live view once did wrong, so that it does not do it again.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { scenario, status, until, untilEqual } from './harness.mjs';
import { addFilter, filters, numbers, openEvent, untilOpen, untilShown } from './live_page.mjs';

const TOKENS = { sender: ['ingest', 'admin'], alice: ['traces', 'metrics', 'admin'], bob: ['traces'] };
const DENIED = [status(401), status(403)];

async function signIn(page, token) {
  const dialog = page.getByRole('dialog', { name: 'Sign in' });
  await dialog.getByLabel('Token').fill(token);
  await dialog.getByRole('button', { name: 'Sign in' }).click();
}

/** A page of alice's, who looks at an event and has typed. */
async function pageOfAlice(scene, hub) {
  await hub.send({ type: 'secret-type', text: 'for alice', data: { secretKey: 'secret-value' } });
  const page = await scene.open(hub, { allow: DENIED });
  await signIn(page, hub.tokens.alice);
  await untilShown(page, 1);
  await openEvent(page, 'secret-type');
  const field = page.getByRole('combobox', { name: 'Add a filter' });
  await field.fill('secret-key=');
  await page.locator('.completion [data-value="secret-key=secret-value"]').waitFor();
  await field.fill('');
  return page;
}

const leftInView = (page) => page.locator('.view-live').evaluate((view) => /secret|for alice/.test(view.textContent + view.innerHTML));

scenario('who signs out leaves nothing behind: no rows, no details, no completion', async (scene) => {
  const hub = await scene.hub({ tokens: TOKENS, settings: { replay_bytes: '64KiB' } });
  const page = await pageOfAlice(scene, hub);
  assert.equal(await leftInView(page), true);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.locator('.shell-state[data-phase=signed-out]').waitFor();
  await untilEqual('what is left of it', () => leftInView(page), false);
  assert.equal((await numbers(page)).shown, 0);

  // The next one gets what the hub has for them, and nothing that went by before.
  await signIn(page, hub.tokens.bob);
  await untilShown(page, 1);
  await hub.send({ type: 'for-all' });
  await untilShown(page, 2);
  assert.equal(await page.locator('.side').isVisible(), false);
});

scenario('nor does who signs out in another view', async (scene) => {
  const hub = await scene.hub({ tokens: TOKENS });
  const page = await pageOfAlice(scene, hub);
  await page.locator('.rows').focus();
  await page.keyboard.press('3');
  await page.locator('.view-hub').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await untilEqual('what is left of it', () => leftInView(page), false);
  await signIn(page, hub.tokens.bob);
  await page.keyboard.press('1');
  await untilShown(page, 1);
});

scenario('completion forgets the values of the one before', async (scene) => {
  const hub = await scene.hub({ tokens: TOKENS });
  const page = await pageOfAlice(scene, hub);
  // So that the next one's stream does not bring it again.
  await page.evaluate(() => history.replaceState(null, '', '#live?type=other'));
  await page.evaluate(() => dispatchEvent(new HashChangeEvent('hashchange')));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.locator('.shell-state[data-phase=signed-out]').waitFor();
  await signIn(page, hub.tokens.bob);
  await untilOpen(page);
  const field = page.getByRole('combobox', { name: 'Add a filter' });
  await field.fill('secret');
  assert.deepEqual(await page.locator('.completion [role=option]').allTextContents(), []);
  await field.fill('');
});

/** Has the page believe that its tab is in the background, or back. */
async function putAway(page, hidden) {
  await page.evaluate((isHidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => isHidden });
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => (isHidden ? 'hidden' : 'visible') });
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
  }, hidden);
}

const streams = async (hub) => (await hub.subscribers()).filter(({ signal, state }) => signal === 'traces' && state !== 'ending').length;

scenario('a tab that nobody looks at leaves its connection to others, and misses nothing', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'a' });
  const page = await scene.open(hub, { prepare: (fresh) => fresh.clock.install() });
  await untilShown(page, 1);
  await putAway(page, true);
  await page.clock.fastForward(59_000);
  // Whoever was away for less finds it as it was.
  await putAway(page, false);
  await putAway(page, true);
  await page.clock.fastForward(59_000);
  await hub.send({ type: 'b' });
  await untilShown(page, 2);
  await page.clock.fastForward(2_000);
  await untilEqual('streams', () => streams(hub), 0);

  await hub.send(Array.from({ length: 500 }, () => ({ type: 'c' })));
  await putAway(page, false);
  await untilShown(page, 502);
});

scenario('a paused tab that nobody looks at tells what waits when somebody does', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'a' });
  const page = await scene.open(hub, { prepare: (fresh) => fresh.clock.install() });
  await untilShown(page, 1);
  await page.locator('.pause-button').click();
  await hub.send({ type: 'b' });
  await putAway(page, true);
  await page.clock.fastForward(61_000);
  await untilEqual('streams', () => streams(hub), 0);
  await hub.send({ type: 'c' });
  await putAway(page, false);
  await page.locator('.waiting', { hasText: '2 waiting' }).waitFor();
  assert.equal((await numbers(page)).shown, 1);
  await page.locator('.pause-button').click();
  await untilShown(page, 3);
});

scenario('a tab that is opened in the background has a stream for a while only', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'a' });
  const hide = () => Object.defineProperty(document, 'hidden', { configurable: true, get: () => true });
  const page = await scene.open(hub, { prepare: async (fresh) => {
    await fresh.clock.install();
    await fresh.addInitScript(hide);
  } });
  await untilEqual('streams', () => streams(hub), 1);
  await page.clock.fastForward(61_000);
  await untilEqual('streams', () => streams(hub), 0);
  await putAway(page, false);
  await untilShown(page, 1);
});

scenario('a token without the scope for events is told so, and no filter is blamed', async (scene) => {
  const hub = await scene.hub({ tokens: { ...TOKENS, carol: ['metrics'] } });
  const page = await scene.open(hub, { at: '#live?type=a', allow: DENIED });
  await signIn(page, hub.tokens.carol);
  const empty = page.locator('.stream-empty[data-why=refused]');
  await empty.waitFor();
  assert.match(await empty.textContent(), /^Your token does not open this view.*scope.*traces/);
  assert.doesNotMatch(await empty.textContent(), /filter|\.\.$/);
  assert.equal(await page.locator('.filter-fault').isVisible(), false);
  assert.equal(await page.locator('[aria-invalid], .chip[data-fault]').count(), 0);
});

scenario('a filter that the hub does not take is blamed where it stands', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#live?since=never', allow: [status(400)] });
  await page.locator('.stream-empty[data-why=refused]', { hasText: 'The hub does not take this filter' }).waitFor();
  await page.locator('.chip[data-fault]', { hasText: 'since=never' }).waitFor();
});

/** The arguments that bash makes of a line. */
async function argumentsOf(line) {
  const { stdout } = await promisify(execFile)('bash', ['-c', `telemetry-hub() { printf '%s\\0' "$@"; }\n${line}`]);
  return stdout.split('\0').slice(0, -1);
}

scenario('a line for a terminal holds no control character, and says the same', async (scene) => {
  const hub = await scene.hub();
  const words = [
    'filter=\x15echo pwned\r', 'filter=\x1b[201~;id\n', 'text=a\x7fb\u0085c\u009bd', 'account-name=\u202eevil\u2066 \u200b', "filter=it's 5! \\x41 \ttab",
    "filter=it's plain; $(id) `id`", 'filter=grüße 日本 😀', 'where=data.a == "b\u0007ü"',
  ];
  const query = new URLSearchParams(words.map((word) => word.split(/=(.*)/s).slice(0, 2)));
  const page = await scene.open(hub, { at: `#live?${query}`, allow: [status(400)], permissions: ['clipboard-read', 'clipboard-write'] });
  await page.locator('.chip').first().waitFor();
  await page.getByRole('button', { name: 'Share' }).click();
  await page.getByRole('menuitem', { name: 'Copy as telemetry-hub tail' }).click();
  const copied = await until('a line', () => page.evaluate(() => navigator.clipboard.readText()));
  assert.doesNotMatch(copied, /[\p{Cc}\p{Cf}]/u);
  assert.deepEqual(await argumentsOf(copied), ['tail', '--url', hub.url.replace(/\/$/, ''), ...words]);
});

scenario('a span whose length cannot be does not keep its trace from being shown', async (scene) => {
  const hub = await scene.hub();
  const span = (spanId, data) => ({ signal: 'span', type: `op-${spanId}`, createdAt: '2026-11-22T10:00:20Z', traceId: 'aa11', spanId, data });
  const lengths = ['Infinity', 'NaN', -5, 1e300, '-Infinity', 'long', { toString: 1, valueOf: 2 }, null, []];
  await hub.send(lengths.map((duration, index) => span(`s${index}`, { duration, startTime: index === 6 ? { toString: 1 } : undefined })));
  await hub.send(span('good', { duration: 1500 }));
  const page = await scene.open(hub);
  await untilShown(page, lengths.length + 1);
  await openEvent(page, 'op-good');
  await page.getByRole('button', { name: 'Show trace' }).click();
  await page.locator('.trace-summary', { hasText: `1.5 s · ${lengths.length + 1} spans` }).waitFor();
  const lines = await page.locator('.trace-row').evaluateAll((rows) => rows.map((row) => [row.dataset.id, row.querySelector('.trace-duration').textContent]));
  assert.deepEqual(lines.filter(([, length]) => length !== '0 s'), [['good', '1.5 s']]);
});

scenario('the first of some times is the first by its value, to the nanosecond', async (scene) => {
  const hub = await scene.hub();
  const log = (createdAt) => ({ createdAt, type: 'step', traceId: 'bb22', spanId: 's1' });
  await hub.send(['2026-11-22T10:00:19.5Z', '2026-11-22T10:00:19.000000002Z', '2026-11-22T10:00:19.000000001Z', '2026-11-22T10:00:21Z'].map(log));
  const page = await scene.open(hub);
  await untilShown(page, 4);
  await openEvent(page, 'step');
  await page.getByRole('button', { name: 'Show trace' }).click();
  await page.locator('.trace-summary', { hasText: /^2 s .* from .*10:00:19\.000000001$/ }).waitFor();

  await hub.send(['2026-11-22T10:00:19Z'].map(log));
  await untilShown(page, 5);
  await page.getByRole('button', { name: 'Close' }).click();
  await openEvent(page, 'step');
  await page.getByRole('button', { name: 'Show trace' }).click();
  await page.locator('.trace-summary', { hasText: /^2 s .* from .*10:00:19$/ }).waitFor();
});

scenario('a click without a pointer opens the row that is clicked', async (scene) => {
  const hub = await scene.hub();
  await hub.send(['a', 'b', 'c'].map((type) => ({ type: `kind-${type}` })));
  const page = await scene.open(hub);
  await untilShown(page, 3);
  const row = (type) => page.locator('.row', { has: page.locator('.row-type', { hasText: `kind-${type}` }) });
  const isOpen = (type) => untilEqual('the event', () => page.locator('.member[data-path=type] .member-text, .member[data-path=type] .member-value').first().textContent(), `kind-${type}`);
  // As a screen reader does, before any other click and after one.
  await row('b').evaluate((element) => element.click());
  await isOpen('b');
  await row('a').click();
  await isOpen('a');
  await row('c').evaluate((element) => element.click());
  await isOpen('c');
  // A press that ended elsewhere is none of the next click's business.
  await row('a').hover();
  await page.mouse.down();
  await page.mouse.move(5, 5);
  await page.mouse.up();
  await row('b').evaluate((element) => element.click());
  await isOpen('b');
});

scenario('a click opens the row on which the pointer went down, though it moved on', async (scene) => {
  const hub = await scene.hub();
  await hub.send(Array.from({ length: 100 }, (_, index) => ({ type: `kind-${index}` })));
  const page = await scene.open(hub);
  await untilShown(page, 100);
  const pressed = page.locator('.row', { has: page.locator('.row-type', { hasText: /^kind-95$/ }) });
  await pressed.hover();
  await page.mouse.down();
  await hub.send(Array.from({ length: 3 }, () => ({ type: 'later' })));
  await untilShown(page, 103);
  await page.locator('.row-type', { hasText: 'later' }).nth(2).waitFor();
  await page.mouse.up();
  await page.locator('.side[data-panel=details]', { hasText: 'kind-95' }).waitFor();
});

scenario('a chip stays what it is, whatever its key and its value hold', async (scene) => {
  const hub = await scene.hub();
  const odd = [["it's", 'a'], ['f(x)', 'b'], ['two words', 'c'], ['a=b', 'd'], [' edge', 'e'], ['"q"', ' spaces '], ['lines', 'a\nb'], ['x<y', 'g']];
  // What a key with "=" means is for the hub to say.
  const page = await scene.open(hub, { at: `#live?${new URLSearchParams(odd)}`, allow: [status(400)] });
  const wanted = odd.map(([name, value]) => `${name}=${value}`);
  await untilEqual('the chips', () => filters(page), wanted);
  const field = page.getByRole('combobox', { name: 'Add a filter' });
  for (let index = 0; index < odd.length; index += 1) {
    await page.locator('.chip-edit').nth(index).click();
    await field.press('Enter');
    assert.deepEqual(await filters(page), wanted);
  }
  // With another value it has the same key.
  for (const [index, [name, value]] of odd.entries()) {
    await page.locator('.chip-edit').nth(index).click();
    await field.press('End');
    await field.pressSequentially('2');
    await field.press('Enter');
    wanted[index] = `${name}=${`${value}2`.trim().replace('\n', '')}`;
    await untilEqual('the chips', () => filters(page), wanted);
  }
});

scenario('a key with odd characters that went by can be typed and completed', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'a', data: { "it's": 'x', other: 'y' } }, { type: 'a', data: { "it's": 'z' } });
  const page = await scene.open(hub);
  await untilShown(page, 2);
  await addFilter(page, "it's=x");
  await untilEqual('the chips', () => filters(page), ["it's=x"]);
  await untilShown(page, 1);
  await addFilter(page, "it's a text=x");
  await untilEqual('the chips', () => filters(page), ["it's=x", "filter=it's a text=x"]);
});
