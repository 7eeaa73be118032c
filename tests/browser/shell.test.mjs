// The frame around the views: where the address leads, the keys' first stop, and connections to what is no hub.

import assert from 'node:assert/strict';

import { GONE, scenario, status, until } from './harness.mjs';
import { impostor } from './impostor.mjs';
import { untilOpen, untilShown } from './live_page.mjs';

scenario('names that every object has are no views', async (scene) => {
  const hub = await scene.hub();
  for (const at of ['#toString', '#__proto__', '#constructor?level=warn', '#%', '#nope']) {
    const page = await scene.open(hub, { at });
    await untilOpen(page);
    assert.equal(await page.locator('.shell-views [aria-current=page]').textContent(), 'Live', at);
  }
});

scenario('the first stop of the Tab key leads past the navigation, and changes nothing', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#live?level=warn' });
  await untilOpen(page);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the view');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'view');
  assert.equal(new URL(page.url()).hash, '#live?level=warn');
});

for (const [code, type, body] of [
  [502, 'application/json', '{"status":"error"}'],
  [404, 'text/html', '<h1>no such site</h1>'],
  [403, 'text/html', '<h1>closed</h1>'],
  [200, 'text/html', '<h1>welcome</h1>'],
]) {
  scenario(`a proxy that answers ${code} for a while does not end it`, async (scene) => {
    const hub = await scene.hub();
    await hub.send({ type: 'before' });
    const page = await scene.open(hub, { allow: [GONE, status(code), /MIME type/] });
    await untilShown(page, 1);
    await hub.kill();
    let asked = 0;
    const end = await impostor(scene, hub.port, (response) => {
      asked += 1;
      response.writeHead(code, { 'content-type': type }).end(body);
    });
    await until('the page asks it twice', () => asked > 3);
    await end();
    await hub.start();
    await hub.send({ type: 'after' });
    await untilOpen(page);
    await untilShown(page, 2);
  });
}

scenario('a page that is asked to wait waits', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { allow: [GONE, status(503)] });
  await untilOpen(page);
  await hub.kill();
  const times = [];
  await impostor(scene, hub.port, (response, request) => {
    if (request.headers.accept !== 'text/event-stream') return response.writeHead(404).end();
    times.push(performance.now());
    response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '2' }).end('{"title":"Service Unavailable"}');
  });
  // Each attempt asks twice: once for the stream, and once for the reason.
  await until('the second attempt', () => times.length >= 3);
  assert.ok(times[2] - times[0] >= 2000, `${times}`);
});

scenario('a hub that ends every stream at once is asked less and less often', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { allow: [GONE] });
  await untilOpen(page);
  await hub.kill();
  const times = [];
  await impostor(scene, hub.port, (response) => {
    times.push(performance.now());
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end('retry: 100\n\n');
  });
  await until('five attempts', () => times.length >= 5);
  const waits = times.slice(1).map((time, index) => time - times[index]);
  assert.ok(waits[3] > 2000, `the fifth comes after half of 8 s at least: ${waits}`);
});
