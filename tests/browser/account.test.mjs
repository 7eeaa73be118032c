// Of a busy stream a sample is shown, and the rest is counted: shown + left out + missed is what was sent, whatever happens to the stream.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Account } from '../../src/dashboard/live/account.js';
import { GONE, scenario, until, untilEqual } from './harness.mjs';
import { downloaded, notes, numbers, untilOpen } from './live_page.mjs';

const PORTION = 50;
const EVERY = 50;
/** Longer than the hub keeps to itself what it has left out. */
const A_WHILE = 2500;

/** Sends some 1,000 events a second until it is stopped. */
class Flood {
  #hub;
  #isOver = false;
  #done;
  sent = 0;

  constructor(hub) {
    this.#hub = hub;
    this.#done = this.#run();
  }

  async #run() {
    for (let next = Date.now(); !this.#isOver; next += EVERY) {
      this.sent += await this.#hub.send(Array.from({ length: PORTION }, (_, index) => ({ type: 'flood', data: { number: this.sent + index } })));
      await sleep(Math.max(0, next + EVERY - Date.now()));
    }
  }

  /** Tells how many the hub took. */
  async stop() {
    this.#isOver = true;
    await this.#done;
    return this.sent;
  }
}

async function flooded(scene, { at = '#live?type=flood', ...options } = {}) {
  const hub = await scene.hub(options);
  const page = await scene.open(hub, { at, allow: [GONE] });
  await untilOpen(page);
  await page.locator('.stream-empty[data-why=filter]').waitFor();
  return { hub, page, flood: new Flood(hub) };
}

const togglePause = (page) => page.locator('.pause-button').click();

async function sum(page) {
  const { shown, leftOut, missed, dropped } = await numbers(page);
  return shown + leftOut + missed + dropped;
}

/** What is shown is in the hub's order, and nothing of it comes twice. */
async function assertInOrder(page) {
  const events = (await downloaded(page)).map((text) => JSON.parse(text));
  const ids = events.map(({ id }) => id);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  assert.equal(ids.length, (await numbers(page)).shown);
}

async function assertAllAccountedFor(page, flood) {
  const sent = await flood.stop();
  await untilEqual('all that was sent is shown or counted', () => sum(page), sent);
  // And stays so.
  await sleep(A_WHILE);
  assert.equal(await sum(page), sent);
  assert.equal((await numbers(page)).missed, 0);
  assert.ok((await numbers(page)).leftOut > 0, 'nothing was left out: this tests nothing');
  await assertInOrder(page);
}

/** How many the row about the last replay tells of. */
async function caughtUpWith(page) {
  const row = (await notes(page, 'caught-up')).at(-1) ?? '';
  return Number(/^Caught up with ([\d,]+) event/.exec(row)?.[1].replaceAll(',', ''));
}

scenario('a stream that nobody touches', async (scene) => {
  const { page, flood } = await flooded(scene);
  await sleep(A_WHILE);
  await assertAllAccountedFor(page, flood);
});

scenario('pauses in the middle of a sample', async (scene) => {
  const { page, flood } = await flooded(scene);
  await sleep(A_WHILE);
  // Each at another moment of the second in which the hub tells what it has left out.
  for (const [pause, run] of [[1200, 700], [300, 1600], [50, 50], [1700, 450]]) {
    await togglePause(page);
    await sleep(pause);
    await togglePause(page);
    await sleep(run);
  }
  await assertAllAccountedFor(page, flood);
});

scenario('the row after a pause tells how many of the events above it are new', async (scene) => {
  const { page, flood } = await flooded(scene);
  await sleep(A_WHILE);
  await togglePause(page);
  await until('some that wait', async () => (await page.locator('.waiting').textContent()) !== '0 waiting');
  await sleep(1000);
  await flood.stop();
  await sleep(A_WHILE);
  const before = await numbers(page);
  await togglePause(page);
  await untilEqual('all', () => sum(page), flood.sent);
  const { shown } = await numbers(page);
  await untilEqual('the row', () => caughtUpWith(page), shown - before.shown);
  await assertInOrder(page);
});

scenario('a pause before anything was shown', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub, { at: '#live?type=flood' });
  await page.locator('.stream-empty[data-why=filter]').waitFor();
  await togglePause(page);
  const flood = new Flood(hub);
  await until('some that wait', async () => (await page.locator('.waiting').textContent()) !== '0 waiting');
  await togglePause(page);
  await sleep(300);
  await togglePause(page);
  await sleep(1500);
  await togglePause(page);
  await sleep(A_WHILE);
  await assertAllAccountedFor(page, flood);
});

scenario('a pause right after the first events', async (scene) => {
  const { page, flood } = await flooded(scene);
  await until('the first events', async () => (await numbers(page)).shown > 0);
  await togglePause(page);
  await sleep(200);
  await togglePause(page);
  await sleep(A_WHILE);
  await assertAllAccountedFor(page, flood);
});

scenario('another view, and back', async (scene) => {
  const { page, flood } = await flooded(scene);
  for (const away of [100, 800]) {
    await sleep(A_WHILE - away);
    await page.keyboard.press('3');
    await page.locator('.view-hub').waitFor();
    await sleep(away);
    await page.keyboard.press('1');
    await page.locator('.rows').waitFor();
  }
  await sleep(A_WHILE);
  await assertAllAccountedFor(page, flood);
});

/** Ends the page's stream, as a network may; resolves when the page has another. */
async function interrupt(hub, context) {
  const known = new Set((await hub.subscribers()).map(({ id }) => id));
  await context.setOffline(true);
  for (const id of known) await hub.fetch(`api/telemetry/subscribers/${id}`, { method: 'DELETE' });
  await sleep(500);
  await context.setOffline(false);
  await until('another stream', async () => (await hub.subscribers()).some(({ id, state }) => !known.has(id) && state !== 'ending'));
}

scenario('a stream that somebody ends', async (scene) => {
  const { hub, page, flood } = await flooded(scene);
  await sleep(A_WHILE);
  await interrupt(hub, page.context());
  await sleep(700);
  await interrupt(hub, page.context());
  await sleep(A_WHILE);
  const sent = await flood.stop();
  await untilEqual('all that was sent is shown or counted', () => sum(page), sent);
  await sleep(A_WHILE);
  assert.equal(await sum(page), sent);
  await assertInOrder(page);
});

scenario('an interruption during a pause', async (scene) => {
  const { hub, page, flood } = await flooded(scene);
  await sleep(A_WHILE);
  await togglePause(page);
  await sleep(700);
  await interrupt(hub, page.context());
  await sleep(700);
  await togglePause(page);
  await sleep(A_WHILE);
  await assertAllAccountedFor(page, flood);
});

scenario('an interruption during a pause, after which nothing comes', async (scene) => {
  const { hub, page, flood } = await flooded(scene);
  await sleep(A_WHILE);
  await flood.stop();
  await until('the last events', async () => (await numbers(page)).shown > 0);
  await togglePause(page);
  await interrupt(hub, page.context());
  await togglePause(page);
  await assertAllAccountedFor(page, flood);
});

scenario('what the hub no longer has when a pause ends is told of, and nothing is counted twice', async (scene) => {
  const { hub, page, flood } = await flooded(scene, { settings: { replay_bytes: '128KiB' } });
  await sleep(A_WHILE);
  await togglePause(page);
  await sleep(A_WHILE);
  const sent = await flood.stop();
  const before = await sum(page);
  await togglePause(page);
  const kept = (await hub.replayed('type=flood&replay=100000')).length;
  assert.ok(kept < sent - before, `the hub kept all ${kept}`);
  await untilEqual('what was accounted for, and what the hub has', () => sum(page), before + kept);
  await assertInOrder(page);
  await page.keyboard.press('g');
  await until('a row that says so', async () => {
    await page.keyboard.press('PageDown');
    return (await notes(page, 'expired')).length > 0;
  });
});

scenario('events that come one by one are not replayed as new ones', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub);
  await page.locator('.stream-empty[data-why=none]').waitFor();
  for (let number = 0; number < 6; number += 1) {
    await hub.send({ type: 'single', data: { number } });
    await untilEqual('the events', () => sum(page), number + 1);
    await interrupt(hub, page.context());
    await untilOpen(page);
  }
  assert.deepEqual(await numbers(page), { shown: 6, leftOut: 0, missed: 0, dropped: 0 });
  await assertInOrder(page);
});

scenario('what came while nobody looked at a view that had shown nothing', async (scene) => {
  const hub = await scene.hub();
  const page = await scene.open(hub);
  await page.locator('.stream-empty[data-why=none]').waitFor();
  await page.keyboard.press('3');
  await page.locator('.view-hub').waitFor();
  await hub.send(Array.from({ length: 1000 }, (_, number) => ({ type: 'unseen', data: { number } })));
  await page.keyboard.press('1');
  await untilEqual('all of them', async () => (await numbers(page)).shown, 1000);
  await assertInOrder(page);
});

/** A hub and a page as far as accounts go, with a clock of their own: what comes, what is told, and when it breaks is up to chance. */
class Model {
  #random;
  #now = 1_000_000;
  #log = [];
  #untold = null;
  account = new Account();
  shown = [];
  counted = 0;

  constructor(seed) {
    let state = seed;
    // Numerical Recipes' generator: the same for a seed everywhere.
    this.#random = (size) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * size);
    };
    this.account.replayEnds();
  }

  get total() {
    return this.#log.length;
  }

  run(steps) {
    for (let step = 0; step < steps; step += 1) {
      this.#now += this.#random(900);
      this.#tell();
      const kind = this.#random(20);
      if (kind < 15) this.#batch();
      else if (kind < 17) this.#missBatch();
      else if (kind === 17) this.#now += 5000;
      else this.#breakAndResume();
    }
    this.#breakAndResume();
  }

  #accept() {
    const time = this.#now.toString(16).padStart(12, '0');
    const from = this.#log.length;
    for (let left = 1 + this.#random(30); left > 0; left -= 1) {
      this.#log.push(`${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${this.#log.length.toString(16).padStart(12, '0')}`);
    }
    return this.#log.slice(from);
  }

  #batch() {
    const ids = this.#accept();
    const isSample = this.#random(2) === 0;
    const kept = ids.filter((_, index) => !isSample || index === ids.length >> 1 || this.#random(3) === 0);
    const leftOut = ids.filter((id) => !kept.includes(id));
    this.#take(kept);
    if (leftOut.length === 0) return;
    this.#untold ??= { missed: 0, since: this.#now };
    this.#untold.missed += leftOut.length;
    this.#untold.to = leftOut.at(-1);
  }

  #missBatch() {
    const ids = this.#accept();
    this.counted += ids.length;
    this.account.missed({ missed: ids.length, from: ids[0], to: ids.at(-1) });
  }

  #tell() {
    if (!this.#untold || this.#now - this.#untold.since < 1000) return;
    this.account.leftOut(this.#untold);
    this.counted += this.#untold.missed;
    this.#untold = null;
  }

  #breakAndResume() {
    this.#untold = null;
    let isWhole = false;
    while (!isWhole) {
      this.account.streamBegins();
      const rest = this.#log.filter((id) => this.#isAsked(id));
      while (rest.length > 0 && this.#random(6) > 0) this.#take(rest.splice(0, 1 + this.#random(20)));
      isWhole = rest.length === 0;
    }
    // Not every hub names the place to whoever comes.
    this.account.replayEnds(this.#random(2) === 0 ? this.#log.at(-1) : null);
  }

  /** Whether it comes after the event, or the time, from which on the page asks. */
  #isAsked(id) {
    const { resumeAfter } = this.account;
    if (resumeAfter === null) return true;
    if (!resumeAfter.includes(':')) return id > resumeAfter;
    return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) >= Date.parse(resumeAfter);
  }

  #take(ids) {
    const { now } = performance;
    performance.now = () => this.#now;
    const fates = this.account.take(ids);
    performance.now = now;
    this.shown.push(...ids.filter((_, index) => fates[index] === 'new'));
    this.counted += fates.filter((fate) => fate === 'left out').length;
  }
}

test('whatever comes and whenever it breaks, the account is right', () => {
  for (let seed = 0; seed < 500; seed += 1) {
    const model = new Model(seed);
    model.run(60);
    assert.equal(model.shown.length + model.counted, model.total, `seed ${seed}`);
    assert.deepEqual(model.shown, [...new Set(model.shown)].sort(), `seed ${seed}`);
  }
});
