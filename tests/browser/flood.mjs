// Sends events at a rate, for so many seconds: `flood.mjs URL RATE SECONDS`. Tells its parent how many the hub has taken.

import { setTimeout as pause } from 'node:timers/promises';

const [url, rate, seconds] = process.argv.slice(2);
const BATCHES_A_SECOND = 20;
const size = Number(rate) / BATCHES_A_SECOND;
const LEVELS = ['DEBUG', 'INFO', 'INFO', 'INFO', 'WARN', 'ERROR'];

/** Bodies that are made once: making them anew would be this program's own work. */
const bodies = Array.from({ length: 8 }, (_, body) =>
  Array.from({ length: size }, (_, index) =>
    JSON.stringify({
      type: `shop.step-${index % 7}`,
      level: LEVELS[(index * 7 + body) % LEVELS.length],
      text: `Step ${index} of round ${body} took its time`,
      data: { remoteIp: `10.0.${body}.${index % 250}`, accountName: `account-${index % 40}`, elapsed: index * 13, queueId: String(index * 7919) },
    })).join('\n'));

const begin = performance.now();
let accepted = 0;
for (let batch = 0; batch < Number(seconds) * BATCHES_A_SECOND; batch += 1) {
  const due = begin + (batch * 1000) / BATCHES_A_SECOND;
  if (performance.now() < due) await pause(due - performance.now());
  // A machine that is too slow for the rate sends less, not longer.
  if (performance.now() - begin > Number(seconds) * 1000) break;
  const answer = await fetch(`${url}api/telemetry/events`, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body: bodies[batch % bodies.length] });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  accepted += (await answer.json()).accepted;
  process.send({ accepted });
}
process.disconnect();
