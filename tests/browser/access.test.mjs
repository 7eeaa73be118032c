// A hub that asks who one is: signing in and out, and what a token does not open.

import assert from 'node:assert/strict';

import { GONE, scenario, status, until, untilEqual } from './harness.mjs';
import { untilOpen, untilShown } from './live_page.mjs';

const TOKENS = { sender: ['ingest', 'admin'], alice: ['traces', 'metrics', 'admin'], bob: ['traces'] };
const DENIED = [status(401), status(403)];
const dialog = (page) => page.getByRole('dialog', { name: 'Sign in' });

async function signIn(page, token) {
  await dialog(page).getByLabel('Token').fill(token);
  await dialog(page).getByRole('button', { name: 'Sign in' }).click();
}

/** Every address that a page asks for, its own included. */
function addressesOf(page) {
  const addresses = [];
  page.on('request', (request) => addresses.push(request.url()));
  page.on('framenavigated', (frame) => addresses.push(frame.url()));
  return addresses;
}

scenario('a page asks to sign in; a wrong token is told, the right one opens the stream', async (scene) => {
  const hub = await scene.hub({ tokens: TOKENS });
  await hub.send({ type: 'secret' });
  const page = await scene.open(hub, { allow: DENIED });
  const addresses = addressesOf(page);
  await dialog(page).waitFor();
  assert.equal(await page.locator('.row[data-kind=event]').count(), 0);
  assert.equal(await dialog(page).getByLabel('Token').getAttribute('type'), 'password');
  await signIn(page, 'thub_wrong');
  await untilEqual('what is wrong', async () => /not taken/.test(await dialog(page).getByRole('alert').textContent()), true);
  await signIn(page, hub.tokens.alice);
  await untilShown(page, 1);
  await dialog(page).waitFor({ state: 'hidden' });
  await hub.send({ type: 'secret' });
  await untilShown(page, 2);

  // In a header or nowhere.
  assert.deepEqual([...addresses, page.url()].filter((address) => address.includes(hub.tokens.alice)), []);
  const kept = await page.evaluate(() => [JSON.stringify(localStorage), document.cookie]);
  assert.deepEqual(kept, ['{}', '']);

  // This tab knows it after a reload; another does not.
  await page.reload();
  await untilShown(page, 2);
  const other = await scene.openIn(page.context(), hub, { allow: DENIED });
  await dialog(other).waitFor();
});

scenario('signing out ends the streams', async (scene) => {
  const hub = await scene.hub({ tokens: TOKENS });
  const page = await scene.open(hub, { allow: DENIED });
  await dialog(page).waitFor();
  await signIn(page, hub.tokens.alice);
  await untilOpen(page);
  await untilEqual('who watches', async () => (await hub.subscribers()).map(({ name }) => name), ['alice']);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.locator('.shell-state[data-phase=signed-out]').waitFor();
  await untilEqual('who watches', async () => (await hub.subscribers()).filter(({ state }) => state !== 'ending').length, 0);
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
});

scenario('who signs out leaves no figures to the next', async (scene) => {
  const hub = await scene.hub({ tokens: TOKENS });
  await hub.sendMetrics([{ id: 'payroll.total', type: 'gauge', value: 5 }]);
  const page = await scene.open(hub, { at: '#metrics?metrics=payroll.total&interval=200ms', allow: DENIED });
  await signIn(page, hub.tokens.alice);
  await page.locator('.row-series[data-series="payroll.total"]').waitFor();
  await page.locator('.legend-table tr[data-series="payroll.total"]').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.locator('.shell-state[data-phase=signed-out]').waitFor();
  // The chart's own pattern stands in the address.
  await untilEqual('the figures', () => page.locator('[data-series]').count(), 0);
});

scenario('whoever does not sign in now is told calmly, and can later', async (scene) => {
  const hub = await scene.hub({ tokens: TOKENS });
  await hub.send({ type: 'secret' });
  const page = await scene.open(hub, { allow: DENIED });
  await dialog(page).getByRole('button', { name: 'Not now' }).click();
  await page.locator('.stream-empty', { hasText: 'Not signed in' }).waitFor();
  assert.equal(await page.locator('.shell-state').getAttribute('data-phase'), 'signed-out');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await signIn(page, hub.tokens.alice);
  await untilShown(page, 1);
});

scenario('a token for events alone shows events, and the other views say what they lack', async (scene) => {
  const hub = await scene.hub({ tokens: TOKENS });
  await hub.send({ type: 'secret' });
  const page = await scene.open(hub, { allow: DENIED });
  await dialog(page).waitFor();
  await signIn(page, hub.tokens.bob);
  await untilShown(page, 1);
  await page.keyboard.press('2');
  await page.locator('.metrics-note', { hasText: /scope/ }).waitFor();
  assert.equal(await dialog(page).isVisible(), false);
  await page.keyboard.press('3');
  await page.locator('.subscribers-note', { hasText: /scope “admin”/ }).waitFor();
  await page.locator('.sources-note', { hasText: /scope “admin”/ }).waitFor();
  await untilEqual('its health', () => page.locator('.health').getAttribute('data-state'), 'well');
  assert.equal(await dialog(page).isVisible(), false);
  await page.keyboard.press('1');
  await hub.send({ type: 'secret' });
  await untilShown(page, 2);
});

scenario('metrics and the hub for whoever may see them', async (scene) => {
  const hub = await scene.hub({ tokens: TOKENS });
  const page = await scene.open(hub, { at: '#metrics', allow: DENIED });
  await dialog(page).waitFor();
  await signIn(page, hub.tokens.alice);
  await until('series', async () => Number(await page.locator('.series-count').textContent()) > 10);
  await page.keyboard.press('3');
  await page.locator('.subscribers-table tr[data-signal=metrics] .subscriber-name', { hasText: 'alice' }).waitFor();
  // What was refused before the sign-in is counted here.
  await until('refusals', async () => Number(await page.locator('.refusals-table tr[data-series="server.access.unauthorized"] .refusal-total').textContent()) > 0);
});

scenario('a hub that comes back with tokens asks for one', async (scene) => {
  const hub = await scene.hub();
  await hub.send({ type: 'a' });
  const page = await scene.open(hub, { allow: [GONE, ...DENIED] });
  await untilShown(page, 1);
  await hub.kill();
  await hub.setTokens(TOKENS);
  await hub.start();
  await dialog(page).waitFor();
  await hub.send({ type: 'b' });
  await signIn(page, hub.tokens.alice);
  await untilShown(page, 2);
});
