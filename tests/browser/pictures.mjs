// Takes the pictures of the README, from what a real mail server sent: `npm run pictures`. Run it by hand, and look at what it makes.

import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

import { HubProgram, PROGRAM } from './hub_program.mjs';
import { withPalette } from './png.mjs';
import { draw, screen } from './terminal.mjs';

const FOLDER = fileURLToPath(new URL('../../docs/pictures', import.meta.url));
const RECORDED = fileURLToPath(new URL('../data/stalwart-otlp.ndjson.zst', import.meta.url));
const SIZE = { width: 1280, height: 800 };
const MOST_BYTES = 200_000;
/** So many requests end where something is wrong. */
const FIRST = 72;
/** How long the recording takes here. */
const SECONDS = 58;

/** The text of a file that zstd has compressed: browsers can read that. */
async function decompressed(browser, path) {
  const body = await readFile(path);
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': 'zstd' });
    response.end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const text = await page.evaluate(async () => (await fetch(location.href)).text());
  await page.close();
  server.close();
  server.closeAllConnections();
  return text;
}

/** Sends what was recorded of some signals, beside one another, in so many seconds. */
async function play(hub, requests, signals, seconds) {
  const begin = performance.now();
  const send = async (wanted) => {
    const own = requests.filter(({ signal }) => signal === wanted);
    for (const [index, { body }] of own.entries()) {
      await pause(Math.max(0, begin + (index * seconds * 1000) / own.length - performance.now()));
      const answer = await hub.fetch(`v1/${wanted}`, { method: 'POST', headers: { 'content-type': 'application/x-protobuf' }, body: Buffer.from(body, 'base64') });
      if (!answer.ok) throw new Error(`${wanted}: ${answer.status}`);
    }
  };
  await Promise.all(signals.map(send));
}

async function open(browser, hub, at) {
  const context = await browser.newContext({ viewport: SIZE, deviceScaleFactor: 1, locale: 'en', timezoneId: 'UTC', reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(hub.url + at);
  return page;
}

/** The page in the light and in the dark. */
async function take(page, name) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    // Charts take the colours of the scheme with their next frame.
    await page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
    await save(page, `${name}-${colorScheme}`);
  }
}

async function save(shown, name) {
  const path = join(FOLDER, `${name}.png`);
  const png = withPalette(await shown.screenshot());
  console.log(`${path}: ${png.length} bytes`);
  if (png.length > MOST_BYTES) throw new Error(`more than ${MOST_BYTES}`);
  await writeFile(path, png);
}

/** A command of the program in a terminal, once it has run for a while. */
async function takeTerminal(browser, hub, command, name) {
  const lines = await screen(`${PROGRAM} ${command} --url ${hub.url}`, { columns: 126, lines: 24, seconds: 12 });
  const page = await browser.newPage({ viewport: SIZE });
  for (const scheme of ['light', 'dark']) await save(await draw(page, `telemetry-hub ${command}`, lines, scheme), `${name}-${scheme}`);
  await page.close();
}

/** Events with one of them whole. */
async function takeLive(page) {
  await page.locator('.row[data-level=WARN]').last().click();
  await page.locator('.side[data-panel=details]').waitFor();
  await take(page, 'live');
}

/** Charts with the crosshair at a moment. */
async function takeMetrics(page) {
  await page.getByRole('slider').first().focus();
  await page.keyboard.press('End');
  for (let step = 0; step < 8; step += 1) await page.keyboard.press('ArrowLeft');
  await take(page, 'metrics');
}

const CHARTS = new URLSearchParams([
  ['metrics', 'auth.success{},auth.failed{},smtp.connection-start{}'],
  ['metrics', 'smtp.request-time'],
  ['interval', '2s'],
  ['window', '1m'],
]);

async function takeAll(browser, hubs) {
  const requests = (await decompressed(browser, RECORDED)).split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const [first, second] = hubs;
  await play(first, requests.slice(0, FIRST), ['logs'], 0);
  await takeLive(await open(browser, first, '#live?level=debug&type=smtp.&type=auth.&type=arc.&follow=none'));
  const metrics = await open(browser, second, `#metrics?${CHARTS}`);
  const playing = play(second, requests, ['logs', 'traces', 'metrics'], SECONDS);
  await pause((SECONDS * 1000) / 3);
  await takeTerminal(browser, second, 'tail level=info --follow none --keys account-name', 'tail');
  await takeTerminal(browser, second, 'top auth smtp server.memory --interval 1s', 'top');
  await playing;
  await takeMetrics(metrics);
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-quic'] });
const hubs = await Promise.all([HubProgram.start(), HubProgram.start()]);
try {
  await mkdir(FOLDER, { recursive: true });
  await takeAll(browser, hubs);
} finally {
  await browser.close();
  for (const hub of hubs) await hub.dispose();
}
