// What every test in the browser stands on: a browser for each file of tests, a hub and pages for each test, and the rule that a page
// must have nothing to complain of: no error on its console, none that it does not catch, nothing that its policy had to forbid, no
// request to anybody but its hub.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { chromium } from 'playwright-core';

import { HubProgram } from './hub_program.mjs';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ARGUMENTS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  // A figure for the heap that is exact, and a way to ask for its collection.
  '--enable-precise-memory-info',
];

/** How long anything may take that is waited for. Generous, as the machine may have other work. */
export const PATIENCE = 20_000;
const TEST_TIMEOUT = 60_000;

/** What the console says of requests to a hub that is gone. */
export const GONE = /net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|ABORTED|NETWORK_CHANGED|INTERNET_DISCONNECTED)/;
/** What it says of an answer with a status, which no page can keep it from saying. */
export const status = (code) => new RegExp(`the server responded with a status of ${code}`);

let browser = null;

before(async () => {
  browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS });
});

after(async () => {
  await browser?.close();
});

/**
 * A test: `run` gets what it needs from `scene`. What was opened is closed, whatever comes; then the pages' complaints are looked at.
 * There is no second try.
 */
export function scenario(name, run, { timeout = TEST_TIMEOUT } = {}) {
  test(name, { timeout }, async (t) => {
    const scene = new Scene(t);
    try {
      await run(scene);
    } catch (error) {
      await scene.photograph(name);
      error.message += scene.told();
      throw error;
    } finally {
      await scene.end();
    }
    assert.deepEqual(scene.faults, [], 'the page has something to complain of');
  });
}

class Scene {
  #test;
  #hubs = [];
  #contexts = [];
  #endings = [];
  faults = [];

  constructor(test) {
    this.#test = test;
  }

  /** Something to be read in the report. */
  say(text) {
    this.#test.diagnostic(text);
  }

  async hub(options) {
    const hub = await HubProgram.start(options);
    this.#hubs.push(hub);
    return hub;
  }

  /** Has something done at the end, whatever comes. */
  atTheEnd(run) {
    this.#endings.push(run);
  }

  /**
   * A page of a browser that knows nothing. `at` is the fragment of its address; `allow` are the complaints of the console that a test
   * makes the browser utter; `prepare` is given the page before it goes anywhere.
   */
  async open(hub, { at = '', allow = [], prepare = null, ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en', timezoneId: 'UTC', acceptDownloads: true, ...options });
    context.setDefaultTimeout(PATIENCE);
    this.#contexts.push(context);
    return this.openIn(context, hub, { at, allow, prepare });
  }

  /** One more page of the same browser. */
  async openIn(context, hub, { at = '', allow = [], prepare = null } = {}) {
    const page = await context.newPage();
    await prepare?.(page);
    await this.#watch(page, hub, allow);
    await page.goto(hub.url + at);
    return page;
  }

  async #watch(page, hub, allow) {
    const complain = (kind, text) => {
      if (!allow.some((pattern) => pattern.test(text))) this.faults.push(`${kind}: ${text}`);
    };
    page.on('console', (message) => {
      if (message.type() === 'error') complain('console', `${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => complain('error', error.stack ?? String(error)));
    page.on('crash', () => complain('crash', page.url()));
    page.on('request', (request) => {
      if (!request.url().startsWith(hub.url) && !/^(blob|data|about):/.test(request.url())) complain('request', `to another server: ${request.url()}`);
    });
    await page.exposeBinding('toldOfViolation', (_, text) => complain('policy', text));
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile, sample }) => {
        toldOfViolation(`${violatedDirective} ${blockedURI} ${sourceFile ?? ''} ${sample}`);
      });
    });
  }

  told() {
    return this.faults.length > 0 ? `\nThe page complained: ${this.faults.join('\n')}` : '';
  }

  /** What the pages look like, for whoever has to find out why a test fails. */
  async photograph(name) {
    const folder = process.env.PHOTOGRAPHS;
    if (!folder) return;
    const pages = this.#contexts.flatMap((context) => context.pages());
    for (const [index, page] of pages.entries()) {
      await page.screenshot({ path: join(folder, `${name.replace(/\W+/g, '-').slice(0, 80)}-${index}.png`) }).catch(() => {});
    }
  }

  async end() {
    for (const context of this.#contexts) await context.close();
    for (const run of this.#endings) await run();
    for (const hub of this.#hubs) await hub.dispose();
  }
}

/** Asks until the answer is true, and gives it. */
export async function until(what, ask, { patience = PATIENCE } = {}) {
  const deadline = performance.now() + patience;
  let last;
  for (;;) {
    last = await ask();
    if (last) return last;
    assert.ok(performance.now() < deadline, `waited in vain: ${what} (last: ${JSON.stringify(last)})`);
    await pause(50);
  }
}

/** Asks until the answer equals what is wanted; says both if it never does. */
export async function untilEqual(what, ask, wanted, { patience = PATIENCE } = {}) {
  const deadline = performance.now() + patience;
  let last;
  do {
    last = await ask();
    if (isEqual(last, wanted)) return;
    await pause(50);
  } while (performance.now() < deadline);
  assert.deepEqual(last, wanted, what);
}

function isEqual(actual, wanted) {
  try {
    assert.deepEqual(actual, wanted);
    return true;
  } catch {
    return false;
  }
}

/** A folder for as long as something runs. */
export async function withFolder(run) {
  const folder = await mkdtemp(join(tmpdir(), 'hub-browser-'));
  try {
    return await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
