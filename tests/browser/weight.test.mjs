// What the dashboard weighs: little enough for a bad line.

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { get } from 'node:http';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { scenario } from './harness.mjs';

const FOLDER = fileURLToPath(new URL('../../src/dashboard', import.meta.url));
const LIMIT = 100_000;

/** How many bytes a browser gets for an address. */
function weigh(url) {
  return new Promise((resolve, reject) => {
    get(url, { headers: { 'accept-encoding': 'gzip, deflate, br' } }, (response) => {
      let size = 0;
      response.on('data', (piece) => { size += piece.length; });
      response.on('end', () => (response.statusCode === 200 ? resolve(size) : reject(new Error(`${url}: ${response.statusCode}`))));
    }).on('error', reject);
  });
}

scenario('the whole dashboard is under 100 KB, as browsers get it', async (scene) => {
  const hub = await scene.hub();
  const entries = await readdir(FOLDER, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => relative(FOLDER, join(entry.parentPath ?? entry.path, entry.name)));
  const sizes = await Promise.all(files.map((file) => weigh(hub.url + file)));
  const sum = sizes.reduce((all, size) => all + size, 0);
  scene.say(`${files.length} files, ${sum} bytes`);
  assert.ok(files.length > 10 && sum < LIMIT, `${sum} bytes`);
});

scenario('all that a page loads is the dashboard’s, and small', async (scene) => {
  const hub = await scene.hub();
  const loaded = [];
  const page = await scene.open(hub, { prepare: (made) => made.on('request', (request) => loaded.push(request)) });
  await page.locator('.stream-empty').waitFor();
  const files = loaded.filter((request) => ['document', 'script', 'stylesheet', 'image', 'font'].includes(request.resourceType()));
  const sizes = await Promise.all(files.map(async (request) => (await request.sizes()).responseBodySize));
  assert.ok(files.length > 10);
  assert.ok(sizes.reduce((all, size) => all + size, 0) < LIMIT, `${sizes}`);
});
