// The stream behind the list: what the hub's frames, and the ends and beginnings of connections, make of the rows. It can be paused,
// and loses nothing by it.

import { Connection } from '../connection.js';
import { count, duration, visible } from '../format.js';
import { events, idOf } from './frame.js';
import { Waiting, idBefore } from './pause.js';
import { Sampling } from './sampling.js';

const GAPS = {
  slow: 'this page could not keep up',
  expired: 'the hub no longer has them',
  restart: 'the hub was restarted',
};

const LOST = 'The connection was lost';

/** Why the hub itself ended the stream. */
const ENDS = {
  shutdown: 'The hub was shut down',
  stalled: 'The hub ended the stream, as this page did not read',
  'expired-token': 'The hub ended the stream: the token has expired',
  'closed-by-admin': 'The hub ended the stream: somebody closed it',
  limit: 'The hub ended the stream: a limit is reached',
};

const numberOf = (number, noun) => `${count(number)} ${noun}${number === 1 ? '' : 's'}`;

export class Stream {
  #connection;
  #rows;
  #changed;
  #learn;
  #rate;
  /** The last event that is shown, or that a gap row accounts for. */
  #lastId = null;
  #resuming = false;
  /** The row about an interruption that lasts. */
  #lost = null;
  waiting = null;
  missed = 0;
  isCaughtUp = false;
  #hasBeenOpen = false;
  state = { phase: 'ended' };

  /** `query` and `rate` tell what to ask for; `changed` is told of everything, `learn` is shown each event's text. */
  constructor({ rows, query, rate, changed, learn, onstate }) {
    this.#rows = rows;
    this.#rate = rate;
    this.#changed = changed;
    this.#learn = learn;
    this.sampling = new Sampling(rows, changed);
    this.#connection = new Connection({
      path: 'api/telemetry/traces/live',
      signal: 'traces',
      query,
      frames: {
        trace: (text, id) => this.#trace(text, id),
        gap: (text) => this.#gap(JSON.parse(text)),
        'caught-up': (text) => this.#caughtUp(JSON.parse(text)),
        bye: (text) => this.#bye(JSON.parse(text)),
      },
      onstate: (state) => {
        this.#enter(state);
        onstate(state);
      },
    });
  }

  get isPaused() {
    return this.waiting !== null;
  }

  /** Anew, with what the query is now. */
  begin() {
    this.#rows.clear();
    this.sampling.clear();
    Object.assign(this, { waiting: null, missed: 0, isCaughtUp: false });
    this.#lastId = null;
    this.#lost = null;
    this.#resuming = false;
    this.#connection.open();
    this.#changed();
  }

  pause() {
    this.waiting ??= new Waiting();
    this.#changed();
  }

  /** Has the hub replay what came meanwhile, if anything came. */
  resume() {
    const [from, hasMissed] = [this.#whereToGoOn(), this.waiting?.isEmpty === false];
    this.waiting = null;
    if (hasMissed) this.#goOn(from);
    this.#changed();
  }

  /** Closes the stream, to go on where it stands when it is wanted again. */
  suspend() {
    this.#connection.close();
  }

  /** What waits is counted again, as the hub sends it again. */
  wake() {
    if (this.state.phase !== 'ended') return;
    const from = this.#whereToGoOn();
    if (this.waiting) this.waiting = new Waiting();
    this.#goOn(from);
  }

  #whereToGoOn() {
    return this.#lastId ?? (this.waiting?.firstId ? idBefore(this.waiting.firstId) : null);
  }

  #goOn(lastEventId) {
    this.sampling.end();
    this.#resuming = true;
    this.#connection.open({ lastEventId });
  }

  #trace(text, id) {
    if (this.waiting) {
      this.waiting.takeEvents(text);
      return this.#changed();
    }
    for (const event of events(text)) {
      this.#rows.addEvent(idOf(event), event);
      this.#learn(event);
    }
    this.#lastId = id ?? this.#lastId;
    this.#changed();
  }

  #gap(gap) {
    if (this.waiting) this.waiting.takeGap(gap);
    else if (gap.reason === 'sampled') this.sampling.leftOut(gap.missed ?? 0, this.#rate());
    else this.#showGap(gap);
    this.#changed();
  }

  #showGap({ reason, missed, to }) {
    this.missed += missed ?? 0;
    const what = missed === null ? 'Some events may be missing here' : `${numberOf(missed, 'event')} missed`;
    this.#rows.addNote('gap', reason, `${what}: ${GAPS[reason] ?? reason}`);
    this.#lastId = to ?? this.#lastId;
  }

  #caughtUp({ replayed }) {
    const isFirst = !this.isCaughtUp;
    this.isCaughtUp = true;
    if (!this.waiting) this.#sayWhatWasReplayed(replayed, isFirst);
    this.#resuming = false;
    this.#changed();
  }

  #sayWhatWasReplayed(replayed, isFirst) {
    if (isFirst && replayed > 0) this.#rows.addNote('note', 'caught-up', `${numberOf(replayed, 'earlier event')} above; live from here on`);
    else if (!isFirst && replayed > 0) this.#rows.addNote('note', 'caught-up', `Caught up with ${numberOf(replayed, 'event')}; live from here on`);
    else if (!isFirst && !this.#resuming) this.#rows.addNote('note', 'caught-up', 'Nothing came meanwhile; live from here on');
  }

  #bye({ reason }) {
    this.#interrupted('bye', ENDS[reason] ?? `The hub ended the stream: ${reason}`);
    this.#changed();
  }

  #enter(state) {
    this.state = state;
    if (state.phase === 'waiting' && this.#hasBeenOpen) this.#interrupted('lost', LOST);
    if (state.phase === 'open' && this.#lost) this.#reconnected();
    else if (state.problem && this.#lost?.row) this.#lost.row.text = `${this.#lost.cause}; ${visible(state.problem.detail)}`;
    this.#hasBeenOpen ||= state.phase === 'open';
    this.#changed();
  }

  /** One row for it all, from its cause to its end. */
  #interrupted(reason, cause) {
    if (this.#lost) return;
    const row = this.waiting ? null : this.#rows.addNote('note', reason, `${cause}; trying to get it back`);
    this.#lost = { row, cause, since: Date.now() };
  }

  #reconnected() {
    const { row, cause, since } = this.#lost;
    const seconds = Math.max(1, Math.round((Date.now() - since) / 1000));
    if (row) Object.assign(row, { reason: 'reconnected', text: `${cause}; connected again after ${duration(seconds * 1000)}` });
    this.#lost = null;
  }
}
