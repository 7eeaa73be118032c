// A question to the hub, and what became of it.

import { credentials, problem } from '../credentials.js';
import { parse } from '../exact_json.js';

/** How long an answer may take: a hub that is this slow is not well. */
const PATIENCE = 5000;

/** `{ status, body }` of an answer, `{ status, problem }` of a refusal, status 0 if there was no answer. */
export async function ask(path, options = {}) {
  try {
    const answer = await credentials.fetch(path, { signal: AbortSignal.timeout(PATIENCE), ...options });
    if (!answer.ok) return { status: answer.status, problem: await problem(answer) };
    const text = await answer.text();
    return { status: answer.status, body: text === '' ? null : parse(text) };
  } catch {
    return { status: 0, problem: { detail: 'the hub cannot be reached' } };
  }
}

/** Whether the hub will say the same until somebody else asks. */
export function isDenied({ status }) {
  return status === 401 || status === 403 || status === 404;
}

/** Why there is nothing to show, for people; null if there is something. */
export function excuse({ status, problem }, subject) {
  if (status >= 200 && status < 300) return null;
  if (status === 0) return 'The hub cannot be reached.';
  if (status === 401) return `Sign in to see ${subject}.`;
  if (status === 403) return `Your token does not show ${subject}: that needs the scope “admin”.`;
  if (status === 404) return `This hub does not tell of ${subject}.`;
  return `No answer about ${subject}: ${problem.detail}.`;
}
