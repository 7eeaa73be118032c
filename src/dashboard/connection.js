// A stream of the hub's that stays: one EventSource, and another when that ends.
//
// A browser's own reconnects end for good with the first answer that is not 200, come without jitter, and know no ticket. So every
// end is taken in hand here: the hub is asked why, if it can be, and the next attempt resumes after the last event that was seen.

import { Refusal, credentials, hubUrl, problem } from './credentials.js';

const FIRST_DELAY = 500;
const MAX_DELAY = 20_000;
/** The hub sends a ping after 15 seconds of silence; three of them missed is a dead connection. */
const MAX_SILENCE = 45_000;
/** The hub answers at once; whoever takes longer is not there. */
const PATIENCE = 15_000;
/** A stream that has lived so long was worth it: the next one is tried at once. */
const WORTH_IT = 10_000;

export class Connection {
  #options;
  #source = null;
  #wanted = false;
  #attempt = 0;
  #timer = 0;
  #silence = 0;
  /** What the hub asked us to wait in its last `bye`. */
  #asked = 0;
  #opening = 0;
  /** When the attempt or the stream began. */
  #since = 0;
  lastId = null;
  state = { phase: 'ended' };

  /**
   * `frames` has a function for each kind of frame, called with its data and id; `query()` is asked at each attempt; `onstate` is told
   * of every change. After which event, or from which time on, to go on, `resumeAfter()` tells, where it is not simply the last that came.
   */
  constructor({ path, signal, query, frames, onstate = () => {}, resumeAfter = () => this.lastId }) {
    this.#options = { path, signal, query, frames, onstate, resumeAfter };
    addEventListener('online', () => this.#hurry());
    addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.#hurry());
    credentials.addEventListener('change', () => this.#wanted && this.open());
  }

  /** Begins anew; after an event, if there is one to go on from. */
  open({ lastEventId = null } = {}) {
    this.close();
    this.#wanted = true;
    this.lastId = lastEventId;
    this.#again();
  }

  close() {
    this.#wanted = false;
    this.#drop();
    this.#enter({ phase: 'ended' });
  }

  #again() {
    this.#drop();
    this.#attempt = 0;
    this.#connect();
  }

  async #connect() {
    const opening = ++this.#opening;
    this.#since = Date.now();
    this.#enter({ phase: 'connecting', attempt: this.#attempt });
    let url;
    try {
      url = await this.#url();
    } catch (error) {
      if (opening === this.#opening) this.#failed(error);
      return;
    }
    // Somebody may have closed or reopened it meanwhile.
    if (opening !== this.#opening) return;
    this.#listen(new EventSource(url));
  }

  async #url() {
    const { path, signal, query, resumeAfter } = this.#options;
    const url = hubUrl(path);
    url.search = query();
    const last = resumeAfter();
    if (last !== null) {
      for (const other of ['since', 'replay']) url.searchParams.delete(other);
      // A time has colons, an id has none.
      url.searchParams.set(last.includes(':') ? 'since' : 'last-event-id', last);
    }
    const ticket = await credentials.ticket(signal, { signal: AbortSignal.timeout(PATIENCE) });
    if (ticket !== null) url.searchParams.set('token', ticket);
    return url;
  }

  #listen(source) {
    this.#source = source;
    this.#expect(PATIENCE);
    source.onopen = () => {
      this.#since = Date.now();
      this.#enter({ phase: 'open' });
      this.#expect(MAX_SILENCE);
    };
    source.onerror = () => this.#broken(source);
    for (const kind of ['ping', 'trace', 'gap', 'caught-up', 'metrics', 'bye']) {
      source.addEventListener(kind, (frame) => this.#take(source, kind, frame));
    }
  }

  #take(source, kind, frame) {
    if (source !== this.#source) return;
    this.#expect(MAX_SILENCE);
    if (frame.lastEventId) this.lastId = frame.lastEventId;
    if (kind === 'bye') this.#asked = JSON.parse(frame.data).retry ?? 0;
    this.#options.frames[kind]?.(frame.data, frame.lastEventId || null);
  }

  /** Something has to come in time. */
  #expect(time) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#broken(this.#source), time);
  }

  /** The stream has ended, or never began. */
  async #broken(source) {
    if (source !== this.#source) return;
    const hasBegun = this.state.phase === 'open';
    if (hasBegun && Date.now() - this.#since > WORTH_IT) this.#attempt = 0;
    this.#drop();
    if (hasBegun) return this.#wait();
    const opening = this.#opening;
    const refusal = await this.#refusal();
    if (opening === this.#opening && this.#wanted) this.#failed(refusal);
  }

  /** Why the hub does not grant the stream, which an EventSource is never told. */
  async #refusal() {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(PATIENCE)]);
    try {
      const url = await this.#url();
      url.searchParams.delete('token');
      const answer = await credentials.fetch(url, { signal, headers: { accept: 'text/event-stream' } });
      return answer.ok ? null : new Refusal(await problem(answer));
    } catch (error) {
      return error;
    } finally {
      stop.abort();
    }
  }

  #failed(error) {
    if (!(error instanceof Refusal)) return this.#wait();
    const { problem } = error;
    if (problem.status === 401) return this.#enter({ phase: 'signed-out', problem });
    // What is wrong stays wrong. What is too much or too early now may be granted later, and who is no hub may be one soon.
    if (problem.isOfHub && [400, 403].includes(problem.status)) return this.#enter({ phase: 'refused', problem });
    this.#wait(problem);
  }

  #wait(problem = null) {
    const ceiling = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** this.#attempt);
    const asked = Math.max(this.#asked, problem?.retryAfter ?? 0);
    const delay = Math.max(asked * (1 + Math.random() / 2), ceiling * (0.5 + Math.random() / 2));
    this.#asked = 0;
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#enter({ phase: 'waiting', attempt: this.#attempt, retryAt: Date.now() + delay, problem });
  }

  /** The network is back, or the person: now is better than later. */
  #hurry() {
    const { phase } = this.state;
    const isStuck = phase === 'connecting' && Date.now() - this.#since > FIRST_DELAY * 10;
    if (this.#wanted && (phase === 'waiting' || isStuck)) this.#again();
  }

  #drop() {
    this.#opening += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  #enter(state) {
    this.state = state;
    this.#options.onstate(state);
  }
}
