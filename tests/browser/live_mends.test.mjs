// What the live view once did wrong, so that it does not do it again.

import assert from 'node:assert/strict';

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
