// A busy hub: 5,000 events a second for a minute, or for as long as BUSY_SECONDS says. The page shows what a person can read, says what it
// leaves out, stays smooth, and its memory stays where it is.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { scenario, until } from './harness.mjs';
import { numbers, untilOpen } from './live_page.mjs';

const SECONDS = Number(process.env.BUSY_SECONDS ?? 60);
const RATE = 5000;
/** Of a machine that has other work as well, this is asked. */
const LEAST_RATE = 4000;
const MOST_GROWTH = 4 * 1024 * 1024;
/** So few would be a page that hangs; how smooth it is the report says. */
const LEAST_FRAMES_PER_SECOND = 10;

/** The program that sends; `count()` tells how many events the hub has taken. */
function sender(scene, hub) {
  const child = fork(fileURLToPath(new URL('flood.mjs', import.meta.url)), [hub.url, String(RATE), String(SECONDS)]);
  scene.atTheEnd(() => child.kill());
  let [accepted, isOver] = [0, false];
  child.on('message', (message) => { accepted = message.accepted; });
  return { count: () => accepted, ended: once(child, 'exit').then(([code]) => { isOver = true; assert.equal(code, 0, 'the sender failed'); }), isOver: () => isOver };
}

/** Bytes of the heap once it has been collected. */
async function heap(session) {
  await session.send('HeapProfiler.collectGarbage');
  const { metrics } = await session.send('Performance.getMetrics');
  return metrics.find(({ name }) => name === 'JSHeapUsedSize').value;
}

/** Counts how long each frame took, in tenths of a millisecond: as much memory for an hour as for a minute. */
function measureFrames() {
  globalThis.frameTimes = new Uint32Array(20_000);
  let before = null;
  const note = (now) => {
    if (before !== null) globalThis.frameTimes[Math.min(19_999, Math.round((now - before) * 10))] += 1;
    before = now;
    requestAnimationFrame(note);
  };
  requestAnimationFrame(note);
}

/** The time, in milliseconds, below which that part of the frames is. */
function percentile(counts, part) {
  const wanted = part * counts.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  const index = counts.findIndex((count) => {
    seen += count;
    return seen >= wanted;
  });
  return (index / 10).toFixed(1);
}

const MEBIBYTE = 1024 * 1024;

scenario('5,000 events a second, for a minute or longer', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub);
  await untilOpen(page);
  await page.locator('.stream-empty[data-why=none]').waitFor();
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');

  const flood = sender(scene, hub);
  await until('the first event', async () => (await numbers(page)).shown > 0);
  const begin = performance.now();
  const at = (seconds) => until(`${seconds} seconds`, () => performance.now() - begin >= seconds * 1000 || flood.isOver(), { patience: seconds * 1000 + 10_000 });
  await page.evaluate(measureFrames);
  const heaps = {};
  for (const seconds of [0.25, 0.5, 0.75].map((part) => part * SECONDS).concat(SECONDS - 1)) {
    await at(seconds);
    heaps[seconds] = await heap(session);
  }
  const frames = await page.evaluate(() => [...globalThis.frameTimes]);
  const frameCount = frames.reduce((sum, count) => sum + count, 0);
  const elements = await page.locator('.rows *').count();
  const seconds = (performance.now() - begin) / 1000;
  await flood.ended;
  const accepted = flood.count();
  scene.say(`${accepted} events, ${Math.round(accepted / SECONDS)} a second`);
  assert.ok(accepted / SECONDS >= LEAST_RATE, `this machine sends only ${Math.round(accepted / SECONDS)} events a second: nothing is shown by that`);

  // Of every event the page knows what became of it.
  const found = await until('all to be told of', async () => {
    const now = await numbers(page);
    return now.shown + now.dropped + now.leftOut + now.missed === accepted && now;
  });
  scene.say(`${found.shown} shown, ${found.leftOut} left out, ${found.missed} missed, ${found.dropped} let go`);
  assert.ok(found.shown + found.dropped <= 50 * (SECONDS + 5), 'at most 50 a second are shown');
  assert.equal(found.missed, 0);

  scene.say(`${frameCount} frames in ${seconds.toFixed(1)} s: p50 ${percentile(frames, 0.5)}, p95 ${percentile(frames, 0.95)}, p99 ${percentile(frames, 0.99)}, max ${percentile(frames, 1)} ms`);
  scene.say(`heap ${Object.entries(heaps).map(([when, size]) => `${(size / MEBIBYTE).toFixed(2)} MiB at ${when} s`).join(', ')}`);
  assert.ok(frameCount >= LEAST_FRAMES_PER_SECOND * seconds, `${frameCount} frames in ${seconds} s`);
  assert.ok(heaps[SECONDS - 1] - heaps[SECONDS / 2] < MOST_GROWTH, `the heap grows: ${JSON.stringify(heaps)}`);
  assert.ok(elements < 2000, `${elements} elements in the list`);
}, { timeout: (SECONDS + 60) * 1000 });
