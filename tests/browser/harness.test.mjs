// The harness itself: what a page complains of makes a test fail.

import assert from 'node:assert/strict';

import { scenario, status, until } from './harness.mjs';

/** What the page did is told to the test, which forgets it, or it would fail as it should. */
async function complaintOf(scene, page) {
  await until('a complaint', () => scene.faults.length > 0);
  const [first] = scene.faults;
  scene.faults = [];
  await page.goto('about:blank');
  scene.faults = [];
  return first;
}

scenario('an error on the console is a complaint', async (scene) => {
  const page = await scene.open(await scene.hub());
  await page.evaluate(() => console.error('something is wrong'));
  assert.match(await complaintOf(scene, page), /^console: something is wrong/);
});

scenario('an error that nobody catches is a complaint', async (scene) => {
  const page = await scene.open(await scene.hub());
  await page.evaluate(() => { setTimeout(() => { throw new Error('nobody catches this'); }); });
  assert.match(await complaintOf(scene, page), /^error: Error: nobody catches this/);
});

scenario('what the policy forbids is a complaint', async (scene) => {
  const page = await scene.open(await scene.hub());
  await page.evaluate(() => { document.body.append(Object.assign(new Image(), { src: 'https://example.org/pixel.png' })); });
  assert.match(await complaintOf(scene, page), /img-src/);
});

scenario('markup that comes as text cannot become elements', async (scene) => {
  const page = await scene.open(await scene.hub());
  const refused = await page.evaluate(() => {
    try {
      document.body.innerHTML = '<b>text</b>';
    } catch (error) {
      return error.name;
    }
    return 'taken';
  });
  assert.equal(refused, 'TypeError');
  assert.match(await complaintOf(scene, page), /require-trusted-types-for|TrustedHTML/);
});

scenario('a complaint that a test makes the browser utter is none', async (scene) => {
  const page = await scene.open(await scene.hub(), { allow: [status(404)] });
  await page.evaluate(() => fetch('nothing-here'));
});
