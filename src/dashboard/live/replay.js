// What the hub still has of something, once: a stream that is read until it has caught up, and then left.

import { Refusal, credentials, problem } from '../credentials.js';
import { events } from './frame.js';

/** What is read of it at most, in characters; what is more is left out, and said to be. */
const MAX_CHARACTERS = 16 * 1024 * 1024;

/** The texts of the events, oldest first, and whether that is all. */
export async function replayed(parameters, signal) {
  const reading = new AbortController();
  signal.addEventListener('abort', () => reading.abort());
  const answer = await credentials.fetch(`api/telemetry/traces/live?${parameters}`, { signal: reading.signal });
  if (!answer.ok) throw new Refusal(await problem(answer));
  const found = { texts: [], isWhole: true };
  try {
    let size = 0;
    for await (const { kind, data } of frames(answer.body)) {
      if (kind === 'caught-up' || kind === 'bye') break;
      if (kind === 'gap') found.isWhole = false;
      if (kind !== 'trace') continue;
      found.texts.push(...events(data));
      size += data.length;
      if (size > MAX_CHARACTERS) {
        found.isWhole = false;
        break;
      }
    }
  } finally {
    reading.abort();
  }
  return found;
}

/** The frames of a stream. The hub writes each field on one line, and ends lines with one newline. */
async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let parts = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    parts.push(value);
    if (!value.includes('\n')) continue;
    const pieces = parts.join('').split('\n\n');
    parts = [pieces.pop()];
    yield* pieces.map(frame);
  }
}

function frame(text) {
  const field = (name) => text.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  return { kind: field('event') ?? 'message', data: field('data') ?? '' };
}
