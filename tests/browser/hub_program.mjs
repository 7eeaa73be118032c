// The hub as a program of its own: started, fed, killed and started again.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { frames, replayed } from './stream.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const PROGRAM = process.env.HUB ?? join(ROOT, 'target/debug/telemetry-hub');
const RECORDED = join(ROOT, 'tests/data/stalwart-events.ndjson.zst');
/** How many events are in that file. */
export const RECORDED_EVENTS = 6621;

export class HubProgram {
  #settings;
  #process = null;
  #folder = null;
  #said = '';
  port = 0;
  /** What who sends has to show; null where nobody asks. */
  token = null;

  /**
   * Starts a hub. `settings` are those of its file, by name; `tokens` are lists of scopes by the names of their tokens, which can be
   * had from `tokens` of the hub then. The first that may send is the one that this sends with.
   */
  static async start({ settings = {}, tokens = null } = {}) {
    const hub = new HubProgram();
    hub.#settings = settings;
    hub.#folder = await mkdtemp(join(tmpdir(), 'hub-browser-'));
    if (tokens) await hub.#makeTokens(tokens);
    await hub.start();
    return hub;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** Starts the program; the second time on the port that it had. */
  async start() {
    const variables = Object.entries(this.#settings).map(([name, value]) => [`TELEMETRY_HUB_${name.toUpperCase()}`, String(value)]);
    const config = this.tokens ? ['--config', this.#config] : [];
    const args = ['--listen', `127.0.0.1:${this.port}`, '--otlp-http', 'off', '--otlp-grpc', 'off', ...config];
    this.#process = spawn(PROGRAM, args, { env: { ...process.env, ...Object.fromEntries(variables) }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process.stderr.on('data', (piece) => { this.#said += piece; });
    const exited = once(this.#process, 'exit').then(() => { throw new Error(`the hub did not start: ${this.#said}`); });
    this.port = Number(await Promise.race([this.#announcedPort(), exited]));
    exited.catch(() => {});
  }

  async #announcedPort() {
    for await (const line of createInterface({ input: this.#process.stdout })) {
      const found = /^telemetry-hub .* on http:\/\/[^:]+:(\d+)/.exec(line);
      if (found) return found[1];
    }
    throw new Error(`the hub does not say where it listens: ${this.#said}`);
  }

  /** Without a word to anybody. */
  async kill() {
    await this.#end('SIGKILL');
  }

  /** As an operator stops it. */
  async terminate() {
    await this.#end('SIGTERM');
  }

  async #end(signal) {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill(signal);
    await exited;
  }

  async dispose() {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #config() {
    return join(this.#folder, 'hub.toml');
  }

  async #makeTokens(wanted) {
    this.tokens = {};
    let file = '';
    for (const [name, scopes] of Object.entries(wanted)) {
      const [token, lines] = await makeToken(name, scopes);
      this.tokens[name] = token;
      file += `${lines}\n`;
      if (scopes.includes('ingest')) this.token ??= token;
    }
    await writeFile(this.#config, file);
  }

  /** Has the hub know tokens from its next start on, or know none any more. */
  async setTokens(wanted) {
    this.token = null;
    this.tokens = null;
    if (wanted) await this.#makeTokens(wanted);
  }

  // Requests

  async fetch(path, { headers = {}, ...options } = {}) {
    const who = this.token ? { authorization: `Bearer ${this.token}` } : {};
    return fetch(new URL(path, this.url), { ...options, headers: { ...who, ...headers } });
  }

  async #post(path, type, body, headers = {}) {
    const answer = await this.fetch(path, { method: 'POST', headers: { 'content-type': type, ...headers }, body });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** The events that a mail server sent. */
  async sendRecorded() {
    return this.#post('api/telemetry/events', 'application/x-ndjson', await readFile(RECORDED), { 'content-encoding': 'zstd' });
  }

  /** Events, as objects or as JSON to the letter. */
  async send(...events) {
    const lines = events.flat().map((event) => (typeof event === 'string' ? event : JSON.stringify(event)));
    const answer = await this.#post('api/telemetry/events', 'application/x-ndjson', lines.join('\n'));
    if (answer.rejected) throw new Error(`not taken: ${JSON.stringify(answer.errors)}`);
    return answer.accepted;
  }

  async sendMetrics(metrics) {
    return this.#post('api/telemetry/metrics', 'application/json', typeof metrics === 'string' ? metrics : JSON.stringify(metrics));
  }

  async sendOtlp(signal, request) {
    return this.#post(`v1/${signal}`, 'application/json', JSON.stringify(request));
  }

  /** What the hub has of a query, in its order, as text to the letter. */
  async replayed(query) {
    return replayed(await this.fetch(`api/telemetry/traces/live?${query}`));
  }

  /** What the hub says of its series now, by their names. */
  async series() {
    const answer = await this.fetch('api/telemetry/metrics/live?interval=1h');
    for await (const { event, data } of frames(answer.body)) {
      if (event === 'metrics') return new Map(JSON.parse(data).map((one) => [one.id, one]));
    }
    throw new Error('the hub ended the stream before the first frame');
  }

  async subscribers() {
    return (await (await this.fetch('api/telemetry/subscribers')).json()).subscribers;
  }
}

/** A token, and the lines by which a hub knows it. */
async function makeToken(name, scopes) {
  const args = ['token', '--bare', '--name', name, ...scopes.flatMap((scope) => ['--scope', scope])];
  const { stdout, stderr } = await promisify(execFile)(PROGRAM, args);
  return [stdout.trim(), stderr];
}
