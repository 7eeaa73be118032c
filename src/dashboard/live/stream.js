// The stream behind the list: what the hub's frames, and the ends and beginnings of connections, make of the rows. It can be paused,
// and loses nothing by it.

import { Connection } from '../connection.js';
import { count, duration, visible } from '../format.js';
import { Account } from './account.js';
import { events, idOf } from './frame.js';
import { Waiting } from './pause.js';
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
  #account = new Account();
  #resuming = false;
  /** Of what is replayed, the events that were not known. */
  #replayed = 0;
  /** The row about an interruption that lasts. */
  #lost = null;
  waiting = null;
  missed = 0;
  isCaughtUp = false;
  #hasBeenOpen = false;
  state = { phase: 'ended' };

  /**
   * `query` and `rate` tell what to ask for: `query({ all: true })` for all that the hub has. `changed` is told of everything, `learn` is
   * shown each event's text.
   */
  constructor({ rows, query, rate, changed, learn, onstate }) {
    this.#rows = rows;
    this.#rate = rate;
    this.#changed = changed;
    this.#learn = learn;
    this.sampling = new Sampling(rows, changed);
    this.#connection = new Connection({
      path: 'api/telemetry/traces/live',
      signal: 'traces',
      // Where nothing was shown before, all that there is has come since.
      query: () => query({ all: this.isCaughtUp && this.#account.resumeAfter === null }),
      resumeAfter: () => this.#account.resumeAfter,
      frames: {
        trace: (text, id) => this.#trace(text, id),
        gap: (text) => this.#gap(JSON.parse(text)),
        'caught-up': (_, id) => this.#caughtUp(id),
        ping: (_, id) => this.#isSilent(id),
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
    this.forget();
    this.#connection.open();
  }

  /** Keeps nothing of what came. */
  forget() {
    this.#rows.clear();
    this.sampling.clear();
    Object.assign(this, { waiting: null, missed: 0, isCaughtUp: false });
    this.#account = new Account();
    this.#lost = null;
    this.#resuming = false;
    this.#changed();
  }

  pause() {
    this.waiting ??= new Waiting();
    this.#changed();
  }

  /** Has the hub replay what came meanwhile, if anything came. */
  resume() {
    const hasMissed = this.waiting?.isEmpty === false;
    this.waiting = null;
    if (hasMissed) this.#goOn();
    this.#changed();
  }

  /** Closes the stream, to go on where it stands when it is wanted again. */
  suspend() {
    this.#connection.close();
  }

  wake() {
    if (this.state.phase === 'ended') this.#goOn();
  }

  #goOn() {
    this.#resuming = true;
    this.#connection.open();
  }

  #trace(text) {
    if (this.waiting) this.waiting.takeEvents(text, this.#account);
    else this.#show(events(text));
    this.#changed();
  }

  #show(found) {
    const fates = this.#account.take(found.map(idOf));
    const leftOut = fates.filter((fate) => fate === 'left out').length;
    if (leftOut > 0) this.sampling.leftOut(leftOut, this.#rate());
    const fresh = found.filter((_, index) => fates[index] === 'new');
    if (this.#account.isReplay && fresh.length > 0) this.#replays(fresh.length);
    for (const event of fresh) {
      this.#rows.addEvent(idOf(event), event);
      this.#learn(event);
    }
  }

  #replays(number) {
    this.sampling.end();
    this.#replayed += number;
  }

  #gap(gap) {
    if (this.waiting) this.waiting.takeGap(gap, this.#account);
    else if (gap.reason === 'sampled') this.#leftOut(gap);
    else this.#showGap(gap);
    this.#changed();
  }

  #leftOut(gap) {
    this.#account.leftOut(gap);
    this.sampling.leftOut(gap.missed ?? 0, this.#rate());
  }

  #showGap(gap) {
    const { reason, missed } = gap;
    if (reason === 'slow') this.#account.missed(gap);
    else this.#account.lost(gap);
    this.missed += missed ?? 0;
    const what = missed === null ? 'Some events may be missing here' : `${numberOf(missed, 'event')} missed`;
    this.#rows.addNote('gap', reason, `${what}: ${GAPS[reason] ?? reason}`);
  }

  /** What came of the replay while the view was paused is replayed again. */
  #caughtUp(id) {
    const isFirst = !this.isCaughtUp;
    this.isCaughtUp = true;
    // A browser repeats the last id: while paused, that may be of something that is not shown.
    this.#account.replayEnds(this.waiting ? null : id);
    if (!this.waiting) this.#sayWhatWasReplayed(this.#replayed, isFirst);
    this.#resuming = false;
    this.#changed();
  }

  #sayWhatWasReplayed(replayed, isFirst) {
    if (isFirst && replayed > 0) this.#rows.addNote('note', 'caught-up', `${numberOf(replayed, 'earlier event')} above; live from here on`);
    else if (!isFirst && replayed > 0) this.#rows.addNote('note', 'caught-up', `Caught up with ${numberOf(replayed, 'event')}; live from here on`);
    else if (!isFirst && !this.#resuming) this.#rows.addNote('note', 'caught-up', 'Nothing came meanwhile; live from here on');
  }

  /** The hub sends this when it has had nothing to say for long. */
  #isSilent(id) {
    if (id !== null && !this.waiting) this.#account.mark(id);
    if (!this.waiting || this.waiting.isEmpty) this.#account.isSilent();
  }

  #bye({ reason }) {
    this.#interrupted('bye', ENDS[reason] ?? `The hub ended the stream: ${reason}`);
    this.#changed();
  }

  #enter(state) {
    this.state = state;
    if (state.phase === 'open') this.#streamBegins();
    if (state.phase === 'waiting' && this.#hasBeenOpen) this.#interrupted('lost', LOST);
    if (state.phase === 'open' && this.#lost) this.#reconnected();
    else if (state.problem && this.#lost?.row) this.#lost.row.text = `${this.#lost.cause}; ${visible(state.problem.detail)}`;
    this.#hasBeenOpen ||= state.phase === 'open';
    this.#changed();
  }

  /** What waits is counted again, as the hub sends it again. */
  #streamBegins() {
    this.#account.streamBegins();
    this.#replayed = 0;
    if (this.waiting) this.waiting = new Waiting({ isReplayed: true });
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
